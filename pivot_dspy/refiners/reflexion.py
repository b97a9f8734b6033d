"""Reflexion: after a failed trial a reflection, then the next trial from scratch with the reflections in its prompt."""

from __future__ import annotations

from collections import Counter

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.phases.reflect import Reflect
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import Tunable, check_range
from pivot_dspy.trajectory import Trajectory


class Reflexion(Attempts):
    """Plan and run; on failure reflect in words; plan again from scratch with the last reflections at hand.

    Source: Reflexion (arXiv 2303.11366). No trial is refused or rolled back: each begins anew, whatever became of the
    one before. Ours departs from the source in that a trial is a whole plan, not a ReAct loop; that what decides on
    success is the loss by requirements instead of the benchmark's own reward; and that the best trial by loss is
    returned, not the last. Events `accept` and `reject` speak of that best trial.

    Args:
        max_trials: trials at most; 10 as in the source's run script for AlfWorld, its benchmark of acting in an
            environment (it takes 5 for programming). Fewer cost less for each task that is solved.
        memory: how many of the latest reflections the next plan is shown; 3 as in its code.

    The remaining arguments are those of `Refiner`; a `trajectory` that is given is the first trial.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: the first trial got no plan at all from the model.
    """

    max_trials = Tunable(2, 3, 5, 10)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        max_trials: int = 10,
        memory: int = 3,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, max_trials=max_trials, memory=memory)
        super().__init__(signature, environment, **options)
        self.max_trials = max_trials
        self.remembered = memory
        self.reflect = Reflect(self.signature)

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        first = yield from self.opening(episode, start)
        latest = yield from self.run(episode, first)
        best = episode.decide(None, latest)
        lessons: list[str] = []
        reflected: Candidate | None = None
        # A prompt that was there before is sampled: else it would get the same plan.
        planned = Counter({"": 1 if start is None else 0})
        for trial in range(1, self.max_trials):
            if self.is_over(episode, latest):
                break
            if latest is not reflected:
                reflected = latest
                lesson = yield from self.lesson(episode, self.reflect, latest)
                lessons += [f"- Trial {trial}:\n{lesson}"] if lesson else []
                if episode.spent():
                    break
            shown = "\n".join(lessons[-self.remembered :])
            planned[shown] += 1
            try:
                trajectory = yield from episode.plan(planned[shown] - 1, shown)
            except PlanningFailed:
                continue  # it is on record, and cost one of the trials
            latest = yield from self.run(episode, trajectory)
            best = episode.decide(best, latest)
        return best, (yield from episode.verify(best))
