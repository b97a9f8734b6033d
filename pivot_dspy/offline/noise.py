"""The rates of the offline model's errors, and dice that depend on nothing but what they are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

from pydantic import Field

from pivot_dspy.trajectory import Frozen

Item = TypeVar("Item")


class Rates(Frozen):
    """How often the offline model errs; what each rate means stands at `pivot_dspy.offline.engine.OfflineEngine`."""

    slip: float = Field(default=0.2, ge=0, le=1)
    systematic: float = Field(default=0.0, ge=0, le=1)
    heed: float = Field(default=0.85, ge=0, le=1)
    relapse: float = Field(default=0.05, ge=0, le=1)
    judge_error: float = Field(default=0.0, ge=0, le=1)
    latency: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = 0

    @property
    def name(self) -> str:
        """All of them in one line, for the name of the model."""
        return ",".join(f"{name}={getattr(self, name):g}" for name in type(self).model_fields)

    def habits(self) -> Dice:
        """Dice for systematic errors, the same for every prompt; the rates do not matter, so that a larger
        `systematic` errs wherever a smaller one does."""
        return Dice("habits", str(self.seed))


class Dice:
    """Chance without state: the same key and the same labels always fall the same way.

    >>> Dice("x").fraction("a") == Dice("x").fraction("a") != Dice("x").fraction("b")
    True
    """

    def __init__(self, *key: str) -> None:
        self._key = hashlib.sha256("\x1f".join(key).encode()).digest()

    def fraction(self, *labels: object) -> float:
        """A number in [0, 1)."""
        digest = hashlib.sha256(self._key + "\x1f".join(map(str, labels)).encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56

    def falls(self, chance: float, *labels: object) -> bool:
        """True with probability `chance`."""
        return self.fraction(*labels) < chance

    def number(self, below: int, *labels: object) -> int:
        """A whole number from 0 to `below` - 1."""
        return int(self.fraction(*labels) * below)

    def pick(self, options: Sequence[Item], *labels: object) -> Item:
        """One of `options`, each as likely as the others."""
        return options[self.number(len(options), *labels)]
