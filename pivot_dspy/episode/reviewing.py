"""How a run asks its reviewer, and what an answer does to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pivot_dspy.dspy_internals import settings
from pivot_dspy.environment.toolbox import ToolSpec
from pivot_dspy.episode import events
from pivot_dspy.episode.asking import ModelFailed
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.errors import ConfigurationError, ReviewAwaited, error_text
from pivot_dspy.flow import Flow
from pivot_dspy.gradient import COMMENT, Gradient
from pivot_dspy.human.asking import ReviewTimeout, asking
from pivot_dspy.human.feedback import Approve, Comment, Edit, HumanFeedback, Pin, Reject, Require, Respond, Stop
from pivot_dspy.human.review import (
    UNATTENDED,
    Occasion,
    RequirementStanding,
    Review,
    Reviewer,
    ToolForm,
    When,
    is_due,
)
from pivot_dspy.human.validation import edited_args, problems
from pivot_dspy.phases.verify import shortcomings
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json, truncate
from pivot_dspy.required_calls import MadeCall, made_calls
from pivot_dspy.requirements import BINDING_ORIGINS, normalize_requirements
from pivot_dspy.run_journal import RunJournal
from pivot_dspy.source_digest import digest
from pivot_dspy.trajectory import SUBMIT, PersonsResult, Step, Trajectory
from pivot_dspy.verdict import Verdict

if TYPE_CHECKING:
    from pivot_dspy.episode.episode import Episode

CALL_CAP = 200
"""Characters of a call that a note names."""
ANSWERED = "review"
"""Kind of the journal's lines that hold what a reviewer answered."""
ASKED_AGAIN = 1
"""How often a reviewer is asked again whose answer does not fit the review."""


@dataclass(frozen=True)
class Reviewing:
    """Who is asked, when, and for how long."""

    reviewer: Reviewer | None = None
    when: When = "before_commit"
    timeout: float | None = None
    """Seconds that an answer may take, None for no limit."""


NOBODY = Reviewing()


@dataclass(frozen=True)
class ReviewOutcome:
    """What a feedback has come to."""

    candidate: Candidate
    """The version to go on with."""
    changed: bool = False
    """Whether it is another one than was shown, or measured by other requirements."""
    gradient: Gradient | None = None
    """What the person wants changed, for the model to do."""
    approved: bool = False
    stopped: bool = False


