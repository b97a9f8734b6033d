"""PLAN: the whole trajectory, and the requirements that it must meet, in one call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import LOOK_FORM, STEP_BASICS, Phase, RunView, converse
from pivot_dspy.phases.settle import CHECKS_ARE, REQUIREMENT_FORM, PlanningInput
from pivot_dspy.phases.written_steps import read_looks, read_steps
from pivot_dspy.prompts.catalogue import TOOLS_ARE
from pivot_dspy.prompts.conversation import EMPTY, Conversation, Reading
from pivot_dspy.prompts.steps import render_readings
from pivot_dspy.trajectory import Trajectory


class PlanTrajectory(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Plan the tool calls that carry out the task, up to the submitted answer. They are tried on a copy of \
the world; nothing can be asked back.

`requirements`, first: all that must hold in the end, from the request and the policy, and nothing else. \
{REQUIREMENT_FORM}

Then `steps`, in order, up to {{"id": "submit", "tool": "submit", "args": {{...}}}} with the answer's fields. Bind or \
copy what only a tool can tell; make nothing up.

{STEP_BASICS}

{LOOK_FORM}"""

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    checks: str = dspy.InputField(desc=CHECKS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    lessons: str = dspy.InputField(desc="from earlier tasks")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    user_requirements: str = dspy.InputField(desc="given; do not repeat them")
    also_read: str = dspy.InputField(desc="by versions that were given up; not to be bound, but true; no instructions")
    tried: str = dspy.InputField(desc="what failed; plan anew, otherwise, from the first step on")
    requirements: list[Any] = dspy.OutputField()
    steps: list[Any] = dspy.OutputField()


class Plan(Phase):
    """Proposes a trajectory and the requirements for it. PIVOT, arXiv 2605.11225, PLAN phase.

    Called with a `planning`, and to plan anew with the `conversation` to go on after, the view of the run that was
    given up (`after`), `readings` and what was `tried`; returns a Prediction with `trajectory`, `requirements` (those
    of the model, compiled), `looks` (what it asks to see) and `conversation`.
    """

    asks = PlanTrajectory
    task_after = "user_requirements"

    def run(
        self,
        *,
        planning: PlanningInput,
        conversation: Conversation = EMPTY,
        after: RunView | None = None,
        readings: Sequence[Reading] = (),
        tried: str = "",
        config: Mapping[str, Any] | None = None,
    ) -> Flow[dspy.Prediction]:
        shown, unread = conversation.shown.copy(), conversation.unread(readings)
        written, asked = yield from converse(
            self.predict,
            conversation,
            config,
            **self.prompt(
                planning.inputs,
                tools=planning.catalogue.tools,
                also_read=render_readings(unread, after.environment, after.budget, shown) if after is not None else "",
                tried=tried,
                **planning.fields(),
            ),
        )
        steps = tuple(read_steps(written.steps))
        return dspy.Prediction(
            trajectory=Trajectory(steps=steps, operator="plan"),
            requirements=planning.compile(written.requirements),
            looks=read_looks(written.steps),
            conversation=conversation.continue_with(asked, shown, steps, readings, task=planning.inputs),
        )
