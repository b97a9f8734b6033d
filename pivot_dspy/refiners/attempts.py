"""What the refiners share that try whole trajectories: each is run and measured, and the best one is kept."""

from __future__ import annotations

from pivot_dspy._drive import Steps
from pivot_dspy.history import Event
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.episode import Candidate, Episode, ModelFailed
from pivot_dspy.trajectory import Trajectory


class Attempts(Refiner):
    """A refiner whose candidates are whole trajectories. Subclasses implement `search`."""

    def ran(self, episode: Episode, trajectory: Trajectory, base: Candidate | None = None) -> Steps[Candidate]:
        """The trajectory run and measured; where only the wording of its outputs is left to do, they are composed.

        The prefix that it shares with `base` is not run again where the environment forks.
        """
        repeats = self._acceptance.repeats
        candidate = yield from episode.inspect(trajectory, base, repeats=repeats)
        if not candidate.inspection.needs_only_outputs or episode.spent():
            return candidate
        try:
            child = yield from episode.compose(candidate)
        except ModelFailed:
            return candidate  # the failure is on record
        composed = yield from episode.inspect(child, candidate, repeats=repeats)
        return composed if composed.loss.no_worse_than(candidate.loss) else candidate

    def kept(self, episode: Episode, best: Candidate | None, candidate: Candidate) -> Candidate:
        """Whichever of the two is kept by the refiner's acceptance; tells what became of the candidate."""
        takes = best is None or self._acceptance.accepts(
            candidate.loss,
            best.loss,
            candidate_steps=len(candidate.trajectory),
            incumbent_steps=len(best.trajectory),
        )
        episode.tell(
            Event(kind="accept" if takes else "reject", trajectory=candidate.trajectory, loss=candidate.loss)
        )
        return candidate if best is None or takes else best

    def sampled(self, episode: Episode, given: Trajectory | None, number: int) -> Steps[Trajectory]:
        """Plan `number`, from 1 on, at temperature 1; a trajectory that is given stands for the first.

        Raises:
            PlanningFailed: the model gave nothing usable.
        """
        if number == 1 and given is not None:
            return (yield from self.opening(episode, given))
        return (yield from episode.plan(number))
