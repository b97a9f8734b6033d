"""SelfEvolution: a pool of trajectories that are revised, recombined and selected, generation after generation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import dspy
from typing_extensions import Unpack

from pivot_dspy.crossover import contents, crossover, distance
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.flow import Flow
from pivot_dspy.phases.critique import Critique
from pivot_dspy.phases.recombine import Recombine, Restructure, Transfer
from pivot_dspy.phases.rewrite import Rewrite
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import Tunable, check_range
from pivot_dspy.trajectory import Trajectory


class Population:
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
        is_new = not self.knows(candidate.trajectory)
        self._known |= {tuple(contents(trajectory).values()) for trajectory in (proposed, candidate.trajectory)}
        if is_new:
            self.members.append(candidate)
            self.members.sort(key=lambda member: (member.loss.total, len(member.trajectory)))

    @property
    def best(self) -> Candidate:
        return self.members[0]

    def farthest(self) -> Candidate:
        """The member that differs most from the best one, itself where there is no other."""
        others = self.members[1:] or self.members
        return max(others, key=lambda member: distance(self.best.trajectory, member.trajectory))

    def refine(self) -> None:
        """Leaves `size` members: half of them the best, the others those that differ most from all that are left."""
        kept = self.members[: -(-self.size // 2)]
        others = self.members[len(kept) :]
        while others and len(kept) < self.size:
            chosen = max(others, key=lambda other: min(distance(other.trajectory, near.trajectory) for near in kept))
            others.remove(chosen)
            kept.append(chosen)
        self.members = [member for member in self.members if member in kept]


SHOWN = 4
"""Trajectories that one prompt shows at most: more would cost many tokens and say little that is new."""


class SelfEvolution(Attempts):
    """Plan a pool of trajectories; in each generation revise, recombine and select, until nothing better comes.

    Source: SE-Agent (arXiv 2508.02085), with its operators. *Revision*: a member is criticised and written again.
    *Recombination*: crossover joins the good steps of two members, transfer writes a weak member again with the
    strategy of the best, restructure writes a new one from what the pool shows together. *Refinement*: the pool keeps
    the best, and of the others those that differ most. Ours departs from the source in that trajectories are plans that
    are run, so that the loss measures completion and quality, and length is the efficiency; that crossover is by rule,
    on the steps themselves (`pivot_dspy.crossover`), costs no model call, and so is tried at once whenever a
    trajectory joins the pool; and that the search ends at the first trajectory with a perfect loss. Events `accept` and
    `reject` speak of the best so far.

    Args:
        pool_size: plans to begin with, and members that a generation leaves. About 10 in the paper; with a crossover
            that costs nothing, 3 reach as much for fewer tokens.
        max_iters: generations at most. The paper gives no number; its code comes with 3 rounds.
        patience: generations in a row that bring nothing better before the pool counts as converged.

    The remaining arguments are those of `Refiner`; a `trajectory` that is given takes the place of the first plan.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: a call got no plan at all from the model.
    """

    pool_size = Tunable(2, 3, 5)
    patience = Tunable(1, 2)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        pool_size: int = 3,
        max_iters: int = 3,
        patience: int = 1,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, pool_size=pool_size, patience=patience)
        check_range(0, max_iters=max_iters)
        super().__init__(signature, environment, **options)
        self.pool_size = pool_size
        self.max_iters = max_iters
        self.patience = patience
        self.critique = Critique(self.signature)
        self.rewrite = Rewrite(self.signature)
        self.transfer = Transfer(self.signature)
        self.restructure = Restructure(self.signature)

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        evolution = _Evolution(self, episode)
        yield from evolution.begin(start)
        stale = 0
        for _ in range(self.max_iters):
            if evolution.done or stale >= self.patience:
                break
            before = evolution.best.loss
            yield from evolution.generation()
            stale = 0 if evolution.best.loss.better_than(before) else stale + 1
        return evolution.best, (yield from episode.verify(evolution.best))


class _Evolution:
    """The pool of one call, and the operators on it."""

    def __init__(self, refiner: SelfEvolution, episode: Episode) -> None:
        self.refiner = refiner
        self.episode = episode
        self.pool = Population(refiner.pool_size)
        self._best: Candidate | None = None
        self._asked: Counter[tuple[str, ...]] = Counter()
        self._crossed: set[tuple[str, str]] = set()

    @property
    def best(self) -> Candidate:
        """What the acceptance has kept."""
        return self._best or self.pool.best

    @property
    def done(self) -> bool:
        return self.refiner.is_over(self.episode, self._best)

    def begin(self, start: Trajectory | None) -> Flow[None]:
        """Fills the pool with plans, each crossed with the best of those before it.

        Raises:
            PlanningFailed: no plan was usable.
        """
        failures: list[PlanningFailed] = []
        for number in range(1, self.refiner.pool_size + 1):
            try:
                trajectory = yield from self.refiner.sample_plan(self.episode, start, number)
            except PlanningFailed as failure:
                failures.append(failure)
            else:
                yield from self._join(trajectory, None)
            if self.done:
                break
        if not self.pool.members:
            raise failures[-1]

    def generation(self) -> Flow[None]:
        """One child by each operator, then selection."""
        pool, refiner = self.pool, self.refiner
        operators = (
            self._revise,
            lambda: self._recombine(refiner.transfer, [pool.best, pool.farthest()]),
            lambda: self._recombine(refiner.restructure, pool.members[:SHOWN]),
        )
        for operator in operators:
            if self.done:
                break
            with suppress(ModelFailed):  # it is on record
                yield from operator()
        pool.refine()

    def _revise(self) -> Flow[None]:
        """Of the members revised least often, the best one criticised and written again."""
        episode, refiner = self.episode, self.refiner
        member = min(self.pool.members, key=lambda member: self._asked["revise", member.trajectory.id])
        config = self._sample("revise", member)
        faults = yield from refiner.criticise(episode, refiner.critique, member, config)
        if faults and not episode.spent():
            view = episode.view(member)
            answer = yield from episode.ask("rewrite", refiner.rewrite, view=view, faults=faults, config=config)
            yield from self._take_up(answer.trajectory, member)

    def _recombine(self, phase: Recombine, members: list[Candidate]) -> Flow[None]:
        if len(self.pool.members) < 2:
            return
        config = self._sample(phase.operator, *members)
        views = [self.episode.view(member) for member in members]
        answer = yield from self.episode.ask(phase.operator, phase, runs=views, config=config)
        yield from self._take_up(answer.trajectory, members[-1], answer.summary)

    def _sample(self, operator: str, *members: Candidate) -> Mapping[str, Any] | None:
        """What makes a question that was asked before be answered anew."""
        key = (operator, *(member.trajectory.id for member in members))
        self._asked[key] += 1
        return sample_config(self._asked[key] - 1)

    def _take_up(self, child: Trajectory, base: Candidate, summary: str = "") -> Flow[None]:
        """A child that a model wrote; what does the same as one before is not run again."""
        self.episode.emit(events.RewriteEvent(trajectory=child, message=child.operator, diagnosis=summary))
        if self.pool.knows(child):
            self.episode.emit(events.RejectEvent(trajectory=child, message="it was there before"))
        yield from self._join(child, base)

    def _join(self, trajectory: Trajectory, base: Candidate | None) -> Flow[None]:
        """Runs a new trajectory, puts it in the pool and crosses it with the best, and so on while that brings more."""
        if self.pool.knows(trajectory):
            return
        yield from self._run(trajectory, base)
        for _ in range(2 * self.refiner.pool_size):
            crossed = None if self.done else self._cross()
            if crossed is None:
                break
            child, receiver = crossed
            self.episode.emit(events.RewriteEvent(trajectory=child, message=child.operator))
            yield from self._run(child, receiver)

    def _run(self, trajectory: Trajectory, base: Candidate | None) -> Flow[None]:
        candidate = yield from self.refiner.run(self.episode, trajectory, base)
        self._best = self.episode.decide(self._best, candidate)
        self.pool.add(candidate, trajectory)

    def _cross(self) -> tuple[Trajectory, Candidate] | None:
        """A new child of the best member and another, with the member whose trajectory it mostly is."""
        best = self.pool.best
        pairs = [pair for other in self.pool.members[1:] for pair in ((best, other), (other, best))]
        for receiver, donor in pairs:
            ids = (receiver.trajectory.id, donor.trajectory.id)
            if ids not in self._crossed:
                self._crossed.add(ids)
                child = crossover(self.episode.parent(receiver), self.episode.parent(donor))
                if not self.pool.knows(child):
                    return child, receiver
        return None
