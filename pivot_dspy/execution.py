"""Runs a trajectory in a session: bindings, validation, timeouts, typed faults, and prefixes that are not run twice."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from pivot_dspy import bindings
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.calls import CallResult, said
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import ArgumentError, ToolSpec
from pivot_dspy.flow import Flow
from pivot_dspy.trajectory import (
    SUBMIT,
    Discrepancy,
    Execution,
    Fault,
    FaultKind,
    Observation,
    Step,
    Trajectory,
)

Permit = Callable[[bool], None]
"""Called with False before each tool call and with True for each reused one; it may raise `BudgetExhausted`."""

Watch = Callable[[Observation], None]


def allow(reused: bool) -> None:
    """The permit that never refuses."""


def _ignore(observation: Observation) -> None:
    return None


@dataclass(frozen=True)
class ExecutedRun:
    """An execution with the sessions it left behind.

    Attributes:
        session: where the environment stands after the last step.
        before: copies of the environment as it stood before each step that may have changed it, by position.
        reach: number of leading steps that were settled before the budget ended; None where it did not end.
    """

    execution: Execution
    session: Session
    before: Mapping[int, Session] = field(default_factory=dict)
    reach: int | None = None

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
    watch: Watch = _ignore,
    foreseen: Mapping[str, Observation] | None = None,
    copies: bool = True,
) -> Flow[ExecutedRun]:
    """Run `trajectory` in `session`.

    A step that fails stops only the steps that depend on it. Nothing that a tool does escapes as an exception.

    Args:
        outputs: the output fields that `submit` takes, with their types.
        base: an earlier run of a trajectory that starts with the same steps. In the `fork` tier, and given the forked
            `base.after(k)` as session, those steps are taken over; in the others only their reads are.
        permit: asked before every tool call; when it raises `BudgetExhausted`, the rest is blocked.
        watch: told each observation as it is made; what it raises ends the run there.
        foreseen: at commit, what each step gave before: a repeated step ends with the first call that differs.
        copies: whether the environment is copied before each change, in the `fork` tier. Without these the run is no
            base for another, and what comes after a call that hangs is blocked.
    """
    return _Runner(trajectory, session, dict(outputs or {}), permit, watch, foreseen or {}, copies).run(base)


class _StepFailed(Exception):
    """A step that gives a fault instead of a value."""

    def __init__(
        self, kind: FaultKind, message: str, expected: str | None = None, reference: str | None = None
    ) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, message=message, expected=expected, reference=reference)


class _Runner:
    def __init__(
        self, trajectory: Trajectory, session: Session, outputs: dict[str, Any], permit: Permit, watch: Watch,
        foreseen: Mapping[str, Observation], copies: bool,
    ) -> None:
        self.trajectory, self.session, self.outputs = trajectory, session, outputs
        self.permit, self.watch, self.foreseen = permit, watch, foreseen
        self.forks = session.family.tier == "fork" and not session.committed
        self.copies = copies
        self.results: dict[str, Any] = {}
        self.observed: dict[str, Observation] = {}
        self.discrepancies: list[Discrepancy] = []
        self.before: dict[int, Session] = {}
        self.submitted: dict[str, Any] = {}
        self.missing = tuple(outputs)
        self.reach: int | None = None
        self.stopped = False

    def run(self, base: ExecutedRun | None) -> Flow[ExecutedRun]:
        # What is done for real is watched step by step, in the thread of who asked for it.
        steps = self._steps(base)
        yield from steps if self.session.committed else self.session.together(steps)
        execution = Execution(
            trajectory=self.trajectory,
            observations=tuple(self.observed.values()),
            tier=self.session.family.tier,
            outputs=self.submitted,
            missing_outputs=self.missing,
            state=self.session.describe(),
            discrepancies=tuple(self.discrepancies),
        )
        return ExecutedRun(execution, self.session, self.before, self.reach)

    def _steps(self, base: ExecutedRun | None) -> Flow[None]:
        shared = 0
        if base is not None:
            shared = base.execution.trajectory.common_prefix(self.trajectory)
            shared = shared if base.reach is None else min(shared, base.reach)
            if self.forks:
                self.before = {position: kept for position, kept in base.before.items() if position < shared}
        for position, step in enumerate(self.trajectory.steps):
            if base is not None and position < shared and self._takes_over(base, position):
                continue
            observation = yield from self._observe(position, step)
            self._record(step, observation)
            self.watch(observation)

    def _takes_over(self, base: ExecutedRun, position: int) -> bool:
        """Take the observation of an equal step over from `base`, if that is as good as running the step."""
        step, observation = self.trajectory.steps[position], base.execution.observations[position]
        if not self.forks:
            spec = self.session.toolbox.tools.get(step.tool)
            stands = all(self._status(name) == "ok" for name in step.depends_on(self.observed))
            if spec is None or spec.effect != "read" or not observation.ok or not stands:
                return False
        if self.reach is None:
            try:
                for _ in range(observation.calls):
                    self.permit(True)
            except BudgetExhausted:
                self.reach = position + 1
        if step.is_submit:
            self.submitted, self.missing = dict(base.execution.outputs), base.execution.missing_outputs
        self._record(step, observation.model_copy(update={"reused": True}))
        return True

    def _record(self, step: Step, observation: Observation) -> None:
        self.observed[step.id] = observation
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
        except bindings.BindingError as error:
            problem = f"expectation cannot be evaluated: {error}"
        if problem:
            self.discrepancies.append(
                Discrepancy(kind="unmet_expectation", step=step.id, message=problem, expected=step.expects)
            )

    def _observe(self, position: int, step: Step) -> Flow[Observation]:
        if self.reach is not None or (self.stopped and not step.stopped):
            return Observation(step=step.id, status="blocked")
        spec = self.session.toolbox.tools.get(step.tool)
        args: dict[str, Any] | None = None
        try:
            # Only earlier steps count as known: what comes after a step must not change what the step does.
            needs = step.depends_on(self.observed)
            self._refuse_malformed(step, spec, needs)
            states = {self._status(name) for name in needs}
            if states & {"error", "blocked"}:
                return Observation(step=step.id, status="blocked")
            if "withheld" in states:
                return Observation(step=step.id, status="withheld")
            if spec is None or step.is_submit:
                args = bindings.resolve(step.args, self.results, self.observed)
                self._submit(args)
                return Observation(step=step.id, value=args, args=args)
            items = self._items(step)
            batch = [self._arguments(step, item) for item in items]
            args = None if step.for_each else batch[0]
            kwargs = [spec.validate(given) for given in batch]
        except bindings.BindingError as error:
            reference = error.reference or _source(step)
            fault = Fault(kind="unresolved_binding", message=str(error), reference=reference)
            return Observation(step=step.id, status="error", fault=fault, args=args)
        except ArgumentError as error:
            fault = Fault(kind="bad_arguments", message=str(error), expected=error.expected)
            return Observation(step=step.id, status="error", fault=fault, args=args)
        except _StepFailed as error:
            return Observation(step=step.id, status="error", fault=error.fault, args=args)
        if self.session.runner(spec) is None:
            return Observation(step=step.id, status="withheld", args=args)
        return (yield from self._call(position, step, spec, items, kwargs, args))

    def _call(
        self,
        position: int,
        step: Step,
        spec: ToolSpec,
        items: list[Any],
        kwargs: list[dict[str, Any]],
        args: dict[str, Any] | None,
    ) -> Flow[Observation]:
        changes = self.forks and spec.effect != "read"
        if changes and self.copies:
            self.before[position] = self.session.fork()
        made = 0

        def permit() -> None:
            nonlocal made
            self.permit(False)
            made += 1

        try:
            if self.session.committed and step.for_each:
                outcomes = yield from self._one_by_one(step, spec, kwargs, permit)
            else:
                outcomes = yield from self.session.call(spec, kwargs, permit)
        except BudgetExhausted:
            self.reach = position
            if changes and self.copies:  # what part of the batch did must not stay, for the step counts as not run
                self.session = self.before[position].fork()
            return Observation(step=step.id, status="blocked", args=args, calls=made)
        observation = _observation(step, items, outcomes, args)
        if changes and observation.fault is not None and observation.fault.kind == "timeout":
            observation = self._left_behind(position, observation, observation.fault)
        return observation

    def _one_by_one(
        self, step: Step, spec: ToolSpec, kwargs: list[dict[str, Any]], permit: Callable[[], None]
    ) -> Flow[list[CallResult]]:
        """The calls of a repeated step in the real world: none after the first that departs from what was foreseen."""
        foreseen = self.foreseen.get(step.id)
        expected = foreseen.value if foreseen is not None and foreseen.ok and isinstance(foreseen.value, list) else []
        outcomes: list[CallResult] = []
        for place, one in enumerate(kwargs):
            outcomes += yield from self.session.call(spec, [one], permit)
            last = outcomes[-1]
            if last.fault is not None or (place < len(expected) and last.value != expected[place]["result"]):
                break
        return outcomes

    def _left_behind(self, position: int, observation: Observation, fault: Fault) -> Observation:
        """Go on from a copy that the call that hangs cannot reach, for it may still change this one."""
        if not self.copies:
            self.stopped = True
            return observation
        try:
            self.session = self.before[position].fork()
        except Exception as error:  # what only its own thread may touch went with the thread
            self.reach = position + 1
            message = f"{fault.message}; the steps after it cannot run, since the environment cannot be copied any more"
            fault = fault.model_copy(update={"message": f"{message}: {said(error)}"})
        return observation.model_copy(update={"fault": fault})

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
            close = difflib.get_close_matches(step.tool, names, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            raise _StepFailed("unknown_tool", f"no tool is called {step.tool!r}{meant}", expected=", ".join(names))
        for name in needs:
            if name not in self.observed:
                raise bindings.BindingError(f"${name}: no earlier step is called {name!r}", name)
        if spec is not None:
            missing = [name for name in spec.required if name not in step.args]
            unknown = [name for name in step.args if name not in spec.parameters and not spec.open_ended]
            if missing or unknown:
                problems = [f"{name}: missing" for name in missing] + [f"{name}: not a parameter" for name in unknown]
                raise ArgumentError(f"{step.tool}: {'; '.join(problems)}", spec.signature)

    def _status(self, step_id: str) -> str:
        return self.observed[step_id].status if step_id in self.observed else "ok"

    def _items(self, step: Step) -> list[Any]:
        if step.for_each is None:
            return [None]
        found = bindings.resolve(step.for_each, self.results, self.observed, allow_empty=False)
        if not isinstance(found, list):
            raise bindings.BindingError(f"for_each needs a list; {step.for_each} gives {type(found).__name__}")
        return found

    def _arguments(self, step: Step, item: Any) -> dict[str, Any]:
        results: Mapping[str, Any] = self.results
        known: Collection[str] = self.observed
        if step.for_each is not None:
            results, known = {**results, bindings.ITEM: item}, {*known, bindings.ITEM}
        # A tool may read an empty list as "no restriction" and silently widen its scope.
        resolved: dict[str, Any] = bindings.resolve(step.args, results, known, allow_empty=False)
        return resolved

    def _submit(self, given: dict[str, Any]) -> None:
        problems = [f"{name}: not an output field" for name in given if name not in self.outputs]
        values: dict[str, Any] = {}
        for name, annotation in self.outputs.items():
            if name not in given:
                continue
            value = given[name]
            if annotation is str and isinstance(value, (int, float)) and not isinstance(value, bool):
                value = str(value)  # a binding to a number answers a question for text
            try:
                values[name] = _adapter(annotation).validate_python(value)
            except ValidationError as error:
                problems.append(f"{name}: {error.errors(include_url=False)[0]['msg']}, got {value!r:.80}")
            except Exception as error:  # a validator of the user's
                problems.append(f"{name}: cannot be validated: {said(error)}")
        if problems:
            raise _StepFailed("bad_arguments", f"submit: {'; '.join(problems)}", f"submit({', '.join(self.outputs)})")
        self.submitted = values
        self.missing = tuple(name for name in self.outputs if name not in values)


def _observation(step: Step, items: list[Any], outcomes: list[CallResult], args: dict[str, Any] | None) -> Observation:
    seconds = sum(outcome.seconds for outcome in outcomes)
    faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
    if step.for_each is None:
        only = outcomes[0]
        return Observation(
            step=step.id,
            status="ok" if only.fault is None else "error",
            value=only.value,
            args=args,
            fault=only.fault,
            calls=1,
            seconds=seconds,
        )
    value = [
        {"item": item, "result": outcome.value}
        for item, outcome in zip(items, outcomes, strict=False)
        if outcome.fault is None
    ]
    fault = None
    if faults:
        worst = next((fault for fault in faults if fault.kind == "timeout"), faults[0])
        ended = f", and {len(items) - len(outcomes)} were not made" if len(outcomes) < len(items) else ""
        message = f"{len(faults)} of {len(outcomes)} calls failed{ended}: {worst.message}"
        fault = worst.model_copy(update={"message": message})
    failed = not value or len(outcomes) < len(items) or (fault is not None and fault.kind == "timeout")
    return Observation(
        step=step.id, status="error" if failed else "ok", value=value, fault=fault, calls=len(outcomes), seconds=seconds
    )


@lru_cache(maxsize=256)
def _cached_adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def _adapter(annotation: Any) -> TypeAdapter[Any]:
    try:
        return _cached_adapter(annotation)
    except TypeError:  # an annotation that cannot be hashed
        return TypeAdapter(annotation)


def _source(step: Step) -> str | None:
    """The step whose result `step` repeats over."""
    names = bindings.references(step.for_each) if step.for_each else ()
    return next((name for name in names if name != bindings.ITEM), None)
