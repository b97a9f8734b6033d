"""Who is asked before a call of a run, and who looks on while it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from pivot_dspy.environment.calls import CallResult
from pivot_dspy.trajectory import Observation

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
