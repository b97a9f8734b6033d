"""VERIFY: the whole trajectory run again from the start, every requirement, and the answer against what was seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy import claims, evaluation
from pivot_dspy.departures import Foreseen
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, RunView, ask, is_spent
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.phases.judge import Answer, JudgeAnswer, Judgement, Question, QuoteSources, id_of_change, read_answers
from pivot_dspy.phases.written_steps import read_looks
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.report import render_questions
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.required_calls import MadeCall, made_calls
from pivot_dspy.requirements import Requirements
from pivot_dspy.supervision import Permit, allow
from pivot_dspy.trajectory import Execution
from pivot_dspy.verdict import APPROVAL_REASON, Established, PendingCall, Status, Verdict


class Verify(Phase):
    """Checks a trajectory as a whole. PIVOT, arXiv 2605.11225, VERIFY phase.

    Called with `inspection`, what was judged of it, `requirements`, `toolbox`, a fresh `session` and `outputs`: runs
    the trajectory again from the start and returns a Prediction with the `verdict`. `judge` decides what only a model
    can, in one call.
    """

    asks = JudgeAnswer
    task_after = "policy"

    def run(
        self,
        *,
        inspection: Inspection,
        requirements: Requirements,
        toolbox: Toolbox,
        session: Session | None,
        outputs: Mapping[str, Any],
        judgement: Judgement | None = None,
        permit: Permit = allow,
        needs_approval: Callable[[MadeCall], bool] = lambda call: False,
    ) -> Flow[dspy.Prediction]:
        reasons = shortcomings(inspection, judgement)
        execution = inspection.execution
        departed: str | None = None
        if session is not None and not reasons:
            again = yield from execute(execution.trajectory, session, outputs=outputs, permit=permit, copies=False)
            if again.reach is not None:
                reasons.append("the budget ended before it could be run again from the start")
                calls = _waiting(execution, toolbox, needs_approval)
                return dspy.Prediction(verdict=_verdict(inspection, requirements, judgement, calls, reasons))
            foreseen = Foreseen(execution, toolbox, [finding.evidence for finding in inspection.findings])
            departures = ((seen.step, foreseen.departure(seen)) for seen in again.execution.observations)
            departure: str | None
            departed, departure = next((found for found in departures if found[1]), (None, None))
            if departed is None and foreseen.tolerated:
                departure = _missed(requirements, inspection, again)
                departed = departure and foreseen.execution.trajectory.ids[-1]
            if departure:
                reasons.append(f"run again from the start, it went another way: {departure}")
        calls = _waiting(execution, toolbox, needs_approval)
        return dspy.Prediction(verdict=_verdict(inspection, requirements, judgement, calls, reasons, departed))

    def judge(
        self,
        view: RunView,
        questions: Sequence[Question],
        sources: QuoteSources,
        calls: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> Flow[list[Answer]]:
        """One call that judges all that rules leave open; a second one where the judge asks to see more of a result.

        Args:
            sources: where the quotes may stand.
            calls: where the values of the changing calls come from, by rule.
        """
        asked = {question.id for question in questions if question.kind == "requirement"}
        told = {
            "policy": view.catalogue.policy,
            "requirements": "\n".join(item.to_prompt() for item in view.requirements.items if item.id in asked),
            "calls": calls,
            "submitted": _numbered(view),
            "questions": render_questions((question.id, question.note) for question in questions),
        }
        prompt = self.prompt(view.inputs, observations=view.observations(), **told)
        prediction = yield from ask(self.predict, config, **prompt)
        if (looks := read_looks(prediction.verdicts)) and not is_spent():
            view = view._replace(looks=(*view.looks, *looks))
            prompt = self.prompt(view.inputs, observations=view.observations(), **told)
            prediction = yield from ask(self.predict, config, **prompt)
        return read_answers(prediction.verdicts, questions, sources)


def _numbered(view: RunView) -> str:
    """The answer, each statement of which that was written out begins with its name."""
    outputs, written = view.execution.outputs, claims.check(view.execution, view.inputs)
    lines = [f"{said.id} {said.text}" for said in claims.statements(view.execution, written)]
    bound = {name: value for name, value in outputs.items() if name not in written.written}
    return "\n".join([*lines, *([compact_json(plain(bound))] if bound else [])])


def _missed(settled: Requirements, inspection: Inspection, again: ExecutedRun) -> str | None:
    """The first requirement that held in the first run and does not in the second, in words."""
    held = {finding.requirement for finding in inspection.findings if finding.holds}
    findings = evaluation.evaluate(settled, again.execution, again.session)
    missed = (finding for finding in findings if finding.requirement in held and finding.status == "violated")
    return next((f"requirement {finding.requirement} is not met: {finding.evidence}" for finding in missed), None)


def _verdict(
    inspection: Inspection, requirements: Requirements, judgement: Judgement | None,
    pending: tuple[PendingCall, ...], reasons: Sequence[str], departed: str | None = None,
) -> Verdict:  # fmt: skip
    """The verdict: `reasons` stand against any success, and what could not be established beside them."""
    execution = inspection.execution
    judgement = judgement or Judgement()
    against = [*reasons, *_of_requirements(requirements, judgement)]
    stale = [seen.step for seen in execution.observations if seen.stale]
    held = [step.id for step in execution.trajectory.steps if step.id in execution.withheld and not step.is_submit]
    waits = [
        f"requirement {finding.requirement} can only be checked when {' and '.join(held)} has run: "
        f"{finding.evidence}".rstrip(": ")
        for finding in inspection.findings
        if finding.status == "pending"
    ]
    for entry in judgement.open:
        if entry.kind == "requirement":
            continue  # it counts as violated, which is said
        unknown = f"{entry.about}: {entry.evidence}"
        (waits if entry.about in judgement.waiting else against).append(unknown)
    if stale:
        waits = [f"{reason} ({', '.join(stale)} was read before {execution.withheld[0]} runs)" for reason in waits]
    waits += _read_too_early(execution)
    if waits:
        waits.append("a preview of what waits would show before commit what comes of it")
    established = (*_by_checks(inspection, requirements), *judgement.established)
    waits += [f"step {call.step}, {call.tool}, {APPROVAL_REASON}" for call in pending if call.approval]
    status: Status = "checked"
    if against:
        status = "unverified"
    elif waits:
        status = "provisional"
    elif any(entry.by == "judge" for entry in established):
        status = "judged"
    return Verdict(
        status=status, reasons=tuple(against or waits), established=established, pending=pending, departed=departed
    )


def _waiting(
    execution: Execution, toolbox: Toolbox, needs_approval: Callable[[MadeCall], bool]
) -> tuple[PendingCall, ...]:
    """The calls that wait for commit, since they could not be tried or need a person's approval."""
    made = ((call, needs_approval(call)) for call in made_calls(execution, toolbox))
    return tuple(
        PendingCall(step=call.step, tool=call.tool, args=dict(call.args), approval=approval)
        for call, approval in made
        if call.waits or approval
    )


