"""Makes a verified trajectory real: no further than it goes as it was verified, and on from where it failed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal
from uuid import UUID

from pivot_dspy.environment.declarations import RESULT
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.commit_attempt import NONE, CommitAttempt, CommitProgress, CommitStopped, RealCall, Verified
from pivot_dspy.episode.commit_transaction import CommitTransaction, Outcome
from pivot_dspy.errors import CommitError, did_you_mean, error_text
from pivot_dspy.flow import Flow
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.trajectory import Execution, Frozen

ALL = "all"
"""Allows every call that waits for commit; repeats all of a transaction of which nobody knows how it ended."""
IN_DOUBT = (
    "nobody knows whether its transaction was made durable: look at the real environment; where you find that it was "
    f'not, resume_commit(repeat="{ALL}") starts again'
)


class UndoCall(Frozen):
    """A call that would undo one that was made."""

    step: str
    """Id of the step whose call it undoes."""
    tool: str
    """Name of the tool, or of the method of the environment."""
    args: dict[str, Any]


class Committer:
    """Knows the real environment; runs what was verified there once, and goes on from where that failed.

    Args:
        source: where the real environment comes from.
        task: what it is opened for.
        outputs: the output fields with their types.
        run_id: tells the calls of this result from those of any other.
        verified: what is to be run.
    """

    def __init__(
        self, source: SessionFactory, task: Any, outputs: Mapping[str, Any], run_id: UUID, verified: Verified
    ) -> None:
        self.source, self.task, self.outputs, self.run_id, self.verified = source, task, outputs, run_id, verified
        self._progress = CommitProgress()
        self._session: Session | None = None
        self._undone: CommitProgress | None = None
        """How far it got if the last attempt's transaction was rolled back; None where it is known how that ended."""
        self._state: Literal["new", "running", "failed", "done"] = "new"
        self._changing = threading.Lock()

    @property
    def execution(self) -> Execution | None:
        """All that was observed in the real world until now; None where nothing was tried."""
        return self._progress.execution

    def __deepcopy__(self, memo: dict[int, Any]) -> Committer:
        return self

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()  # what is pickled is a record of a run: it cannot be committed

    def commit(self, allow: str | Iterable[str] | None) -> Flow[Execution]:
        """Run it; see `Refined.commit`."""
        self._begin("new")
        try:
            self._progress.withheld = self._not_allowed(allow)
        except Exception:
            self._state = "new"  # nothing was tried
            raise
        return (yield from self._attempt(None))

    def resume(self, repeat: str | None) -> Flow[Execution]:
        """Go on with the step that failed; see `Refined.resume_commit`."""
        self._begin("failed")
        if self._undone is not None:
            if repeat != ALL:
                self._state = "failed"
                raise CommitError(f"{IN_DOUBT}; steps run inside of it: {self._progress.ran}", execution=self.execution)
            self._progress, self._undone = self._undone, None
        return (yield from self._attempt(repeat))

    def _not_allowed(self, allow: str | Iterable[str] | None) -> frozenset[str]:
        """The steps that wait for commit and may not run even then.

        Raises:
            CommitError: it was not verified, and what could not be is not allowed; or a step does not wait.
        """
        verdict = self.verified.verdict
        if verdict.status == "unverified":
            raise CommitError(f"not verified, so not committed: {'; '.join(verdict.reasons) or 'no verdict'}")
        pending = "; ".join(f"{call.step} {call.tool} {compact_json(call.args)}" for call in verdict.pending)
        steps = frozenset(verdict.withheld)
        if allow is None:
            if verdict.verified:
                return frozenset()
            some = ", ".join(f'"{step}"' for step in verdict.withheld)
            raise CommitError(
                "verified only as far as it could run, so not committed: "
                f"{'; '.join(verdict.reasons) or 'it waits for calls that could not be tried'}. Calls that wait for "
                f'commit: {pending or "none"}. Run it with them by commit(allow="{ALL}"), or with some of them by '
                f"their steps: commit(allow=[{some}])"
            )
        if allow == ALL:
            return frozenset()
        allowed = [allow] if isinstance(allow, str) else list(allow)
        if not allowed:
            raise CommitError(f"allow names no step; calls that wait for commit: {pending or 'none'}")
        if unknown := [step for step in allowed if step not in steps]:
            meant = did_you_mean(unknown[0], steps) if len(unknown) == 1 else ""
            raise CommitError(
                f"allow names {', '.join(map(str, unknown))}, which does not wait for commit{meant}; calls that do: "
                f"{pending or 'none'}"
            )
        return steps.difference(allowed)

    def _begin(self, state: Literal["new", "failed"]) -> None:
        """Claim the right to run for the caller alone."""
        with self._changing:
            if self._state == state:
                self._state = "running"
                return
        ran = self._progress.ran
        raise CommitError(
            {
                "new": "there is nothing to go on with; call commit()",
                "running": "it is being committed already",
                "done": f"already committed; run the refiner again to act again; steps run for real: {ran}",
                "failed": f"already tried to commit, which failed; steps run for real: {ran}; when the cause is gone, "
                f"resume_commit() {'starts again' if ran == NONE else 'goes on from there'}",
            }[self._state],
            execution=self.execution,
            step=self._progress.failed,
        )

    def _attempt(self, repeat: str | None) -> Flow[Execution]:
        done = False
        try:
            if self._session is None:
                self._session = self._open()
            session = self._session
            transaction = CommitTransaction(session)
            try:
                attempt = CommitAttempt(
                    self.verified, self._progress, session, self.outputs, repeat, lambda: not transaction.is_open
                )
                yield from session.hold()
                yield from transaction.around(attempt.run())
                done = True
            except CommitStopped as stop:
                self._note(transaction.outcome, session)
                raise self._error(stop, session, transaction.outcome) from stop.cause
            except BaseException:
                self._note(transaction.outcome, session)
                done = transaction.outcome == "durable"  # it was interrupted when all was done
                raise
            finally:
                if done or self.source.reopens_same_world(session):
                    session.family.close()
                    self._session = None
                session.release()
        finally:
            self._state = "done" if done else "failed"
        return attempt.executed

    def _open(self) -> Session:
        try:
            return self.source.open_real(self.task, self.run_id)
        except Exception as error:
            raise CommitError(
                f"the real environment could not be opened, so nothing was run: {error_text(error)}; when the cause is "
                "gone, call resume_commit()",
                execution=self.execution,
            ) from error

    def _note(self, outcome: Outcome, session: Session) -> None:
        """Note how far it got, by how the transaction of a failed attempt ended."""
        if outcome == "rolled back":
            self._progress = self._progress.rolled_back(session.toolbox)
        elif outcome == "unknown":
            self._undone = self._progress.rolled_back(session.toolbox)

    def _error(self, stop: CommitStopped, session: Session, outcome: Outcome) -> CommitError:
        undo = tuple(_undo_calls(self._progress.calls, session))
        ran = self._progress.ran
        if outcome == "unknown":
            rest = f"; {IN_DOUBT}; steps run inside of it: {ran}"
        elif outcome == "rolled back":
            lasting = "so nothing was done" if ran == NONE else f"which does not undo the steps {ran}"
            rest = f"; all was rolled back, {lasting}; when the cause is gone, resume_commit() starts again"
        else:
            after = "nothing after that was run" if stop.ran else "neither this nor anything after it was run"
            rest = f"; steps run for real: {ran}; {after}"
        offer = "; its `undo` lists the calls that would take them back" if undo else ""
        return CommitError(
            f"{stop}{rest}{offer}",
            execution=self.execution,
            step=stop.step,
            difference=stop.difference,
            undo=undo,
        )


def _undo_calls(made: Sequence[RealCall], session: Session) -> Iterator[UndoCall]:
    """The calls that would undo what was done, newest first, as far as tools declare how."""
    for call in reversed(made):
        spec = session.toolbox.tools[call.tool]
        if spec.undo is None:
            continue
        args = {**call.args, RESULT: call.result.value}
        if spec.idempotency_key is not None:
            args[spec.idempotency_key] = session.family.idempotency_key(call.step, call.number)
        takes = args if spec.undo.takes is None else spec.undo.takes
        given = {name: value for name, value in args.items() if name in takes}
        yield UndoCall(step=call.step, tool=spec.undo.name, args=given)
