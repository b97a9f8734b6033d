"""A pool of trajectories that were run, and which of them are kept, for quality and variety."""

from __future__ import annotations

from pivot_dspy.recombination import contents, distance
from pivot_dspy.refiners.candidate import Candidate
from pivot_dspy.trajectory import Trajectory


class Pool:
    """Trajectories with their runs, no two of which do the same.

    Args:
        size: how many of them `refine` leaves.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.members: list[Candidate] = []
        self._known: set[tuple[str, ...]] = set()

    def knows(self, trajectory: Trajectory) -> bool:
        """Whether one that does the same has ever been in the pool."""
        return tuple(contents(trajectory).values()) in self._known

    def add(self, candidate: Candidate, proposed: Trajectory) -> None:
        """Puts in what became of a trajectory that was proposed, unless one that does the same has been there."""
        known = self.knows(candidate.trajectory)
        self._known |= {tuple(contents(one).values()) for one in (proposed, candidate.trajectory)}
        if not known:
            self.members.append(candidate)
            self.members.sort(key=lambda one: (one.loss.total, len(one.trajectory)))

    @property
    def best(self) -> Candidate:
        return self.members[0]

    def farthest(self) -> Candidate:
        """The member that differs most from the best one."""
        return max(self.members[1:], key=lambda one: distance(self.best.trajectory, one.trajectory))

    def refine(self) -> None:
        """Leaves `size` members: half of them the best, the others those that differ most from all that are left."""
        kept = self.members[: -(-self.size // 2)]
        others = self.members[len(kept) :]
        while others and len(kept) < self.size:
            chosen = max(others, key=lambda one: min(distance(one.trajectory, other.trajectory) for other in kept))
            others.remove(chosen)
            kept.append(chosen)
        self.members = [one for one in self.members if one in kept]
