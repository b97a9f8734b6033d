from __future__ import annotations

import asyncio
import contextlib
import math
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy._drive import adrive, drive
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.source import Source
from pivot_dspy.execution import Run, execute
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

CALLS: list[str] = []
"""Every call that a tool of this module got, for counting."""


class Shelf(Environment):
    """A small state that every tool can see the traces of."""

    def __init__(self) -> None:
        self.things: list[str] = ["ball", "cup"]

    @tool(effect="read")
    def look(self) -> list[str]:
        CALLS.append("look")
        return self.things

    @tool(effect="read")
    def find(self, name: str) -> int:
        CALLS.append("find")
        return self.things.index(name)

    @tool(effect="write")
    def put(self, name: str) -> list[str]:
        CALLS.append("put")
        if name in self.things:
            raise ValueError(f"{name} is there")
        self.things.append(name)
        return self.things

    @tool(effect="write")
    async def take(self, name: str) -> dict[str, Any]:
        CALLS.append("take")
        self.things.remove(name)
        return {"taken": name, "left": self.things}

    @tool(effect="irreversible")
    def burn(self) -> None:
        CALLS.append("burn")
        self.things.clear()

    def describe(self) -> str:
        return ", ".join(self.things)


class Reopened(Shelf):
    forkable = False


OUTPUTS = {"answer": str, "count": int}


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


def essence(execution: Execution) -> dict[str, Any]:
    """All of an execution but how long it took and what was reused."""
    dumped = execution.model_dump()
    for observation in dumped["observations"]:
        del observation["seconds"], observation["reused"]
    return dumped


def run(trajectory: Trajectory, source: Source, **options: Any) -> Run:
    return drive(execute(trajectory, source.open(None), outputs=OUTPUTS, **options))


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
    source = Source(Shelf, timeout=timeout)
    base = run(first, source)
    CALLS.clear()
    reused = drive(execute(child, base.after(shared).fork(), outputs=OUTPUTS, base=base))
    made = len(CALLS)
    again = drive(execute(child, reused.after(len(child)).fork(), outputs=OUTPUTS, base=reused))
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
    source = Source(Reopened)
    root = source.open(None)
    base = drive(execute(first, root, outputs=OUTPUTS))
    child = first.replace_from(len(first) // 2, [s for s in second.steps if s.id not in first.ids], operator="evolve")
    CALLS.clear()
    reused = drive(execute(child, source.reopen(root, None), outputs=OUTPUTS, base=base))
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
    source = Source(Shelf, timeout=timeout)
    awaited = asyncio.run(adrive(execute(trajectory, source.open(None), outputs=OUTPUTS)))
    assert essence(awaited.execution) == essence(run(trajectory, source).execution)


def steps(*found: tuple[str, str, dict[str, Any]], **options: Any) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=i, tool=name, args=args, **options) for i, name, args in found))


def kinds(execution: Execution) -> list[str]:
    return [o.fault.kind if o.fault else o.status for o in execution.observations]


def test_a_failed_step_stops_only_what_depends_on_it() -> None:
    execution = run(
        steps(
            ("a", "find", {"name": "sock"}),
            ("b", "put", {"name": "$a"}),
            ("c", "put", {"name": "$b[0]"}),
            ("d", "put", {"name": "hat"}),
            ("submit", "submit", {"answer": "$d[0]", "count": "$c"}),
        ),
        Source(Shelf),
    ).execution
    assert [o.status for o in execution.observations] == ["error", "blocked", "blocked", "ok", "blocked"]
    assert execution.state == "ball, cup, hat"
    assert (execution.outputs, execution.missing_outputs) == ({}, ("answer", "count"))


