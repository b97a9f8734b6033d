from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
IDS = st.from_regex(r"[a-z0-9_]{1,4}", fullmatch=True)


@st.composite
def steps(draw: st.DrawFn) -> Step:
    return Step(
        id=draw(IDS),
        tool=draw(TEXT),
        args=draw(st.dictionaries(TEXT, VALUES, max_size=3)),
        for_each=draw(st.none() | TEXT),
        expects=draw(st.none() | TEXT),
        why=draw(st.none() | TEXT),
    )


TRAJECTORIES = st.lists(steps(), max_size=5, unique_by=lambda step: step.id).map(
    lambda found: Trajectory(steps=tuple(found))
)


@UNHURRIED
@given(TRAJECTORIES)
def test_json_is_there_and_back(trajectory: Trajectory) -> None:
    again = Trajectory.from_json(trajectory.to_json())
    assert again == trajectory
    assert again.id == trajectory.id


@UNHURRIED
@given(TRAJECTORIES, TRAJECTORIES)
def test_the_id_is_of_the_content_alone(one: Trajectory, other: Trajectory) -> None:
    silent = tuple(step.model_copy(update={"why": "another reason"}) for step in one.steps)
    assert Trajectory(steps=silent, parent="x", operator="evolve").id == one.id
    same = [step.content() for step in one.steps] == [step.content() for step in other.steps]
    assert (one.id == other.id) == same


@UNHURRIED
@given(TRAJECTORIES, TRAJECTORIES)
def test_a_diff_accounts_for_every_step(before: Trajectory, after: Trajectory) -> None:
    diff = after.diff(before)
    changed = [change.after.id for change in diff.changed]
    assert changed == [change.before.id for change in diff.changed]
    kept = [step.id for step in after.steps if step.content() in [other.content() for other in before.steps]]
    assert sorted((*kept, *changed, *(step.id for step in diff.added))) == sorted(after.ids)
    assert sorted((*kept, *changed, *(step.id for step in diff.removed))) == sorted(before.ids)
    assert all(change.before.content() != change.after.content() for change in diff.changed)
    assert after.common_prefix(before) == before.common_prefix(after)
    assert after.common_prefix(after) == len(after) and not any(dict(after.diff(after)).values())


@UNHURRIED
@given(TRAJECTORIES, TRAJECTORIES, st.data())
def test_replacing_a_suffix_keeps_the_prefix_and_names_the_parent(
    first: Trajectory, other: Trajectory, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(first)))
    suffix = [step for step in other.steps if step.id not in first.ids[:start]]
    child = first.replace_from(start, suffix, operator="evolve")
    assert (child.parent, child.operator) == (first.id, "evolve")
    assert child.common_prefix(first) >= start


def test_a_copy_forgets_what_was_computed_of_the_old_fields() -> None:
    first = Trajectory(steps=(Step(id="a", tool="x"),))
    assert first.id and first.ids == ("a",)
    other = first.model_copy(update={"steps": (Step(id="b", tool="x"),)})
    assert other.ids == ("b",) and other.id != first.id
    run = Execution(trajectory=first, observations=(Observation(step="a", value=1),))
    assert run.by_step["a"].value == 1
    assert run.model_copy(update={"observations": (Observation(step="a", value=2),)}).by_step["a"].value == 2


def test_arguments_are_a_plain_copy() -> None:
    ids = ["x"]
    step = Step(id="a", tool="x", args={"ids": ids, "day": date(2026, 1, 2), "nan": float("nan"), "cut": "\ud83d off"})
    ids.append("y")
    assert step.args == {"ids": ["x"], "day": "2026-01-02", "nan": None, "cut": "? off"}
    trajectory = Trajectory(steps=(step.model_copy(update={"why": "because"}),))
    assert Trajectory.from_json(trajectory.to_json()) == trajectory


@pytest.mark.parametrize("bad", ["", "a b", "a.b", "x" * 65, "item", "é"])
def test_an_id_that_no_binding_could_name_is_refused(bad: str) -> None:
    with pytest.raises(ValidationError, match="a step id is"):
        Step(id=bad, tool="x")


def test_two_steps_of_one_id_are_refused() -> None:
    with pytest.raises(ValidationError, match="give each step an id of its own"):
        Trajectory(steps=(Step(id="a", tool="x"), Step(id="a", tool="y")))


def test_records_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Step(id="a", tool="x").tool = "y"  # type: ignore[misc]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"steps": [{"id": "a"}]}', '{"steps": [], "extra": 1}'])
def test_text_that_is_no_trajectory_is_refused(text: str) -> None:
    with pytest.raises(TrajectoryError, match="not the JSON of a trajectory"):
        Trajectory.from_json(text)


def test_where_a_step_stands_and_what_it_needs() -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="x"),
            Step(id="b", tool="y", for_each="$a.ids", args={"id": "$item", "price": "$5", "of": ["$c.x"]}),
            Step(id="submit", tool="submit", args={"answer": "$b | [0]"}),
        )
    )
    needs: dict[str, Any] = trajectory.dependencies()
    assert needs == {"a": (), "b": ("a", "c"), "submit": ("b",)}
    assert trajectory.index("b") == 1 and trajectory.submit is trajectory.steps[2]
    with pytest.raises(TrajectoryError, match="no step 'z'; the steps are a, b, submit"):
        trajectory.index("z")
