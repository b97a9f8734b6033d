"""VERIFY: the whole trajectory run again from the start, every requirement, and the answer against what was seen."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

import dspy

from pivot_dspy import requirements as requirement_rules
from pivot_dspy.departures import Foreseen
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.execution import ExecutedRun, Permit, allow, execute
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import RESULTS_ARE_DATA, Phase, RunView, ask
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.plain_json import plain
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.required_calls import made_calls
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Frozen
from pivot_dspy.verdict import PendingCall, Verdict


class JudgeAnswer(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Judge as a stranger would, from the results and the calls alone.

{RESULTS_ARE_DATA} A call that waits for commit runs after your verdict exactly as it stands, and counts as done.

`verdicts`: for each requirement {{"id": ID, "evidence": a short quote from the results, the calls or the answer, \
"holds": true or false}}; what they do not show does not hold. `unsupported`: what the answer claims and nothing \
shows; [] if there is nothing."""

    policy: str = dspy.InputField(desc="what always holds here")
    requirements: str = dspy.InputField()
    observations: str = dspy.InputField(desc="tool calls that were made, in order -> what they returned")
    submitted: str = dspy.InputField(desc="the answer")
    verdicts: list[Any] = dspy.OutputField()
    unsupported: list[str] = dspy.OutputField()


class Judgement(Frozen):
    """What the judge said: a finding for each textual requirement, and the unsupported claims."""

    findings: tuple[Finding, ...] = ()
    unsupported: tuple[str, ...] = ()


class Verify(Phase):
    """Checks a trajectory as a whole. PIVOT, arXiv 2605.11225, VERIFY phase.

    Called with `inspection`, `requirements`, a fresh `session` and `outputs`: runs the trajectory again from the start
    and returns a Prediction with the `verdict`. `judge` decides what only a model can, in one call.
    """

    asks = JudgeAnswer
    task_after = "policy"

    def run(
        self,
        *,
        inspection: Inspection,
        requirements: Requirements,
        session: Session | None,
        outputs: Mapping[str, Any],
        permit: Permit = allow,
    ) -> Flow[dspy.Prediction]:
        reasons = shortcomings(inspection)
        execution = inspection.execution
        departed: str | None = None
        if session is not None and not reasons:
            again = yield from execute(execution.trajectory, session, outputs=outputs, permit=permit, copies=False)
            if again.reach is not None:
                reasons.append("the budget ended before it could be run again from the start")
                return dspy.Prediction(verdict=Verdict(status="unverified", reasons=tuple(reasons)))
            foreseen = Foreseen(execution, session.toolbox, [finding.evidence for finding in inspection.findings])
            departures = ((seen.step, foreseen.departure(seen)) for seen in again.execution.observations)
            departure: str | None
            departed, departure = next((found for found in departures if found[1]), (None, None))
            if departed is None and foreseen.tolerated:
                departure = _missed(requirements, inspection, again)
                departed = departure and foreseen.execution.trajectory.ids[-1]
            if departure:
                reasons.append(f"run again from the start, it went another way: {departure}")
        verdict = Verdict(
            status="unverified" if reasons else "judged",
            reasons=tuple(reasons),
            departed=departed,
            pending=_pending(execution, session.toolbox) if session is not None else (),
        )
        return dspy.Prediction(verdict=verdict)

    def judge(
        self, view: RunView, only: Collection[str] | None = None, config: Mapping[str, Any] | None = None
    ) -> Flow[Judgement]:
        """One call that judges all textual requirements, or `only` some, and the claims of the answer together."""
        textual = [item for item in view.requirements.textual if only is None or item.id in only]
        prediction = yield from ask(
            self.predict,
            config,
            policy=view.catalogue.policy,
            requirements="\n".join(item.to_prompt() for item in textual) or "none",
            observations=view.observations(),
            submitted=compact_json(plain(view.execution.outputs)),
            **view.inputs,
        )
        verdicts = prediction.verdicts if isinstance(prediction.verdicts, list) else []
        by_id = {str(entry.get("id")): entry for entry in verdicts if isinstance(entry, dict)}
        findings = []
        for item in textual:
            entry = by_id.get(item.id)
            if entry is None:
                continue  # stays unjudged, which counts as violated
            status: Literal["holds", "violated"] = "holds" if entry.get("holds") is True else "violated"
            findings.append(Finding(requirement=item.id, status=status, evidence=str(entry.get("evidence") or "")))
        claims = prediction.unsupported if isinstance(prediction.unsupported, list) else []
        return Judgement(findings=tuple(findings), unsupported=tuple(str(claim) for claim in claims if claim))


def _pending(execution: Execution, toolbox: Toolbox) -> tuple[PendingCall, ...]:
    calls = (call for call in made_calls(execution, toolbox) if call.step in execution.withheld)
    return tuple(PendingCall(step=call.step, tool=call.tool, args=dict(call.args)) for call in calls)


def _missed(settled: Requirements, inspection: Inspection, again: ExecutedRun) -> str | None:
    """The first requirement that held in the first run and does not in the second, in words."""
    held = {finding.requirement for finding in inspection.findings if finding.holds}
    findings = requirement_rules.evaluate(settled, again.execution, again.session)
    missed = (finding for finding in findings if finding.requirement in held and finding.status == "violated")
    return next((f"requirement {finding.requirement} is not met: {finding.evidence}" for finding in missed), None)


def shortcomings(inspection: Inspection) -> list[str]:
    """Everything that stands against success on what is known, one sentence each."""
    reasons = []
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
            reasons.append(f"requirement {finding.requirement} could not be judged")
    reasons += [claim.message for claim in inspection.claims.unsupported]
    if not reasons and not inspection.loss.perfect:
        reasons.append(f"the loss is {inspection.loss.total:.4f}")
    return reasons
