"""The few settings of a refiner that an optimizer may change, and that are saved with what else it learned."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import dspy

from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.errors import ConfigurationError

FORMAT = 1
"""Of the saved state."""


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


def check_range(minimum: int, maximum: float = math.inf, /, **values: Any) -> None:
    """Raises ConfigurationError for a parameter, given by its name, that is no whole number in its range.

    >>> check_range(1, N=3, warmup=0)
    Traceback (most recent call last):
    pivot_dspy.errors.ConfigurationError: warmup is at least 1; got 0
    """
    for name, value in values.items():
        if not isinstance(value, Integral):
            raise ConfigurationError(f"{name} is a whole number; got {value!r:.80}")
    check_real(minimum, maximum, **values)


def check_real(minimum: float, maximum: float = math.inf, /, **values: Any) -> None:
    """As `check_range`, of parameters that need not be whole numbers.

    >>> check_real(0, 1, cached_price="cheap")
    Traceback (most recent call last):
    pivot_dspy.errors.ConfigurationError: cached_price is a number; got 'cheap'
    """
    limits = f"is at least {minimum}" if maximum == math.inf else f"lies in [{minimum}, {maximum}]"
    for name, value in values.items():
        if not isinstance(value, Real):
            raise ConfigurationError(f"{name} is a number; got {value!r:.80}")
        if not minimum <= float(value) <= maximum:
            raise ConfigurationError(f"{name} {limits}; got {value}")


class Tunable:
    """An attribute of a refiner that an optimizer may set to one of `choices`.

    >>> class Any:
    ...     def __init__(self):
    ...         self.tuned, self.patience = Tuned(), 3
    ...     patience = Tunable(2, 3, 5)
    >>> refiner = Any()
    >>> refiner.tuned.values = {"patience": 5}
    >>> refiner.patience
    5
    """

    def __init__(self, *choices: Any) -> None:
        self.choices = choices

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Any:
        if instance is None:
            return self
        return {**instance.tuned.given, **instance.tuned.values}[self.name]

    def __set__(self, instance: Any, value: Any) -> None:
        instance.tuned.given[self.name] = value
        instance.tuned.values = {name: tuned for name, tuned in instance.tuned.values.items() if name != self.name}


def tunables(kind: type) -> dict[str, Tunable]:
    """The settings of a class of refiners that may be tuned, by name."""
    attributes = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return {name: value for name, value in attributes.items() if isinstance(value, Tunable)}


def check_state(program: dspy.Module, state: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where a saved `state` lacks something of `program`, and so is that of another one."""
    lacking = [name for name, _ in program.named_parameters() if name not in state]
    if lacking:
        raise ConfigurationError(
            f"the saved state is not that of this {type(program).__name__}: it has no {', '.join(lacking)}, only "
            f"{', '.join(name for name in state if name != 'metadata') or 'nothing'}; load it into a program made like "
            "the one that was saved"
        )