def _read_too_early(execution: Execution) -> list[str]:
    """What rests on results that were read before a call that waits has run, or on what such a call will give."""
    stale, reasons = {seen.step for seen in execution.observations if seen.stale}, []
    rests: dict[str, str] = {}
    for step in execution.trajectory.steps:
        early = [name for name in step.depends_on(execution.by_step) if name in {*stale, *rests}]
        if not early:
            continue
        on = rests.get(early[0], early[0])
        rests[step.id] = on
        if step.is_submit or execution.by_step[step.id].status == "withheld":
            what = "the answer" if step.is_submit else f"step {step.id}"
            reasons.append(f"{what} rests on {on}, which was read before {execution.withheld[0]} runs")
    for step in execution.trajectory.steps:
        waiting = [name for name in step.depends_on(execution.by_step) if name in execution.withheld]
        if waiting and step.id in execution.withheld:
            what = "the answer" if step.is_submit else f"what step {step.id} is called with"
            reasons.append(f"{what} is known only when {waiting[0]} has run")
    return reasons


def _of_requirements(requirements: Requirements, judgement: Judgement | None) -> list[str]:
    """What stands against any success by these requirements, whatever was done."""
    if not requirements.items:
        return ["no requirement says what has to hold: pass requirements=[...]"]
    answers = judgement.answers if judgement is not None else ()
    upheld = {answer.question.id for answer in answers if answer.holds}
    doubtful = [change for change in requirements.changed_by_word if id_of_change(change.requirement) not in upheld]
    return [
        f"requirement {change.requirement} was {'dropped' if change.after is None else 'changed'} by {change.by} "
        f"without evidence: {change.reason}"
        for change in requirements.amendments
        if change.is_unfounded or change in doubtful
    ]


def _by_checks(inspection: Inspection, requirements: Requirements) -> list[Established]:
    """How the requirements stand that execution decides, or the rule that looks for their call."""
    decided = {item.id: item for item in requirements.items if item.executable or item.says_only_its_call}
    return [
        Established(
            about=finding.requirement,
            kind="requirement",
            by="nobody" if not finding.holds else "check" if decided[finding.requirement].executable else "rule",
            evidence=finding.evidence,
        )
        for finding in inspection.findings
        if finding.requirement in decided
    ]


def shortcomings(inspection: Inspection, judgement: Judgement | None = None) -> list[str]:
    """Everything that stands against success on what is known, one sentence each."""
    reasons = []
    unclear = {entry.about: entry.evidence for entry in judgement.open} if judgement is not None else {}
    execution = inspection.execution
    for discrepancy in execution.discrepancies:
        reasons.append(f"step {discrepancy.step}: {discrepancy.kind}: {discrepancy.message}")
    if execution.trajectory.submit is None:
        reasons.append("nothing was submitted")
    elif execution.missing_outputs:
        reasons.append(f"the answer lacks {', '.join(execution.missing_outputs)}")
    for finding in inspection.findings:
        if finding.status == "violated":
            reasons.append(f"requirement {finding.requirement} is not met: {finding.evidence}".rstrip(": "))
        elif finding.status == "unjudged":
            why = unclear.get(finding.requirement, "")
            reasons.append(f"requirement {finding.requirement} could not be judged: {why}".rstrip(": "))
    reasons += [f"step {found.step}: {found.message}" for found in inspection.unasked]
    reasons += [claim.message for claim in inspection.claims.unsupported]
    if not reasons and not inspection.loss.perfect:
        reasons.append(f"the loss is {inspection.loss.total:.4f}")
    return reasons
