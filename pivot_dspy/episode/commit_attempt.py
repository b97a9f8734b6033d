"""One attempt to make a verified trajectory real, which stops before it does what was not verified."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pivot_dspy import evaluation
from pivot_dspy.departures import Difference, Foreseen
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.errors import ConfigurationError, OutcomeUnknown
from pivot_dspy.execution import StepRunner
from pivot_dspy.flow import Flow
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.supervision import Supervisor
from pivot_dspy.trajectory import Execution, Observation
from pivot_dspy.verdict import Verdict

NONE = "none"
"""Stands for the steps that were run where there are none."""


@dataclass(frozen=True)
class Verified:
    """What is to be made real, and what was found when it was verified."""

    execution: Execution
    verdict: Verdict
    requirements: Requirements
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class RealCall:
    """A call that was made in the real world and changes something."""

    step: str
    number: int
    tool: str
    args: Mapping[str, Any]
    result: CallResult


@dataclass
class CommitProgress:
    """How far the attempts to commit got together."""

    withheld: frozenset[str] = frozenset()
    """Steps that were not allowed."""
    observed: dict[str, Observation] = field(default_factory=dict)
    execution: Execution | None = None
    """All that was observed."""
    calls: list[RealCall] = field(default_factory=list)
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
        return ", ".join(name for name, seen in self.observed.items() if seen.calls) or NONE

    def rolled_back(self, toolbox: Toolbox) -> CommitProgress:
        """What is left where a transaction was rolled back: calls of irreversible tools, which no rollback undoes."""

        def lasts(tool: str) -> bool:
            return toolbox.tools[tool].effect == "irreversible"

        planned = {} if self.execution is None else {step.id: step.tool for step in self.execution.trajectory.steps}
        unknown = self.unknown if self.unknown is not None and lasts(planned[self.unknown[0]]) else None
        calls = [call for call in self.calls if lasts(call.tool)]
        steps = {call.step for call in calls} | ({unknown[0]} if unknown is not None else set())
        observed = {name: seen for name, seen in self.observed.items() if name in steps}
        execution = None
        if self.execution is not None and observed:
            left = {"observations": tuple(observed.values()), "outputs": {}}
            execution = self.execution.model_copy(update=left)
        return CommitProgress(
            self.withheld, observed, execution, calls, failed=self.failed, misled=self.misled, unknown=unknown
        )


class CommitStopped(Exception):
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


class CommitAttempt(Supervisor):
    """One attempt to run what is left; raises `CommitStopped` where that does not go as was verified.

    Args:
        repeat: the step whose last call may be made again though nobody knows whether it did what it does.
        copied: whether requirements may be looked at on a copy of the real world; a copy may not have what an open
            transaction has done.
    """

    def __init__(
        self,
        verified: Verified,
        progress: CommitProgress,
        session: Session,
        outputs: Mapping[str, Any],
        repeat: str | None,
        copied: Callable[[], bool] = lambda: True,
    ) -> None:
        self.copied = copied
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
        except CommitStopped as stop:
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
        tool = self.session.toolbox.spec(self.trajectory.steps[self.trajectory.index(step)].tool)
        return tool is not None and tool.effect != "read"

    # --------------------------------------------------------------------------------------- what the runner tells

    def approve(self, step: str, number: int, args: Mapping[str, Any]) -> None:
        if not self._changes(step):
            return
        departure = self.foreseen.refusal(step, number, args)
        if departure:
            raise CommitStopped(departure, step, ran=False, misled=True, difference=departure.difference)
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
            self.progress.calls.append(RealCall(step, number, tool, args, result))
            if self.progress.unknown == (step, number):
                self.progress.unknown = None
        elif result.fault.kind in ("timeout", "unserialisable") or isinstance(result.error, OutcomeUnknown):
            self.progress.unknown = (step, number)

    def observed(self, observation: Observation) -> None:
        step = observation.step
        self.progress.observed[step] = observation
        if observation.status == "withheld" and self.withheld:
            return  # it was not allowed, or waits for one that was not
        expected = self.verified.execution.by_step[step]
        misled = not observation.calls or expected.args not in (None, observation.args)
        cause = None if _succeeded(observation) else self._cause
        if expected.status == "withheld":  # it could not be run before; now it must succeed
            if not _succeeded(observation):
                raise CommitStopped(f"step {step} failed: {_why(observation)}", step, misled=misled, cause=cause)
        elif departure := self.foreseen.departure(observation):
            raise CommitStopped(departure, step, misled=misled, difference=departure.difference, cause=cause)

    # ----------------------------------------------------------------------------------------------- preconditions

    def _refuse_unknown(self, step: str, number: int) -> None:
        spec = self.session.toolbox.tools[self.trajectory.steps[self.trajectory.index(step)].tool]
        if self.progress.unknown == (step, number) and spec.idempotency_key is None and self.repeat != step:
            raise CommitStopped(
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
                    raise CommitStopped(
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
            raise CommitStopped(f"all was run{left}, and {said}")

    def _findings(self) -> list[Finding]:
        """How the hard requirements that are decided by execution stand in the real world, looked at on a copy of it
        where there are copies.
        """
        items = tuple(item for item in self.verified.requirements.items if item.executable)
        hard = {item.id for item in items if item.hard}
        if not hard:
            return []
        seen = self._copy() if self.verified.execution.tier == "fork" and self.copied() else self.session
        try:
            findings = evaluation.evaluate(Requirements(items=items), self.runner.execution, seen)
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
