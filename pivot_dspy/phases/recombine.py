"""Writes a trajectory from several that were run: one with another's strategy, or a new one from all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import STEP_FORM, Phase, RunView, ask
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.prompts.catalogue import TOOLS_ARE
from pivot_dspy.trajectory import Trajectory

_SHOWN = f"""`trajectories` shows them, the best first, each step with what came of it; ids are each trajectory's own. \
`reports` says of each where it ended and what is unmet. {STEP_FORM}
An id that stands in a result or in `reports` may be written as it is."""


class WriteFromRuns(dspy.Signature):  # type: ignore[misc]
    """What both recombinations are shown, and what they write."""

    tools: str = dspy.InputField(desc=TOOLS_ARE)
    policy: str = dspy.InputField(desc="what always holds here")
    known: str = dspy.InputField(desc="already read; no need to call it again")
    trajectories: str = dspy.InputField(desc="one step a line: step -> what came of it")
    reports: str = dspy.InputField()
    summary: str = dspy.OutputField()
    steps: list[Any] = dspy.OutputField()


class TransferStrategy(WriteFromRuns):
    __doc__ = f"""Two trajectories of tool calls were planned for the task and run in a safe copy of the environment. \
The first did better. Write the second again with what makes the first succeed, and keep what only the second does \
right.

{_SHOWN} First say in `summary`, in two or three sentences, what the first does right that the second lacks, and what \
both do wrong; then write `steps`: the whole of the second as it should be, from the first call up to submit."""


class RestructurePool(WriteFromRuns):
    __doc__ = f"""Several trajectories of tool calls were planned for the task and run in a safe copy of the \
environment; none of them is right yet. Write a new one from what they show together.

{_SHOWN} First say in `summary`, in two or three sentences, what worked, what failed and why, and what none of them \
has tried; then write `steps`: the whole of the new trajectory, from the first call up to submit."""


class Recombine(Phase):
    """A recombination of SE-Agent (arXiv 2508.02085) that a model writes.

    Called with what is shown of several `runs` of one task, the best first; returns a Prediction with `summary` and
    `trajectory`, whose parent is the last of the runs.
    """

    task_after = "known"
    operator: ClassVar[str]
    """What the children's trajectories say made them."""

    def run(self, *, runs: Sequence[RunView], config: Mapping[str, Any] | None = None) -> Flow[dspy.Prediction]:
        first, last = runs[0], runs[-1]
        prediction = yield from ask(
            self.predict,
            config,
            **self.prompt(
                first.inputs,
                tools=first.catalogue.tools_brief,
                policy=first.catalogue.policy,
                known=first.catalogue.known,
                trajectories=_number([view.steps() or "none" for view in runs]),
                reports=_number([view.report() for view in runs]),
            ),
        )
        parent = last.execution.trajectory.id
        child = Trajectory(steps=tuple(read_steps(prediction.steps)), parent=parent, operator=self.operator)
        return dspy.Prediction(summary=str(prediction.summary or "").strip(), trajectory=child)


class Transfer(Recombine):
    """Writes the second of two trajectories again with the strategy of the first, the stronger one."""

    asks = TransferStrategy
    operator = "transfer"


class Restructure(Recombine):
    """Writes a new trajectory from what several show together."""

    asks = RestructurePool
    operator = "restructure"


def _number(texts: Sequence[str]) -> str:
    return "\n\n".join(f"Trajectory {number}:\n{text}" for number, text in enumerate(texts, start=1))
