"""What the refiners share that make a trajectory one step at a time, each run before the next is thought of."""

from __future__ import annotations

import json
from collections.abc import Sequence

from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.flow import Flow
from pivot_dspy.phases.act import Act
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.trajectory import Step, Trajectory


def action_key(step: Step) -> str:
    """What a step does, whatever it is called."""
    return json.dumps({name: value for name, value in step.content().items() if name != "id"}, sort_keys=True)


def prune_failed(candidate: Candidate) -> Trajectory | None:
    """The trajectory without the steps that failed, which are no part of what is to be done; None where that gains
    nothing: none failed, or all, or the loss is perfect as it is."""
    states = candidate.inspection.execution.by_step
    steps = candidate.trajectory.steps
    good = [step for step in steps if states[step.id].status not in ("error", "blocked")]
    if candidate.loss.perfect or not good or len(good) == len(steps):
        return None
    first = next(position for position, step in enumerate(steps) if step not in good)
    return candidate.trajectory.replace_from(first, good[first:], operator="prune")


class Stepwise(Attempts):
    """A refiner that searches step by step. Subclasses make its `act`, and implement `search`."""

    act: Act

    def start(self, episode: Episode, start: Trajectory | None) -> Flow[tuple[Candidate, Candidate | None]]:
        """The run of no step at all, requirements settled, and the run of the trajectory that is given, if one is.

        Raises:
            PlanningFailed: the model gave no requirements.
        """
        yield from self.opening(episode, start or Trajectory())
        whole = None
        if start is not None:
            whole = yield from self.run(episode, start)
            self.keep_best(episode, None, whole)
        root = yield from episode.inspect(Trajectory(), whole)
        return root, whole

    def propose(
        self,
        episode: Episode,
        current: Candidate,
        rollout: int,
        *,
        lessons: str = "",
        siblings: Sequence[Candidate] = (),
    ) -> Flow[Trajectory | None]:
        """The steps of `current` and a next one, sampled; None where the model gave nothing usable."""
        try:
            answer = yield from episode.ask(
                "act",
                self.act,
                view=episode.view(current),
                lessons=episode.context.tell(episode.context.recalled.advice, lessons=lessons),
                siblings=[episode.view(sibling) for sibling in siblings],
                config=sample_config(rollout),
            )
        except ModelFailed:
            return None  # it is on record, and cost one of the samples
        trajectory: Trajectory = answer.trajectory
        return trajectory

    def run_step(self, episode: Episode, trajectory: Trajectory, base: Candidate) -> Flow[Candidate]:
        """`trajectory` run from where `base` stands, and its outputs composed where it submits and lacks only them."""
        if trajectory.submit is not None:
            return (yield from self.run(episode, trajectory, base))
        return (yield from episode.inspect(trajectory, base))

    def keep_best(self, episode: Episode, best: Candidate | None, candidate: Candidate) -> Candidate:
        """Whichever of the two is the best so far; of equals the one that goes on from the other, or is shorter."""
        return episode.decide(best, candidate, ties="first", extensions=True)

    def finish(self, episode: Episode, root: Candidate, best: Candidate | None) -> Search:
        """The best candidate and the verdict on it.

        Raises:
            PlanningFailed: there is none, though the budget was not spent.
        """
        if best is None:
            if episode.record.exhausted is None:
                failure = PlanningFailed("the model gave no step", episode.record.ledger.snapshot())
                raise failure from episode.record.cause
            best = self.keep_best(episode, None, root)
        elif best.trajectory.submit is None and best.inspection.needs_only_outputs and not episode.spent():
            best = self.keep_best(episode, best, (yield from self.run(episode, best.trajectory, best)))
        return best, (yield from episode.verify(best))
