"""Steps that a person has fixed, and what keeps them so whoever writes the next version.

>>> from pivot_dspy.trajectory import Step, Trajectory
>>> shown = Trajectory(steps=(Step(id="a", tool="find"), Step(id="b", tool="book", args={"room": "Blue"})))
>>> fixed = {"b": PinnedStep.of(shown, "b")}
>>> with_pinned(Trajectory(steps=(Step(id="b", tool="book", args={"room": "Red"}),)), fixed).steps[0].args
{'room': 'Blue'}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pivot_dspy.trajectory import Step, Trajectory


class PinnedStep(NamedTuple):
    """A step that a person has fixed."""

    step: Step
    behind: tuple[str, ...]
    """Ids of the steps behind which it stood."""

    @classmethod
    def of(cls, trajectory: Trajectory, step_id: str) -> PinnedStep:
        """The step called so, fixed as it stands there.

        Raises:
            TrajectoryError: there is none.
        """
        place = trajectory.index(step_id)
        return cls(trajectory.steps[place], trajectory.ids[:place])


def with_pinned(trajectory: Trajectory, pinned: Mapping[str, PinnedStep]) -> Trajectory:
    """`trajectory` with the pinned steps as they were fixed, by id.

    One that is missing is put back behind those that it stood behind; of several submits a pinned one stays.
    """
    steps = [pinned[step.id].step if step.id in pinned else step for step in trajectory.steps]
    if any(one.step.is_submit for one in pinned.values()):
        steps = [step for step in steps if step.id in pinned or not step.is_submit]
    for name, missing in pinned.items():
        if name not in trajectory.ids:
            steps.insert(_place(missing, steps), missing.step)
    if tuple(steps) == trajectory.steps:
        return trajectory
    return Trajectory(steps=tuple(steps), parent=trajectory.parent, operator=trajectory.operator)


def _place(missing: PinnedStep, steps: Sequence[Step]) -> int:
    """Where a step belongs among others."""
    if missing.step.is_submit:
        return len(steps)
    needed = missing.step.depends_on([step.id for step in steps])
    before = {*missing.behind, *needed}
    return max((place + 1 for place, step in enumerate(steps) if step.id in before and not step.is_submit), default=0)
