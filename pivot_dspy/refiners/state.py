"""The few settings of a refiner that an optimizer may change, and that are saved with what else it learned."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar, overload

import dspy

from pivot_dspy.calibration.calibration import Calibration
from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.memory import TrajectoryMemory

FORMAT = 1
"""Of the saved state."""

Value = TypeVar("Value")


class Tuned(Parameter):  # type: ignore[misc]
    """The settings of one refiner: as its constructor was given them, and as an optimizer has tuned them.

    Only what was tuned is saved; the constructor's arguments are given again by the program that loads. Optimizers of
    DSPy call `reset` on what they are about to tune; they do not tune this, and so it stays.
    """

    def __init__(self) -> None:
        self.given: dict[str, Any] = {}
        self.values: Mapping[str, Any] = {}

    def reset(self) -> None:
        """Nothing; see above."""

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {"format": FORMAT, "values": dict(self.values)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `dump_state`. Raises ConfigurationError where the state is of another format, or damaged."""
        if state.get("format") != FORMAT:
            raise ConfigurationError(
                f"the saved settings are of format {state.get('format')!r}, and this version of pivot_dspy reads "
                f"format {FORMAT}; load them with the version that saved them, or compile again"
            )
        values = state.get("values")
        if not isinstance(values, Mapping) or not values.keys() <= self.given.keys():
            raise ConfigurationError(
                f"the saved settings are damaged, or another refiner's: {values!r:.200}; this one has "
                f"{', '.join(self.given) or 'none'}"
            )
        self.values = dict(values)


class Tunable(Generic[Value]):
    """An attribute of a refiner that an optimizer may set to one of `choices`.

    >>> class Any:
    ...     def __init__(self):
    ...         self.tuned, self.patience = Tuned(), 3
    ...     patience = Tunable(2, 3, 5)
    >>> one = Any()
    >>> one.tuned.values = {"patience": 5}
    >>> one.patience
    5
    """

    def __init__(self, *choices: Value) -> None:
        self.choices = choices
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Tunable[Value]: ...

    @overload
    def __get__(self, instance: Any, owner: type) -> Value: ...

    def __get__(self, instance: Any, owner: type) -> Value | Tunable[Value]:
        if instance is None:
            return self
        tuned: Tuned = instance.tuned
        if self.name not in tuned.given:
            raise AttributeError(f"{owner.__name__} has no {self.name} yet")
        value: Value = tuned.values.get(self.name, tuned.given[self.name])
        return value

    def __set__(self, instance: Any, value: Value) -> None:
        instance.tuned.given[self.name] = value
        instance.tuned.values = {name: one for name, one in instance.tuned.values.items() if name != self.name}


def tunables(kind: type) -> dict[str, Tunable[Any]]:
    """The settings of a class of refiners that may be tuned, by name."""
    found: dict[str, Tunable[Any]] = {}
    for base in reversed(kind.__mro__):
        for name, value in vars(base).items():
            if isinstance(value, Tunable):
                found[name] = value
            else:
                found.pop(name, None)
    return found


_LATER = (TrajectoryMemory, Tuned, Calibration)
"""Parameters that refiners have had only since they can be compiled."""


def completed(program: dspy.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """The saved `state`, with the program's own memories, settings and calibrations where it was saved without any.

    Refiners and `ConfidenceGate` load like this by themselves. A larger program loads as DSPy does, which takes a state
    only if it is complete: `program.load_state(completed(program, state))`.

    Raises:
        ConfigurationError: the state lacks anything else, and so is that of another program.
    """
    lacking = {name: part for name, part in program.named_parameters() if name not in state}
    others = [name for name, part in lacking.items() if not isinstance(part, _LATER)]
    if others:
        raise ConfigurationError(
            f"the saved state is not that of this {type(program).__name__}: it has no {', '.join(others)}, only "
            f"{', '.join(name for name in state if name != 'metadata') or 'nothing'}; load it into a program made like "
            "the one that was saved"
        )
    return {**state, **{name: part.dump_state() for name, part in lacking.items()}}
