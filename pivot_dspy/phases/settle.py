"""Requirements apart from planning: for a trajectory that is given, and an optional audit of settled ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import dspy

from pivot_dspy.blame.standing import tokens
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import RESULTS_ARE_DATA, Phase, RunView, ask
from pivot_dspy.prompts.catalogue import TOOLS_ARE, Catalogue
from pivot_dspy.required_calls import not_told, stands_in
from pivot_dspy.requirements import AUDIT, BINDING_ORIGINS, Requirement, Requirements, compile_drafts

CHECKS_ARE = 'what says a requirement instead of words or a call: {"id": "R1", "check": NAME, "args": {...}}'
"""How `checks` are described, where there are any."""
REQUIREMENT_FORM = """\
Each is {"id": "R1", "text": "..."}. A change that the request asks for is one of its own, with "call": {"tool": NAME, \
"args": {...}}: the arguments that the request fixes, "?" for what must be read first, nothing for what is free, such \
as a wording. If instead words of a result are to be followed: "delegates": "$b[?subject=='X'].body"."""
"""How a requirement is written."""


class PlanningInput(NamedTuple):
    """A task before anything of it is planned.

    Attributes:
        inputs: the task's input fields.
        given: requirements that stand already.
        lessons: from earlier tasks and attempts, as a prompt tells them.
    """

    inputs: Mapping[str, Any]
    catalogue: Catalogue
    toolbox: Toolbox
    given: tuple[Requirement, ...] = ()
    lessons: str = ""

    def fields(self) -> dict[str, Any]:
        """The input fields that the prompts of PLAN and SETTLE share, beside the task's."""
        return {
            "checks": self.catalogue.checks,
            "policy": self.catalogue.policy,
            "lessons": self.lessons,
            "known": self.catalogue.known,
            "user_requirements": "\n".join(item.to_prompt() for item in self.given if self._is_told(item)),
        }

    def _is_told(self, item: Requirement) -> bool:
        """Whether a planner is told of it: the policy says what a check demands that is not listed."""
        spec = self.toolbox.checks.get(item.check or "")
        return spec is None or spec.listed

    def compile(self, drafts: Any) -> tuple[Requirement, ...]:
        """The requirements that a model wrote, with names that none of the given ones has."""
        compiled: tuple[Requirement, ...] = compile_drafts(drafts, self.toolbox, taken=self.given)
        return compiled


