"""EVOLVE: a new suffix from the blamed step on; what stands before it is kept and not run again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.gradient import Gradient
from pivot_dspy.phases.base import STEP_BASICS, Phase, RunView, ask, read_steps
from pivot_dspy.prompts.report import render_gradient, render_kept_steps
from pivot_dspy.trajectory import Trajectory

NOTHING = "none: add what is missing"


class RewriteSuffix(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""A planned trajectory of tool calls was run in a safe copy of the environment. Repair it from the \
blamed step on.

`kept` stays as it is; its results can be bound. `open_steps` follow it, each with what came of it; nothing is known \
against those without arguments. Write {{"keep": ["ID", ...]}} for steps that stay; what you leave out is dropped, and \
what is missing may be put before or between. {STEP_BASICS}
An id that stands in a result or in `report` may be written as it is. First say in `diagnosis`, in a sentence or \
two, what went wrong and what will mend it; then write `steps`, all that follow the kept ones, up to submit."""

    tools: str = dspy.InputField(desc="what may be called: parameters (? optional) -> result  [effect]")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    kept: str = dspy.InputField()
    open_steps: str = dspy.InputField()
    report: str = dspy.InputField()
    blame: str = dspy.InputField(desc="where the cause seems to lie")
    diagnosis: str = dspy.OutputField()
    steps: list[Any] = dspy.OutputField()


class Evolve(Phase):
    """Rewrites the suffix of a trajectory. PIVOT, arXiv 2605.11225, EVOLVE phase.

    Called with the `view` of a run and the `gradient`; returns a Prediction with `trajectory` (the child) and
    `diagnosis`.
    """

    asks = RewriteSuffix
    task_after = "known"

    def run(
        self, *, view: RunView, gradient: Gradient, config: Mapping[str, Any] | None = None
    ) -> Flow[dspy.Prediction]:
        parent = view.execution.trajectory
        locus = gradient.locus
        report = view.report()
        written = yield from ask(
            self.predict,
            config,
            tools=view.catalogue.tools_brief,
            known=view.catalogue.known,
            kept=render_kept_steps(view.execution, locus, view.environment),
            open_steps=view.steps(locus, gradient.questioned) or NOTHING,
            report=report,
            blame=render_gradient(gradient, told=report),
            **view.inputs,
        )
        prefix = parent.steps[:locus]
        base = {step.id: step for step in parent.steps[locus:]}
        suffix = read_steps(written.steps, base=base, taken=[step.id for step in prefix])
        operator = "extend" if locus == len(parent) else "evolve"
        child: Trajectory = parent.replace_from(locus, suffix, operator=operator)
        return dspy.Prediction(trajectory=child, diagnosis=str(written.diagnosis or ""))
