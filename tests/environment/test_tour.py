"""Calls that follow each other are made in one visit to their thread, and are as safe there as each on its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import ExecutedRun, execute
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

    @tool(effect="read")
    async def awaited(self) -> str:
        return threading.current_thread().name

    @tool(effect="read", timeout=1.0)
    def hurried(self) -> str:
        return threading.current_thread().name


def planned(*calls: tuple[str, dict[str, Any]]) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(calls)))


def visits(
    session: Session, trajectory: Trajectory, monkeypatch: pytest.MonkeyPatch, awaited: bool
) -> tuple[ExecutedRun, int]:
    made = 0
    submit = session.family.worker.submit

    def counted(function: Any) -> Any:
        nonlocal made
        made += 1
        return submit(function)

    monkeypatch.setattr(session.family.worker, "submit", counted)
    body = execute(trajectory, session)
    return (asyncio.run(run_async(body)) if awaited else run_sync(body)), made


@pytest.mark.parametrize("awaited", [False, True])
def test_one_visit_for_all_calls_and_the_copies_between_them(awaited: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    session = SessionFactory(Places, timeout=5).open(None)
    trajectory = planned(*[("where", {}), ("leave", {})] * 4)
    made, count = visits(session, trajectory, monkeypatch, awaited)
    assert count == 1 and len(made.before) == 4
    assert all(observation.ok for observation in made.execution.observations)
    assert made.execution.by_step["s0"].value == "pivot-environment"
    session.family.close()


def test_it_ends_where_something_else_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    session = SessionFactory(Places, timeout=5).open(None)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("where", {}),
        ("awaited", {}),
        ("where", {}),
        ("hurried", {}),
        ("leave", {}),
    ]
    made, count = visits(session, planned(*calls), monkeypatch, awaited=False)
    assert count == 5 and all(observation.ok for observation in made.execution.observations)
    session.family.close()


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


def test_callbacks_hear_of_calls_in_the_thread_of_the_caller() -> None:
    heard: list[str] = []

    class Heard(BaseCallback):  # type: ignore[misc]
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            heard.append(threading.current_thread().name)

    session = SessionFactory(Places, timeout=5).open(None)
    with dspy.context(callbacks=[Heard()]):
        run_sync(execute(planned(("where", {}), ("where", {})), session))
    assert heard == [threading.current_thread().name] * 2
    session.family.close()
