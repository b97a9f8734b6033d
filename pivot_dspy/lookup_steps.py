"""Steps that read all that fits a requirement, for those that are bound to it.

A model binds a step to a requirement as to an earlier step, `$R2[0].id`. Where the requirement's check tells what fits
(`@check(fits=...)`), a step of the requirement's id reads that before the first step that needs it, so that it is run,
blamed, kept and shown like any other.
"""

from __future__ import annotations

from collections.abc import Sequence

from pivot_dspy import bindings
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Step, Trajectory


def with_lookups(
    trajectory: Trajectory, requirements: Requirements, toolbox: Toolbox, looks: Sequence[str] = ()
) -> Trajectory:
    """`trajectory` with a look-up of each requirement that its steps are bound to, as the requirements now are.

    Args:
        looks: expressions that the model asks to see; what they name is looked up too.
    """
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
    kept = [step.id for step in trajectory.steps if step.id in lookups]  # it was asked to see before
    seen = (*kept, *(name for look in looks for name in bindings.references(look)))
    steps: list[Step] = []
    for step in written:
        wanted = step.depends_on(names) if not step.is_submit else (*step.depends_on(names), *seen)
        steps += [lookups.pop(name) for name in wanted if name in lookups]
        steps.append(step)
    steps += [lookups.pop(name) for name in seen if name in lookups]
    if tuple(steps) == trajectory.steps:
        return trajectory
    return Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)
