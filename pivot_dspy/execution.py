"""Runs a trajectory in a session: bindings, validation, timeouts, typed faults, and prefixes that are not run twice."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Literal

from pivot_dspy import bindings, submission
from pivot_dspy.bindings import BindingError
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Effect
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ArgumentError, ToolSpec
from pivot_dspy.errors import did_you_mean, error_text
from pivot_dspy.flow import Flow
from pivot_dspy.trajectory import SUBMIT, Discrepancy, Execution, Fault, FaultKind, Observation, Step, Trajectory

Permit = Callable[[bool], float | None]
"""Called with False before each tool call, when it may raise `BudgetExhausted`, and with True for each reused one.
Gives the seconds that the call may take, None for no limit beside its own."""


def allow(reused: bool) -> None:
    """The permit that never refuses."""


class Supervisor:
    """Looks on while a trajectory runs, and ends the run by what it raises. This one lets everything pass."""

    withheld: Collection[str] = ()
    """Ids of steps that are not to run."""
    taken: Mapping[str, Observation] = MappingProxyType({})
    """What is known of steps, by id, which are then not run."""
    calls: Mapping[str, Sequence[CallResult]] = MappingProxyType({})
    """What is known of the first calls of a repeated step, by its id, which are then not made."""

    def approve(self, step: str, number: int, args: Mapping[str, Any]) -> None:
        """Told of each call before it is made: its step, its number in this from 0, its arguments."""

    def called(self, step: str, number: int, args: Mapping[str, Any], result: CallResult) -> bool:
        """Told of each call that was made, or taken over; whether it is to be the last of a repeated step."""
        return False

    def observed(self, observation: Observation) -> None:
        """Told of each observation, once it is on record."""


@dataclass(frozen=True)
class ExecutedRun:
    """An execution with the sessions it left behind."""

    execution: Execution
    session: Session
    """Where the environment stands after the last step."""
    before: Mapping[int, Session] = field(default_factory=dict)
    """Copies of the environment as it stood before each step that may have changed it, by position."""
    reach: int | None = None
    """Number of leading steps that were settled before the budget ended; None where it did not end."""

    def after(self, count: int) -> Session:
        """A session that stands as the environment did after the first `count` steps; fork it before use."""
        later = [position for position in self.before if position >= count]
        return self.before[min(later)] if later else self.session


def execute(
    trajectory: Trajectory,
    session: Session,
    *,
    outputs: Mapping[str, Any] | None = None,
    base: ExecutedRun | None = None,
    permit: Permit = allow,
    supervisor: Supervisor | None = None,
    copies: bool = True,
) -> Flow[ExecutedRun]:
    """Run `trajectory` in `session`.

    A step that fails stops only the steps that depend on it. Nothing that a tool does escapes as an exception.

    Args:
        outputs: the output fields that `submit` takes, with their types.
        base: an earlier run of a trajectory that starts with the same steps. In the `fork` tier, and given the forked
            `base.after(k)` as session, those steps are taken over; in the others only their reads are.
        permit: asked before every tool call; when it raises `BudgetExhausted`, the rest is blocked.
        supervisor: told of each call and observation; what it raises ends the run there.
        copies: whether the environment is copied before each change, in the `fork` tier. Without these the run is no
            base for another, and what comes after a call that hangs is blocked.
    """
    return StepRunner(trajectory, session, outputs or {}, permit, supervisor or Supervisor(), copies).run(base)


class _StepFailed(Exception):
    """A step that gives a fault instead of a value."""

    def __init__(
        self, kind: FaultKind, message: str, expected: str | None = None, reference: str | None = None
    ) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, message=message, expected=expected, reference=reference)


@dataclass
class StepRunner:
    """The arguments of `execute`, and how far it got, also where something was raised."""

    trajectory: Trajectory
    session: Session
    outputs: Mapping[str, Any]
    permit: Permit = allow
    supervisor: Supervisor = field(default_factory=Supervisor)
    copies: bool = True
    results: dict[str, Any] = field(default_factory=dict)
    observed: dict[str, Observation] = field(default_factory=dict)
    discrepancies: list[Discrepancy] = field(default_factory=list)
    before: dict[int, Session] = field(default_factory=dict)
    submitted: dict[str, Any] = field(default_factory=dict)
    reach: int | None = None
    stopped: bool = False
    waits: bool = False
    """Whether a call that changes something waits for commit."""

    @property
    def forks(self) -> bool:
        return self.session.family.tier == "fork" and not self.session.committed

    @property
    def execution(self) -> Execution:
        """What was observed until now."""
        return Execution(
            trajectory=self.trajectory,
            observations=tuple(self.observed.values()),
            tier=self.session.family.tier,
            outputs=self.submitted,
            missing_outputs=tuple(name for name in self.outputs if name not in self.submitted),
            state=self.session.describe(),
            discrepancies=tuple(self.discrepancies),
        )

    def run(self, base: ExecutedRun | None = None) -> Flow[ExecutedRun]:
        shared = 0
        if base is not None:
            shared = base.execution.trajectory.common_prefix(self.trajectory)
            shared = shared if base.reach is None else min(shared, base.reach)
            if self.forks:
                self.before = {position: session for position, session in base.before.items() if position < shared}
        for position, step in enumerate(self.trajectory.steps):
            if base is not None and position < shared and self._takes_over(base, position):
                continue
            observation = self.supervisor.taken.get(step.id) or (yield from self._observe(position, step))
            self._record(step, observation)
            self.supervisor.observed(self.observed[step.id])
        return ExecutedRun(self.execution, self.session, self.before, self.reach)

    def _takes_over(self, base: ExecutedRun, position: int) -> bool:
        """Take the observation of an equal step over from `base`, if that is as good as running the step."""
        step, observation = self.trajectory.steps[position], base.execution.observations[position]
        spec = self.session.toolbox.spec(step.tool)
        reads = spec is not None and spec.effect == "read"
        if not self.forks and not (reads and observation.ok and self._standing(step.depends_on(self.observed)) is None):
            return False
        for _ in range(observation.calls):
            self.permit(True)
        if step.is_submit:
            self.submitted = dict(base.execution.outputs)
        self._record(step, observation.model_copy(update={"reused": True}))
        return True

    def _effect(self, step: Step) -> Effect | None:
        spec = self.session.toolbox.spec(step.tool)
        return None if spec is None else spec.effect

    def _record(self, step: Step, observation: Observation) -> None:
        if self.waits and observation.ok and self._effect(step) == "read":
            observation = observation.model_copy(update={"stale": True})
        self.observed[step.id] = observation
        self.waits |= observation.status == "withheld" and self._effect(step) not in ("read", None)
        if observation.ok:
            self.results[step.id] = observation.value
            self._expect(step, observation.value)
        if observation.fault is not None:
            self.discrepancies.append(Discrepancy(step=step.id, **observation.fault.model_dump()))
            self.stopped |= observation.fault.kind == "low_confidence"

    def _expect(self, step: Step, value: Any) -> None:
        if not step.expects:
            return
        try:
            problem = "" if bindings.holds(step.expects, value, self.results) else f"expected {step.expects}"
        except BindingError as error:
            problem = f"expectation cannot be evaluated: {error}"
        if problem:
            unmet = Discrepancy(kind="unmet_expectation", step=step.id, message=problem, expected=step.expects)
            self.discrepancies.append(unmet)

    def _observe(self, position: int, step: Step) -> Flow[Observation]:
        if self.reach is not None or (self.stopped and not step.stopped):
            return Observation(step=step.id, status="blocked")
        spec = self.session.toolbox.spec(step.tool)
        args: dict[str, Any] | None = None
        try:
            # Only earlier steps count as known: what comes after a step must not change what the step does.
            needs = step.depends_on(self.observed)
            self._refuse_malformed(step, spec, needs)
            standing = self._standing(needs)
            if standing is not None:
                return Observation(step=step.id, status=standing)
            if spec is None or step.is_submit:
                args = submission.resolve(step.args, self.outputs, self.results, self.observed)
                self.submitted = submission.validate(args, self.outputs)
                return Observation(step=step.id, value=args, args=args)
            items = self._items(step)
            resolved = [self._resolve(step, item) for item in items]
            args = None if step.for_each else resolved[0]
            batch = [spec.validate(arguments) for arguments in resolved]
        except (BindingError, ArgumentError, _StepFailed) as error:
            return Observation(step=step.id, status="error", fault=_fault_of(error, step), args=args)
        if self.session.runner(spec) is None or step.id in self.supervisor.withheld:
            return Observation(step=step.id, status="withheld", args=args)
        return (yield from self._call(position, step, spec, items, resolved, batch, args))

    def _standing(self, needs: Collection[str]) -> Literal["blocked", "withheld"] | None:
        """Why a step that reads the results of `needs` cannot run; None if it can."""
        states = {self.observed[name].status for name in needs if name in self.observed}
        if states & {"error", "blocked"}:
            return "blocked"
        return "withheld" if "withheld" in states else None

    def _refuse_malformed(self, step: Step, spec: ToolSpec | None, needs: tuple[str, ...]) -> None:
        """What can be said against a step without running anything before it."""
        if step.stopped:
            raise _StepFailed("low_confidence", step.stopped)
        if step.problem:
            raise _StepFailed("malformed_step", step.problem)
        submit = self.trajectory.submit
        if step.is_submit and (step.for_each or submit is not step):
            raise _StepFailed("malformed_step", "a trajectory submits once, at its end, and without for_each")
        if submit is not None and submit.id in self.observed:
            raise _StepFailed("malformed_step", "it stands after submit, which ends the trajectory; put it before")
        if spec is None and not step.is_submit:
            names = [*self.session.toolbox.tools, SUBMIT]
            meant = f"no tool is called {step.tool!r}{did_you_mean(step.tool, names)}"
            raise _StepFailed("unknown_tool", meant, expected=", ".join(names))
        for name in needs:
            if name not in self.observed:
                raise BindingError(f"${name}: no earlier step is called {name!r}", name)
        if spec is not None:
            spec.refuse_names(step.args)

    def _items(self, step: Step) -> list[Any]:
        if step.for_each is None:
            return [None]
        items = bindings.resolve(step.for_each, self.results, self.observed, allow_empty=False)
        if not isinstance(items, list):
            hint = "" if bindings.references(step.for_each) else "; the result of a step is written $ID"
            raise BindingError(f"for_each needs a list; {step.for_each} gives {type(items).__name__}{hint}")
        return items

    def _resolve(self, step: Step, item: Any) -> dict[str, Any]:
        repeated = {} if step.for_each is None else {bindings.ITEM: item}
        results, known = {**self.results, **repeated}, {*self.observed, *repeated}
        # A tool may read an empty list as "no restriction" and silently widen its scope.
        # One by one: a tool's only argument may be called calc.
        return {
            name: bindings.resolve(value, results, known, allow_empty=False) for name, value in step.args.items()
        }

    def _call(
        self, position: int, step: Step, spec: ToolSpec, items: list[Any], resolved: list[dict[str, Any]],
        batch: list[dict[str, Any]], args: dict[str, Any] | None,
    ) -> Flow[Observation]:  # fmt: skip
        changes = self.forks and spec.effect != "read"
        if changes and self.copies:
            try:
                self.before[position] = self.session.fork()
            except Exception as error:  # without a copy, what it does could not be dropped
                message = f"not run, since the environment cannot be copied before it: {error_text(error)}"
                fault = Fault(kind="tool_error", message=message)
                return Observation(step=step.id, status="error", fault=fault, args=args)
        results: list[CallResult] = []
        known = self.supervisor.calls.get(step.id, ())
        try:
            for number, (written, arguments) in enumerate(zip(resolved, batch, strict=True)):
                if number < len(known):
                    result = known[number]
                else:
                    seconds = self.permit(False)
                    self.supervisor.approve(step.id, number, written)
                    keyed = self._with_key(step, number, spec, arguments)
                    result = yield from self.session.call(self._within(seconds, spec), keyed)
                results.append(result)
                if self.supervisor.called(step.id, number, written, result) or self._is_last(result):
                    break
        except BudgetExhausted:
            self.reach = position
            if changes and self.copies:  # what part of the batch did must not stay, for the step counts as not run
                self.session = self.before[position]
            return Observation(step=step.id, status="blocked", args=args, calls=len(results))
        except BaseException:  # what was seen until then is not lost
            if results:
                self._record(step, _observation(step, items, results, args))
            raise
        observation = _observation(step, items, results, args)
        if changes and observation.fault is not None and observation.fault.kind == "timeout":
            return self._left_behind(position, observation, observation.fault)
        return observation

    def _with_key(self, step: Step, number: int, spec: ToolSpec, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments with the idempotency key of the call, where the tool takes one."""
        if spec.idempotency_key is None:
            return arguments
        return {**arguments, spec.idempotency_key: self.session.family.idempotency_key(step.id, number)}

    def _within(self, seconds: float | None, spec: ToolSpec) -> ToolSpec:
        """`spec` with a timeout of at most so many seconds."""
        own = self.session.family.timeout if spec.timeout is None else spec.timeout
        if seconds is None or (own is not None and own <= seconds):
            return spec
        return replace(spec, timeout=seconds)

    def _is_last(self, result: CallResult) -> bool:
        """Whether the rest of a repeated step is not run: after a call that hangs, and in the real world after the
        first one that fails.
        """
        return result.fault is not None and (self.session.committed or result.fault.kind == "timeout")

    def _left_behind(self, position: int, observation: Observation, fault: Fault) -> Observation:
        """Go on from a copy that the call that hangs cannot reach, for it may still change this one."""
        if not self.copies:
            self.stopped = True
            return observation
        try:
            self.session = self.before[position].fork()
        except Exception as error:  # what only its own thread may touch went with the thread
            self.reach = position + 1
            why = f"the steps after it cannot run, since the environment cannot be copied any more: {error_text(error)}"
            fault = fault.model_copy(update={"message": f"{fault.message}; {why}"})
        return observation.model_copy(update={"fault": fault})


