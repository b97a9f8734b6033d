"""One object for what several runs observed alike: a search keeps all its runs, and most reads give the same again."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from pivot_dspy.trajectory import Execution, Observation


def sharing(observation: Observation, earlier: Execution) -> Observation:
    """`observation`, with the value of the same step in an earlier run in the place of an equal one of its own.

    >>> from pivot_dspy.trajectory import Trajectory
    >>> first, again = Observation(step="a", value=[1, 2]), Observation(step="a", value=[1, 2])
    >>> sharing(again, Execution(trajectory=Trajectory(), observations=(first,))).value is first.value
    True
    """
    before = earlier.by_step.get(observation.step)
    if before is None or before.value is observation.value or not is_same(before.value, observation.value):
        return observation
    return observation.model_copy(update={"value": before.value})


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are the same JSON, in the same order: 1 is neither true nor 1.0."""
    return isinstance(one, (str, list, dict)) and bool(one == other) and to_json(one) == to_json(other)
