"""What DSPy's callbacks are told of the calls of tools."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy.dspy_internals import is_listened_to
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Step, Trajectory
from tests.environment.running import run, values


class Told(BaseCallback):
    def __init__(self) -> None:
        self.events: list[tuple[str, Any, Any]] = []

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.events.append(("start", instance.name, inputs["kwargs"]))

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.events.append(("end", outputs, type(exception).__name__ if exception else None))


class Kinds(Environment):
    @tool(effect="read")
    def plain(self, x: int) -> int:
        return x + 1

    @tool(effect="read")
    async def later(self, x: int) -> int:
        return x + 1

    @tool(effect="read")
    def bad(self, x: int) -> int:
        raise ValueError(x)

    @tool(effect="irreversible", preview="plan")
    def act(self, x: int) -> int:
        return x + 1

    def plan(self, x: int) -> int:
        return x + 1


def function(x: int) -> int:
    return x + 1


async def coroutine(x: int) -> int:
    return x + 1


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("timeout", [None, 5.0])
def test_dspy_callbacks_are_told_of_tools_of_every_kind(timeout: float | None, awaited: bool) -> None:
    functions = from_functions([function, coroutine, dspy.Tool(function, name="wrapped")], effects="read")
    for environment, names in ((Kinds, ["plain", "later", "bad", "act"]), (functions, functions.toolbox.tools)):
        session = SessionFactory(environment, timeout=timeout).open(None)
        for name in names:
            told = Told()
            with dspy.context(callbacks=[told]):
                run(session, (name, {"x": 1}), awaited=awaited)
            end = ("end", None, "ValueError") if name == "bad" else ("end", 2, None)
            assert told.events == [("start", name, {"x": 1}), end], name
        session.family.close()
    told = Told()
    with dspy.context(callbacks=[told]):
        assert dspy.Tool(function)(x=1) == 2
    assert told.events == [("start", "function", {"x": 1}), ("end", 2, None)]  # as DSPy itself tells it


@pytest.mark.parametrize("awaited", [False, True])
def test_callbacks_hear_each_call_of_a_batch_in_the_callers_thread(awaited: bool) -> None:
    class Where(Told):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            self.events.append(("start", inputs["kwargs"]["x"], threading.get_ident()))

    told = Where()
    session = SessionFactory(Kinds).open(None)
    first = Step(id="a", tool="plain", args={"x": 0})
    repeated = Step(id="b", tool="bad", args={"x": "$item"}, for_each="[$a, `2`]")
    body = execute(Trajectory(steps=(first, repeated)), session)
    with dspy.context(callbacks=[BaseCallback(), told]):
        assert is_listened_to(session.toolbox.tools["plain"].tool)
        asyncio.run(run_async(body)) if awaited else run_sync(body)
    here, failed = threading.get_ident(), ("end", None, "ValueError")
    assert told.events == [
        ("start", 0, here), ("end", 1, None), ("start", 1, here), failed, ("start", 2, here), failed
    ]  # fmt: skip
    with dspy.context(callbacks=[BaseCallback()]):  # one that does not care for tools, like a budget's ledger
        assert not is_listened_to(session.toolbox.tools["plain"].tool)
    session.family.close()


def test_a_call_that_hangs_is_told_as_a_timeout() -> None:
    def hang() -> None:
        time.sleep(0.5)

    told = Told()
    session = SessionFactory(from_functions([hang], effects="read"), timeout=0.05).open(None)
    with dspy.context(callbacks=[told]):
        assert run(session, ("hang", {})).discrepancies[0].kind == "timeout"
    assert told.events == [("start", "hang", {}), ("end", None, "TimeoutError")]


def test_a_callback_that_fails_does_not_fail_the_call() -> None:
    class Broken(BaseCallback):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            raise RuntimeError("broken")

    with dspy.context(callbacks=[Broken()]):
        assert values(run(SessionFactory(Kinds).open(None), ("plain", {"x": 1}))) == [2]


def test_a_tool_may_call_dspy_modules_and_they_know_their_parent() -> None:
    parents: list[str | None] = []
    calls: list[str] = []

    class Watch(BaseCallback):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            calls.append(call_id)

        def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            from dspy.utils.callback import ACTIVE_CALL_ID

            parents.append(ACTIVE_CALL_ID.get())

    class Inner(dspy.Module):  # type: ignore[misc]
        def forward(self, x: int) -> int:
            return x

    def ask(x: int) -> int:
        return int(Inner()(x=x))

    with dspy.context(callbacks=[Watch()]):
        run(SessionFactory(from_functions([ask], effects="read")).open(None), ("ask", {"x": 1}))
    assert parents == calls and len(calls) == 1
