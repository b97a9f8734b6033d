"""Tools that behave badly: odd results, errors of every kind, calls that hang."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Observation, Step, Trajectory
from tests.execution.shelf import OUTPUTS, essence, kinds, run, steps


class Unreadable(Exception):
    def __str__(self) -> str:
        return str(1 / 0)


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
            "unreadable": Unreadable(),
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
    execution = run(trajectory, SessionFactory(Odd, timeout=timeout)).execution
    mine = ["mine", "changed by the tool"]
    assert kinds(execution) == ["ok"] * 5
    assert execution.by_step["a"].value == [mine] and execution.by_step["a"].args == {"by": ["mine"]}
    assert execution.by_step["r"].value == [{"tags": ["x"]}]
    assert execution.by_step["s"].args == {"record": {"tags": ["x"]}}
    assert execution.by_step["b"].value == [mine, [*mine, "changed by the tool"]]
    assert execution.by_step["c"].value[2] == [{"tags": ["x"]}, "changed by the tool"]


def test_results_become_plain_data_or_a_fault() -> None:
    def given(what: str) -> Observation:
        return run(steps(("a", "give", {"what": what})), SessionFactory(Odd)).execution.observations[0]

    fault = given("object").fault
    assert fault and fault.kind == "unserialisable" and "give returned" in fault.message
    assert given("bytes").value == "/w=="
    assert len(given("long").value) == 10_000_000
    assert given("nan").value == [None, None]
    assert given("surrogate").value == "?"
    assert given("keys").value == {"1,2": 3, "None": 4}
    assert given("generator").value == [0, 1, 2]
    assert given("nothing").ok and given("nothing").value is None
    assert kinds(run(steps(("a", "endless", {})), SessionFactory(Odd, timeout=0.1)).execution) == ["timeout"]


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
        ("fail", "unreadable", "Unreadable: its message cannot be read, ZeroDivisionError"),
        ("fail", "long", "ValueError: xxx"),
        ("afail", "exit", "RuntimeError: SystemExit: 3"),
        ("afail", "cancelled", "RuntimeError: the call cancelled itself"),
        ("afail", "timeout", "TimeoutError: its own"),
    ],
)
def test_nothing_that_a_tool_raises_escapes(
    name: str, how: str, message: str, timeout: float | None, awaited: bool
) -> None:
    session = SessionFactory(Odd, timeout=timeout).open(None)
    body = execute(steps(("a", name, {"how": how}), ("b", "records", {})), session)
    execution = (asyncio.run(run_async(body)) if awaited else run_sync(body)).execution
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
    source = SessionFactory(Odd)
    body = execute(trajectory, source.open(None), outputs=OUTPUTS)
    made = asyncio.run(run_async(body)) if awaited else run_sync(body)
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


def test_without_copies_nothing_runs_after_a_call_that_hangs() -> None:
    trajectory = steps(("a", "grow", {"by": []}), ("b", "hang_late", {}), ("c", "grow", {"by": []}))
    made = run(trajectory, SessionFactory(Odd), copies=False)
    assert kinds(made.execution) == ["ok", "timeout", "blocked"] and made.reach is None
    made.session.family.close()


def test_after_a_call_that_hangs_the_rest_of_a_repeated_step_is_not_run() -> None:
    trajectory = Trajectory(
        steps=(
            Step(id="a", tool="give", args={"what": "generator"}),
            Step(id="b", tool="hang", args={"seconds": "$item"}, for_each="$a"),
        )
    )
    observation = run(trajectory, SessionFactory(Odd)).execution.by_step["b"]
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

    execution = run(steps(("a", "hang", {}), ("b", "hang", {})), SessionFactory(Bound)).execution
    assert [o.status for o in execution.observations] == ["error", "blocked"]
    assert "cannot be copied any more: RuntimeError: made in another thread" in execution.discrepancies[0].message
