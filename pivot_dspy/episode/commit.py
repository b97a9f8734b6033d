"""Makes a verified trajectory real: no further than it goes as it was verified, and on from where it failed."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import UUID

from pivot_dspy import requirements as requirement_rules
from pivot_dspy.departures import Difference, Foreseen
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.declarations import RESULT
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import CommitError, ConfigurationError, did_you_mean, error_text
from pivot_dspy.execution import StepRunner, Supervisor
from pivot_dspy.flow import Flow
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Frozen, Observation
from pivot_dspy.verdict import Verdict

ALL = "all"
"""Allows every call that waits for commit."""


class UndoCall(Frozen):
    """A call that would undo one that was made."""

    step: str
    """Id of the step whose call it undoes."""
    tool: str
    """Name of the tool, or of the method of the environment."""
    args: dict[str, Any]


@dataclass(frozen=True)
class Verified:
    """What is to be made real, and what was found when it was verified."""

    execution: Execution
    verdict: Verdict
    requirements: Requirements
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _RealCall:
    """A call that was made in the real world and changes something."""

    step: str
    number: int
    tool: str
    args: Mapping[str, Any]
    result: CallResult


@dataclass
class _Progress:
    """How far the attempts to commit got together."""

    withheld: frozenset[str] = frozenset()
    """Steps that were not allowed."""
    observed: dict[str, Observation] = field(default_factory=dict)
    execution: Execution | None = None
    """All that was observed."""
    calls: list[_RealCall] = field(default_factory=list)
    """In the order in which they were made."""
    failed: str | None = None
    """The step to go on with."""
    misled: bool = False
    """Whether it failed by what it was given rather than by what it did."""
    unknown: tuple[str, int] | None = None
    """The call, by step and number, of which nobody knows whether it did what it does."""
    held: frozenset[str] = frozenset()
    """Requirements that held before the last call that had waited for commit."""
    acted: bool = False
    """Whether such a call was made since requirements were last looked at."""

    @property
    def ran(self) -> str:
        """The steps of which calls were made."""
        return ", ".join(name for name, seen in self.observed.items() if seen.calls) or "none"


class _Stop(Exception):
    """Why an attempt ends."""

    def __init__(
        self,
        problem: str,
        step: str | None = None,
        *,
        ran: bool = True,
        misled: bool = False,
        difference: Difference | None = None,
        cause: Exception | None = None,
    ) -> None:
        super().__init__(problem)
        self.step, self.ran, self.misled, self.difference, self.cause = step, ran, misled, difference, cause


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
        self._progress = _Progress()
        self._session: Session | None = None
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
                "resume_commit() goes on from there",
            }[self._state],
            execution=self.execution,
            step=self._progress.failed,
        )

    def _attempt(self, repeat: str | None) -> Flow[Execution]:
        done = False
        try:
            session = self._session = self._session or self._open()
            attempt = _Attempt(self.verified, self._progress, session, self.outputs, repeat)
            try:
                yield from attempt.run()
                done = True
            except _Stop as stop:
                raise self._error(stop, session) from stop.cause
            finally:
                if done or self.source.reopens_same_world(session):
                    session.family.close()
                    self._session = None
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

    def _error(self, stop: _Stop, session: Session) -> CommitError:
        undo = tuple(_undo_calls(self._progress.calls, session))
        rest = "nothing after that was run" if stop.ran else "neither this nor anything after it was run"
        offer = "; its `undo` lists the calls that would take them back" if undo else ""
        return CommitError(
            f"{stop}; steps run for real: {self._progress.ran}; {rest}{offer}",
            execution=self.execution,
            step=stop.step,
            difference=stop.difference,
            undo=undo,
        )


def _undo_calls(made: Sequence[_RealCall], session: Session) -> Iterator[UndoCall]:
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


class _Attempt(Supervisor):
    """One attempt to run what is left; raises `_Stop` where that does not go as was verified."""

    def __init__(
        self,
        verified: Verified,
        progress: _Progress,
        session: Session,
        outputs: Mapping[str, Any],
        repeat: str | None,
    ) -> None:
        self.verified, self.progress, self.session, self.repeat = verified, progress, session, repeat
        self.trajectory = verified.execution.trajectory
        evidence = [finding.evidence for finding in verified.findings]
        self.foreseen = Foreseen(verified.execution, session.toolbox, evidence)
        self.pending = frozenset(verified.verdict.withheld)
        self.withheld = progress.withheld
        self.taken = self._standing()
        self.calls = self._made_of_repeated()
        self.runner = StepRunner(self.trajectory, session, outputs, supervisor=self)
        self._making: tuple[str, int] | None = None
        """The call that is being made, if it changes something."""
        self._cause: Exception | None = None

    def run(self) -> Flow[None]:
        """Run what is left; whatever ends it, what was observed is noted."""
        try:
            yield from self.runner.run()
            self._refuse_missed()
        except _Stop as stop:
            self.progress.failed, self.progress.misled = stop.step, stop.misled
            raise
        except BaseException as error:
            left = (step.id for step in self.trajectory.steps if step.id not in self.runner.observed)
            self.progress.failed, self.progress.misled = self._making[0] if self._making else next(left, None), False
            if not isinstance(error, ConfigurationError):  # which says that the call was not made
                self.progress.unknown = self._making or self.progress.unknown
            raise
        finally:
            self.progress.observed.update(self.runner.observed)
            self.executed = self.progress.execution = self._execution()

    def _execution(self) -> Execution:
        """All that was observed, by this attempt and before it."""
        observed = self.progress.observed
        observations = tuple(observed[step.id] for step in self.trajectory.steps if step.id in observed)
        return self.runner.execution.model_copy(update={"observations": observations})

    def _standing(self) -> dict[str, Observation]:
        """What was observed before and need not be seen again.

        Not the step that failed, unless it changed something; nor what misled it: what it depends on and was read
        otherwise than it was verified.
        """
        failed = self.progress.failed
        again = {failed, *(self._misread(failed) if failed and self.progress.misled else ())}
        submit = self.trajectory.submit
        return {
            name: seen
            for name, seen in self.progress.observed.items()
            if _succeeded(seen) and (submit is None or name != submit.id) and (name not in again or self._changed(name))
        }

    def _misread(self, failed: str) -> Iterable[str]:
        """The reads that a step depends on by its bindings, and that gave something else than before."""
        dependencies = self.trajectory.dependencies()
        needs: set[str] = set()
        left = [failed]
        while left:
            new = set(dependencies[left.pop()]) - needs
            needs |= new
            left += new
        before, now = self.verified.execution.by_step, self.progress.observed
        return [
            name
            for name in needs & now.keys()
            if not self._changes(name) and (now[name].value, now[name].args) != (before[name].value, before[name].args)
        ]

    def _changed(self, step: str) -> bool:
        """Whether all calls of a step were made that changes something."""
        planned = self.trajectory.steps[self.trajectory.index(step)]
        return planned.for_each is None and any(call.step == step for call in self.progress.calls)

    def _made_of_repeated(self) -> dict[str, list[CallResult]]:
        made: dict[str, list[CallResult]] = {}
        for call in self.progress.calls:
            made.setdefault(call.step, []).append(call.result)
        return made

    def _changes(self, step: str) -> bool:
        tool = self.session.toolbox.tools.get(self.trajectory.steps[self.trajectory.index(step)].tool)
        return tool is not None and tool.effect != "read"

    # --------------------------------------------------------------------------------------- what the runner tells

    def approve(self, step: str, number: int, args: Mapping[str, Any]) -> None:
        if not self._changes(step):
            return
        departure = self.foreseen.refusal(step, number, args)
        if departure:
            raise _Stop(departure, step, ran=False, misled=True, difference=departure.difference)
        self._refuse_unknown(step, number)
        self._refuse_broken(step)
        self._making = (step, number)
        self.progress.acted |= step in self.pending

    def called(self, step: str, number: int, args: Mapping[str, Any], result: CallResult) -> bool:
        self._making, self._cause = None, result.error
        if self._changes(step) and number >= len(self.calls.get(step, ())):
            self._note(step, number, args, result)
        return result.fault is None and self.foreseen.departs(step, number, result.value)

    def _note(self, step: str, number: int, args: Mapping[str, Any], result: CallResult) -> None:
        if result.fault is None:
            tool = self.trajectory.steps[self.trajectory.index(step)].tool
            self.progress.calls.append(_RealCall(step, number, tool, args, result))
            if self.progress.unknown == (step, number):
                self.progress.unknown = None
        elif result.fault.kind in ("timeout", "unserialisable"):
            self.progress.unknown = (step, number)

    def observed(self, observation: Observation) -> None:
        step = observation.step
        self.progress.observed[step] = observation
        expected = self.verified.execution.by_step[step]
        misled = not observation.calls or expected.args not in (None, observation.args)
        cause = None if _succeeded(observation) else self._cause
        if expected.status == "withheld":  # it could not be run before; now it must succeed
            if not _succeeded(observation) and (observation.status != "withheld" or not self.withheld):
                raise _Stop(f"step {step} failed: {_why(observation)}", step, misled=misled, cause=cause)
        elif departure := self.foreseen.departure(observation):
            raise _Stop(departure, step, misled=misled, difference=departure.difference, cause=cause)

    # ----------------------------------------------------------------------------------------------- preconditions

    def _refuse_unknown(self, step: str, number: int) -> None:
        spec = self.session.toolbox.tools[self.trajectory.steps[self.trajectory.index(step)].tool]
        if self.progress.unknown == (step, number) and spec.idempotency_key is None and self.repeat != step:
            raise _Stop(
                f"nobody knows whether the last call of step {step} did what it does, and another may do it again; "
                f'where you find that it did nothing, go on with resume_commit(repeat="{step}"); a tool that declares '
                "an idempotency_key is simply called again",
                step,
                ran=False,
            )

    def _refuse_broken(self, step: str) -> None:
        """Stop before a call where one that had waited for commit broke a requirement."""
        if self.verified.verdict.verified or not (self.progress.acted or step in self.pending):
            return
        findings = self._findings()
        if self.progress.acted:
            for finding in findings:
                if finding.requirement in self.progress.held and not finding.holds:
                    raise _Stop(
                        f"requirement {finding.requirement} does not hold any more: {finding.evidence}", step, ran=False
                    )
            self.progress.acted = False
        self.progress.held = frozenset(finding.requirement for finding in findings if finding.holds)

    def _refuse_missed(self) -> None:
        """Stop where all was run and a requirement does not hold, which could not be known before."""
        missed = [] if self.verified.verdict.verified else [found for found in self._findings() if not found.holds]
        if missed:
            said = "; ".join(f"requirement {found.requirement} does not hold: {found.evidence}" for found in missed)
            left = f" (not allowed: {', '.join(sorted(self.withheld))})" if self.withheld else ""
            raise _Stop(f"all was run{left}, and {said}")

    def _findings(self) -> list[Finding]:
        """How the hard requirements that are decided by execution stand in the real world, looked at on a copy of it
        where there are copies.
        """
        items = tuple(item for item in self.verified.requirements.items if item.executable)
        hard = {item.id for item in items if item.hard}
        if not hard:
            return []
        seen = self._copy() if self.verified.execution.tier == "fork" else self.session
        try:
            findings = requirement_rules.evaluate(Requirements(items=items), self.runner.execution, seen)
        finally:
            if seen is not self.session:
                seen.close()
        return [finding for finding in findings if finding.requirement in hard]

    def _copy(self) -> Session:
        try:
            return self.session.fork()
        except Exception:  # a check only reads, so it may look at the real world itself
            return self.session


def _succeeded(observation: Observation) -> bool:
    """Whether a step did all that it does: one that repeats counts as ok also where its last calls failed."""
    return observation.ok and observation.fault is None


def _why(observation: Observation) -> str:
    return observation.fault.message if observation.fault else observation.status
