"""Repairs: rewrites that were accepted and lowered the loss, read from the events of a run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pivot_dspy.episode.events import Event
from pivot_dspy.gradient import Gradient
from pivot_dspy.learning.edits import StepEdit, added, edits
from pivot_dspy.loss import Loss
from pivot_dspy.trajectory import Execution, Trajectory


class Repair(NamedTuple):
    """A trajectory that failed, what was said of it, and the one that took its place at a lower loss.

    Attributes:
        gradient: the last blame before the rewrite; None where it was criticised in words only.
        said: what a model said of the failure in words.
        drop: by how much the total loss fell, above 0.
    """

    before: Execution
    after: Execution
    gradient: Gradient | None
    said: str
    drop: float

    @property
    def by_rule(self) -> bool:
        """Whether a rule told what was to blame."""
        return self.gradient is not None and self.gradient.by != "model" and self.gradient.kind != "unexplained"

    def changes(self) -> tuple[StepEdit, ...]:
        """What was changed, as far as it can be put into words for any task; each once."""
        before, after = self.before.trajectory, self.after.trajectory
        ids = {*before.ids, *after.ids}
        tools = {step.id: step.tool for step in (*before.steps, *after.steps)}
        difference = after.diff(before)
        found: list[StepEdit] = []
        for change in difference.changed:
            position = after.index(change.after.id)
            found += [one._replace(position=position) for one in edits(change.before, change.after, ids, tools)]
        known = {step.tool for step in before.steps}
        for step in difference.added:
            if step.tool not in known and not step.is_submit:
                position = after.index(step.id)
                following = next((one.tool for one in after.steps[position + 1 :] if one.tool in known), None)
                found.append(added(step, following)._replace(position=position))
        return tuple(found)


def repairs(history: tuple[Event, ...]) -> Iterator[Repair]:
    """The repairs of a run, in order. A plan that merely goes on where it had stopped is none."""
    executions: dict[str, Execution] = {}
    current: tuple[Trajectory, Loss] | None = None
    gradient: Gradient | None = None
    said: list[str] = []
    for event in history:
        if event.kind == "inspect":
            executions[event.trajectory.id] = event.execution
        elif event.kind == "gradient":
            gradient, said = event.gradient, []
        elif event.kind == "critique" or event.kind == "reflect":
            gradient, said = None, [event.diagnosis] if event.diagnosis else []
        elif (event.kind == "evolve" or event.kind == "rewrite") and event.diagnosis:
            said.append(event.diagnosis)
        elif event.kind == "accept":
            if current is not None and (gradient is not None or said):
                before, after = executions.get(current[0].id), executions.get(event.trajectory.id)
                lower = event.loss.better_than(current[1]) and event.trajectory.id != current[0].id
                if lower and before is not None and after is not None and event.trajectory.operator != "extend":
                    drop = current[1].total - event.loss.total
                    yield Repair(before, after, gradient, "\n".join(said), drop)
            current, gradient, said = (event.trajectory, event.loss), None, []
