"""Pivot with one stage replaced by its plain counterpart, to measure what the stage is worth (the paper's Table 2).

PLAN needs no class of its own: its counterpart, a single greedy plan, is `Pivot(candidates=1)`, which is the default.
"""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.episode import Candidate, Episode, sampled
from pivot_dspy.episode.events import Event
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.rewrite import Rewrite
from pivot_dspy.phases.verify import Judgement, Verdict, Verify
from pivot_dspy.refiners.pivot import Pivot, RefutedSuspects
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Trajectory


class PivotWithoutInspect(Pivot):
    """No localisation: the whole trajectory is to blame, and all of it is open to the rewrite. The report stays."""

    def _blamed(
        self, episode: Episode, incumbent: Candidate, tried: RefutedSuspects, verdict: Verdict | None
    ) -> Flow[Gradient | None]:
        yield from ()
        gradient = Gradient(locus=0, step=None, kind="whole", diagnosis="The trajectory falls short; see the report.")
        episode.emit(Event(kind="gradient", gradient=gradient, trajectory=incumbent.trajectory))
        return gradient

    def _rewritten(
        self, episode: Episode, incumbent: Candidate, gradient: Gradient, tried: RefutedSuspects
    ) -> Flow[Trajectory]:
        # The prompt is the same after a rewrite that failed: another sample is asked for.
        return (yield from episode.evolve(incumbent, gradient, rollout=tried.failures))


class PivotWithoutEvolve(Pivot):
    """No suffix rewriting: told the same blame, the model writes the whole trajectory again and keeps nothing."""

    def __init__(
        self, signature: str | type[dspy.Signature], environment: EnvironmentLike | None = None, **options: Any
    ) -> None:
        super().__init__(signature, environment, **options)
        self.rewrite = Rewrite(self.signature)

    def _rewritten(
        self, episode: Episode, incumbent: Candidate, gradient: Gradient, tried: RefutedSuspects
    ) -> Flow[Trajectory]:
        said = yield from episode.ask(
            "evolve",
            self.rewrite,
            shown=episode.shown(incumbent),
            faults=(gradient.to_text(),),
            config=sampled(tried.rollout(gradient)),
        )
        child: Trajectory = said.trajectory
        episode.emit(Event(kind="rewrite", trajectory=child))
        return child


class PivotWithoutVerify(Pivot):
    """Nothing is checked as a whole: neither requirements, nor the answer's claims, nor a second run from the start.

    What is left of the loss is what each step shows: whether it ran, its expectations, and whether there is an answer.
    The result is never `verified`.
    """

    def __init__(
        self, signature: str | type[dspy.Signature], environment: EnvironmentLike | None = None, **options: Any
    ) -> None:
        super().__init__(signature, environment, **{"audit": "never", **options})
        self.verify = _Unverified(self.signature)

    def opening(self, episode: Episode, given: Trajectory | None) -> Flow[Trajectory]:
        first = yield from super().opening(episode, given)
        episode.requirements = Requirements()
        return first


class _Unverified(Verify):
    def run(self, **inputs: Any) -> Flow[dspy.Prediction]:
        yield from ()
        verdict = Verdict(verified=False, reasons=("verification was left out",))
        return dspy.Prediction(verdict=verdict)

    def judge(self, *inputs: Any, **options: Any) -> Flow[Judgement]:
        yield from ()
        return Judgement()
