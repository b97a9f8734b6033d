"""What rules and a judge establish of a candidate with which nothing is wrong as far as execution and checks tell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pivot_dspy import claims, coverage
from pivot_dspy.coverage import unasked_call
from pivot_dspy.dspy_internals import AdapterParseError, LMError
from pivot_dspy.environment.session import Session
from pivot_dspy.episode.asking import PhaseCaller, sample_config
from pivot_dspy.episode.call_review import delegated, review_calls
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.context import TaskContext
from pivot_dspy.episode.events import JudgeEvent
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.inspect import Inspection, inspect
from pivot_dspy.phases.judge import Answer, Judgement, Question, QuoteSources, id_of_change, parts_of
from pivot_dspy.phases.verify import Verify
from pivot_dspy.required_calls import made_calls, stands_in
from pivot_dspy.requirements import Amendment, Finding
from pivot_dspy.trajectory import Execution
from pivot_dspy.verdict import Established

NO_FIGURE = 'stands in no result: add "calc", such as "1100.0 + 100.0"'


class Judge:
    """Asks VERIFY's judge for one episode, where rules leave something open.

    Args:
        caller: for its context and its record.
        verify: the phase whose judge it is.
        view: what it is shown of a candidate.
        session_for: a session that stands as the candidate's did after so many of its steps.
    """

    def __init__(
        self,
        caller: PhaseCaller,
        verify: Verify,
        view: Callable[[Candidate], RunView],
        session_for: Callable[[Candidate, int], Session],
    ) -> None:
        self.caller = caller
        self.verify = verify
        self.view = view
        self.session_for = session_for

    @property
    def context(self) -> TaskContext:
        return self.caller.context

    def again(self, candidate: Candidate) -> Flow[Candidate]:
        """Further opinions on what the judge found not to hold: a third where the second is another.

        The majority decides on each question; what was found to hold is not asked again.
        """
        first = candidate.judgement or Judgement()
        doubted, overruling = first.denied, {}
        for rollout in (1, 2):
            if not doubted or self.caller.record.spent():
                return candidate
            questions = [answer.question for answer in doubted]
            answers = yield from self._answers(candidate, questions, first.labels, sample_config(rollout))
            if answers is None:
                return candidate
            doubted = tuple(answer for answer in answers if answer.holds)
            overruling = {answer.question.id: answer for answer in doubted}
        if not overruling:
            return candidate
        answers = [overruling.get(answer.question.id, answer) for answer in first.answers]
        execution = candidate.inspection.execution
        judged = _judgement(first.by_rule, answers, first.labels, first.unnamed, execution)
        return self._with_judgement(candidate, judged)

    def if_needed(self, candidate: Candidate) -> Flow[Candidate]:
        """What can be established of a candidate that was just measured, by no judge, where nothing is wrong with it
        otherwise; a judge is asked about what rules leave open, so that no verdict is paid for in vain.
        """
        if not _is_complete(candidate.inspection):
            return candidate
        context, execution, evaluated = self.context, candidate.inspection.execution, candidate.inspection.findings
        covered = coverage.by_named_calls(context.requirements, made_calls(execution, context.toolbox))
        covered = coverage.by_waiting_checks(covered, context.requirements, candidate.inspection.findings)
        if any(one.serves is None for one in covered):
            with self.caller.record.ledger.phase("verify"):
                trial = coverage.by_execution(
                    covered, candidate.run, context.requirements, candidate.inspection.findings,
                    outputs=context.outputs, session_for=lambda count: self.session_for(candidate, count),
                    permit=self.caller.record.permit,
                )  # fmt: skip
                covered = yield from context.root.family.visiting(trial)
        read = [seen.value for _, seen in self.view(candidate).readings]
        review = review_calls(
            covered, execution, context.requirements, context.toolbox, context.told,
            [*context.orientation, *read], candidate.inspection.findings, context.oriented,
            context.written,
        )  # fmt: skip
        if review.refused:
            return self.measured(candidate, Judgement(unasked=review.refused), evaluated)
        known = [*context.told.values(), context.catalogue.known, *read]
        said = claims.statements(execution, claims.check(execution, context.inputs, known))
        questions = [*self._of_requirements(candidate.inspection.unjudged), *review.questions, *_of_statements(said)]
        questions += map(_of_change, context.requirements.changed_by_word)
        if not questions:
            return replace(candidate, judgement=Judgement(established=review.established))
        answers, problem = None, "the budget ended before a judge was asked"
        if not self.caller.record.spent():
            answers = yield from self._answers(candidate, questions, review.labels)
            problem = "the judge failed"
        if answers is None:
            answers = [Answer(question, None, problem) for question in questions]
        judgement = _judgement(review.established, answers, review.labels, review.unnamed, execution)
        return self._with_judgement(candidate, judgement, evaluated)

    def _of_requirements(self, names: Collection[str]) -> list[Question]:
        items = (item for item in self.context.requirements.items if item.id in names)
        return [Question(item.id, "requirement", item.describe()) for item in items]

    def _answers(
        self, candidate: Candidate, questions: Sequence[Question], calls: str = "", config: Any = None
    ) -> Flow[list[Answer] | None]:
        """What the judge says of each question, asked once more about those of which what it said does not count; None
        where it could not be asked.
        """
        sources = self._sources(candidate)
        answers = yield from self._ask(candidate, questions, sources, calls, config)
        unclear = {answer.question.id: answer for answer in answers or () if answer.holds is None and not answer.waits}
        if answers is None or not unclear or self.caller.record.spent():
            return answers
        questions = [
            question._replace(note="; ".join(filter(None, (question.note, unclear[question.id].evidence))))
            for question in questions
            if question.id in unclear
        ]
        second = yield from self._ask(candidate, questions, sources, calls, config)
        by_id = {answer.question.id: answer for answer in second or () if answer.holds is not None}
        return [by_id.get(answer.question.id, answer) for answer in answers]

    def _ask(
        self, candidate: Candidate, questions: Sequence[Question], sources: QuoteSources, calls: str, config: Any
    ) -> Flow[list[Answer] | None]:
        with self.caller.record.ledger.phase("verify"), self.caller.held_to(self.verify):
            try:
                return (yield from self.verify.judge(self.view(candidate), questions, sources, calls, config))
            except (LMError, AdapterParseError) as error:
                self.caller.record_failure("verify", error)
                return None

    def _sources(self, candidate: Candidate) -> QuoteSources:
        """Where the quotes may stand; what was read too early shows nothing."""
        context, execution = self.context, candidate.inspection.execution
        fresh = candidate.inspection.model_copy(update={"execution": _without_stale(execution)})
        view = self.view(candidate)
        fresh_view = context.view(fresh)._replace(readings=view.readings, looks=view.looks, picked=view.picked)
        values = [seen.value for seen in fresh.execution.observations if seen.ok]
        told = tuple(context.told.values())
        items = context.requirements.items
        return QuoteSources(
            observed=(fresh_view.observations(), *values, context.catalogue.policy, context.catalogue.known),
            trusted=(*told, *delegated(items, context.requirements, execution)),
            answer=claims.text_of(execution.outputs),
            stale=view.observations() if fresh.execution is not execution else "",
        )

    def measured(
        self, candidate: Candidate, judgement: Judgement | None, evaluated: Sequence[Finding] | None = None
    ) -> Candidate:
        """The candidate by the requirements as they now are and by a judgement, or by none.

        Args:
            evaluated: what checks have found by these requirements, where they have been run.
        """
        inspection = inspect(
            candidate.run,
            self.context.requirements,
            {**self.context.inputs, **self.context.told},
            evaluated=evaluated,
            judged=judgement.findings if judgement else (),
            cleared=judgement is not None and bool(judgement.answers),
            unsupported=judgement.unsupported if judgement else (),
            unasked=judgement.unasked if judgement else (),
            weights=self.context.weights,
        )
        return replace(candidate, inspection=inspection, judgement=judgement)

    def _with_judgement(
        self, candidate: Candidate, judgement: Judgement, evaluated: Sequence[Finding] | None = None
    ) -> Candidate:
        judged = self.measured(candidate, judgement, evaluated)
        self.caller.record.emit(JudgeEvent(trajectory=judged.trajectory, loss=judged.loss))
        return judged


def _is_complete(inspection: Inspection) -> bool:
    """Whether nothing is wrong as far as execution and checks tell, so that it is worth while to ask for the rest."""
    execution = inspection.execution
    violated = any(finding.status == "violated" for finding in inspection.findings)
    return not (execution.discrepancies or violated or execution.trajectory.submit is None or execution.missing_outputs)


def _of_change(change: Amendment) -> Question:
    """Whether what an audit quoted bears out what it did to a requirement."""
    before = change.before.describe() if change.before is not None else "nothing"
    after = f"changed to {change.after.describe()!r}" if change.after is not None else "dropped"
    note = f"{before!r} was {after} ({change.reason}); quote what shows that this is right"
    return Question(id_of_change(change.requirement), "requirement", note, note=note)


def _of_statements(statements: Sequence[claims.Statement]) -> list[Question]:
    return [
        Question(
            said.id, "claim", said.text, note=f"{', '.join(said.amounts)} {NO_FIGURE}" if said.amounts else "",
            figures=said.amounts,
        )
        for said in statements
    ]  # fmt: skip


def _read_through(step: str, answers: Sequence[Answer], execution: Execution) -> Established | None:
    """That a change was a way to read what shows that a requirement is met; None where nothing shows it."""
    results = {seen.step: seen.value for seen in execution.observations if seen.ok and not seen.stale}
    own = results.pop(step, None)
    for answer in answers:
        parts = [part for quote in answer.quotes for part in parts_of(quote)]
        if answer.question.kind == "requirement" and any(
            stands_in(part, own) and not any(stands_in(part, other) for other in results.values()) for part in parts
        ):
            evidence = f"what shows that {answer.question.id} is met was read through it"
            return Established(about=f"step {step}", kind="call", by="judge", evidence=evidence)
    return None


def _judgement(
    by_rule: Sequence[Established], answers: Sequence[Answer], labels: str, unnamed: Mapping[str, str],
    execution: Execution,
) -> Judgement:  # fmt: skip
    """What rules and the judge's answers say together; `unnamed` has the tools of changes that no requirement names."""
    # A judge that quotes no request for it may still be right that it was needed; one that says no is not overruled.
    undecided = {answer.question.id for answer in answers if answer.holds is None}
    through = {step: _read_through(step, answers, execution) for step in unnamed.keys() & undecided}
    answers = [answer for answer in answers if through.get(answer.question.id) is None]
    established = [
        Established(
            about=answer.question.about,
            kind=answer.question.kind,
            by="nobody" if answer.holds is None else "judge",
            evidence=answer.evidence,
        )
        for answer in answers
    ]
    denied = [answer for answer in answers if answer.holds is False]
    # What a rule says against a figure stands until somebody shows where it comes from.
    doubtful = [answer for answer in answers if answer.holds is False or answer.question.figures and not answer.holds]
    unasked = tuple(
        unasked_call(answer.question.id, f"nothing asks for {answer.question.text}: {answer.evidence}")
        for answer in denied
        if answer.question.kind == "call"
    )
    return Judgement(
        findings=_findings(answers),
        established=(*by_rule, *filter(None, through.values()), *established),
        unsupported=tuple(_unsupported(answer) for answer in doubtful if answer.question.kind == "claim"),
        unasked=unasked,
        answers=tuple(answers),
        labels=labels,
        unnamed=dict(unnamed),
        waiting=tuple(answer.question.about for answer in answers if answer.waits),
    )


def _unsupported(answer: Answer) -> str:
    return f"{answer.question.text} - {answer.evidence}" if answer.evidence else answer.question.text


def _findings(answers: Sequence[Answer]) -> tuple[Finding, ...]:
    """Of the requirements on which what the judge said counts, or may count once calls that wait have run; the others
    stay unjudged, which counts as violated.
    """
    return tuple(
        Finding(
            requirement=answer.question.id,
            status="pending" if answer.waits else "holds" if answer.holds else "violated",
            evidence=answer.evidence,
        )
        for answer in answers
        if answer.question.kind == "requirement" and (answer.holds is not None or answer.waits)
    )


def _without_stale(execution: Execution) -> Execution:
    stale = {seen.step for seen in execution.observations if seen.stale}
    return coverage.leave_out(execution, stale) if stale else execution
