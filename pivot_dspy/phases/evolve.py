"""EVOLVE: a new suffix from the blamed step on; what stands before it is kept and not run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.gradient import NEW_TOOL, Gradient
from pivot_dspy.phases.base import LOOK_FORM, RESULTS_ARE_DATA, STEP_BASICS, Phase, RunView, converse
from pivot_dspy.phases.written_steps import read_looks, read_steps
from pivot_dspy.prompts.catalogue import TOOLS_ARE
from pivot_dspy.prompts.conversation import EMPTY, Conversation, Reading
from pivot_dspy.prompts.report import render_gradient, render_open_requirements, without_forms
from pivot_dspy.prompts.shown import ShownResults
from pivot_dspy.prompts.steps import render_looks, render_readings, render_steps, values_of

CACHED_PRICE = 0.1
"""What a token costs that a provider serves from its cache of prompts, as a share of one that it does not."""
NOTHING = "none: add what is missing"


class RewriteSuffix(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""The steps were run in a safe copy: mend what went wrong, add what is missing, and go on from the \
results.

{RESULTS_ARE_DATA}

First say in `diagnosis`, in a sentence or two, what went wrong or what the results say. `requirements` has changes \
only, as `report` says; [] if all stand. `kept` stays; `steps` is all that comes after it, up to submit, with \
{{"keep": ["ID", ...]}} for what stays of `open_steps`: the rest of those is dropped. An id that stands in a result or \
in `report` may be written as it is.

{STEP_BASICS}

{LOOK_FORM}"""

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    settled: str = dspy.InputField(desc="requirements in words, and how they stand")
    kept: str = dspy.InputField()
    open_steps: str = dspy.InputField()
    also_read: str = dspy.InputField(desc="by versions that were given up; not to be bound, but true")
    looks: str = dspy.InputField(desc="what you asked to see")
    report: str = dspy.InputField()
    blame: str = dspy.InputField(desc="where the cause seems to lie")
    tried: str = dspy.InputField(desc="what was rejected; do not write it again")
    diagnosis: str = dspy.OutputField()
    requirements: list[Any] = dspy.OutputField()
    steps: list[Any] = dspy.OutputField()


class Evolve(Phase):
    """Rewrites the suffix of a trajectory. PIVOT, arXiv 2605.11225, EVOLVE phase.

    Called with the `view` of a run and the `gradient`, and optionally with the `conversation` to go on after, `looks`
    (expressions that the model asked to see), other `readings`, what was `tried` and the `cached_price`, by which the
    prompt goes on after the conversation or stands alone, whichever costs less; returns a Prediction with
    `trajectory` (the child), `diagnosis`, `requirements` (changes as they were written), `looks` and `conversation`.
    """

    asks = RewriteSuffix
    task_after = "known"

    def run(
        self,
        *,
        view: RunView,
        gradient: Gradient,
        conversation: Conversation = EMPTY,
        looks: Sequence[str] = (),
        readings: Sequence[Reading] = (),
        tried: str = "",
        cached_price: float = CACHED_PRICE,
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        parent, locus = view.execution.trajectory, gradient.locus
        signature = self.predict.signature
        prompts = []
        for before in [conversation, conversation.begun_anew()] if conversation.messages else [conversation]:
            own, shown = _fields(view, gradient, before, looks, readings, tried)
            prompts.append((before, self.prompt(view.inputs, **own), shown))
        before, inputs, shown = min(prompts, key=lambda prompt: prompt[0].cost(signature, prompt[1], cached_price))
        written, asked = yield from converse(self.predict, before, config, **inputs)
        prefix, base = parent.steps[:locus], {step.id: step for step in parent.steps[locus:]}
        suffix = read_steps(written.steps, base=base, taken=[step.id for step in prefix])
        operator = "extend" if locus == len(parent) else "evolve"
        return dspy.Prediction(
            trajectory=parent.replace_from(locus, suffix, operator=operator),
            diagnosis=str(written.diagnosis or ""),
            requirements=written.requirements,
            looks=read_looks(written.steps),
            conversation=before.continue_with(asked, shown, suffix, readings, looks, view.inputs),
        )


def _fields(
    view: RunView,
    gradient: Gradient,
    conversation: Conversation,
    looks: Sequence[str],
    readings: Sequence[Reading],
    tried: str,
) -> tuple[dict[str, Any], ShownResults]:
    """The own input fields of a prompt that goes on after `conversation`, and the results that it then shows."""
    parent, locus = view.execution.trajectory, gradient.locus
    goes_on = gradient.kind == "missing_submit" and view.only_stops
    view = view._replace(pinned=tuple(step for step in view.pinned if step in parent.ids[locus:]))
    report = render_open_requirements(view.requirements) if goes_on and not view.fails_checks else view.report()
    report = without_forms(report, "".join(str(message["content"]) for message in conversation.messages))
    shown = conversation.shown.copy()
    base = parent.steps[locus:]
    unwritten = [
        step.id
        for step in base
        if not conversation.wrote(step) and (not gradient.questioned or step.id in gradient.questioned)
    ]
    render = partial(render_steps, view.execution, environment=view.environment, shown=shown, looks=looks)
    kept = render(parent.ids[:locus], budget=view.budget, in_full=())
    open_steps = render(parent.ids[locus:], budget=view.budget.after(kept), in_full=unwritten)
    left = view.budget.after(kept + open_steps)
    fields = {
        "tools": view.catalogue.tools if gradient.kind in NEW_TOOL else view.catalogue.tools_brief,
        "policy": view.catalogue.policy,
        "known": view.catalogue.known,
        "settled": "" if conversation.messages else view.required(textual=True),
        "kept": kept,
        "open_steps": open_steps or ("" if goes_on else NOTHING),
        "also_read": render_readings(conversation.unread(readings), view.environment, left, shown),
        "looks": render_looks((*conversation.relooks, *looks), values_of(view.execution), left, shown),
        "report": report,
        "blame": "" if goes_on else render_gradient(gradient, told=report),
        "tried": tried,
    }
    return fields, shown
