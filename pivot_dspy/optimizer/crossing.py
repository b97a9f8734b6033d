"""Trajectories of different tasks joined: what failed for one task, with the steps that proved right for another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pivot_dspy.memory.records import words
from pivot_dspy.optimizer.outcomes import Taught
from pivot_dspy.recombination import Parent, crossover
from pivot_dspy.trajectory import Trajectory


class Tried(NamedTuple):
    """The trajectory of a training task, in words, and what its run taught."""

    task: str
    taught: Taught


def crossed(failed: Tried, donors: Sequence[Tried], most: int = 1) -> list[Trajectory]:
    """Trajectories to begin the failed task anew with, from the most similar tasks that were solved.

    Requirements of two tasks are told apart by what they check, not by their ids, which mean nothing across tasks.
    """
    own = _comparable(failed.taught)
    mine = set(words(failed.task))

    def likeness(donor: Tried) -> float:
        theirs = set(words(donor.task))
        return len(mine & theirs) / max(1, len(mine | theirs))

    found: dict[str, Trajectory] = {}
    for donor in sorted(donors, key=lambda donor: (-likeness(donor), donor.taught.parent.trajectory.id)):
        child = crossover(own, _comparable(donor.taught))
        if child.id != own.trajectory.id:
            found.setdefault(child.id, child)
        if len(found) >= most:
            break
    return list(found.values())


def _comparable(taught: Taught) -> Parent:
    checks = {item.id: item.check or item.text for item in taught.requirements.items}
    purposes = {step: checks[name] for step, name in taught.parent.purposes.items() if name in checks}
    return taught.parent.model_copy(update={"purposes": purposes})