class SettleRequirements(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Write down all that must hold once the task is carried out, from the request and the policy, and \
nothing else.

{REQUIREMENT_FORM}"""

    checks: str = dspy.InputField(desc=CHECKS_ARE)
    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    lessons: str = dspy.InputField(desc="from earlier tasks")
    known: str = dspy.InputField(desc="already read")
    user_requirements: str = dspy.InputField(desc="given; do not repeat them")
    requirements: list[Any] = dspy.OutputField()


class AuditRequirements(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Compare the requirements with the request and the policy, word by word: what is missing, what was \
misread? What was written before anything was read can be put right by what `observations` show.

{RESULTS_ARE_DATA}

`changes` lists only what has to change: {{"id": ID, "reason": "...", "quote": "...", "check": NAME, "args": {{...}}}} \
or {{"id": ID, "reason": "...", "quote": "...", "text": "..."}} for a new or corrected one, {{"id": ID, "reason": \
"...", "quote": "...", "drop": true}} for one that cannot be asked for. `quote` copies the words of the request or the \
policy that say so, of `observations` for one to drop: a rule looks it up. Empty if all is well."""

    checks: str = dspy.InputField(desc="what requirements can be checked by")
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read")
    observations: str = dspy.InputField(desc="tool calls that were made -> what they returned")
    requirements: str = dspy.InputField(desc="as settled now")
    changes: list[Any] = dspy.OutputField()


class Settle(Phase):
    """Requirements for a trajectory that the caller brings.

    Called with a `planning`; returns a Prediction with `requirements`, compiled.
    """

    asks = SettleRequirements
    task_after = "user_requirements"

    def run(self, *, planning: PlanningInput) -> Flow[dspy.Prediction]:
        told = self.prompt(planning.inputs, tools=planning.catalogue.tools_brief, **planning.fields())
        prediction = yield from ask(self.predict, **told)
        return dspy.Prediction(requirements=planning.compile(prediction.requirements))


class Audit(Phase):
    """One call that looks for missing or misread requirements.

    Called with `inputs`, `catalogue`, `toolbox`, the settled `requirements` and optionally the `view` of a run, which
    tells what was read and which of them cannot be checked as they are written; returns a Prediction with amended
    `requirements`.
    What a user or a reviewer asked for is never altered.
    """

    asks = AuditRequirements
    task_after = "known"

    def run(
        self,
        *,
        inputs: Mapping[str, Any],
        catalogue: Catalogue,
        toolbox: Toolbox,
        requirements: Requirements,
        view: RunView | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        findings = () if view is None else view.findings
        broken = {finding.requirement: finding.evidence for finding in findings if finding.uncheckable}
        lines = [" - ".join(filter(None, (_line(item), broken.get(item.id)))) for item in requirements.items]
        prediction = yield from ask(
            self.predict,
            config,
            **self.prompt(
                inputs,
                checks=catalogue.checks,
                policy=catalogue.policy,
                known=catalogue.known,
                observations=view.observations() if view is not None and requirements.textual else "",
                requirements="\n".join(lines) or "none",
            ),
        )
        changes = prediction.changes if isinstance(prediction.changes, list) else []
        told = [*map(str, inputs.values()), catalogue.policy]
        for change in changes:
            if isinstance(change, Mapping):
                evidence = _evidence(change, broken, told, "" if view is None else view.observations())
                requirements = _amend(requirements, change, toolbox, evidence, told)
        return dspy.Prediction(requirements=requirements)


def _line(item: Requirement) -> str:
    stays = " (given; it stays)" if item.origin in BINDING_ORIGINS else ""
    learned = " (learned from earlier tasks)" if item.origin == "lesson" else ""
    return f"{item.to_prompt()}{stays}{learned}"


def _evidence(change: Mapping[str, Any], broken: Mapping[str, str], told: Sequence[str], observed: str) -> str:
    """What bears a change out, by rule: that the requirement's check fails as it is written, or a quote that stands in
    what was told, or, for one that is dropped, in what was seen. Empty where nothing does.
    """
    quote = str(change.get("quote") or "").strip()
    sources = [observed] if change.get("drop") is True else told
    stands = bool(quote) and any(stands_in(quote, source) for source in sources)
    return broken.get(str(change.get("id"))) or (quote if stands else "")


def _amend(
    requirements: Requirements, change: Mapping[str, Any], toolbox: Toolbox, evidence: str, told: Sequence[str]
) -> Requirements:
    reason = str(change.get("reason") or "").strip()
    if not evidence:
        return requirements
    before = next((item for item in requirements.items if item.id == change.get("id")), None)
    if not reason or (before is not None and before.origin in BINDING_ORIGINS):
        return requirements
    if change.get("drop") is True:
        if before is None:
            return requirements
        return requirements.amend(before.id, None, reason=reason, by=AUDIT, evidence=evidence)
    draft = {key: value for key, value in change.items() if key not in ("reason", "quote")}
    taken = [item for item in requirements.items if item is not before]
    compiled: tuple[Requirement, ...] = compile_drafts([draft], toolbox, taken=taken)
    for item in compiled:
        if item.call is not None and not_told(item.call, tokens(told)):
            continue  # what was read must not say what is asked for
        if before is not None and item.check is None and item.call is None:  # reworded: it asks for the same call
            item = item.model_copy(update={"call": before.call, "delegates": item.delegates or before.delegates})
        requirements = requirements.amend(item.id, item, reason=reason, by=AUDIT, evidence=evidence)
    return requirements
