"""Values that several runs observed alike are one object, and nothing else is."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Environment, Step, Trajectory, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.sharing import sharing
from pivot_dspy.trajectory import Execution, Observation

scalars = st.one_of(st.none(), st.booleans(), st.integers(0, 2), st.sampled_from([0.0, -0.0, 1.0, 2.0]), st.text("ab"))
data = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=1), inner), max_leaves=6
)  # fmt: skip


def after(value: Any) -> Execution:
    return Execution(trajectory=Trajectory(), observations=(Observation(step="a", value=value),))


@given(data, data)
def test_a_value_stays_the_json_that_it_was(one: Any, other: Any) -> None:
    seen = Observation(step="a", value=other)
    shared = sharing(seen, after(one))
    assert json.dumps(shared.value) == json.dumps(other)
    assert shared == seen


@given(st.lists(data) | st.dictionaries(st.text(max_size=3), data))
def test_an_equal_value_is_shared_with_the_same_step_only(value: Any) -> None:
    earlier = after(value)
    copied = json.loads(json.dumps(value))
    assert sharing(Observation(step="a", value=copied), earlier).value is earlier.observations[0].value
    assert sharing(Observation(step="b", value=copied), earlier).value is not earlier.observations[0].value


@pytest.mark.parametrize(("one", "other"), [([1], [True]), ([1], [1.0]), ({"a": 1, "b": 2}, {"b": 2, "a": 1})])
def test_what_is_equal_for_python_alone_is_not_shared(one: Any, other: Any) -> None:
    assert sharing(Observation(step="a", value=other), after(one)).value is not one


class Library(Environment):
    @tool(effect="read")
    def read(self, page: int) -> list[str]:
        """A page."""
        return [f"line {page}"]


def test_a_rewrite_keeps_the_value_of_a_read_that_is_made_again() -> None:
    session = SessionFactory(Library).open(None)
    steps = [Step(id=name, tool="read", args={"page": number}) for number, name in enumerate("abc")]
    run = run_sync(execute(Trajectory(steps=tuple(steps)), session))
    steps[0] = Step(id="a", tool="read", args={"page": 7})
    again = run_sync(execute(Trajectory(steps=tuple(steps)), run.after(0).fork(), base=run))
    before, after = run.execution.observations, again.execution.observations
    assert [old.value is new.value for old, new in zip(before, after, strict=True)] == [False, True, True]
    assert not any(seen.reused for seen in after)
    session.family.close()
