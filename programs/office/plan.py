"""The gold of a task as a trajectory."""

from __future__ import annotations

from pivot_dspy import Step, Trajectory, bindings
from pivot_dspy.trajectory import SUBMIT
from programs.office.data import Gold

DONE = "Done."
"""The answer where the suite looks for none."""


def plan(gold: Gold) -> Trajectory:
    """The gold calls, a step each, and the gold's answer."""
    steps = [
        Step(id=f"g{number}", tool=tool, args=bindings.literal(dict(args)))
        for number, (tool, args) in enumerate(gold.calls, start=1)
    ]
    return Trajectory(
        steps=(*steps, Step(id=SUBMIT, tool=SUBMIT, args={"answer": bindings.literal(gold.answer or DONE)}))
    )
