"""BestOfN: several plans sampled, each run, the one with the lowest loss kept."""

from __future__ import annotations

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.loss import EPSILON
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import Tunable, check_range, check_real
from pivot_dspy.trajectory import Trajectory


class BestOfN(Attempts):
    """Sample up to `N` plans at temperature 1, run each, keep the best; stop at the first that is good enough.

    Source: `dspy.BestOfN`, with the names of its parameters. Ours departs from it in that the reward is 1 - loss; that
    the first plan's requirements measure all of them; that of two equal losses the shorter trajectory is kept (by the
    default acceptance); and that where every plan fails, the call raises the last failure instead of returning None.

    Args:
        N: plans at most. `dspy.BestOfN` has no default; 3 is what its example takes.
        threshold: the reward, from 0 to 1, at which no further plan is sampled.
        fail_count: how many plans may fail before no more are asked for; `N` by default.

    The remaining arguments are those of `Refiner`; a `trajectory` that is given takes the place of the first plan.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: no plan was usable.
    """

    N = Tunable(1, 2, 3, 5)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        N: int = 3,
        threshold: float = 1.0,
        fail_count: int | None = None,
        **options: Unpack[RefinerOptions],
    ) -> None:
        super().__init__(signature, environment, **options)
        self.N = N
        self.threshold = threshold
        self.fail_count = N if fail_count is None else fail_count
        check_range(1, N=N)
        check_real(0, 1, threshold=threshold)
        check_range(0, fail_count=self.fail_count)

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        best: Candidate | None = None
        failures: list[PlanningFailed] = []
        for number in range(1, self.N + 1):
            candidate = yield from self.sample(episode, start, number, failures)
            if candidate is not None:
                best = episode.decide(best, candidate)
            enough = best is not None and 1 - best.loss.total >= self.threshold - EPSILON
            if enough or len(failures) > self.fail_count or episode.spent():
                break
        if best is None:
            raise failures[-1]
        return best, (yield from episode.verify(best))