def _fault_of(error: BindingError | ArgumentError | _StepFailed, step: Step) -> Fault:
    if isinstance(error, _StepFailed):
        return error.fault
    if isinstance(error, ArgumentError):
        return Fault(kind="bad_arguments", message=str(error), expected=error.expected)
    sources = [name for name in bindings.references(step.for_each or "") if name != bindings.ITEM]
    reference = error.reference or next(iter(sources), None)
    return Fault(kind="unresolved_binding", message=str(error), reference=reference)


def _observation(step: Step, items: list[Any], results: list[CallResult], args: dict[str, Any] | None) -> Observation:
    if step.for_each is None:
        value, fault = results[0].value, results[0].fault
        failed = fault is not None
    else:
        made = list(zip(items, results, strict=False))
        value = [{"item": item, "result": result.value} for item, result in made if result.fault is None]
        fault = _joint_fault(results, len(items) - len(results))
        failed = not value or len(results) < len(items) or (fault is not None and fault.kind == "timeout")
    status: Literal["error", "ok"] = "error" if failed else "ok"
    seconds = sum(result.seconds for result in results)
    return Observation(
        step=step.id, status=status, value=value, args=args, fault=fault, calls=len(results), seconds=seconds
    )


def _joint_fault(results: list[CallResult], left: int) -> Fault | None:
    """What is said of the calls of a repeated step that failed, `left` of which were not made at all."""
    faults = [result.fault for result in results if result.fault is not None]
    if not faults:
        return None
    worst = next((fault for fault in faults if fault.kind == "timeout"), faults[0])
    ended = f", and {left} were not made" if left else ""
    message = f"{len(faults)} of {len(results)} calls failed{ended}: {worst.message}"
    return worst.model_copy(update={"message": message})
