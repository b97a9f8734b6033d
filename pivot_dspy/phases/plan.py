"""PLAN: the whole trajectory, and the requirements that it must meet, in one call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import STEP_FORM, Phase, ask, read_steps
from pivot_dspy.phases.settle import PlanningInput
from pivot_dspy.trajectory import Trajectory


class PlanTrajectory(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Plan all tool calls that carry out the task, up to the submitted answer, before any of them runs.

First write `requirements`: all that must hold in the end, from the request and the policy, and nothing else. Where a \
check can say it: {{"id": "R1", "check": NAME, "args": {{...}}}}; otherwise in words: {{"id": "R2", "text": "..."}}. \
Every run is tested against them.

Then write `steps`, in the order in which they run. {STEP_FORM}
Bind every id or value that only a tool can tell; never make one up. The last step is {{"id": "submit", "tool": \
"submit", "args": {{...}}}} with the answer's fields; leave a field out if it has to be worded after the results are \
known. If later steps cannot be planned before a result is seen, stop there without submit: you will go on from the \
results."""

    tools: str = dspy.InputField(desc="what may be called: parameters (? optional) -> result  [effect]")
    checks: str = dspy.InputField(desc="what requirements can be checked by")
    policy: str = dspy.InputField(desc="what always holds here")
    lessons: str = dspy.InputField(desc="from earlier tasks")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    user_requirements: str = dspy.InputField(desc="given; do not repeat them")
    requirements: list[Any] = dspy.OutputField()
    steps: list[Any] = dspy.OutputField()


class Plan(Phase):
    """Proposes a trajectory and the requirements for it. PIVOT, arXiv 2605.11225, PLAN phase.

    Called with a `planning`; returns a Prediction with `trajectory` and `requirements` (those of the model, compiled).
    """

    asks = PlanTrajectory
    task_after = "user_requirements"

    def run(self, *, planning: PlanningInput, config: Mapping[str, Any] | None = None) -> Flow[dspy.Prediction]:
        written = yield from ask(self.predict, config, tools=planning.catalogue.tools, **planning.fields())
        return dspy.Prediction(
            trajectory=Trajectory(steps=tuple(read_steps(written.steps)), operator="plan"),
            requirements=planning.compile(written.requirements),
        )
