"""PlanExecute: one plan, run once."""

from __future__ import annotations

from pivot_dspy.episode.episode import Episode
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.trajectory import Trajectory


class PlanExecute(Attempts):
    """Plan the whole trajectory, run it, verify it; nothing is rewritten. The rival that refinement has to beat.

    Source: Plan-and-Solve prompting (arXiv 2305.04091) and ReWOO (arXiv 2305.18323), which also plans all calls with
    placeholders for their results. Ours departs from them in that the plan brings requirements along and is checked by
    them, and in that no call combines the results unless outputs were left to be worded.

    The arguments are those of `Refiner`. A call takes the signature's inputs and, by keyword, `trajectory` (one to run
    instead of planning), `requirements`, `commit` and `budget`.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: a call got no plan at all from the model.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> PlanExecute("question -> answer: int", tools=[double], effects="read").signature.output_fields.keys()
    dict_keys(['answer'])
    """

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        trajectory = yield from self.opening(episode, start)
        candidate = yield from self.run(episode, trajectory)
        episode.decide(None, candidate)
        return candidate, (yield from episode.verify(candidate))
