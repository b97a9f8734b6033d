"""Pivot: plan, inspect, evolve from the earliest cause, accept what is no worse, verify."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from typing import Any, Literal

import dspy

from pivot_dspy.crossover import crossover
from pivot_dspy.environment.factory import EnvironmentLike
from pivot_dspy.episode.episode import Candidate, Episode, ModelFailed
from pivot_dspy.episode.events import Event
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import UNASKED, Gradient
from pivot_dspy.phases.verify import Verdict
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.state import Tunable
from pivot_dspy.trajectory import Trajectory


class RefutedSuspects:
    """What was tried on one incumbent in vain."""

    def __init__(self) -> None:
        self.refuted: set[tuple[str | None, str]] = set()
        self.failures = 0
        self.pending: Gradient | None = None  # found by a model that need not be asked for it again
        self._ignored: dict[tuple[str | None, str], int] = {}

    def refute(self, gradient: Gradient) -> None:
        """The rewrite from here was tested and is no better."""
        self.refuted.add(gradient.key)
        self.failures += 1

    def ignored(self, gradient: Gradient) -> None:
        """The model failed or changed nothing: the suspect was not tested. It is asked once more, then given up.

        Where a tool refused the call, the step is but the symptom: then the cause is sought elsewhere at once.
        """
        self.failures += 1
        self._ignored[gradient.key] = self.rollout(gradient) + 1
        if self._ignored[gradient.key] > 1 or gradient.kind == "tool_error":
            self.refuted.add(gradient.key)
        elif gradient.by == "model":
            self.pending = gradient

    def rollout(self, gradient: Gradient) -> int:
        """How often the model has ignored this gradient: the same prompt then needs another sample."""
        return self._ignored.get(gradient.key, 0)


class SecondOpinions:
    """What may still be asked about the requirements and the verdicts on them.

    Attributes:
        audits: looks at the requirements that are left; the last is kept for when nothing else is left to try.
        judged: ids of the trajectories on which the judge was asked for further opinions.
    """

    def __init__(self, audits: int) -> None:
        self.audits = audits
        self.judged: set[str] = set()

    def of_verdicts(self, incumbent: Candidate) -> bool:
        said = incumbent.judgement.findings if incumbent.judgement is not None else ()
        return incumbent.trajectory.id not in self.judged and any(not finding.holds for finding in said)

    def left(self, incumbent: Candidate) -> bool:
        return self.audits > 0 or self.of_verdicts(incumbent)


class Pivot(Refiner):
    """Refines the trajectory of tool calls for a task until it is verified. PIVOT, arXiv 2605.11225.

    Drops in where `dspy.ReAct(signature, tools)` stood. The result is a `Refined` prediction: the signature's outputs
    with `trajectory`, `loss`, `verdict`, `verified`, `history`, `ledger` and `commit()`.

    Args:
        candidates: plans to begin with; the best one, or what two of them make together, is refined.
        max_iters: rewrites at most.
        patience: rewrites in a row that were not accepted before giving up.
        restarts: new plans where nothing is left to try on the incumbent, which is then joined with what they do
            better: a start that is badly flawed is beyond repair from its earliest fault on.
        audit: when one more call looks for missing or misread requirements, the one failure that no rewrite mends:
            `stuck`, where there is reason to doubt them, and once more before giving up; `always`, before anything is
            rewritten; or `never`.

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

    candidates = Tunable(1, 2, 3)
    patience = Tunable(2, 3, 5)

    def __init__(
        self,
        signature: str | type[dspy.Signature],
        environment: EnvironmentLike | None = None,
        *,
        candidates: int = 1,
        max_iters: int = 16,
        patience: int = 3,
        restarts: int = 4,
        audit: Literal["never", "stuck", "always"] = "stuck",
        **shared: Any,
    ) -> None:
        if candidates < 1 or patience < 1 or max_iters < 0 or restarts < 0:
            raise ConfigurationError(
                f"candidates and patience are at least 1, max_iters and restarts at least 0; got {candidates}, "
                f"{patience}, {max_iters} and {restarts}"
            )
        if audit not in ("never", "stuck", "always"):
            raise ConfigurationError(f"audit is 'never', 'stuck' or 'always'; got {audit!r}")
        super().__init__(signature, environment, **shared)
        self.candidates = candidates
        self.max_iters = max_iters
        self.patience = patience
        self.restarts = restarts
        self.audit_when = audit

    def search(self, episode: Episode, given: Trajectory | None) -> Flow[tuple[Candidate, Verdict]]:
        incumbent = yield from self._start(episode, given)
        tried = RefutedSuspects()
        doubts = SecondOpinions(audits=2 if self.audit_when == "stuck" else 0)
        composed: set[str] = set()
        restarts = 0
        verdict: Verdict | None = None
        for rewrites_left in range(self.max_iters, -1, -1):
            stuck = not rewrites_left or tried.failures >= self.patience
            if self._composable(incumbent, tried, composed, stuck) and not episode.spent():
                composed.add(incumbent.trajectory.id)
                incumbent = yield from self._composed(episode, incumbent)
            if incumbent.loss.perfect:
                verdict = yield from episode.verify(incumbent)
                if verdict.departed is None:
                    break
            if not rewrites_left or episode.spent():
                break
            gradient: Gradient | None = None
            if tried.failures < self.patience:
                gradient = yield from self._blamed(episode, incumbent, tried, verdict)
            doubtful = gradient is None or self._in_doubt(episode, incumbent, gradient, tried, doubts)
            if doubtful and doubts.left(incumbent) and not incumbent.loss.perfect and not episode.spent():
                measured = yield from self._measured_otherwise(episode, incumbent, doubts)
                if measured is not None:
                    incumbent, tried, verdict = measured, RefutedSuspects(), None
                if measured is not None or gradient is None:
                    continue
            if gradient is None and restarts < self.restarts and not episode.spent():
                restarts += 1
                started = yield from self._joined(episode, incumbent, rollout=self.candidates + restarts - 1)
                if started is not None and started.loss.better_than(incumbent.loss):
                    incumbent, tried, verdict = started, RefutedSuspects(), None
                continue
            if gradient is None:
                episode.emit(Event(kind="stop", message="no suspect is left"))
                break
            if not episode.affords_rewrite():
                break
            better = yield from self._step(episode, incumbent, gradient, tried, doubts)
            if better is not None:
                # A plan that goes on after seeing results is progress even before it has changed the loss.
                if better.loss.better_than(incumbent.loss) or better.trajectory.operator == "extend":
                    tried = RefutedSuspects()
                    if _kept_failing(gradient, incumbent, better):
                        tried.refuted.add(gradient.key)
                else:
                    tried.refute(gradient)
                incumbent, verdict = better, None
        if verdict is None:
            verdict = yield from episode.verify(incumbent)
        return incumbent, verdict

    def _blamed(
        self, episode: Episode, incumbent: Candidate, tried: RefutedSuspects, verdict: Verdict | None
    ) -> Flow[Gradient | None]:
        """The next gradient: of a verification that went another way, else of what is wrong with the incumbent."""
        gradient = _departure(verdict, incumbent, tried) if verdict is not None else None
        gradient, tried.pending = gradient or tried.pending, None
        if gradient is None:
            return (yield from episode.gradient(incumbent, frozenset(tried.refuted)))
        episode.emit(Event(kind="gradient", gradient=gradient, trajectory=incumbent.trajectory))
        return gradient

    def _in_doubt(
        self, episode: Episode, incumbent: Candidate, gradient: Gradient, tried: RefutedSuspects, doubts: SecondOpinions
    ) -> bool:
        """Whether the requirements, or the verdicts on them, may be at fault rather than the steps: a check cannot be
        made as it is written, the plan does what nothing asks for, or every step ran and the model, shown the blame,
        kept them all."""
        if tried.rollout(gradient) and not incumbent.inspection.execution.discrepancies:
            return True
        return doubts.audits > 1 and (gradient.kind == UNASKED or episode.misread(incumbent))

    def _measured_otherwise(
        self, episode: Episode, incumbent: Candidate, doubts: SecondOpinions
    ) -> Flow[Candidate | None]:
        """The incumbent by other verdicts of the judge, or else by audited requirements; None where nothing changed."""
        if doubts.of_verdicts(incumbent):
            doubts.judged.add(incumbent.trajectory.id)
            judged = yield from episode.judge_again(incumbent)
            if judged is incumbent:
                return None
            episode.emit(Event(kind="accept", trajectory=judged.trajectory, loss=judged.loss, message="judged again"))
            return judged
        doubts.audits -= 1
        return (yield from self._amended(episode, incumbent, rollout=1 - doubts.audits))

    def _amended(self, episode: Episode, incumbent: Candidate, rollout: int) -> Flow[Candidate | None]:
        """The incumbent measured by audited requirements; None where the audit changed nothing."""
        try:
            changed = yield from episode.audit(incumbent, rollout)
        except ModelFailed:
            return None
        return (yield from episode.measure_again(incumbent)) if changed else None

    def _start(self, episode: Episode, given: Trajectory | None) -> Flow[Candidate]:
        """The first incumbent: the given trajectory, or the best of the planned ones."""
        first = yield from self.opening(episode, given)
        if self.audit_when == "always" and not episode.spent():
            with suppress(ModelFailed):  # it is on record; the requirements stand as they were settled
                yield from episode.audit()
        best = yield from episode.inspect(first, repeats=self._acceptance.repeats)
        episode.emit(Event(kind="accept", trajectory=best.trajectory, loss=best.loss))
        for rollout in range(1, self.candidates if given is None else 1):
            if best.loss.perfect or episode.spent():
                break
            best = (yield from self._joined(episode, best, rollout)) or best
        return best

    def _joined(self, episode: Episode, incumbent: Candidate, rollout: int) -> Flow[Candidate | None]:
        """A new plan, or the incumbent with what the plan does better; None where neither was accepted."""
        try:
            planned = yield from episode.plan(rollout)
        except PlanningFailed:
            return None  # it is on record
        fresh = yield from episode.inspect(planned, repeats=self._acceptance.repeats)
        best = self._kept(episode, incumbent, fresh)
        if (best or incumbent).loss.perfect:
            return best
        crossed = crossover(episode.parent(incumbent), episode.parent(fresh))
        if crossed.id in (incumbent.trajectory.id, planned.id):
            return best
        base = max((incumbent, fresh), key=lambda parent: parent.trajectory.common_prefix(crossed))
        return (yield from self._accepted(episode, best or incumbent, crossed, base)) or best

    def _step(
        self, episode: Episode, incumbent: Candidate, gradient: Gradient, tried: RefutedSuspects, doubts: SecondOpinions
    ) -> Flow[Candidate | None]:
        """One rewrite from the gradient's locus; None where it was not accepted."""
        try:
            child = yield from self._rewritten(episode, incumbent, gradient, tried)
        except ModelFailed:
            tried.ignored(gradient)
            return None
        if child.id == incumbent.trajectory.id:
            episode.emit(Event(kind="reject", trajectory=child, message="nothing was changed"))
            tried.ignored(gradient)
            return None
        candidate = yield from episode.inspect(child, incumbent, repeats=self._acceptance.repeats)
        if doubts.of_verdicts(candidate) and not candidate.loss.better_than(incumbent.loss):
            # It was rewritten for what the judge says is unmet, and the judge says so again: that may be an error.
            doubts.judged.add(child.id)
            candidate = yield from episode.judge_again(candidate)
        accepted = self._kept(episode, incumbent, candidate)
        if accepted is None:
            tried.refute(gradient)
        return accepted

    def _rewritten(
        self, episode: Episode, incumbent: Candidate, gradient: Gradient, tried: RefutedSuspects
    ) -> Flow[Trajectory]:
        return (yield from episode.evolve(incumbent, gradient, rollout=tried.rollout(gradient)))

    def _composable(self, incumbent: Candidate, tried: RefutedSuspects, composed: Collection[str], stuck: bool) -> bool:
        """Whether to word the outputs now; a plan that stopped without submit is first given the chance to go on."""
        if not incumbent.inspection.needs_only_outputs or incumbent.trajectory.id in composed:
            return False
        return incumbent.trajectory.submit is not None or stuck or (None, "missing_submit") in tried.refuted

    def _composed(self, episode: Episode, incumbent: Candidate) -> Flow[Candidate]:
        """The incumbent with its outputs worded, if that can be had."""
        try:
            child = yield from episode.compose(incumbent)
        except ModelFailed:
            return incumbent
        return (yield from self._accepted(episode, incumbent, child, base=incumbent)) or incumbent

    def _accepted(
        self, episode: Episode, incumbent: Candidate, child: Trajectory, base: Candidate | None
    ) -> Flow[Candidate | None]:
        candidate = yield from episode.inspect(child, base, repeats=self._acceptance.repeats)
        return self._kept(episode, incumbent, candidate)

    def _kept(self, episode: Episode, incumbent: Candidate, candidate: Candidate) -> Candidate | None:
        """The candidate, where it replaces the incumbent; on record either way."""
        child = candidate.trajectory
        takes = self._acceptance.accepts(
            candidate.loss,
            incumbent.loss,
            candidate_steps=len(child),
            incumbent_steps=len(incumbent.trajectory),
        )
        extended = child.operator == "extend" and len(child) > len(incumbent.trajectory)
        kind: Literal["accept", "reject"] = (
            "accept" if takes or (extended and candidate.loss.no_worse_than(incumbent.loss)) else "reject"
        )
        episode.emit(Event(kind=kind, trajectory=child, loss=candidate.loss))
        return candidate if kind == "accept" else None


def _departure(verdict: Verdict, incumbent: Candidate, tried: RefutedSuspects) -> Gradient | None:
    """A verification that went another way, as a gradient like any other."""
    step = verdict.departed
    if step is None or (step, "not_reproducible") in tried.refuted:
        return None
    return Gradient(
        locus=incumbent.trajectory.index(step),
        step=step,
        kind="not_reproducible",
        diagnosis="Run again from the start, the step gave something else.",
        evidence=verdict.reasons,
    )


def _kept_failing(gradient: Gradient, before: Candidate, after: Candidate) -> bool:
    """Whether a rewrite mended something else, but left the blamed step, which a tool refused, as it was."""
    blamed = gradient.step
    if gradient.kind != "tool_error" or blamed is None or blamed not in after.trajectory.ids:
        return False
    (was, fault), (now, remains) = (
        (one.trajectory.steps[one.trajectory.index(blamed)], one.inspection.execution.by_step[blamed].fault)
        for one in (before, after)
    )
    return (was, fault) == (now, remains)
