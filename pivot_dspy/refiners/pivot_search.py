"""The search that Pivot makes in one call: where it stands, and its moves."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Literal

from pivot_dspy.crossover import crossover
from pivot_dspy.episode import events
from pivot_dspy.episode.affordable import affords_rewrite
from pivot_dspy.episode.asking import ModelFailed
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.reviewing import ReviewOutcome
from pivot_dspy.errors import PlanningFailed
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import MISREAD_REQUIREMENT, UNASKED, Gradient
from pivot_dspy.human.review import Occasion
from pivot_dspy.phases.verify import shortcomings
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.refiners.refuted import RefutedSuspects
from pivot_dspy.requirements import BINDING_ORIGINS
from pivot_dspy.trajectory import Trajectory
from pivot_dspy.verdict import Verdict

if TYPE_CHECKING:
    from pivot_dspy.refiners.pivot import Pivot

GOING_ON = 2
"""Rewrites that go on from where a version stopped to read, before the answer is worded from what was found."""
TRIED_CAP = 200
"""Characters of what a failed version wrote, and of what came of it."""


class PivotSearch:
    """The search of one call: where it stands, and one method for each of its moves.

    Each `iterate` makes the moves that are due, in this order: `compose` outputs that are all that is lacking, `verify`
    what is perfect, `blame` what is not, `question` the requirements or the judge where they are in doubt, and
    `rewrite` from what is blamed or, where nothing is left to blame, `restart`.
    """

    def __init__(self, refiner: Pivot, episode: Episode) -> None:
        self.refiner = refiner
        self.episode = episode
        self.incumbent: Candidate
        """The best that was accepted."""
        self.reading: Candidate | None = None
        """A version that was not accepted but read something new: the one that is gone on from."""
        self.refuted = RefutedSuspects()
        self.verdict: Verdict | None = None
        """On the incumbent; None before it was verified."""
        self.rewrites_left = refiner.max_iters
        self.restarts_left = refiner.restarts
        self.looks_left = refiner.max_looks
        self.tried: list[str] = []
        """Rewrites and plans that failed, one line for each that is another."""
        self.audits_left = 2 if refiner.audit_when == "stuck" else 0
        """Looks at the requirements; the last is kept for when nothing else is left to try."""
        self.over = False
        self._asked_about: set[str] = set()
        """Requirements, as a prompt says them, of which a rewrite was told that they may be misread."""
        self._composed: set[str] = set()
        self._judged_again: set[str] = set()

    @property
    def current(self) -> Candidate:
        """The version that is gone on from."""
        return self.reading or self.incumbent

    def begin(self, start: Trajectory | None) -> Flow[None]:
        """The first incumbent: the given trajectory, or the best of the planned ones."""
        first = yield from self.refiner.opening(self.episode, start)
        if self.refiner.audit_when == "always" and not self.episode.spent():
            with suppress(ModelFailed):  # it is on record; the requirements stand as they were settled
                yield from self.episode.audit()
        self.incumbent = self.episode.decide(None, (yield from self.episode.inspect(first)))
        for rollout in range(1, self.refiner.candidates if start is None else 1):
            if self.refiner.is_over(self.episode, self.incumbent):
                break
            planned = yield from self._inspected_plan(rollout)
            if planned is not None:
                self.incumbent = yield from self._joined(planned)

    def iterate(self) -> Flow[None]:
        """One round of moves, of which at most one asks for a new version."""
        if self._composable(self.current) and not self.episode.spent():
            yield from self.compose()
        if self.current.loss.perfect and not self._doubts(self.current):
            yield from self.verify()
        if self.over or not self.rewrites_left or self.episode.spent():
            self.over = True
            return
        self.rewrites_left -= 1
        gradient = (yield from self.blame()) if self.refuted.failures < self.refiner.patience else None
        said = yield from self.consult(gradient)
        if said is not None:
            if said.stopped:
                self.over = True
                return
            if said.gradient is None and said.changed:
                self.rewrites_left += 1  # none was written
                return
            gradient = said.gradient or gradient
        if self._questionable(gradient):
            replaced = yield from self.question()
            if replaced or gradient is None:
                return
        if gradient is not None:
            yield from self.rewrite(gradient)
        elif self.restarts_left and not self.episode.spent():
            yield from self.restart()
        else:
            self.episode.emit(events.StopEvent(message="no suspect is left"))
            self.over = True

    def consult(self, gradient: Gradient | None) -> Flow[ReviewOutcome | None]:
        """Ask the reviewer, where one is due; what it wants changed takes the place of what the blame says."""
        desk, shown = self.episode.desk, self.current
        occasion: Occasion = "plateau" if gradient is None else "each_round"
        feedback = yield from desk.consult(shown, occasion, gradient=gradient)
        if not feedback:
            return None
        outcome = yield from desk.apply(shown, feedback)
        if outcome.changed:
            self._replace_incumbent(outcome.candidate)
        return outcome

    def compose(self) -> Flow[None]:
        """Word the outputs of the current version, if that can be had."""
        current = self.current
        composed = yield from self._with_outputs(current)
        if composed is not current:
            self.incumbent = self.episode.decide(self.incumbent, composed, extensions=True)
            self.reading = None

    def _with_outputs(self, candidate: Candidate) -> Flow[Candidate]:
        """The candidate with its missing outputs worded; itself where the model does not word them."""
        self._composed.add(candidate.trajectory.id)
        try:
            child = yield from self.episode.compose(candidate)
        except ModelFailed:
            return candidate  # it is on record
        return (yield from self.episode.inspect(child, candidate))

    def verify(self) -> Flow[None]:
        """Check the incumbent as a whole; the search is over unless a second run went another way."""
        self.verdict = yield from self.episode.verify(self.incumbent)
        self.over = self.verdict.departed is None

    def blame(self) -> Flow[Gradient | None]:
        """The next gradient: of a verification that went another way, else of what is wrong with the incumbent; where
        nothing is, of requirements that may be misread."""
        gradient = _departure(self.verdict, self.incumbent, self.refuted) or self.refuted.pending
        if gradient is None and self.current.loss.perfect:
            gradient = self._misreading()
        if gradient is None and self.refuted.failures < GOING_ON and self.episode.view(self.current).only_stops:
            end = len(self.current.trajectory)  # nothing is to blame: it goes on where it stopped to read
            gradient = Gradient(locus=end, step=None, kind="missing_submit", diagnosis="It stopped before the answer.")
        self.refuted.pending = None
        if gradient is None:
            return (yield from self.episode.gradient(self.current, self.refuted.keys))
        self.episode.emit(events.GradientEvent(gradient=gradient, trajectory=self.current.trajectory))
        return gradient

    def question(self) -> Flow[bool]:
        """Measure the incumbent by other verdicts of the judge, or else by audited requirements.

        Returns:
            Whether that changed anything.
        """
        if self._verdicts_in_doubt(self.incumbent):
            self._judged_again.add(self.incumbent.trajectory.id)
            judged = yield from self.episode.judge_again(self.incumbent)
            if judged is self.incumbent:
                return False
            accepted = events.AcceptEvent(trajectory=judged.trajectory, loss=judged.loss, message="judged again")
            self.episode.emit(accepted)
            self._replace_incumbent(judged)
            return True
        self.audits_left -= 1
        try:
            changed = yield from self.episode.audit(self.incumbent, rollout=1 - self.audits_left)
        except ModelFailed:
            return False  # it is on record
        if changed:
            self._replace_incumbent((yield from self.episode.measure_again(self.incumbent)))
        return changed

    def restart(self) -> Flow[None]:
        """A new plan that knows what was tried, and what it does better than the incumbent."""
        self.restarts_left -= 1
        rollout = self.refiner.candidates + self.refiner.restarts - self.restarts_left - 1
        planned = yield from self._inspected_plan(rollout, after=self.current)
        if planned is None or self._reads_on(planned):
            return
        better = yield from self._joined(planned)
        if better.loss.better_than(self.incumbent.loss):
            self._replace_incumbent(better)
        elif better is not self.incumbent:  # an equal loss: nothing new is to be tried for it
            self.incumbent, self.verdict = better, None
        else:
            self._note_failed(planned)

    def rewrite(self, gradient: Gradient) -> Flow[None]:
        """One rewrite from the gradient's locus."""
        if not affords_rewrite(self.episode.context, self.episode.record, self.episode.phases.evolve):
            self.over = True
            return
        before = self.current
        self.rewrites_left += gradient.patch is not None  # which costs no call
        settled = self.episode.context.requirements
        self._asked_about.update(self._doubts(before))  # the report of the rewrite says them all
        try:
            child = yield from self.write(gradient)
        except ModelFailed:
            self.refuted.note_ignored(gradient)
            return
        unchanged = child.id == before.trajectory.id
        if self.episode.context.requirements is not settled:
            if unchanged and before is self.incumbent:  # settling is progress, and new requirements have to be judged
                self._replace_incumbent((yield from self.episode.measure_again(before)))
                return
            self._measure_again()
        if unchanged:
            self._note_unchanged(child, gradient)
            return
        candidate = yield from self.episode.inspect(child, _nearest(child, before, self.incumbent))
        if self._composable(candidate) and candidate.trajectory.submit is not None:
            candidate = yield from self._with_outputs(candidate)
        if self._verdicts_in_doubt(candidate) and not candidate.loss.better_than(self.incumbent.loss):
            # It was rewritten for what the judge says is unmet, and the judge says so again: that may be an error.
            self._judged_again.add(child.id)
            candidate = yield from self.episode.judge_again(candidate)
        previous = self.incumbent
        ties: Literal["first", "latest"] = "latest" if gradient.patch is None else "first"
        accepted = self.episode.decide(previous, candidate, ties=ties, extensions=True) is candidate
        if accepted and (candidate.loss.better_than(previous.loss) or candidate.extends(previous)):
            self.looks_left -= candidate.stops_to_read
            self._replace_incumbent(candidate)
            if _kept_failing(gradient, before, candidate):
                self.refuted.keys.add(gradient.key)
        elif not self._reads_on(candidate):
            self.refuted.refute(gradient)
            if accepted:
                self.incumbent, self.reading, self.verdict = candidate, None, None
            else:
                self._note_failed(candidate)

    def _doubts(self, candidate: Candidate) -> tuple[str, ...]:
        """The requirements, as a prompt says them, that may be misread and that the model was not asked about."""
        settled, findings = self.episode.context.requirements, candidate.inspection.findings
        doubtful = [settled[finding.requirement] for finding in findings if finding.doubt]
        own = (item.to_prompt() for item in doubtful if item.origin not in BINDING_ORIGINS)
        return tuple(text for text in own if text not in self._asked_about)

    def _misreading(self) -> Gradient | None:
        """Requirements that several things fit equally well, before a plan that meets them is verified."""
        doubts = self._doubts(self.current)
        if not doubts:
            return None
        steps, toolbox = self.current.trajectory.steps, self.episode.context.toolbox
        reads = (toolbox.spec(step.tool) for step in steps)
        acts = (place for place, spec in enumerate(reads) if spec is not None and spec.effect != "read")
        locus = next(acts, len(steps) - 1)
        return Gradient(
            locus=locus,
            step=steps[locus].id,
            kind=MISREAD_REQUIREMENT,
            diagnosis="All holds; but a wish that singles nothing out is often misread.",
            correction="Where one is misread, put it right, and change what depends on it; else keep all steps.",
            evidence=doubts,
        )

    def _measure_again(self) -> None:
        """By requirements that a rewrite made concrete; no model is asked."""
        self.incumbent = measured = self.episode.measure_by_settled(self.incumbent)
        message = "measured again"
        self.episode.emit(events.AcceptEvent(trajectory=measured.trajectory, loss=measured.loss, message=message))
        if self.reading is not None:
            self.reading = self.episode.measure_by_settled(self.reading)

    def _note_unchanged(self, child: Trajectory, gradient: Gradient) -> None:
        """The model changed nothing; where it only asked to see something, the next prompt shows that."""
        if self.episode.dialogue.looks(child) and self.looks_left > 0:
            self.looks_left -= 1
            self.episode.emit(events.LookEvent(trajectory=child, message="asked to see more"))
            return
        self.episode.emit(events.RejectEvent(trajectory=child, message="nothing was changed"))
        self.refuted.note_ignored(gradient)

    def _reads_on(self, candidate: Candidate) -> bool:
        """Go on from a candidate that was not accepted, if it stopped to read something new and looks are left."""
        if not candidate.stops_to_read or self.looks_left <= 0:
            return False
        self.looks_left -= 1
        self.reading, self.refuted = candidate, RefutedSuspects()
        self.episode.emit(events.LookEvent(trajectory=candidate.trajectory, message=f"read {', '.join(candidate.new)}"))
        return True

    def _note_failed(self, candidate: Candidate) -> None:
        """Keep in a line what a version that was rejected did, for the prompts to come."""
        shortcomings_of = [shortcomings(it.inspection) for it in (candidate, self.current)]
        new = [reason for reason in shortcomings_of[0] if reason not in shortcomings_of[1]] or shortcomings_of[0]
        difference = candidate.trajectory.diff(self.current.trajectory)
        steps = [*difference.added, *(change.after for change in difference.changed)]
        written = truncate(" ".join(step.to_prompt() for step in steps) or "dropped steps", TRIED_CAP)
        line = f"{written} -> {truncate(' '.join(new[0].split()) if new else 'no better', TRIED_CAP)}"
        if line not in self.tried:
            self.tried.append(line)

    def write(self, gradient: Gradient) -> Flow[Trajectory]:
        """The new version that a rewrite tries: a rule's, where it can mend by itself, or the model's."""
        if gradient.patch is not None:
            return self.episode.patch(self.current, gradient)
        rollout = self.refuted.times_ignored(gradient)
        return (yield from self.episode.evolve(self.current, gradient, rollout=rollout, tried=self.tried))

    def _inspected_plan(self, rollout: int, after: Candidate | None = None) -> Flow[Candidate | None]:
        """One more plan, run; None where the model gave none, which is on record."""
        try:
            planned = yield from self.episode.plan(rollout, after=after, tried=self.tried)
        except PlanningFailed:
            return None
        return (yield from self.episode.inspect(planned))

    def _joined(self, fresh: Candidate) -> Flow[Candidate]:
        """A new plan, or the incumbent with what the plan does better; the incumbent where neither is accepted."""
        incumbent, episode = self.incumbent, self.episode
        best = episode.decide(incumbent, fresh, extensions=True)
        if best.loss.perfect:
            return best
        crossed = crossover(episode.parent(incumbent), episode.parent(fresh))
        if crossed.id in (incumbent.trajectory.id, fresh.trajectory.id):
            return best
        base = _nearest(crossed, incumbent, fresh)
        episode.dialogue.share(crossed, base.trajectory)
        return episode.decide(best, (yield from episode.inspect(crossed, base)), extensions=True)

    def _replace_incumbent(self, candidate: Candidate) -> None:
        """Go on from a candidate of which nothing is known to be blamed in vain."""
        self.incumbent, self.reading, self.refuted, self.verdict = candidate, None, RefutedSuspects(), None

    def _composable(self, candidate: Candidate) -> bool:
        """Whether to word the outputs now; a plan that stopped without submit is first given the chance to go on."""
        if not candidate.inspection.needs_only_outputs or candidate.trajectory.id in self._composed:
            return False
        stuck = not self.rewrites_left or self.refuted.failures >= self.refiner.patience or self.looks_left < 0
        gone_on = self.refuted.failures >= GOING_ON and self.episode.view(candidate).only_stops
        return candidate.trajectory.submit is not None or stuck or gone_on

    def _questionable(self, gradient: Gradient | None) -> bool:
        """Whether the requirements, or the verdicts on them, may be at fault rather than the steps, and may be asked
        about: nothing is left to blame, a check cannot be made as it is written, the plan does what nothing asks for,
        every requirement is met and only the judge's word stands against a call or a claim, or every step ran and the
        model, shown the blame, kept them all."""
        incumbent = self.incumbent
        askable = self.audits_left > 0 or self._verdicts_in_doubt(incumbent)
        if not askable or self.refiner.is_over(self.episode, incumbent):
            return False
        if gradient is None:
            return True
        if self._verdicts_in_doubt(incumbent) and all(finding.may_hold for finding in incumbent.inspection.findings):
            return True
        if self.refuted.times_ignored(gradient) and not incumbent.inspection.execution.discrepancies:
            return True
        misread = self.episode.context.misread(incumbent.inspection.findings)
        return self.audits_left > 1 and (gradient.kind == UNASKED or misread)

    def _verdicts_in_doubt(self, candidate: Candidate) -> bool:
        """Whether a judge found that something does not hold, and was not asked again."""
        denied = candidate.judgement is not None and bool(candidate.judgement.denied)
        return denied and candidate.trajectory.id not in self._judged_again


def _nearest(child: Trajectory, *run: Candidate) -> Candidate:
    """Of what was run, the candidate with which the child shares most steps: these are not run again."""
    return max(run, key=lambda candidate: candidate.trajectory.common_prefix(child))


def _departure(verdict: Verdict | None, incumbent: Candidate, refuted: RefutedSuspects) -> Gradient | None:
    """A verification that went another way, as a gradient like any other."""
    if verdict is None or verdict.departed is None or (verdict.departed, "not_reproducible") in refuted.keys:
        return None
    return Gradient(
        locus=incumbent.trajectory.index(verdict.departed),
        step=verdict.departed,
        kind="not_reproducible",
        diagnosis="Run again from the start, the step gave something else.",
        evidence=verdict.reasons,
    )


def _kept_failing(gradient: Gradient, before: Candidate, after: Candidate) -> bool:
    """Whether a rewrite mended something else, but left the blamed step, which a tool refused, as it was."""
    same_steps = {step.id for step in before.trajectory.steps if step in after.trajectory.steps}
    if gradient.kind != "tool_error" or gradient.step not in same_steps:
        return False
    old, new = (candidate.inspection.execution.by_step[gradient.step] for candidate in (before, after))
    return old.fault == new.fault
