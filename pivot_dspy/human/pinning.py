"""Steps that a person has fixed, and what keeps them so whoever writes the next version.

>>> from pivot_dspy.trajectory import Step, Trajectory
>>> fixed = {"b": Step(id="b", tool="book", args={"room": "Blue"})}
>>> written = Trajectory(steps=(Step(id="a", tool="find"), Step(id="b", tool="book", args={"room": "Red"})))
>>> with_pinned(written, fixed).steps[1].args
{'room': 'Blue'}
"""

from __future__ import annotations

from collections.abc import Mapping

from pivot_dspy.trajectory import Step, Trajectory


def with_pinned(trajectory: Trajectory, pinned: Mapping[str, Step]) -> Trajectory:
    """`trajectory` with the pinned steps as they were fixed, by id.

    One that is missing is put back before the first step that needs it, and behind those that it needs, or else before
    the submit; of several submits a pinned one stays.
    """
    if not pinned or all(pinned[step.id] == step for step in trajectory.steps if step.id in pinned) and (
        pinned.keys() <= {*trajectory.ids}
    ):
        return trajectory
    submits = any(step.is_submit for step in pinned.values())
    steps = [
        pinned.get(step.id, step)
        for step in trajectory.steps
        if step.id in pinned or not (submits and step.is_submit)
    ]
    for missing in (step for step in pinned.values() if step.id not in trajectory.ids):
        steps.insert(_place(missing, steps), missing)
    return Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)


def _place(missing: Step, steps: list[Step]) -> int:
    """Where a step belongs among others."""
    names = frozenset((missing.id, *(step.id for step in steps)))
    after = [place + 1 for place, step in enumerate(steps) if step.id in missing.depends_on(names)]
    if missing.is_submit:
        return len(steps)
    before = (place for place, step in enumerate(steps) if step.is_submit or missing.id in step.depends_on(names))
    return max([next(before, len(steps)), *after])
