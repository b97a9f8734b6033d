"""Steps that read all that fits a requirement, for those that are bound to it.

A model binds a step to a requirement as to an earlier step, `$R2[0].id`. Where the requirement's check tells what fits
(`@check(fits=...)`), a step of the requirement's id reads that before the first step that needs it, so that it is run,
blamed, kept and shown like any other.
"""

from __future__ import annotations

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Step, Trajectory


def with_lookups(trajectory: Trajectory, requirements: Requirements, toolbox: Toolbox) -> Trajectory:
    """`trajectory` with a look-up of each requirement that its steps are bound to, as the requirements now are."""
    lookups = {
        item.id: Step(id=item.id, tool=item.check, args=bindings.literal(item.args))
        for item in requirements.items
        if item.check in toolbox.lookups
    }
    if not lookups:
        return trajectory
    written = [step for step in trajectory.steps if not (step.id in lookups and step.tool in toolbox.lookups)]
    for step in written:
        lookups.pop(step.id, None)  # what the plan calls by this name is what is meant
    names = frozenset((*lookups, *(step.id for step in written)))
    steps: list[Step] = []
    for step in written:
        steps += [lookups.pop(name) for name in step.depends_on(names) if name in lookups]
        steps.append(step)
    if tuple(steps) == trajectory.steps:
        return trajectory
    return Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)
