"""SelfRefine: criticise the present version, write the whole of it again, until nothing is criticised."""

from __future__ import annotations

from collections import Counter

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import ModelFailed, sample_config
from pivot_dspy.episode.episode import Episode
from pivot_dspy.phases.critique import Critique
from pivot_dspy.phases.rewrite import Rewrite, version
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import Tunable, check_range
from pivot_dspy.trajectory import Trajectory


class SelfRefine(Attempts):
    """Plan; then criticise the version and write it again as a whole, with all versions and critiques in the prompt.

    Source: Self-Refine (arXiv 2303.17651). It stops when the critique finds nothing, or after `max_iters` rewrites.
    The search is not monotonic: the next critique is always of the latest version, better or worse. Ours departs from
    the source in that versions are run, so that critique and rewrite see what came of each step and which requirements
    are unmet; that a version with a perfect loss is not criticised; and that the best version by loss is returned, not
    the last one, since the losses are known. Events `accept` and `reject` speak of that best version.

    Args:
        max_iters: rewrites at most; 4 as in the paper (`max_attempts` in its code).

    The remaining arguments are those of `Refiner`; a `trajectory` that is given is the first version.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: a call got no plan at all from the model.
    """

    max_iters = Tunable(1, 2, 4)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        max_iters: int = 4,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(0, max_iters=max_iters)
        super().__init__(signature, environment, **options)
        self.max_iters = max_iters
        self.critique = Critique(self.signature)
        self.rewrite = Rewrite(self.signature)

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        first = yield from self.opening(episode, start)
        current = yield from self.run(episode, first)
        best = episode.decide(None, current)
        versions: list[str] = []
        criticised: Counter[str] = Counter()
        for _ in range(self.max_iters):
            if self.is_over(episode, current):
                break
            # The same question again would get the same answer.
            config = sample_config(criticised[current.trajectory.id])
            criticised[current.trajectory.id] += 1
            view = episode.view(current)
            try:
                faults = yield from self.criticise(episode, self.critique, current, config)
                if not faults or episode.spent():
                    break
                answer = yield from episode.ask(
                    "rewrite", self.rewrite, view=view, faults=faults, earlier_versions=tuple(versions), config=config
                )
            except ModelFailed:
                continue  # it is on record, and cost one of the iterations
            episode.emit(events.RewriteEvent(trajectory=answer.trajectory))
            versions.append(version(len(versions) + 1, view, faults))
            if answer.trajectory.id == current.trajectory.id:
                episode.emit(events.RejectEvent(trajectory=answer.trajectory, message="nothing was changed"))
                continue
            current = yield from self.run(episode, answer.trajectory, current)
            best = episode.decide(best, current)
        return best, (yield from episode.verify(best))
