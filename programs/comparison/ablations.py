"""Pivot with one stage replaced by its plain counterpart, to measure what the stage is worth (the paper's Table 2).

PLAN needs no class of its own: its counterpart, a single greedy plan, is `Pivot(candidates=1)`, which is the default.
"""

from __future__ import annotations

from typing import Any

import dspy
from typing_extensions import Unpack

from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import sample_config
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.judging import Judge
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.judge import Answer, Judgement, Question
from pivot_dspy.phases.rewrite import Rewrite
from pivot_dspy.phases.verify import Verify
from pivot_dspy.refiners.options import RefinerOptions
from pivot_dspy.refiners.pivot import Pivot, PivotSearch
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Trajectory
from pivot_dspy.verdict import Verdict


class _BlamesTheWhole(PivotSearch):
    def blame(self) -> Flow[Gradient | None]:
        yield from ()
        gradient = Gradient(locus=0, step=None, kind="whole", diagnosis="The trajectory falls short; see the report.")
        self.episode.emit(events.GradientEvent(gradient=gradient, trajectory=self.incumbent.trajectory))
        return gradient

    def write(self, gradient: Gradient) -> Flow[Trajectory]:
        # The prompt is the same after a rewrite that failed: another sample is asked for.
        return (yield from self.episode.evolve(self.incumbent, gradient, rollout=self.refuted.failures))


class PivotWithoutInspect(Pivot):
    """No localisation: the whole trajectory is to blame, and all of it is open to the rewrite. The report stays."""

    search_type = _BlamesTheWhole


class _AsksTheModel(PivotSearch):
    def blame(self) -> Flow[Gradient | None]:
        gradient = yield from super().blame()
        return gradient and gradient.model_copy(update={"patch": None})


class PivotWithoutPatches(Pivot):
    """No repair by rule: what a rule could write is asked of the model like all else."""

    search_type = _AsksTheModel


class _WritesTheWhole(PivotSearch):
    def write(self, gradient: Gradient) -> Flow[Trajectory]:
        prediction = yield from self.episode.ask(
            "evolve",
            self.refiner.rewrite,
            view=self.episode.view(self.incumbent),
            faults=(gradient.to_text(),),
            config=sample_config(self.refuted.times_ignored(gradient)),
        )
        child: Trajectory = prediction.trajectory
        self.episode.emit(events.RewriteEvent(trajectory=child))
        return child


class PivotWithoutEvolve(Pivot):
    """No suffix rewriting: told the same blame, the model writes the whole trajectory again and keeps nothing."""

    search_type = _WritesTheWhole

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        **options: Unpack[RefinerOptions],
    ) -> None:
        super().__init__(signature, environment, **options)
        self.rewrite = Rewrite(self.signature)


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

    def opening(self, episode: Episode, start: Trajectory | None) -> Flow[Trajectory]:
        judge = episode.judge
        episode.judge = _AcceptsAll(judge.caller, judge.verify, judge.view, judge.session_for)
        first = yield from super().opening(episode, start)
        episode.context.requirements = Requirements()
        return first


class _Unverified(Verify):
    def run(self, **inputs: Any) -> Flow[dspy.Prediction]:
        yield from ()
        verdict = Verdict(status="unverified", reasons=("verification was left out",))
        return dspy.Prediction(verdict=verdict)


class _AcceptsAll(Judge):
    """Neither asks a model nor looks anything up."""

    def if_needed(self, candidate: Candidate) -> Flow[Candidate]:
        yield from ()
        everything = Answer(Question("all", "claim", "everything"), True, "")
        return self.measured(candidate, Judgement(answers=(everything,)))
