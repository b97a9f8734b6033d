"""MajorityOfN: several plans sampled, each run, the answer that most of them submit taken."""

from __future__ import annotations

import json

import dspy
from typing_extensions import Unpack

from pivot_dspy.confidence import lowest
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.attempts import Attempts
from pivot_dspy.refiners.base import Search
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.state import Tunable, check_range
from pivot_dspy.trajectory import Trajectory


class MajorityOfN(Attempts):
    """Sample `N` plans at temperature 1, run each, and take the answer that most of them submit.

    Source: self-consistency (arXiv 2203.11171); `dspy.majority`. A vote is the submitted outputs as canonical JSON; all
    count alike (but see `ConfidenceGate`), and one with outputs missing counts only where no other does. A tie goes to
    the lower loss, then to the earlier plan; so is the trajectory chosen among those that agree. Events `elect` tell
    who is ahead. Ours departs from the source in the temperature (1 as for the other refiners; 0.5 to 0.7 there), in
    the number (40 there, which no budget for agents pays for), and in that it stops when the plans that are left cannot
    change the outcome. The vote alone decides: the loss of what is returned may be larger than another's, and so there
    is one acceptance, at the end.

    Args:
        N: plans at most.
        weighted: whether a vote weighs the lowest confidence of its steps, as in DeepConf (arXiv 2508.15260), where a
            `ConfidenceGate` has them rated. Weights are hardly ever equal, and so leave no tie to the lower loss.

    The remaining arguments are those of `Refiner`; `acceptance` is used for its repeats only, and a `trajectory` that
    is given takes the place of the first plan.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: all plans were unusable.
    """

    N = Tunable(1, 3, 5)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        N: int = 5,
        weighted: bool = False,
        **options: Unpack[RefinerOptions],
    ) -> None:
        check_range(1, N=N)
        super().__init__(signature, environment, **options)
        self.N = N
        self.weighted = weighted

    def search(self, episode: Episode, start: Trajectory | None) -> Search:
        votes: dict[str | None, list[Candidate]] = {}
        failures: list[PlanningFailed] = []
        leader: Candidate | None = None
        for number in range(1, self.N + 1):
            candidate = yield from self.sample(episode, start, number, failures)
            if candidate is not None:
                votes.setdefault(_ballot(candidate), []).append(candidate)
                ahead, _ = self._elect(votes)
                if ahead is not leader:
                    leader = ahead
                    episode.emit(events.ElectEvent(trajectory=leader.trajectory, loss=leader.loss))
            if self._is_decided(votes, self.N - number) or episode.spent():
                break
        if not votes:
            raise failures[-1]
        winner, agreeing = self._elect(votes)
        candidates = [candidate for group in votes.values() for candidate in group]
        for loser in candidates:
            if loser is not winner:
                episode.emit(events.RejectEvent(trajectory=loser.trajectory, loss=loser.loss))
        message = f"{agreeing} of {len(candidates)} agree"
        episode.emit(events.AcceptEvent(trajectory=winner.trajectory, loss=winner.loss, message=message))
        return winner, (yield from episode.verify(winner))

    def _is_decided(self, votes: dict[str | None, list[Candidate]], left: int) -> bool:
        """Whether the plans that are left cannot change the outcome.

        No stated confidence is above 1; of those of tokens, what is to come is taken to be no larger than what came.
        """
        weights = [self._weight(group) for ballot, group in votes.items() if ballot is not None]
        second, first = sorted([0.0, 0.0, *weights])[-2:]
        largest = max([1.0, *(self._weight([candidate]) for group in votes.values() for candidate in group)])
        return first > second + left * largest

    def _elect(self, votes: dict[str | None, list[Candidate]]) -> tuple[Candidate, int]:
        """The winner and how many agree with it. `min` is stable, so that ties go to the earlier plan."""
        groups = [group for ballot, group in votes.items() if ballot is not None] or list(votes.values())
        group = min(groups, key=lambda group: (-self._weight(group), min(map(_total_loss, group))))
        return min(group, key=_total_loss), len(group)

    def _weight(self, group: list[Candidate]) -> float:
        if not self.weighted:
            return len(group)
        confidences = [lowest(step.confidence for step in candidate.trajectory.steps) for candidate in group]
        return sum(1.0 if confidence is None else confidence.value for confidence in confidences)


def _ballot(candidate: Candidate) -> str | None:
    """The outputs as canonical JSON; None where some are missing, which is no vote."""
    execution = candidate.inspection.execution
    if execution.trajectory.submit is None or execution.missing_outputs:
        return None
    return json.dumps(plain(execution.outputs), sort_keys=True, ensure_ascii=False)


def _total_loss(candidate: Candidate) -> float:
    return candidate.loss.total
