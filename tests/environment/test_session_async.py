"""Async tools: the loop they run in, and how their calls are cancelled."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async
from pivot_dspy.trajectory import Step, Trajectory
from tests.environment.running import run, values


class Meter(Environment):
    """Async tools that keep something open between calls."""

    def __init__(self) -> None:
        self.lock: asyncio.Lock | None = None

    def fork(self) -> Environment:
        return type(self)()

    @tool(effect="read")
    async def loop(self) -> int:
        if self.lock is None:
            self.lock = asyncio.Lock()
        async with self.lock:
            await asyncio.sleep(0)
        return id(asyncio.get_running_loop())


def test_async_tools_run_in_one_loop_also_from_sync_code_inside_a_running_loop() -> None:
    session = SessionFactory(Meter).open(None)
    first, second = values(run(session, ("loop", {}), ("loop", {})))
    assert first == second

    async def inside() -> list[Any]:
        return [*values(run(session, ("loop", {}))), id(asyncio.get_running_loop())]

    in_worker, own = asyncio.run(inside())
    assert in_worker == first != own
    session.family.close()


def test_async_tools_of_async_code_run_in_its_own_loop() -> None:
    async def inside() -> None:
        session = SessionFactory(Meter, timeout=5).open(None)
        body = execute(Trajectory(steps=(Step(id="a", tool="loop"),)), session)
        assert values((await run_async(body)).execution) == [id(asyncio.get_running_loop())]
        session.family.close()

    asyncio.run(inside())


def test_cancelling_async_code_ends_its_calls() -> None:
    started, ended, release = threading.Event(), threading.Event(), threading.Event()

    async def wait(n: int) -> int:
        started.set()
        try:
            await asyncio.sleep(10)
        finally:
            ended.set()
        return n

    calls: list[int] = []

    def slow(n: int) -> int:
        calls.append(n)
        if len(calls) == 2:
            started.set()
            release.wait(10)
        return n

    async def cancelled(name: str) -> None:
        session = SessionFactory(from_functions([wait, slow], effects="read")).open(None)
        step = Step(id="b", tool=name, args={"n": "$item"}, for_each="[`1`, `2`, $a, `4`]")
        plan = Trajectory(steps=(Step(id="a", tool="slow", args={"n": 3}), step))
        task = asyncio.create_task(run_async(execute(plan, session)))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        session.family.close()

    asyncio.run(cancelled("wait"))
    assert ended.is_set()
    for one in (calls, started, release):
        one.clear()
    asyncio.run(cancelled("slow"))
    time.sleep(0.3)
    assert calls == [3, 1]  # the call that ran was waited for by nobody, and no other began


def test_cancelling_does_not_wait_for_a_call_that_hangs() -> None:
    started, ends = threading.Event(), threading.Event()
    ended: list[bool] = []

    def hang() -> None:
        started.set()
        ends.wait(10)
        ended.append(True)

    async def cancelled() -> None:
        session = SessionFactory(from_functions([hang], effects="read"), timeout=60).open(None)
        task = asyncio.create_task(run_async(execute(Trajectory(steps=(Step(id="a", tool="hang"),)), session)))
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        session.family.inside(lambda: None, 5)
        session.family.close()

    asyncio.run(cancelled())
    assert not ended  # it still hangs
    ends.set()
