"""What refiners have in common whose candidates are whole trajectories."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pivot_dspy.episode.asking import ModelFailed
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.events import CritiqueEvent, ReflectEvent
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.flow import Flow
from pivot_dspy.phases.critique import Critique
from pivot_dspy.phases.reflect import Reflect
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.trajectory import Trajectory


class Attempts(Refiner):
    """A refiner whose candidates are whole trajectories. Subclasses implement `search`."""

    def run(self, episode: Episode, trajectory: Trajectory, base: Candidate | None = None) -> Flow[Candidate]:
        """The trajectory run and measured; where only the wording of its outputs is left to do, they are composed.

        The prefix that it shares with `base` is not run again where the environment forks.
        """
        candidate = yield from episode.inspect(trajectory, base)
        if not candidate.inspection.needs_only_outputs or episode.spent():
            return candidate
        try:
            child = yield from episode.compose(candidate)
        except ModelFailed:
            return candidate  # the failure is on record
        composed = yield from episode.inspect(child, candidate)
        return composed if composed.loss.no_worse_than(candidate.loss) else candidate

    def sample_plan(self, episode: Episode, start: Trajectory | None, number: int) -> Flow[Trajectory]:
        """Plan `number`, from 1 on, at temperature 1; a trajectory that is given stands for the first.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        if number == 1 and start is not None:
            return (yield from self.opening(episode, start))
        return (yield from episode.plan(number))

    def sample(
        self, episode: Episode, start: Trajectory | None, number: int, failures: list[PlanningFailed]
    ) -> Flow[Candidate | None]:
        """Plan `number`, run and measured; None where none could be had, which is added to the `failures`."""
        try:
            trajectory = yield from self.sample_plan(episode, start, number)
        except PlanningFailed as failure:
            failures.append(failure)
            return None
        return (yield from self.run(episode, trajectory))

    def criticise(
        self, episode: Episode, critique: Critique, candidate: Candidate, config: Mapping[str, Any] | None
    ) -> Flow[tuple[str, ...]]:
        """The faults that a critique finds in a candidate.

        Raises:
            ModelFailed: the model gave nothing usable.
        """
        answer = yield from episode.ask("critique", critique, view=episode.view(candidate), config=config)
        episode.emit(CritiqueEvent(trajectory=candidate.trajectory, diagnosis="\n".join(answer.faults)))
        faults: tuple[str, ...] = answer.faults
        return faults

    def lesson(self, episode: Episode, reflect: Reflect, candidate: Candidate) -> Flow[str]:
        """What a reflection learns from a candidate; empty where the model gave nothing usable."""
        try:
            answer = yield from episode.ask("reflect", reflect, view=episode.view(candidate))
        except ModelFailed:
            return ""  # the failure is on record
        if answer.reflection:
            episode.emit(ReflectEvent(trajectory=candidate.trajectory, diagnosis=answer.reflection))
        return str(answer.reflection)
