"""EVOLVE: a new suffix from the blamed step on; what stands before it is kept and not run again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.gradient import NEW_TOOL, Gradient
from pivot_dspy.phases.base import (
    LOOK_FORM,
    RESULTS_ARE_DATA,
    STEP_BASICS,
    Phase,
    RunView,
    converse,
    read_looks,
    read_steps,
)
from pivot_dspy.prompts.conversation import EMPTY, Conversation, Reading
from pivot_dspy.prompts.report import render_gradient, render_open_requirements
from pivot_dspy.prompts.steps import render_looks, render_readings, render_steps

NOTHING = "none: add what is missing"


class RewriteSuffix(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""The steps were run in a safe copy of the world: go on from what came of them. Mend what went wrong, \
and add what is missing.

{RESULTS_ARE_DATA}

`kept` stays; of `open_steps`, which follow, {{"keep": ["ID", ...]}} stays too, and what you leave out is dropped. \
First say in `diagnosis`, in a sentence or two, what went wrong or what the results say; then write in `steps` all \
that comes after `kept`, up to {{"id": "submit", "tool": "submit", "args": {{...}}}}. An id that stands in a result or \
in `report` may be written as it is. `requirements` has changes only, as `report` says; [] if all stand.

{STEP_BASICS}

{LOOK_FORM}"""

    tools: str = dspy.InputField(desc="what may be called: parameters (? optional) -> result  [effect]")
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
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
    (expressions that the model asked to see), other `readings` and what was `tried`; returns a Prediction with
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
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        parent = view.execution.trajectory
        locus = gradient.locus
        goes_on = gradient.kind == "missing_submit" and view.only_stops
        report = render_open_requirements(view.requirements) if goes_on else view.report()
        shown = conversation.shown.copy()
        prefix, base = parent.steps[:locus], {step.id: step for step in parent.steps[locus:]}
        questioned = [step.id for step in base.values() if not gradient.questioned or step.id in gradient.questioned]
        unwritten = [name for name in questioned if not conversation.wrote(base[name])]
        render = partial(render_steps, view.execution, environment=view.environment, shown=shown)
        kept = render(parent.ids[:locus], budget=view.budget, in_full=())
        open_steps = render([*base], budget=view.budget.after(kept), in_full=unwritten)
        left = view.budget.after(kept + open_steps)
        written, asked = yield from converse(
            self.predict,
            conversation,
            config,
            tools=view.catalogue.tools if gradient.kind in NEW_TOOL else view.catalogue.tools_brief,
            policy=view.catalogue.policy,
            known=view.catalogue.known,
            kept=kept,
            open_steps=open_steps or ("" if goes_on else NOTHING),
            also_read=render_readings(readings, view.environment, left, shown),
            looks=render_looks(looks, view.execution, left),
            report=report,
            blame="" if goes_on else render_gradient(gradient, told=report),
            tried=tried,
            **view.inputs,
        )
        suffix = read_steps(written.steps, base=base, taken=[step.id for step in prefix])
        operator = "extend" if locus == len(parent) else "evolve"
        return dspy.Prediction(
            trajectory=parent.replace_from(locus, suffix, operator=operator),
            diagnosis=str(written.diagnosis or ""),
            requirements=written.requirements,
            looks=read_looks(written.steps),
            conversation=conversation.continue_with(asked, shown, suffix, readings, looks),
        )