@pytest.mark.parametrize(
    ("step", "kind", "message"),
    [
        (Step(id="x", tool="lok"), "unknown_tool", "no tool is called 'lok'; did you mean look?"),
        (Step(id="x", tool="find"), "bad_arguments", "find: name: missing"),
        (Step(id="x", tool="look", args={"all": 1}), "bad_arguments", "look: all: not a parameter"),
        (Step(id="x", tool="find", args={"name": [1]}), "bad_arguments", "find: name: Input should be a valid string"),
        (Step(id="x", tool="find", args={"name": "$z"}), "unresolved_binding", r"\$z: no earlier step is called 'z'"),
        (Step(id="x", tool="find", args={"name": "$y"}), "unresolved_binding", "no earlier step is called 'y'"),
        (Step(id="x", tool="find", args={"name": "$x"}), "unresolved_binding", "no earlier step is called 'x'"),
        (Step(id="x", tool="find", args={"name": "$a[9]"}), "unresolved_binding", "gives nothing"),
        (Step(id="x", tool="find", args={"name": "$a[?@=='q']"}), "unresolved_binding", "gives an empty list"),
        (Step(id="x", tool="find", args={"name": "$item"}, for_each="$a[0]"), "unresolved_binding", "gives str"),
        (Step(id="x", tool="find", args={"name": "$item"}, for_each="$a[?@=='q']"), "unresolved_binding", "empty list"),
        (Step(id="x", tool="find", args={"name": "$item.x"}, for_each="$a"), "unresolved_binding", "gives nothing"),
        (Step(id="x", tool="find", problem="not a call"), "malformed_step", "not a call"),
        (Step(id="x", tool="submit", for_each="$a"), "malformed_step", "submits once"),
        (Step(id="x", tool="submit", args={"reply": 1}), "bad_arguments", "reply: not an output field"),
        (Step(id="x", tool="submit", args={"count": "many"}), "bad_arguments", "count: .*valid integer"),
        (Step(id="x", tool="find", args={"name": "sock"}), "tool_error", "ValueError: 'sock' is not in list"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_and_stops_nothing_else(step: Step, kind: str, message: str) -> None:
    trajectory = Trajectory(steps=(Step(id="a", tool="look"), step, Step(id="y", tool="look")))
    execution = run(trajectory, Source(Shelf)).execution
    assert [o.status for o in execution.observations] == ["ok", "error", "ok"]
    (discrepancy,) = execution.discrepancies
    assert (discrepancy.step, discrepancy.kind) == ("x", kind)
    assert re.search(message, discrepancy.message)
    if kind == "bad_arguments":
        assert discrepancy.expected and "(" in discrepancy.expected
    if "gives" in message:
        assert discrepancy.reference == "a"


def test_expectations_are_of_the_result_or_of_any_earlier_step() -> None:
    def unmet(expects: str) -> list[str]:
        trajectory = Trajectory(steps=(Step(id="a", tool="look"), Step(id="b", tool="look", expects=expects)))
        return [d.message for d in run(trajectory, Source(Shelf)).execution.discrepancies]

    assert unmet("length(@) == `2`") == unmet("$a == $b") == []
    assert unmet("length(@) > `2`") == ["expected length(@) > `2`"]
    assert "cannot be evaluated" in unmet("length(")[0]
    assert "cannot be evaluated" in unmet("@[::0]")[0]
    assert "no earlier step 'z'" in unmet("$z")[0]


def test_repeated_calls_pair_items_with_results_and_report_failures_among_them() -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="look"),
            Step(id="b", tool="put", args={"name": "hat"}),
            Step(id="c", tool="find", args={"name": "$item"}, for_each="[$a, ['sock']][]"),
            Step(id="d", tool="find", args={"name": "$item.item"}, for_each="$c"),
        )
    )
    execution = run(trajectory, Source(Shelf)).execution
    partial = execution.by_step["c"]
    assert partial.ok and partial.calls == 3 and partial.args is None
    assert partial.value == [{"item": "ball", "result": 0}, {"item": "cup", "result": 1}]
    assert partial.fault and partial.fault.message.startswith("1 of 3 calls failed: ValueError")
    assert [d.kind for d in execution.discrepancies] == ["tool_error"]
    assert execution.by_step["d"].value[1] == {"item": partial.value[1], "result": 1}


def test_outputs_are_typed_and_missing_ones_listed() -> None:
    trajectory = steps(("a", "find", {"name": "cup"}), ("submit", "submit", {"answer": "$a"}))
    execution = run(trajectory, Source(Shelf)).execution
    assert (execution.outputs, execution.missing_outputs) == ({"answer": "1"}, ("count",))
    assert run(steps(("a", "look", {})), Source(Shelf)).execution.missing_outputs == ("answer", "count")
    twice = steps(("submit", "submit", {"count": 1}), ("s", "submit", {"count": 2}))
    execution = run(twice, Source(Shelf)).execution
    assert kinds(execution) == ["ok", "malformed_step"] and execution.outputs == {"count": 1}


