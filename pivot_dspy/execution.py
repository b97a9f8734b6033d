"""Runs a trajectory in a session: bindings, validation, timeouts, typed faults, and prefixes that are not run twice."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from pydantic import TypeAdapter, ValidationError

from pivot_dspy import bindings
from pivot_dspy._drive import Steps
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.session import Outcome, Session
from pivot_dspy.environment.toolbox import ArgumentError, ToolSpec
from pivot_dspy.trajectory import (
    SUBMIT,
    Discrepancy,
    Execution,
    Fault,
    Observation,
    Step,
    Trajectory,
)

Permit = Callable[[bool], None]
"""Called with False before each tool call and with True for each reused one; it may raise `BudgetExhausted`."""


Watch = Callable[[Observation], None]


def _always(reused: bool) -> None:
    return None


def _ignore(observation: Observation) -> None:
    return None


@dataclass(frozen=True)
class Run:
    """An execution with the sessions it left behind.

    Attributes:
        session: where the environment stands after the last step.
        before: copies of the environment as it stood before each step that may have changed it, by position.
    """

    execution: Execution
    session: Session
    before: Mapping[int, Session] = field(default_factory=dict)

    def after(self, count: int) -> Session:
        """A session that stands as the environment did after the first `count` steps; fork it before use."""
        later = [position for position in self.before if position >= count]
        return self.before[min(later)] if later else self.session


def execute(
    trajectory: Trajectory,
    session: Session,
    *,
    outputs: Mapping[str, Any] | None = None,
    base: Run | None = None,
    permit: Permit = _always,
    watch: Watch = _ignore,
) -> Steps[Run]:
    """Run `trajectory` in `session`.

    A step that fails stops only the steps that depend on it. Nothing that a tool does escapes as an exception.

    Args:
        outputs: the output fields that `submit` takes, with their types.
        base: an earlier run of a trajectory that starts with the same steps. In the `fork` tier, and given the forked
            `base.after(k)` as session, those steps are taken over; in the others only their reads are.
        permit: asked before every tool call.
        watch: told each observation as it is made; what it raises ends the run there.
    """
    runner = _Runner(trajectory, session, dict(outputs or {}), permit, watch)
    return runner.run(base)


class _Runner:
    def __init__(
        self, trajectory: Trajectory, session: Session, outputs: dict[str, Any], permit: Permit, watch: Watch
    ) -> None:
        self.trajectory = trajectory
        self.session = session
        self.outputs = outputs
        self.permit = permit
        self.watch = watch
        self.known = frozenset(trajectory.ids)
        self.results: dict[str, Any] = {}
        self.observations: list[Observation] = []
        self.discrepancies: list[Discrepancy] = []
        self.before: dict[int, Session] = {}
        self.submitted: dict[str, Any] = {}
        self.missing: tuple[str, ...] = ()
        self.exhausted = False

    def run(self, base: Run | None) -> Steps[Run]:
        shared = base.execution.trajectory.common_prefix(self.trajectory) if base else 0
        forks = self.session.family.tier == "fork"
        start = 0
        if base and forks:
            start = shared
            self.before = {position: kept for position, kept in base.before.items() if position < shared}
            for position in range(shared):
                self._take_over(base, position)
        for position, step in enumerate(self.trajectory.steps[start:], start=start):
            spec = self.session.toolbox.tools.get(step.tool)
            if base and not forks and position < shared and (spec is None or spec.effect == "read"):
                self._take_over(base, position)
                continue
            if forks and spec is not None and spec.effect != "read" and position not in self.before:
                self.before[position] = self.session.fork()
            observation = yield from self._observe(step, spec)
            self._record(step, observation)
            self.watch(observation)
            if observation.fault is not None and observation.fault.kind == "timeout" and forks:
                # The call that hangs may still act on this instance; go on from a copy that it cannot reach.
                self.session = self.before[max(self.before)].fork() if self.before else self.session
        execution = Execution(
            trajectory=self.trajectory,
            observations=tuple(self.observations),
            tier=self.session.family.tier,
            outputs=self.submitted,
            missing_outputs=self.missing if self.trajectory.submit else tuple(self.outputs),
            state=self.session.describe(),
            discrepancies=tuple(self.discrepancies),
        )
        return Run(execution, self.session, self.before)

    def _take_over(self, base: Run, position: int) -> None:
        step, observation = self.trajectory.steps[position], base.execution.observations[position]
        for _ in range(observation.calls):
            self.permit(True)
        if step.is_submit:
            self.submitted, self.missing = dict(base.execution.outputs), base.execution.missing_outputs
        self._record(step, observation.model_copy(update={"reused": True}))

    def _record(self, step: Step, observation: Observation) -> None:
        self.observations.append(observation)
        if observation.ok:
            self.results[step.id] = observation.value
            self._expect(step, observation.value)
        if observation.fault is not None:
            fault = observation.fault
            self.discrepancies.append(Discrepancy(step=step.id, **fault.model_dump()))

    def _expect(self, step: Step, value: Any) -> None:
        if not step.expects:
            return
        try:
            if bindings.references(step.expects):
                met = bindings.evaluate(step.expects, self.results)
            else:
                met = _condition(step.expects).search(value)
            problem = "" if met else f"expected {step.expects}"
        except (bindings.BindingError, JMESPathError) as error:
            problem = f"expectation cannot be evaluated: {' '.join(str(error).split())}"
        if problem:
            self.discrepancies.append(
                Discrepancy(kind="unmet_expectation", step=step.id, message=problem, expected=step.expects)
            )

    def _observe(self, step: Step, spec: ToolSpec | None) -> Steps[Observation]:
        if self.exhausted:
            return Observation(step=step.id, status="blocked")
        fault = self._static_fault(step, spec)
        if fault is not None:
            return Observation(step=step.id, status="error", fault=fault)
        states = {self._status(name) for name in step.depends_on(self.known)}
        if states & {"error", "blocked"}:
            return Observation(step=step.id, status="blocked")
        if "withheld" in states:
            return Observation(step=step.id, status="withheld")
        if step.is_submit or spec is None:
            return self._submit(step)
        try:
            items = self._items(step)
            batch = [self._arguments(step, spec, item) for item in items]
            kwargs = [spec.validate(args) for args in batch]
        except bindings.BindingError as error:
            fault = Fault(kind="unresolved_binding", message=str(error), reference=error.reference)
            return Observation(step=step.id, status="error", fault=fault)
        except ArgumentError as error:
            fault = Fault(kind="bad_arguments", message=str(error), expected=error.expected)
            return Observation(step=step.id, status="error", fault=fault)
        args = None if step.for_each else batch[0]
        if self.session.runner(spec) is None:
            return Observation(step=step.id, status="withheld", args=args)
        try:
            outcomes = yield from self.session.call(spec, kwargs, lambda: self.permit(False))
        except BudgetExhausted:
            self.exhausted = True
            return Observation(step=step.id, status="blocked", args=args)
        return _observation(step, items, outcomes, args)

    def _static_fault(self, step: Step, spec: ToolSpec | None) -> Fault | None:
        """What can be said against a step without running anything before it."""
        if step.problem:
            return Fault(kind="malformed_step", message=step.problem)
        if spec is None and not step.is_submit:
            names = [*self.session.toolbox.tools, SUBMIT]
            close = difflib.get_close_matches(step.tool, names, n=1)
            meant = f"; did you mean {close[0]}?" if close else ""
            return Fault(
                kind="unknown_tool", message=f"no tool is called {step.tool!r}{meant}", expected=", ".join(names)
            )
        for name in step.depends_on(self.known):
            if name not in self.known:
                return Fault(kind="unresolved_binding", message=f"${name}: no step is called {name!r}", reference=name)
            if name not in {o.step for o in self.observations}:
                return Fault(
                    kind="unresolved_binding", message=f"${name}: step {name!r} does not run before", reference=name
                )
        if spec is not None:
            missing = [name for name in spec.required if name not in step.args]
            unknown = [name for name in step.args if name not in spec.parameters and not spec.open_ended]
            if missing or unknown:
                said = [f"{name}: missing" for name in missing] + [f"{name}: not a parameter" for name in unknown]
                return Fault(
                    kind="bad_arguments", message=f"{step.tool}: {'; '.join(said)}", expected=spec.signature
                )
        return None

    def _status(self, step_id: str) -> str:
        return next((o.status for o in self.observations if o.step == step_id), "ok")

    def _items(self, step: Step) -> list[Any]:
        if step.for_each is None:
            return [None]
        found = bindings.resolve(step.for_each, self.results, self.known)
        if not isinstance(found, list):
            raise bindings.BindingError(
                f"for_each needs a list; {step.for_each} gives {type(found).__name__}", _first(step.for_each)
            )
        if not found:
            raise bindings.BindingError(f"for_each: {step.for_each} gives an empty list", _first(step.for_each))
        return found

    def _arguments(self, step: Step, spec: ToolSpec, item: Any) -> dict[str, Any]:
        results, known = self.results, self.known
        if step.for_each is not None:
            results, known = {**results, bindings.ITEM: item}, known | {bindings.ITEM}
        resolved: dict[str, Any] = bindings.resolve(step.args, results, known)
        for name, value in resolved.items():
            written = step.args[name]
            if value == [] and isinstance(written, str):
                # A tool may read an empty list as "no restriction" and silently widen its scope.
                raise bindings.BindingError(f"{name}: {written} gives an empty list", _first(written))
        return resolved

    def _submit(self, step: Step) -> Observation:
        try:
            given = bindings.resolve(step.args, self.results, self.known)
        except bindings.BindingError as error:
            fault = Fault(kind="unresolved_binding", message=str(error), reference=error.reference)
            return Observation(step=step.id, status="error", fault=fault)
        problems = [f"{name}: not an output field" for name in given if name not in self.outputs]
        values: dict[str, Any] = {}
        for name, annotation in self.outputs.items():
            if name in given:
                try:
                    values[name] = _adapter(annotation).validate_python(given[name])
                except ValidationError as error:
                    problems.append(f"{name}: {error.errors(include_url=False)[0]['msg']}, got {given[name]!r:.80}")
        if problems:
            expected = f"submit({', '.join(self.outputs)})"
            fault = Fault(kind="bad_arguments", message=f"submit: {'; '.join(problems)}", expected=expected)
            return Observation(step=step.id, status="error", fault=fault, args=given)
        self.submitted = values
        self.missing = tuple(name for name in self.outputs if name not in values)
        return Observation(step=step.id, value=given, args=given)


def _observation(
    step: Step, items: list[Any], outcomes: list[Outcome], args: dict[str, Any] | None
) -> Observation:
    seconds = sum(outcome.seconds for outcome in outcomes)
    faults = [outcome.fault for outcome in outcomes if outcome.fault is not None]
    if step.for_each is None:
        only = outcomes[0]
        status = "ok" if only.fault is None else "error"
        return Observation(
            step=step.id, status=status, value=only.value, args=args, fault=only.fault, calls=1, seconds=seconds
        )
    value = [
        {"item": item, "result": outcome.value}
        for item, outcome in zip(items, outcomes, strict=False)
        if outcome.fault is None
    ]
    fault = None
    if faults:
        first = faults[0]
        fault = first.model_copy(
            update={"message": f"{len(faults)} of {len(outcomes)} calls failed, the first: {first.message}"}
        )
    failed = not value or (fault is not None and fault.kind == "timeout")
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


@lru_cache(maxsize=2048)
def _condition(text: str) -> Any:
    return jmespath.compile(text)


def _first(text: str) -> str | None:
    return next((name for name in bindings.references(text) if name != bindings.ITEM), None)
