"""DspyRefine: `dspy.Refine` itself, around a planner whose plan is run and measured."""

from __future__ import annotations

import copy
from typing import Any

import dspy

from pivot_dspy._drive import Effect, Steps
from pivot_dspy.environment.source import EnvironmentLike
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.history import Event
from pivot_dspy.phases.verify import Verdict
from pivot_dspy.refiners.best_of_n import BestOfN
from pivot_dspy.refiners.episode import Candidate, Episode
from pivot_dspy.refiners.rollouts import Rollouts, refine_of
from pivot_dspy.trajectory import Trajectory

_HINT = "hint_"


class DspyRefine(BestOfN):
    """Up to `N` whole plans, each sampled anew and run, with advice from the last run in the prompt of the next plan.

    Source: `dspy.Refine`, which does the work: it copies the planner for each attempt, samples it at temperature 1
    under a rollout id of its own, stops at the first reward that reaches the threshold, and asks its `OfferFeedback`
    between attempts for advice, which replaces the advice before and stands in the plan's prompt as `hint_`. The reward
    is 1 - loss. Ours departs from it in that the first plan's requirements measure all of them; that the best attempt
    is the refiner's acceptance's, which only decides ties otherwise; that a plan that cannot be read is asked for once
    more before it counts as failed, and an attempt fails for good once `fail_count` is passed, where `dspy.Refine`
    lowers its count meanwhile; that errors which no further attempt would mend end the call; and that the budget does.
    Only PLAN is advised: wording of outputs that a plan left open, and judging, are the same for every refiner.

    Args:
        N: attempts at most. `dspy.Refine` has no default; 3 is what its example takes.
        threshold: the reward, from 0 to 1, at which no further attempt is made.
        fail_count: how many plans may fail before the call raises; `N` by default.

    The remaining arguments are those of `Refiner`. A `trajectory` that is given is run as the first attempt, so that
    advice on it is asked for before a plan is paid for; that advice has only its run to go by, for nothing was asked.

    Raises:
        ConfigurationError: an argument cannot work, or DSPy's adapter cannot be made without arguments, as
            `dspy.Refine` makes the one that hands the hint over.
        PlanningFailed: more plans than `fail_count`, or all of them, were unusable.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> DspyRefine("question -> answer: int", tools=[double], effects="read", N=5).N
    5
    """

    def __init__(
        self, signature: str | type[dspy.Signature], environment: EnvironmentLike | None = None, **options: Any
    ) -> None:
        super().__init__(signature, environment, **options)
        if _HINT in self.signature.input_fields:
            raise ConfigurationError(f"the signature's field {_HINT!r} has the name of dspy.Refine's hint; rename it")

    def search(self, episode: Episode, given: Trajectory | None) -> Steps[tuple[Candidate, Verdict]]:
        _refuse_settings(self.plan.predict.lm or dspy.settings.lm, dspy.settings.adapter or dspy.ChatAdapter())
        first = None if given is None else (yield from self.opening(episode, given))
        # A copy, whose PLAN is exchanged for the one that dspy.Refine copies for an attempt.
        episode.phases = copy.copy(self)
        rollouts = Rollouts(self, episode, first)
        refine = refine_of(rollouts.program, self.N, self.threshold)
        try:
            error: Exception | None = yield Effect(lambda: rollouts.drive(refine), lambda: rollouts.adrive(refine))
        finally:
            episode.phases = self
        rollouts.tell_advice()
        if error is not None:
            raise error from error.__cause__
        if not rollouts.complete:
            message = "dspy.Refine gave up an attempt for a reason of its own, which it printed"
            episode.tell(Event(kind="failure", message=message))
        if rollouts.best is None:
            raise rollouts.failure or PlanningFailed("no attempt came to its end", episode.ledger.snapshot())
        verdict = yield from episode.verify(rollouts.best)
        return rollouts.best, verdict


def _refuse_settings(lm: Any, adapter: Any) -> None:
    if not isinstance(lm, dspy.BaseLM):
        raise ConfigurationError(f"dspy.Refine needs a dspy.LM, not {lm!r:.80}; say dspy.configure(lm=dspy.LM(NAME))")
    try:
        type(adapter)()
    except TypeError as error:
        raise ConfigurationError(
            f"dspy.Refine makes the adapter that hands its hint over without arguments, and {type(adapter).__name__} "
            "takes some; use dspy.ChatAdapter, dspy.JSONAdapter or dspy.XMLAdapter"
        ) from error