class Odd(Environment):
    """Tools that behave badly, each in its own way."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self.release = None

    @tool(effect="write")
    def grow(self, by: list[Any]) -> list[Any]:
        by.append("changed by the tool")
        self.seen.append(by)
        return self.seen

    @tool(effect="read")
    def records(self) -> list[dict[str, Any]]:
        return [{"tags": ["x"]}]

    @tool(effect="read")
    def strip(self, record: dict[str, Any]) -> int:
        record["tags"].clear()
        return 0

    @tool(effect="read")
    def give(self, what: str) -> Any:
        return {
            "object": object(),
            "long": "x" * 10_000_000,
            "nan": [math.nan, math.inf],
            "bytes": b"\xff",
            "surrogate": "\ud800",
            "keys": {(1, 2): 3, None: 4},
            "generator": (n for n in range(3)),
            "nothing": None,
        }[what]

    @tool(effect="read")
    def endless(self) -> Iterator[int]:
        for _ in range(300):
            time.sleep(0.001)
            yield 0

    @tool(effect="read")
    def fail(self, how: str) -> None:
        raise {
            "exit": SystemExit(3),
            "stop": StopIteration(),
            "cancelled": asyncio.CancelledError(),
            "timeout": TimeoutError("its own"),
            "silent": ValueError(),
            "long": ValueError("x" * 10_000_000),
        }[how]

    @tool(effect="read")
    async def afail(self, how: str) -> None:
        raise {
            "exit": SystemExit(3),
            "cancelled": asyncio.CancelledError(),
            "timeout": TimeoutError("its own"),
        }[how]

    @tool(effect="read", timeout=0.05)
    def hang(self, seconds: float = 1.0) -> int:
        time.sleep(seconds)
        return 1

    @tool(effect="read", timeout=0.05)
    async def ahang(self) -> int:
        await asyncio.sleep(5)
        return 1

    @tool(effect="write", timeout=0.05)
    def hang_late(self) -> int:
        time.sleep(0.2)
        self.seen.append("too late")
        return 1

    @tool(effect="read", timeout=0.05)
    async def stubborn(self) -> int:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        await asyncio.sleep(5)  # until it is told a second time
        return 1

    def describe(self) -> str:
        return str(self.seen)


@pytest.mark.parametrize("timeout", [None, 5.0])
def test_no_observation_changes_after_it_was_made(timeout: float | None) -> None:
    trajectory = steps(
        ("a", "grow", {"by": ["mine"]}),
        ("r", "records", {}),
        ("s", "strip", {"record": "$r[0]"}),
        ("b", "grow", {"by": "$a[0]"}),
        ("c", "grow", {"by": "$r"}),
    )
    execution = run(trajectory, Source(Odd, timeout=timeout)).execution
    mine = ["mine", "changed by the tool"]
    assert kinds(execution) == ["ok"] * 5
    assert execution.by_step["a"].value == [mine] and execution.by_step["a"].args == {"by": ["mine"]}
    assert execution.by_step["r"].value == [{"tags": ["x"]}]
    assert execution.by_step["s"].args == {"record": {"tags": ["x"]}}
    assert execution.by_step["b"].value == [mine, [*mine, "changed by the tool"]]
    assert execution.by_step["c"].value[2] == [{"tags": ["x"]}, "changed by the tool"]


def test_results_become_plain_data_or_a_fault() -> None:
    def given(what: str) -> Observation:
        return run(steps(("a", "give", {"what": what})), Source(Odd)).execution.observations[0]

    for what in ("object", "bytes"):
        fault = given(what).fault
        assert fault and fault.kind == "unserialisable" and "give returned" in fault.message
    assert len(given("long").value) == 10_000_000
    assert given("nan").value == [None, None]
    assert given("surrogate").value == "?"
    assert given("keys").value == {"1,2": 3, "None": 4}
    assert given("generator").value == [0, 1, 2]
    assert given("nothing").ok and given("nothing").value is None
    assert kinds(run(steps(("a", "endless", {})), Source(Odd, timeout=0.1)).execution) == ["timeout"]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("fail", "exit", "SystemExit: 3"),
        ("fail", "stop", "StopIteration: no message"),
        ("fail", "cancelled", "CancelledError: no message"),
        ("fail", "timeout", "TimeoutError: its own"),
        ("fail", "silent", "ValueError: no message"),
        ("fail", "long", "ValueError: xxx"),
        ("afail", "exit", "RuntimeError: SystemExit: 3"),
        ("afail", "cancelled", "RuntimeError: the call cancelled itself"),
        ("afail", "timeout", "TimeoutError: its own"),
    ],
)
def test_nothing_that_a_tool_raises_escapes(
    name: str, how: str, message: str, timeout: float | None, awaited: bool
) -> None:
    body = execute(steps(("a", name, {"how": how}), ("b", "records", {})), Source(Odd, timeout=timeout).open(None))
    execution = (asyncio.run(adrive(body)) if awaited else drive(body)).execution
    assert kinds(execution) == ["tool_error", "ok"]
    assert execution.discrepancies[0].message.startswith(message)
    assert len(execution.discrepancies[0].message) < 1100


@pytest.mark.parametrize("awaited", [False, True])
def test_a_call_that_hangs_is_left_behind(awaited: bool) -> None:
    trajectory = steps(
        ("a", "grow", {"by": []}),
        ("b", "hang", {}),
        ("c", "ahang", {}),
        ("d", "stubborn", {}),
        ("e", "hang_late", {}),
        ("f", "grow", {"by": []}),
        ("g", "grow", {"by": "$e"}),
    )
    source = Source(Odd)
    body = execute(trajectory, source.open(None), outputs=OUTPUTS)
    started = time.perf_counter()
    made = asyncio.run(adrive(body)) if awaited else drive(body)
    assert time.perf_counter() - started < 4.0
    assert kinds(made.execution) == ["ok", "timeout", "timeout", "timeout", "timeout", "ok", "blocked"]
    assert made.execution.by_step["b"].fault.message == "hang took longer than 0.05 s"  # type: ignore[union-attr]
    time.sleep(0.3)  # now the late write happens, on an instance that nobody looks at any more
    changed = ["changed by the tool"]
    assert made.execution.by_step["f"].value == [changed, changed]
    assert made.session.describe() == str([changed, changed])
    again = run(trajectory, source)
    assert essence(again.execution) == essence(made.execution)
    again.session.family.close()
    made.session.family.close()


def test_after_a_call_that_hangs_the_rest_of_a_repeated_step_is_not_run() -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="give", args={"what": "generator"}),
            Step(id="b", tool="hang", args={"seconds": "$item"}, for_each="$a"),
        )
    )
    observation = run(trajectory, Source(Odd)).execution.by_step["b"]
    assert (observation.status, observation.calls) == ("error", 2)
    assert observation.fault and "1 of 2 calls failed, and 1 were not made" in observation.fault.message


def test_what_cannot_be_copied_after_a_hang_blocks_the_rest_and_says_so() -> None:
    class Bound(Environment):
        """State that only the thread that made it may touch, like an SQLite connection."""

        def __init__(self) -> None:
            self.owner = threading.get_ident()

        @tool(effect="write", timeout=0.05)
        def hang(self) -> None:
            time.sleep(1)

        def fork(self) -> Environment:
            if self.owner != threading.get_ident():
                raise RuntimeError("made in another thread")
            return type(self)()

    execution = run(steps(("a", "hang", {}), ("b", "hang", {})), Source(Bound)).execution
    assert [o.status for o in execution.observations] == ["error", "blocked"]
    assert "cannot be copied any more: RuntimeError: made in another thread" in execution.discrepancies[0].message


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
    source = Source(Shelf)
    body = execute(trajectory, source.open(None), outputs=OUTPUTS, permit=rationed(3))
    base = asyncio.run(adrive(body)) if awaited else drive(body)
    assert [o.status for o in base.execution.observations] == ["ok", "ok", "blocked", "blocked", "blocked"]
    assert base.execution.by_step["c"].calls == 1 and base.execution.state == "ball, cup, hat"
    assert base.reach == 2
    # A later run with a budget of its own goes on where this one was cut.
    later = drive(execute(trajectory, base.after(5).fork(), outputs=OUTPUTS, base=base))
    assert essence(later.execution) == essence(run(trajectory, source).execution)
    assert [o.reused for o in later.execution.observations] == [True, True, False, False, False]


def test_a_budget_that_ends_while_a_prefix_is_taken_over_blocks_what_is_new() -> None:
    trajectory = steps(("a", "look", {}), ("b", "put", {"name": "hat"}))
    base = run(trajectory, Source(Shelf))

    def permit(reused: bool) -> None:
        raise BudgetExhausted("seconds", "time is up")

    child = trajectory.replace_from(2, [Step(id="c", tool="look")], operator="evolve")
    execution = drive(execute(child, base.after(2).fork(), base=base, permit=permit)).execution
    assert [o.status for o in execution.observations] == ["ok", "ok", "blocked"]


def test_what_a_watcher_raises_ends_the_run() -> None:
    seen: list[str] = []

    def watch(observation: Observation) -> None:
        seen.append(observation.step)
        if observation.step == "b":
            raise KeyError("stop here")

    with pytest.raises(KeyError, match="stop here"):
        run(steps(("a", "look", {}), ("b", "look", {}), ("c", "look", {})), Source(Shelf), watch=watch)
    assert seen == ["a", "b"]


@pytest.mark.parametrize("timeout", [None, 30.0])
def test_a_step_costs_well_under_a_millisecond(timeout: float | None) -> None:
    class Idle(Environment):
        @tool(effect="read")
        def noop(self, n: int) -> int:
            return n

        @tool(effect="read")
        def hundred(self) -> list[int]:
            return list(range(100))

    source = Source(Idle, timeout=timeout)
    many = steps(*((f"s{n}", "noop", {"n": n}) for n in range(200)))
    repeated = Trajectory(
        steps=(
            Step(id="a", tool="hundred"),
            Step(id="b", tool="noop", args={"n": "$item"}, for_each="$a"),
        )
    )

    def fastest(trajectory: Trajectory) -> float:
        times = []
        for _ in range(5):
            session = source.open(None)
            started = time.perf_counter()
            drive(execute(trajectory, session))
            times.append(time.perf_counter() - started)
            session.family.close()
        return min(times) * 1000

    assert fastest(many) / 200 < 0.8  # milliseconds
    assert fastest(repeated) < 8.0
