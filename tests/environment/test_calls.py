"""Calls of tools in the environment's thread: their timeouts, and what ends them from outside."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.calls import ToolCall
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.worker import Worker, ended
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.trajectory import Step, Trajectory


class Places(Environment):
    """Tools that tell where they run."""

    @tool(effect="read")
    def where(self) -> str:
        return threading.current_thread().name

    @tool(effect="write")
    def leave(self) -> None:
        """Changes nothing, as it happens."""


def planned(*calls: tuple[str, dict[str, Any]]) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(calls)))


class Hanging(Environment):
    """A tool that hangs until it is let go; what it is given stands on record."""

    started, ends = threading.Event(), threading.Event()
    given: tuple[int, ...] = ()
    thread = threading.current_thread()

    @tool(effect="read")
    def note(self, number: int) -> int:
        Hanging.given = (*Hanging.given, number)
        if number == 1:
            Hanging.thread = threading.current_thread()
            self.started.set()
            self.ends.wait(30)
        return number

    @tool(effect="read", timeout=0.05)
    def hurried(self, number: int) -> int:
        return self.note(number)


@pytest.fixture
def hanging() -> Iterator[Session]:
    Hanging.started.clear()
    Hanging.ends.clear()
    Hanging.given = ()
    session = SessionFactory(Hanging, timeout=60).open(None)
    yield session
    Hanging.ends.set()
    session.family.close()


@pytest.mark.parametrize("awaited", [False, True])
def test_a_shorter_timeout_after_a_longer_one_is_kept(awaited: bool, hanging: Session) -> None:
    body = execute(planned(("note", {"number": 0}), ("hurried", {"number": 1}), ("note", {"number": 2})), hanging)
    made = asyncio.run(run_async(body)) if awaited else run_sync(body)
    assert [observation.status for observation in made.execution.observations] == ["ok", "error", "ok"]
    assert Hanging.given == (0, 1, 2)


async def test_nothing_more_is_called_once_it_is_cancelled(hanging: Session) -> None:
    task = asyncio.ensure_future(run_async(execute(planned(*[("note", {"number": n}) for n in range(4)]), hanging)))
    await asyncio.to_thread(Hanging.started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    Hanging.ends.set()
    await asyncio.to_thread(Hanging.thread.join)
    assert Hanging.given == (0, 1)


@pytest.mark.parametrize("awaited", [False, True])
def test_a_permit_refused_between_two_calls_is_for_the_steps(awaited: bool) -> None:
    left = 2

    def permit(reused: bool) -> None:
        nonlocal left
        if not left:
            raise BudgetExhausted("tool_calls", "spent")
        left -= 1

    session = SessionFactory(Places, timeout=5).open(None)
    body = execute(planned(*[("leave", {})] * 4), session, permit=permit)
    made = asyncio.run(run_async(body)) if awaited else run_sync(body)
    assert [observation.status for observation in made.execution.observations] == ["ok", "ok", "blocked", "blocked"]
    assert made.reach == 2
    session.family.close()


def test_a_call_that_ends_just_when_it_is_overdue_is_not_given_up() -> None:
    session = SessionFactory(Places, timeout=5).open(None)
    spec = session.toolbox.tools["where"]
    worker = session.family.worker
    call = ToolCall(session.environment, spec, spec.invoke, {}, timeout=1e-9, allowed=None, worker=worker)
    assert call.run_here().value == threading.current_thread().name
    assert not call.is_overdue()
    session.family.close()


def test_a_call_is_not_overdue_before_it_has_begun() -> None:
    session = SessionFactory(Places, timeout=5).open(None)
    busy = session.family.worker.submit(lambda: time.sleep(0.2))
    hurried = ToolCall(
        session.environment, (spec := session.toolbox.tools["where"]), spec.invoke, {},
        timeout=0.05, allowed=None, worker=session.family.worker,
    )  # fmt: skip
    result = hurried.result()
    assert busy.done() and result.fault is None and result.value == "pivot-environment"
    session.family.close()


def test_waiting_ends_with_the_call_or_the_time() -> None:
    worker = Worker()
    assert worker.run(lambda: 3, 5.0) == 3
    with pytest.raises(TimeoutError, match="of its own"):  # which is no sign that it hangs
        worker.run(lambda: _raise(TimeoutError("of its own")), 5.0)
    first = worker.run(threading.get_ident)
    with pytest.raises(TimeoutError, match="took longer than 0.01 s"):
        worker.run(lambda: time.sleep(0.2), 0.01)
    assert worker.run(threading.get_ident) != first
    worker.stop()


def test_a_call_that_was_cancelled_has_ended() -> None:
    future: Future[None] = Future()
    assert not ended(future, 0.0)
    future.cancel()
    assert ended(future, 0.0)


def _raise(error: Exception) -> None:
    raise error
