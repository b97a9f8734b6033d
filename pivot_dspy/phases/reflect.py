"""Puts into words what a failed trial teaches, for whoever plans the task again from scratch."""

from __future__ import annotations

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, RunView, ask


class ReflectOnTrial(dspy.Signature):  # type: ignore[misc]
    """A planned trajectory of tool calls was run in a safe copy of the environment and failed. The task will be planned
    again from scratch, with your reflection at hand, but neither the trajectory nor the report.

    Say briefly what went wrong and what to do otherwise: name the steps, the values and the ids that matter.
    """

    open_steps: str = dspy.InputField(desc="one a line: step -> what came of it")
    report: str = dspy.InputField()
    reflection: str = dspy.OutputField()


class Reflect(Phase):
    """The self-reflection of Reflexion (arXiv 2303.11366).

    Called with the `view` of the trial; returns a Prediction with `reflection`.
    """

    asks = ReflectOnTrial

    def run(self, *, view: RunView) -> Flow[dspy.Prediction]:
        steps = view.steps() or "none"
        prediction = yield from ask(self.predict, **self.prompt(view.inputs, open_steps=steps, report=view.report()))
        return dspy.Prediction(reflection=str(prediction.reflection or "").strip())
