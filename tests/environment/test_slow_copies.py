"""A fork that never returns: it ends at the limit of a call, and is named as the cause of whatever ends with it."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from pivot_dspy import BestOfN, Environment, EnvironmentFailed, Requirement, check, tool
from pivot_dspy.environment.factory import SessionFactory
from tests.scripted import plan, scripted, step, submit

SLOW = "fork of Slow took longer than 0.5 s, the limit of a call, and was left behind; mend what it waits for"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    event = threading.Event()
    yield event
    event.set()


def slow(gate: threading.Event, after: int) -> type[Environment]:
    class Slow(Environment):
        """Its fork hangs once so many rows are written; its connection may only be used in the thread that made it."""

        def __init__(self) -> None:
            self.connection = sqlite3.connect(":memory:")
            self.connection.execute("CREATE TABLE rows (text)")

        def fork(self) -> Environment:
            if self.count() >= after:
                gate.wait(30)
            copied = type(self)()
            self.connection.backup(copied.connection)
            return copied

        def close(self) -> None:
            self.connection.close()

        @tool(effect="read")
        def count(self) -> int:
            return int(self.connection.execute("SELECT count(*) FROM rows").fetchone()[0])

        @tool(effect="write")
        def add(self, text: str) -> int:
            self.connection.execute("INSERT INTO rows VALUES (?)", (text,))
            return self.count()

        @check
        def filled(self) -> tuple[bool, str]:
            return self.count() > 0, f"{self.count()} rows"

    return Slow


def test_a_fork_that_hangs_at_once_is_named(gate: threading.Event) -> None:
    source = SessionFactory(slow(gate, 0), timeout=0.5)
    with pytest.raises(EnvironmentFailed, match=SLOW):
        source.open(None)


def test_a_fork_of_ones_own_instance_that_hangs_is_named(gate: threading.Event) -> None:
    class Slow(Environment):
        def fork(self) -> Environment:
            gate.wait(30)
            return Slow()

        @tool(effect="write")
        def add(self) -> int:
            return 1

    source = SessionFactory(Slow(), timeout=0.5)
    for _ in range(2):  # another run tries again
        with pytest.raises(EnvironmentFailed, match=SLOW):
            source.open(None)


def test_a_fork_that_hangs_in_mid_run_is_named_and_waited_for_once(gate: threading.Event) -> None:
    planned = plan([step("a", "add", text="x"), step("b", "add", text="y"), submit(answer="Done.")], [])
    settled = [Requirement(id="R1", check="filled")]
    refiner = BestOfN("request -> answer", environment=slow(gate, 1), timeout=0.5, requirements=settled, N=2)
    refiner.set_lm(scripted(plan=planned))
    begun = time.monotonic()
    with pytest.raises(EnvironmentFailed, match=SLOW):
        refiner(request="Add two rows.")
    assert time.monotonic() - begun < 5


def test_a_timeout_that_a_fork_raises_itself_is_its_own() -> None:
    class Refused(Environment):
        def fork(self) -> Any:
            raise TimeoutError("the server does not answer")

        @tool(effect="write")
        def add(self) -> int:
            return 1

    session = SessionFactory(Refused, timeout=5.0).open(None)
    assert session.family.tier == "live"
    session.family.close()
