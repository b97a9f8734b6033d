"""Puts into words what a failed trial teaches, for whoever plans the task again from scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy import digest
from pivot_dspy._drive import Steps
from pivot_dspy.environment.base import Environment
from pivot_dspy.phases.base import Phase, ask, with_task
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution


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

    Called with `inputs`, `execution`, `environment`, `requirements` and `findings`; returns a Prediction with
    `reflection`.
    """

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.predict = dspy.Predict(with_task(ReflectOnTrial, signature))

    def run(  # type: ignore[override]
        self,
        *,
        inputs: Mapping[str, Any],
        execution: Execution,
        environment: Environment,
        requirements: Requirements,
        findings: tuple[Finding, ...],
    ) -> Steps[dspy.Prediction]:
        said = yield from ask(
            self.predict,
            open_steps=digest.open_steps(execution, 0, environment) or "none",
            report=digest.report(execution, requirements, findings),
            **inputs,
        )
        return dspy.Prediction(reflection=str(said.reflection or "").strip())
