"""Sessions from opening to closing: threads, contexts, checks and hooks."""

from __future__ import annotations

import gc
import logging
import sqlite3
import threading
import time
from contextvars import ContextVar, copy_context
from typing import Any

import pytest

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.errors import PivotError
from tests.environment.running import run, values

HERE: ContextVar[str] = ContextVar("HERE", default="nowhere")


CLOSED: list[str] = []
"""The threads in which a `Ledger` was closed."""


class Ledger(Environment):
    """State in SQLite, which only the thread that opened it may touch."""

    def __init__(self) -> None:
        self.db = sqlite3.connect(":memory:")
        self.db.execute("create table entries (amount int)")

    def fork(self) -> Environment:
        copy = type(self)()
        self.db.commit()
        self.db.backup(copy.db)
        return copy

    def close(self) -> None:
        self.db.close()
        CLOSED.append(threading.current_thread().name)

    @tool(effect="write")
    def add(self, amount: int) -> int:
        self.db.execute("insert into entries values (?)", (amount,))
        return self.total()

    @tool(effect="read")
    def total(self) -> int:
        return int(self.db.execute("select coalesce(sum(amount), 0) from entries").fetchone()[0])

    @check
    def holds(self, amount: int) -> bool:
        return self.total() == amount

    def describe(self) -> str:
        return f"total {self.total()}"


@pytest.mark.parametrize("awaited", [False, True])
def test_an_environment_lives_in_one_thread_from_opening_to_closing(awaited: bool) -> None:
    CLOSED.clear()
    session = SessionFactory(Ledger).open(None)
    execution = run(session, ("add", {"amount": 3}), ("add", {"amount": 4}), ("total", {}), awaited=awaited)
    assert values(execution) == [3, 7, 7]
    other = session.fork()
    assert session.check(session.toolbox.checks["holds"], {"amount": 7}) == CheckResult(True)
    run(other, ("add", {"amount": 1}), awaited=awaited)
    assert (session.describe(), other.describe()) == ("total 7", "total 8")
    session.family.close()
    # The trial of fork, the two sessions, and the copy that stood before each of the three writes.
    assert CLOSED == ["pivot-environment"] * 6


def test_every_instance_is_closed_once_however_its_session_ends() -> None:
    CLOSED.clear()
    source = SessionFactory(Ledger)
    kept = source.open(None)
    kept.fork()  # dropped at once
    gc.collect()
    kept.describe()
    assert len(CLOSED) == 2
    kept.close()
    kept.close()
    kept.family.close()
    assert len(CLOSED) == 3
    with pytest.raises(PivotError, match="closed; open the environment again"):
        kept.fork()
    assert kept.describe() == ""  # and a warning, not a thread that waits for ever


def test_what_is_closed_by_the_garbage_collector_sets_no_variable_of_the_context_that_it_interrupts() -> None:
    class Telling(Environment):
        def close(self) -> None:
            CLOSED.append("closed")
            HERE.set("closing")

    CLOSED.clear()
    session = SessionFactory(Telling, timeout=None).open(None)
    before = dict(copy_context())
    cycle = [session]
    cycle.append(cycle)  # type: ignore[arg-type]
    del session, cycle
    gc.collect()
    assert "closed" in CLOSED
    assert dict(copy_context()) == before


def test_threads_end_with_their_sessions() -> None:
    before = set(threading.enumerate())
    source = SessionFactory(Ledger)
    sessions = [source.open(None) for _ in range(5)]
    workers = [thread for thread in threading.enumerate() if thread not in before]
    assert [thread.name for thread in workers] == ["pivot-environment"] * 5
    sessions[0].family.close()
    del sessions
    gc.collect()
    for thread in workers:
        thread.join(timeout=2)
        assert not thread.is_alive()


def test_the_callers_context_is_seen_by_tools_and_checks() -> None:
    def where() -> str:
        return HERE.get()

    def here(place: str) -> bool:
        return HERE.get() == place

    session = SessionFactory(from_functions([where], effects="read", checks=[here])).open(None)
    HERE.set("in the test")
    assert values(run(session, ("where", {}))) == ["in the test"]
    assert session.check(session.toolbox.checks["here"], {"place": "in the test"}).holds
    session.family.close()


