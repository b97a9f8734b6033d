"""Pivot: plan, inspect, evolve from the earliest cause, accept what is no worse, verify."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Literal

import dspy

from pivot_dspy._drive import Steps
from pivot_dspy.environment.source import EnvironmentLike
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.gradient import Gradient
from pivot_dspy.history import Event
from pivot_dspy.phases.verify import Verdict
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.episode import Candidate, Episode, ModelFailed
from pivot_dspy.trajectory import Trajectory

Refuted = set[tuple[str | None, str]]


class Pivot(Refiner):
    """Refines the trajectory of tool calls for a task until it is verified. PIVOT, arXiv 2605.11225.

    Drops in where `dspy.ReAct(signature, tools)` stood. The result is a `Refined` prediction: the signature's outputs
    with `trajectory`, `loss`, `verdict`, `verified`, `history`, `ledger` and `commit()`.

    Args:
        candidates: plans to begin with; the best one is refined.
        max_iters: rewrites at most.
        patience: rewrites in a row that were not accepted before giving up.
        audit: whether one more call looks for missing or misread requirements before anything is rewritten.

    The remaining arguments are those of `Refiner`. A call takes the signature's inputs and, by keyword, `trajectory`
    (one to refine instead of planning), `requirements` (more of them for this task), `commit=True` (run it for real
    once verified) and `budget`.

    Raises:
        ConfigurationError: an argument cannot work.
        PlanningFailed: a call got no plan at all from the model.

    >>> def double(number: int) -> int:
    ...     return 2 * number
    >>> Pivot("question -> answer: int", tools=[double], effects="read").signature.output_fields.keys()
    dict_keys(['answer'])
    """

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        candidates: int = 1,
        max_iters: int = 8,
        patience: int = 3,
        audit: bool = False,
        **shared: Any,
    ) -> None:
        if candidates < 1 or max_iters < 0 or patience < 1:
            raise ConfigurationError(
                f"candidates and patience are at least 1 and max_iters at least 0; got {candidates}, {patience} and "
                f"{max_iters}"
            )
        super().__init__(signature, environment, **shared)
        self.candidates = candidates
        self.max_iters = max_iters
        self.patience = patience
        self.audits = audit

    def search(self, episode: Episode, given: Trajectory | None) -> Steps[tuple[Candidate, Verdict]]:
        incumbent = yield from self._start(episode, given)
        refuted: Refuted = set()
        failures = 0
        verdict: Verdict | None = None
        for _ in range(self.max_iters + 1):
            gradient: Gradient | None = None
            if incumbent.loss.needs_only_outputs and not episode.spent():
                incumbent = yield from self._composed(episode, incumbent)
            if incumbent.loss.perfect:
                verdict = yield from episode.verify(incumbent)
                if verdict.departed is None:
                    break
                gradient = _departure(verdict, incumbent, refuted)
            if failures >= self.patience or _ == self.max_iters or episode.spent():
                break
            gradient = gradient or (yield from episode.gradient(incumbent, frozenset(refuted)))
            if gradient is None:
                episode.tell(Event(kind="stop", message="every suspect has been refuted"))
                break
            better = yield from self._step(episode, incumbent, gradient)
            if better is None:
                refuted.add((gradient.step, gradient.kind))
                failures += 1
                continue
            if better.loss.better_than(incumbent.loss):
                refuted.clear()
                failures = 0
            else:
                refuted.add((gradient.step, gradient.kind))
                failures += 1
            incumbent, verdict = better, None
        if verdict is None:
            verdict = yield from episode.verify(incumbent)
        return incumbent, verdict

    def _start(self, episode: Episode, given: Trajectory | None) -> Steps[Candidate]:
        """The first incumbent: the given trajectory, or the best of the planned ones."""
        if given is not None:
            try:
                yield from episode.settle()
            except ModelFailed as failure:
                raise PlanningFailed(f"no requirements: {failure}", episode.ledger.snapshot()) from failure.__cause__
            proposals = [given]
        else:
            proposals = [(yield from episode.plan())]
        if self.audits and not episode.spent():
            with suppress(ModelFailed):  # it is on record; the requirements stand as they were settled
                yield from episode.audit()
        best = yield from episode.inspect(proposals[0])
        episode.tell(Event(kind="accept", trajectory=best.trajectory, loss=best.loss))
        for rollout in range(1, self.candidates if given is None else 1):
            if best.loss.perfect or episode.spent():
                break
            try:
                planned = yield from episode.plan(rollout)
            except PlanningFailed:
                break  # it is on record; the candidates so far stand
            best = (yield from self._accepted(episode, best, planned, base=None)) or best
        return best

    def _step(self, episode: Episode, incumbent: Candidate, gradient: Gradient) -> Steps[Candidate | None]:
        """One rewrite from the gradient's locus; None where it was not accepted."""
        try:
            child = yield from episode.evolve(incumbent, gradient)
        except ModelFailed:
            return None
        if child.id == incumbent.trajectory.id:
            episode.tell(Event(kind="reject", trajectory=child, message="nothing was changed"))
            return None
        return (yield from self._accepted(episode, incumbent, child, base=incumbent))

    def _composed(self, episode: Episode, incumbent: Candidate) -> Steps[Candidate]:
        """The incumbent with its outputs worded, if that can be had."""
        try:
            child = yield from episode.compose(incumbent)
        except ModelFailed:
            return incumbent
        return (yield from self._accepted(episode, incumbent, child, base=incumbent)) or incumbent

    def _accepted(
        self, episode: Episode, incumbent: Candidate, child: Trajectory, base: Candidate | None
    ) -> Steps[Candidate | None]:
        candidate = yield from episode.inspect(child, base, repeats=self._acceptance.repeats)
        takes = self._acceptance.accepts(
            candidate.loss,
            incumbent.loss,
            candidate_steps=len(child),
            incumbent_steps=len(incumbent.trajectory),
        )
        # A plan that went on after seeing results is progress even before it has changed the loss.
        extended = child.operator == "extend" and len(child) > len(incumbent.trajectory)
        kind: Literal["accept", "reject"] = (
            "accept" if takes or (extended and candidate.loss.no_worse_than(incumbent.loss)) else "reject"
        )
        episode.tell(Event(kind=kind, trajectory=child, loss=candidate.loss))
        return candidate if kind == "accept" else None


def _departure(verdict: Verdict, incumbent: Candidate, refuted: Refuted) -> Gradient | None:
    """A verification that went another way, as a gradient like any other."""
    step = verdict.departed
    if step is None or (step, "not_reproducible") in refuted:
        return None
    return Gradient(
        locus=incumbent.trajectory.index(step),
        step=step,
        kind="not_reproducible",
        diagnosis="Run again from the start, the step gave something else.",
        evidence=verdict.reasons,
    )
