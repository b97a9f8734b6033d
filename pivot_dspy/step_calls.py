"""What a step calls or submits: the arguments that its bindings give, in the types that these are taken in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.toolbox import ArgumentError, ToolSpec
from pivot_dspy.trajectory import Fault, FaultKind, Observation, Step


class StepFailed(Exception):
    """A step that gives a fault instead of a value."""

    def __init__(
        self, kind: FaultKind, message: str, expected: str | None = None, reference: str | None = None
    ) -> None:
        super().__init__(message)
        self.fault = Fault(kind=kind, message=message, expected=expected, reference=reference)


@dataclass(frozen=True)
class BoundStep:
    """A step with its bindings resolved."""

    step: Step
    items: list[Any]
    """What it is repeated for; one None where it is not."""
    written: list[dict[str, Any]]
    """The arguments of each call."""

    @property
    def args(self) -> dict[str, Any] | None:
        """The arguments of the only call; None for a repeated step."""
        return None if self.step.for_each else self.written[0]

    def validated(self, spec: ToolSpec) -> StepCalls:
        """The calls of `spec`.

        Raises:
            ArgumentError: arguments do not fit it.
        """
        arguments = [spec.validate(written) for written in self.written]
        return StepCalls(self.step, self.items, self.written, spec, arguments)


@dataclass(frozen=True)
class StepCalls(BoundStep):
    """A step that can be run."""

    spec: ToolSpec
    arguments: list[dict[str, Any]]
    """Those of each call, in the types that the tool takes."""

    def observation(self, results: list[CallResult], reused: int = 0) -> Observation:
        """What is observed of the step, of whose calls the first gave these results.

        Args:
            reused: how many of them were not made, since an equal one had been.
        """
        if self.step.for_each is None:
            value, fault = results[0].value, results[0].fault
            failed = fault is not None
        else:
            made = list(zip(self.items, results, strict=False))
            value = [{"item": item, "result": result.value} for item, result in made if result.fault is None]
            fault = _joint_fault(results, len(self.items) - len(results))
            failed = not value or len(results) < len(self.items) or (fault is not None and fault.kind == "timeout")
        status: Literal["error", "ok"] = "error" if failed else "ok"
        every = 0 < len(results) == reused
        return Observation(
            step=self.step.id, status=status, value=value, args=self.args, fault=fault,
            calls=len(results) if every else len(results) - reused, reused=every,
            seconds=sum(result.seconds for result in results),
        )  # fmt: skip


def bind(step: Step, results: Mapping[str, Any], known: Collection[str]) -> BoundStep:
    """Resolve the bindings of `step`.

    Args:
        results: of earlier steps, by id.
        known: ids of the earlier steps.

    Raises:
        BindingError: something that it is bound to is not there.
    """
    items = _items(step, results, known)
    written = []
    for item in items:
        repeated = {} if step.for_each is None else {bindings.ITEM: item}
        # A tool may read an empty list as "no restriction" and silently widen its scope.
        # One by one: a tool's only argument may be called calc.
        where, names = ({**results, **repeated}, {*known, *repeated}) if repeated else (results, known)
        written.append({key: bindings.resolve(arg, where, names, allow_empty=False) for key, arg in step.args.items()})
    return BoundStep(step, items, written)


def _items(step: Step, results: Mapping[str, Any], known: Collection[str]) -> list[Any]:
    if step.for_each is None:
        return [None]
    items = bindings.resolve(step.for_each, results, known, allow_empty=False)
    if not isinstance(items, list):
        hint = "" if bindings.references(step.for_each) else "; the result of a step is written $ID"
        raise BindingError(f"for_each needs a list; {step.for_each} gives {type(items).__name__}{hint}")
    return items


def fault_of(error: BindingError | ArgumentError | StepFailed, step: Step) -> Fault:
    """What a step gives that could not be called."""
    if isinstance(error, StepFailed):
        return error.fault
    if isinstance(error, ArgumentError):
        return Fault(kind="bad_arguments", message=str(error), expected=error.expected)
    sources = [name for name in bindings.references(step.for_each or "") if name != bindings.ITEM]
    reference = error.reference or next(iter(sources), None)
    return Fault(kind="unresolved_binding", message=str(error), reference=reference)


def _joint_fault(results: list[CallResult], left: int) -> Fault | None:
    """What is said of the calls of a repeated step that failed, `left` of which were not made at all."""
    faults = [result.fault for result in results if result.fault is not None]
    if not faults:
        return None
    worst = next((fault for fault in faults if fault.kind == "timeout"), faults[0])
    ended = f", and {left} were not made" if left else ""
    message = f"{len(faults)} of {len(results)} calls failed{ended}: {worst.message}"
    return worst.model_copy(update={"message": message})