class Judge(Environment):
    """Checks that answer in every way."""

    answers: dict[str, Any] = {
        "plain": True,
        "number": 0,
        "pair": (False, "too dear"),
        "full": CheckResult(True, "fine", about=("x", 1)),
        "one value": CheckResult(False, "bad", "try x", "x"),  # type: ignore[arg-type]
        "nothing": None,
        "text": "no",
        "list": [],
        "eight": (1, 2, 3, 4, 5, 6, 7, 8),
        "no list": CheckResult(True, fits="all"),
        "fits": CheckResult(True, "two", fits=({"id": 1}, "x"), tied=2),
        "no json": (False, "", "", (object(),)),
    }

    @check
    def says(self, what: str) -> Any:
        return self.answers[what]

    @check
    def hangs(self) -> bool:
        time.sleep(1)
        return True

    @check
    def ends(self) -> bool:
        raise SystemExit("no more")


def test_what_a_check_may_answer() -> None:
    session = SessionFactory(Judge, timeout=0.5).open(None)

    def asked(name: str, **args: Any) -> CheckResult:
        return session.check(session.toolbox.checks[name], args)

    assert asked("says", what="plain") == CheckResult(True)
    assert asked("says", what="fits")[4:6] == ([{"id": 1}, "x"], 2)
    assert asked("says", what="number") == CheckResult(False)
    assert asked("says", what="pair") == CheckResult(False, "too dear")
    assert asked("says", what="full") == CheckResult(True, "fine", about=("x", 1))
    assert asked("says", what="one value") == CheckResult(False, "bad", "try x", ("x",))
    for what in ("nothing", "text", "list", "eight"):
        assert not asked("says", what=what).holds
        assert "cannot be checked: TypeError: a check returns a bool" in asked("says", what=what).evidence
    assert "a check returns what fits as a list" in asked("says", what="no list").evidence
    assert "cannot be checked: " in asked("says", what="no json").evidence
    assert "KeyError" in asked("says", what="unheard of").evidence
    assert "says: why: not a parameter" in asked("says", what="plain", why=1).evidence
    assert asked("hangs") == CheckResult(False, "cannot be checked: TimeoutError: took longer than 0.5 s")
    assert asked("ends").evidence == "cannot be checked: SystemExit: no more"
    assert asked("says", what="plain").holds  # the check that hung is left behind
    session.family.close()


def test_hooks_that_fail_are_logged_and_do_not_end_a_run(caplog: pytest.LogCaptureFixture) -> None:
    class Clumsy(Environment):
        @tool(effect="read")
        def look(self) -> int:
            return 1

        def describe(self) -> str:
            raise KeyError("where")

        def close(self) -> None:
            raise OSError("disk gone")

    with caplog.at_level(logging.WARNING):
        session = SessionFactory(Clumsy).open(None)
        execution = run(session, ("look", {}))
        session.family.close()
    assert values(execution) == [1] and execution.state == ""
    assert "describe of Clumsy failed: KeyError" in caplog.text
    assert "close of Clumsy failed: OSError: disk gone" in caplog.text


def test_an_environment_may_say_which_values_are_errors() -> None:
    class Polite(Environment):
        @tool(effect="read")
        def ask(self, politely: bool) -> dict[str, str]:
            return {"answer": "yes"} if politely else {"error": "say please"}

        def error_of(self, tool: str, value: Any) -> str | None:
            found: str | None = value.get("error")
            return found

    session = SessionFactory(Polite).open(None)
    execution = run(session, ("ask", {"politely": True}), ("ask", {"politely": False}))
    assert [o.status for o in execution.observations] == ["ok", "error"]
    assert execution.discrepancies[0].message == "say please"
    assert execution.observations[1].value == {"error": "say please"}
    session.family.close()


def test_sessions_of_one_family_serve_several_threads() -> None:
    session = SessionFactory(Ledger).open(None)
    sessions = [session.fork() for _ in range(4)]
    totals: dict[int, Any] = {}

    def work(number: int) -> None:
        calls = [("add", {"amount": number})] * 20
        totals[number] = values(run(sessions[number], *calls))[-1]

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert totals == {n: 20 * n for n in range(4)}
    session.family.close()


def test_a_call_that_hangs_in_one_thread_does_not_stop_another() -> None:
    class Hangs(Environment):
        @tool(effect="read", timeout=0.2)
        def hang(self) -> int:
            time.sleep(0.6)
            return 1

        @tool(effect="read")
        def quick(self) -> int:
            return 2

    session = SessionFactory(Hangs).open(None)
    other = session.fork()
    found: dict[str, Any] = {}
    threads = [
        threading.Thread(target=lambda: found.update(hang=run(session, ("hang", {})))),
        threading.Thread(target=lambda: found.update(quick=run(other, *[("quick", {})] * 5))),
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    for thread in threads:
        thread.join()
    assert found["hang"].discrepancies[0].kind == "timeout"
    assert values(found["quick"]) == [2] * 5
    session.family.close()
