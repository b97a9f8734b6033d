"""What is run again and what is taken over: prefixes, reads, and runs that a budget cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Step, Trajectory
from tests.execution.shelf import CALLS, OUTPUTS, Shelf, essence, run, steps


class Reopened(Shelf):
    forkable = False


@st.composite
def trajectories(draw: st.DrawFn, ids: str = "abcdef") -> Trajectory:
    found: list[Step] = []
    for step_id in ids[: draw(st.integers(0, len(ids)))]:
        called = draw(st.sampled_from(["look", "look", "find", "put", "put", "put", "take", "take", "burn", "nope"]))
        earlier = draw(st.sampled_from([step.id for step in found] or ["z"]))
        names = ["ball", "cup", "pen", "hat", "cap", f"${earlier}[0]", f"${earlier}.taken", "$f"]
        args = {} if called in ("look", "burn", "nope") else {"name": draw(st.sampled_from(names))}
        lists = [None, None, None, f"${earlier}", f"[${earlier}.left, ['ball', 'pen', 'nib']][]"]
        repeated = draw(st.sampled_from(lists)) if args else None
        if repeated:
            args["name"] = draw(st.sampled_from(["$item", "$item", "pen"]))
        expects = draw(st.sampled_from([None, None, "length(@) > `2`", f"${earlier}[0]"]))
        found.append(Step(id=step_id, tool=called, args=args, for_each=repeated, expects=expects))
    if draw(st.booleans()):
        args = {"answer": draw(st.sampled_from(["x", "$a[0]", "$b"])), "count": draw(st.sampled_from([1, "$e", "no"]))}
        found.append(Step(id="submit", tool="submit", args=args))
    return Trajectory(steps=tuple(found))


@pytest.mark.parametrize("timeout", [None, 20.0])
@settings(max_examples=120, deadline=None)
@given(first=trajectories(), second=trajectories(), data=st.data())
def test_a_reused_prefix_gives_what_running_from_scratch_gives(
    timeout: float | None, first: Trajectory, second: Trajectory, data: st.DataObject
) -> None:
    kept = first.steps[: data.draw(st.integers(0, len(first)))]
    taken = {step.id for step in kept}
    child = Trajectory(steps=(*kept, *(step for step in second.steps if step.id not in taken)))
    shared = child.common_prefix(first)
    source = SessionFactory(Shelf, timeout=timeout)
    base = run(first, source)
    CALLS.clear()
    reused = run_sync(execute(child, base.after(shared).fork(), outputs=OUTPUTS, base=base))
    made = len(CALLS)
    again = run_sync(execute(child, reused.after(len(child)).fork(), outputs=OUTPUTS, base=reused))
    assert essence(reused.execution) == essence(run(child, source).execution) == essence(again.execution)
    observations = reused.execution.observations
    assert [o.reused for o in observations] == [n < shared for n in range(len(child))]
    assert made == reused.execution.tool_calls == sum(o.calls for o in observations[shared:])
    base.session.family.close()


@settings(max_examples=60, deadline=None)
@given(first=trajectories(), second=trajectories("abcxyz"))
def test_where_nothing_forks_the_prefix_runs_again_and_its_reads_are_served(
    first: Trajectory, second: Trajectory
) -> None:
    source = SessionFactory(Reopened)
    root = source.open(None)
    base = run_sync(execute(first, root, outputs=OUTPUTS))
    child = first.replace_from(len(first) // 2, [s for s in second.steps if s.id not in first.ids], operator="evolve")
    CALLS.clear()
    reused = run_sync(execute(child, source.reopen(root, None), outputs=OUTPUTS, base=base))
    assert len(CALLS) == reused.execution.tool_calls
    assert essence(reused.execution) == essence(run(child, source).execution)
    shared = child.common_prefix(first)
    for step, observation in zip(child.steps, reused.execution.observations, strict=True):
        position = child.index(step.id)
        read = step.tool in ("look", "find")
        assert observation.reused == (position < shared and read and observation.ok)
    assert reused.execution.tier == "replay"
    root.family.close()


@pytest.mark.parametrize("timeout", [None, 20.0])
@settings(max_examples=60, deadline=None)
@given(trajectory=trajectories())
def test_sync_and_async_give_the_same(timeout: float | None, trajectory: Trajectory) -> None:
    source = SessionFactory(Shelf, timeout=timeout)
    awaited = asyncio.run(run_async(execute(trajectory, source.open(None), outputs=OUTPUTS)))
    assert essence(awaited.execution) == essence(run(trajectory, source).execution)


@settings(max_examples=60, deadline=None)
@given(trajectory=trajectories(), calls=st.integers(0, 6))
def test_without_copies_the_observations_are_the_same(trajectory: Trajectory, calls: int) -> None:
    source = SessionFactory(Shelf)
    made = run(trajectory, source, copies=False, permit=rationed(calls))
    assert not made.before
    whole = run(trajectory, source, permit=rationed(calls))
    assert essence(made.execution)["observations"] == essence(whole.execution)["observations"]


def rationed(count: int) -> Any:
    left = iter(range(count))

    def permit(reused: bool) -> None:
        if not reused and next(left, None) is None:
            raise BudgetExhausted("tool_calls", "no tool call is left")

    return permit


@pytest.mark.parametrize("awaited", [False, True])
def test_a_spent_budget_blocks_the_rest_and_undoes_a_step_that_it_cut(awaited: bool) -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="look"),
            Step(id="b", tool="put", args={"name": "hat"}),
            Step(id="c", tool="take", args={"name": "$item"}, for_each="$a"),
            Step(id="d", tool="look"),
            Step(id="submit", tool="submit", args={"count": 1}),
        )
    )
    source = SessionFactory(Shelf)
    body = execute(trajectory, source.open(None), outputs=OUTPUTS, permit=rationed(3))
    base = asyncio.run(run_async(body)) if awaited else run_sync(body)
    assert [o.status for o in base.execution.observations] == ["ok", "ok", "blocked", "blocked", "blocked"]
    assert base.execution.by_step["c"].calls == 1 and base.execution.state == "ball, cup, hat"
    assert base.reach == 2
    # A later run with a budget of its own goes on where this one was cut.
    later = run_sync(execute(trajectory, base.after(5).fork(), outputs=OUTPUTS, base=base))
    assert essence(later.execution) == essence(run(trajectory, source).execution)
    assert [o.reused for o in later.execution.observations] == [True, True, False, False, False]


def test_a_budget_that_ends_while_a_prefix_is_taken_over_blocks_what_is_new() -> None:
    trajectory = steps(("a", "look", {}), ("b", "put", {"name": "hat"}))
    base = run(trajectory, SessionFactory(Shelf))

    def permit(reused: bool) -> None:
        if not reused:
            raise BudgetExhausted("seconds", "time is up")

    child = trajectory.replace_from(2, [Step(id="c", tool="look")], operator="evolve")
    execution = run_sync(execute(child, base.after(2).fork(), base=base, permit=permit)).execution
    assert [o.status for o in execution.observations] == ["ok", "ok", "blocked"]