class ReviewDesk:
    """Asks the reviewer of one run, and does what the answers say.

    Args:
        episode: the run.
        reviewing: who is asked.
        journal: keeps the answers, and has those that came before the run was killed.
    """

    def __init__(self, episode: Episode, reviewing: Reviewing, journal: RunJournal | None = None) -> None:
        self.episode = episode
        self.journal = journal
        self.reviewing = reviewing
        self.approved: dict[str, Step] = {}
        """The steps that were approved, as they were then."""
        self.rejected: dict[str, str] = {}
        """What may not be made real, by id of the trajectory, with the reason."""
        self._waiting: dict[str, bool] = {}
        self._shown: Trajectory | None = None
        self._asked = 0
        self._note = ""

    # ----------------------------------------------------------------------------------------------------- asking

    def consult(
        self,
        candidate: Candidate,
        occasion: Occasion,
        *,
        gradient: Gradient | None = None,
        verdict: Verdict | None = None,
    ) -> Flow[HumanFeedback]:
        """The reviewer's feedback on a candidate; an empty one where nobody is to be asked, or has something to say.

        Raises:
            ReviewAwaited: the answer comes later.
        """
        reviewer, when = self.reviewing.reviewer, self.reviewing.when
        if reviewer is None or is_due(when, occasion) is False or settings.get(UNATTENDED):
            return HumanFeedback()
        review = self._review(candidate, occasion, gradient, verdict)
        if callable(when) and not self._wanted(when, review):
            return HumanFeedback()
        self._shown = candidate.trajectory
        for _ in range(1 + ASKED_AGAIN):
            self._asked += 1
            review = review.model_copy(update={"id": self._id(review), "note": self._note})
            self.episode.emit(events.ReviewEvent(review=review.id, occasion=occasion, trajectory=review.trajectory))
            feedback, wrong = yield from self._kept_answer(reviewer, review)
            if not wrong:
                self._note = ""
                self.episode.emit(events.FeedbackEvent(review=review.id, feedback=feedback))
                return feedback
            self._note = "; ".join(wrong)
            self.episode.emit(events.NoteEvent(message=f"a feedback was not taken: {self._note}"))
        return HumanFeedback()

    def _kept_answer(self, reviewer: Reviewer, review: Review) -> Flow[tuple[HumanFeedback, list[str]]]:
        """What the reviewer says, or had said when this run was made before."""
        if self.journal is None:
            return (yield from self._answer(reviewer, review))
        if (kept := self.journal.finished(ANSWERED, review.id)) is not None:
            return HumanFeedback.model_validate(kept["feedback"]), list(kept["wrong"])
        feedback, wrong = yield from self._answer(reviewer, review)
        self.journal.note(ANSWERED, review.id, {"feedback": feedback.model_dump(mode="json"), "wrong": wrong})
        return feedback, wrong

    def _answer(self, reviewer: Reviewer, review: Review) -> Flow[tuple[HumanFeedback, list[str]]]:
        """What the reviewer says, and what is wrong with it; a reviewer that fails has nothing to say."""
        emit, record = self.episode.emit, self.episode.record
        try:
            with record.ledger.not_counted():
                answer = yield asking(reviewer, review, self.reviewing.timeout)
            feedback = HumanFeedback.of(answer)
            return feedback, [*problems(feedback, review), *self._unusable(feedback)]
        except ReviewAwaited:
            raise
        except ConfigurationError as error:
            return HumanFeedback(), [str(error)]
        except ReviewTimeout:
            emit(events.NoteEvent(message=f"the reviewer did not answer in {self.reviewing.timeout:g} s"))
        except Exception as error:
            message = f"the reviewer failed: {error_text(error)}"
            record.warn(message)
            emit(events.NoteEvent(message=message))
        return HumanFeedback(), []

    def _unusable(self, feedback: HumanFeedback) -> list[str]:
        """What is wrong with the requirements of a feedback, which the environment's checks tell."""
        wrong = []
        for action in feedback.actions:
            if isinstance(action, Require):
                try:
                    normalize_requirements([action.requirement], self.episode.context.toolbox)
                except ConfigurationError as error:
                    wrong.append(str(error))
        return wrong

    def _wanted(self, when: Callable[[Review], bool], review: Review) -> bool:
        """Whether a function of the user's wants this review; it is asked where that fails."""
        try:
            return bool(when(review))
        except Exception as error:
            self.episode.record.warn(f"review= failed, so the reviewer is asked: {error_text(error)}")
            return True

    def _id(self, review: Review) -> str:
        """The same for the same question of a run that is made again, where the changing calls are the same too."""
        context = self.episode.context
        calls = [(call.step, call.args) for call in made_calls(review.execution, context.toolbox)]
        shown = digest(plain([review.trajectory.id, calls, review.outputs], fallback=str))
        return f"{context.root.family.run_id.hex[:12]}-{self._asked}-{shown}"

    def _review(
        self, candidate: Candidate, occasion: Occasion, gradient: Gradient | None, verdict: Verdict | None
    ) -> Review:
        context, inspection = self.episode.context, candidate.inspection
        trajectory, execution = candidate.trajectory, inspection.execution
        changes = None if self._shown is None or self._shown == trajectory else trajectory.diff(self._shown)
        submit = ToolForm(
            signature=f"{SUBMIT}({', '.join(context.outputs)})",
            parameters={name: {} for name in context.outputs},
            required=tuple(context.outputs),
        )
        return Review(
            id="",
            occasion=occasion,
            task=plain(dict(context.inputs), fallback=str),
            trajectory=trajectory,
            execution=execution,
            changes=changes,
            requirements=tuple(
                RequirementStanding(
                    id=finding.requirement,
                    text=context.requirements[finding.requirement].describe(),
                    status=finding.status,
                    evidence=finding.evidence,
                    by_person=context.requirements[finding.requirement].origin in BINDING_ORIGINS,
                )
                for finding in inspection.findings
            ),
            loss=candidate.loss,
            gradient=gradient,
            verdict=verdict,
            pending=() if verdict is None else verdict.pending,
            pinned=tuple(step for step in trajectory.ids if step in context.pinned),
            outputs=plain(dict(execution.outputs), fallback=str),
            tools={**{name: _form(spec) for name, spec in context.toolbox.tools.items()}, SUBMIT: submit},
            environment=execution.state,
        )

    def needs_approval(self, call: MadeCall) -> bool:
        """Whether a call waits for a person's approval. A predicate is asked once for the same call; where it fails,
        the call waits.
        """
        spec = self.episode.context.toolbox.tools[call.tool]
        if not callable(spec.approval):
            return spec.approval
        key = f"{call.tool} {compact_json(call.args)}"
        if key not in self._waiting:
            try:
                self._waiting[key] = bool(spec.approval(dict(call.args)))
                why = "waits for approval" if self._waiting[key] else "needs no approval"
            except Exception as error:
                self._waiting[key], why = True, f"waits for approval, for its predicate failed: {error_text(error)}"
            self.episode.emit(events.NoteEvent(message=f"{truncate(key, CALL_CAP)}: {why}"))
        return self._waiting[key]

    # ----------------------------------------------------------------------------------------------------- acting

    def apply(self, candidate: Candidate, feedback: HumanFeedback) -> Flow[ReviewOutcome]:
        """Do what a feedback says, which fits the review that showed `candidate`."""
        context, before = self.episode.context, candidate
        wanted: list[Comment | Reject] = []
        changed: dict[str, Step] = {}
        required: list[Any] = []
        approved = stopped = False
        for action in feedback.actions:
            if isinstance(action, (Edit, Respond)):
                step = before.trajectory.steps[before.trajectory.index(action.step)]
                changed[action.step] = self._as_wanted(changed.get(action.step, step), action)
            elif isinstance(action, Pin):
                context.pin(before.trajectory, action.steps)
            elif isinstance(action, Require):
                required.append(action.requirement)
            elif isinstance(action, (Comment, Reject)):
                wanted.append(action)
                context.hear(action.message)
                if isinstance(action, Reject):
                    self.rejected[before.trajectory.id] = action.message
            elif isinstance(action, Approve):
                approved = True
                self._approve(action, before)
            elif isinstance(action, Stop):
                stopped = True
        if changed:
            candidate = yield from self._with_steps(before, changed)
        if required:
            self.episode.require(required)
            candidate = yield from self.episode.measure_again(candidate)
        if changed or required:
            self.episode.best = candidate
        gradient = _gradient(wanted, candidate.trajectory) if wanted else None
        return ReviewOutcome(candidate, bool(changed or required), gradient, approved, stopped)

    def _as_wanted(self, step: Step, action: Edit | Respond) -> Step:
        """The step as a person wants it; what was said against it is gone."""
        if isinstance(action, Respond):
            return step.model_copy(update={"result": PersonsResult(value=plain(action.value)), "problem": None})
        args = edited_args(action, step)
        tool = action.tool or step.tool
        return step.model_copy(update={"tool": tool, "args": args, "problem": None, "stopped": None, "result": None})

    def _with_steps(self, before: Candidate, changed: Mapping[str, Step]) -> Flow[Candidate]:
        """The candidate with the steps that a person has written, which are pinned, run and taken, better or not."""
        episode = self.episode
        steps = [changed.get(step.id, step) for step in before.trajectory.steps]
        child = before.trajectory.replace_from(0, steps, operator="person")
        episode.context.pin(child, changed, written=True)
        episode.dialogue.share(child, before.trajectory)
        candidate = yield from episode.inspect(child, before)
        episode.emit(
            events.AcceptEvent(trajectory=candidate.trajectory, loss=candidate.loss, message="written by a person")
        )
        return candidate

    def _approve(self, action: Approve, candidate: Candidate) -> None:
        """Note which calls of a candidate are approved; its other steps are not, whatever becomes of them."""
        names = action.steps or candidate.trajectory.ids
        self.approved |= {step.id: step for step in candidate.trajectory.steps if step.id in names}

    # -------------------------------------------------------------------------------------------------- the end

    def conclude(self, best: Candidate, verdict: Verdict) -> Flow[tuple[Candidate, Verdict]]:
        """Ask about what a search ended with until the reviewer approves, stops or has nothing more to say."""
        episode = self.episode
        while True:
            occasion: Occasion = "plateau" if verdict.status == "unverified" else "before_commit"
            feedback = yield from self.consult(best, occasion, verdict=verdict)
            if not feedback:
                break
            outcome = yield from self.apply(best, feedback)
            best, before = outcome.candidate, best
            if outcome.gradient is not None:
                best = yield from self._rewritten(best, outcome.gradient)
            if best is not before:
                verdict = yield from episode.verify(best)
            if outcome.stopped or outcome.approved or episode.spent():
                break
        return best, self.by_person(best, verdict)

    def _rewritten(self, before: Candidate, gradient: Gradient) -> Flow[Candidate]:
        """What comes of a person's words: the model's new version, where it is accepted."""
        episode = self.episode
        if episode.spent():
            return before
        episode.emit(events.GradientEvent(gradient=gradient, trajectory=before.trajectory))
        try:
            child = yield from episode.evolve(before, gradient)
            if child.id == before.trajectory.id:
                self._note = "the model changed nothing for what you said"
                return before
            candidate = yield from episode.inspect(child, before)
            if candidate.inspection.needs_only_outputs:
                composed = yield from episode.compose(candidate)
                candidate = yield from episode.inspect(composed, candidate)
        except ModelFailed as failure:
            self._note = f"the model failed: {failure}"
            return before
        after = episode.decide(before, candidate, extensions=True)
        if after is before:
            self.note_rejected(candidate)
        return after

    def note_rejected(self, candidate: Candidate) -> None:
        """Tell the person at the next occasion what came of what it asked for."""
        why = "; ".join(shortcomings(candidate.inspection, candidate.judgement)[:3]) or "it was no better"
        self._note = f"what you asked for was tried, and not taken: {why}"

    def by_person(self, best: Candidate, verdict: Verdict) -> Verdict:
        """The verdict with what a person has rejected or approved of this very trajectory."""
        if reason := self.rejected.get(best.trajectory.id):
            refused = f"a person rejected it: {reason}"
            return verdict.model_copy(update={"status": "unverified", "reasons": (refused, *verdict.reasons)})
        held = {step.id for step in best.trajectory.steps if self.approved.get(step.id) == step}
        steps = tuple(step for step in verdict.withheld if step in held)
        return verdict.with_approval(steps)


def _form(spec: ToolSpec) -> ToolForm:
    return ToolForm(
        signature=spec.signature,
        description=spec.details,
        parameters=dict(spec.parameters),
        required=spec.required,
        closed=not spec.open_ended,
    )


def _gradient(wanted: Sequence[Comment | Reject], trajectory: Trajectory) -> Gradient:
    """A person's words as a gradient: from the first step that they name on, or of all steps."""
    locus = min(0 if action.step is None else trajectory.index(action.step) for action in wanted)
    said = [action.message if action.step is None else f"{action.step}: {action.message}" for action in wanted]
    step = trajectory.ids[locus] if locus < len(trajectory) else None
    return Gradient(locus=locus, step=step, kind=COMMENT, diagnosis=" ".join(said), by="person")
