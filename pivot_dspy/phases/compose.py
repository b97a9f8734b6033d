"""Composes the output fields that could not be planned, from what was observed: one call, at the end."""

from __future__ import annotations

import dspy

from pivot_dspy import bindings
from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import RESULTS_ARE_DATA, Phase, RunView, ask
from pivot_dspy.phases.written_steps import unused
from pivot_dspy.plain_json import plain
from pivot_dspy.trajectory import SUBMIT, Step, Trajectory


class ComposeOutputs(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""The tool calls of the task have been made. Word the answer from what they returned and from the \
policy, and claim nothing else.

{RESULTS_ARE_DATA}"""

    policy: str = dspy.InputField(desc="what always holds here")
    requirements: str = dspy.InputField(desc="what must hold, and how it stands")
    observations: str = dspy.InputField(desc="tool calls that were made -> what they returned")
    considerations: str = dspy.OutputField(desc="what the observations say that the answer needs, briefly")


class Compose(Phase):
    """Fills in the missing outputs of a trajectory.

    Called with the `view` of a run; returns a Prediction with `trajectory`, whose submit step has every field.
    """

    asks = ComposeOutputs
    task_after = "policy"
    task_outputs = True

    def run(self, *, view: RunView) -> Flow[dspy.Prediction]:
        execution = view.execution
        planned = [name for name in execution.outputs if name in self.predict.signature.output_fields]
        prediction = yield from ask(
            self.predict,
            None,
            planned,
            **self.prompt(
                view.inputs,
                policy=view.catalogue.policy,
                requirements=view.required(),
                observations=view.observations(),
            ),
        )
        parent = execution.trajectory
        old = parent.submit or Step(id=unused(SUBMIT, parent.ids), tool=SUBMIT)
        worded = [name for name in execution.missing_outputs if name in prediction]
        values = {name: bindings.literal(plain(prediction[name])) for name in worded}
        submit = old.model_copy(update={"args": {**old.args, **values}})
        steps = [submit if step is parent.submit else step for step in parent.steps]
        if parent.submit is None:
            steps.append(submit)
        composed: Trajectory = Trajectory(steps=tuple(steps), parent=parent.id, operator="compose")
        return dspy.Prediction(trajectory=composed)
