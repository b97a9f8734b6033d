"""Permissions hold in every thread, and commits on one instance wait for each other."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import execute
from pivot_dspy.flow import Flow, run_async, run_sync
from pivot_dspy.trajectory import Step, Trajectory
from tests.environment.running import run, values


class Till(Environment):
    def __init__(self) -> None:
        self.taken: list[int] = []
        self.busy: list[str] = []

    @tool(effect="irreversible")
    def take(self, amount: int) -> int:
        self.taken.append(amount)
        return amount

    @tool(effect="write")
    def note(self, amount: int) -> int:
        self.taken.append(-amount)
        return amount

    @tool(effect="write")
    def note_all(self) -> int:
        with ThreadPoolExecutor(2) as pool:
            return len(list(pool.map(self.note, [1, 2])))

    @tool(effect="read")
    def look(self) -> int:
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(self.note, 1).result()

    @tool(effect="irreversible")
    async def slowly(self, name: str) -> str:
        self.busy.append(f"{name} begins")
        await asyncio.sleep(0.02)
        self.busy.append(f"{name} ends")
        return name


def test_a_thread_of_a_call_may_what_the_call_may() -> None:
    session = SessionFactory(Till()).open(None)
    noted, looked = values(run(session, ("note_all", {}), ("look", {})))
    assert noted == 2
    assert "PermissionError: note is write, and was called by what may not call it" in looked.message


def test_after_its_calls_a_copy_refuses_and_the_users_own_does_not() -> None:
    till = Till()
    session = SessionFactory(till).open(None)
    copied: Any = session.environment
    with pytest.raises(PermissionError):
        copied.take(1)
    run(session, ("look", {}))
    with pytest.raises(PermissionError):
        copied.take(1)
    assert copied.note(1) == 1  # which is gone with the copy
    assert till.take(1) == 1 and Till().take(2) == 2
    real = SessionFactory(Till).open_real(None)
    assert values(run(real, ("note_all", {}), ("take", {"amount": 3}))) == [2, 3]


def test_what_was_known_of_an_instance_is_forgotten_some_time_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from pivot_dspy.environment import ownership

    monkeypatch.setattr(ownership, "KEPT", 0.0)
    gc.collect()
    ownership._sweep()
    before = len(ownership._standings)
    for _ in range(50):
        session = SessionFactory(Till()).open(None)
        session.fork().environment.cycle = session  # only the collector ends it
        session.family.close()
        del session
    gc.collect()
    time.sleep(0.01)
    ownership._sweep()
    assert len(ownership._standings) <= before + 1


def test_a_new_instance_does_not_inherit_what_is_known_of_one_that_stood_there() -> None:
    for _ in range(200):
        session = SessionFactory(Till()).open(None)
        session.family.close()
        del session
        Till().take(1)  # a user's own, whose place in memory may be that of a copy


def committing(source: SessionFactory, name: str) -> Flow[None]:
    session: Session = source.open_real(None)
    try:
        yield from session.hold()
        steps = tuple(Step(id=f"s{n}", tool="slowly", args={"name": name}) for n in range(2))
        yield from execute(Trajectory(steps=steps), session)
    finally:
        session.family.close()


def in_turn(busy: list[str]) -> bool:
    names = [line.split()[0] for line in busy]
    return len(names) == 8 and len(set(names[:4])) == len(set(names[4:])) == 1


async def test_two_commits_in_one_event_loop_wait_for_each_other() -> None:
    till = Till()
    source = SessionFactory(till)
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            await asyncio.sleep(0.001)

    ticking = asyncio.ensure_future(tick())
    await asyncio.wait_for(
        asyncio.gather(*(run_async(committing(source, name)) for name in ("first", "second"))), timeout=10
    )
    ticking.cancel()
    assert in_turn(till.busy) and ticks > 10  # the loop went on


def test_two_commits_in_two_threads_wait_for_each_other() -> None:
    till = Till()
    source = SessionFactory(till)
    threads = [threading.Thread(target=lambda name=name: run_sync(committing(source, name))) for name in ("a", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert in_turn(till.busy)


async def test_a_commit_that_nobody_ended_lets_the_next_one_begin_when_it_is_collected() -> None:
    till = Till()
    first: Any = SessionFactory(till).open_real(None)
    first.cycle = first
    await run_async(first.hold())
    await run_async(first.hold())  # it holds it already
    del first
    gc.collect()
    second = SessionFactory(till).open_real(None)
    for _ in range(2):
        await asyncio.wait_for(run_async(second.hold()), timeout=5)
        second.release()


async def test_a_commit_that_is_cancelled_while_it_waits_takes_no_turn() -> None:
    till = Till()
    source = SessionFactory(till)
    first = source.open_real(None)
    await run_async(first.hold())
    waiting = asyncio.ensure_future(run_async(committing(source, "second")))
    await asyncio.sleep(0.02)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    first.family.close()
    await asyncio.wait_for(run_async(committing(source, "third")), timeout=5)
    assert [line.split()[0] for line in till.busy] == ["third"] * 4
