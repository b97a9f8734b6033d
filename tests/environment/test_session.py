from __future__ import annotations

import asyncio
import gc
import logging
import sqlite3
import threading
import time
from contextvars import ContextVar
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback

from pivot_dspy._drive import adrive, drive
from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.callbacks import listened
from pivot_dspy.environment.functions import from_functions
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.source import Source
from pivot_dspy.errors import PivotError
from pivot_dspy.execution import execute
from pivot_dspy.trajectory import Execution, Step, Trajectory

HERE: ContextVar[str] = ContextVar("HERE", default="nowhere")


class Ledger(Environment):
    """State in SQLite, which only the thread that opened it may touch."""

    closed: list[str] = []

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
        self.closed.append(threading.current_thread().name)

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


def run(session: Session, *calls: tuple[str, dict[str, Any]], awaited: bool = False) -> Execution:
    steps = tuple(Step(id=f"s{n}", tool=name, args=args) for n, (name, args) in enumerate(calls))
    body = execute(Trajectory(steps=steps), session)
    return (asyncio.run(adrive(body)) if awaited else drive(body)).execution


def values(execution: Execution) -> list[Any]:
    return [o.value if o.ok else o.fault for o in execution.observations]


@pytest.mark.parametrize("awaited", [False, True])
def test_an_environment_lives_in_one_thread_from_opening_to_closing(awaited: bool) -> None:
    Ledger.closed.clear()
    session = Source(Ledger).open(None)
    execution = run(session, ("add", {"amount": 3}), ("add", {"amount": 4}), ("total", {}), awaited=awaited)
    assert values(execution) == [3, 7, 7]
    other = session.fork()
    assert session.check(session.toolbox.checks["holds"], {"amount": 7}) == CheckResult(True)
    run(other, ("add", {"amount": 1}), awaited=awaited)
    assert (session.describe(), other.describe()) == ("total 7", "total 8")
    session.family.close()
    # The trial of fork, the two sessions, and the copy that stood before each of the three writes.
    assert Ledger.closed == ["pivot-environment"] * 6


def test_every_instance_is_closed_once_however_its_session_ends() -> None:
    Ledger.closed.clear()
    source = Source(Ledger)
    kept = source.open(None)
    kept.fork()  # dropped at once
    gc.collect()
    kept.describe()
    assert len(Ledger.closed) == 2
    kept.close()
    kept.close()
    kept.family.close()
    assert len(Ledger.closed) == 3
    with pytest.raises(PivotError, match="closed; open the environment again"):
        kept.fork()
    assert kept.describe() == ""  # and a warning, not a thread that waits for ever


def test_threads_end_with_their_sessions() -> None:
    before = set(threading.enumerate())
    source = Source(Ledger)
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

    session = Source(from_functions([where], effects="read", checks=[here])).open(None)
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
        "five": (1, 2, 3, 4, 5),
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
    session = Source(Judge, timeout=0.1).open(None)

    def asked(name: str, **args: Any) -> CheckResult:
        return session.check(session.toolbox.checks[name], args)

    assert asked("says", what="plain") == (True, "", "", ())
    assert asked("says", what="number") == (False, "", "", ())
    assert asked("says", what="pair") == (False, "too dear", "", ())
    assert asked("says", what="full") == (True, "fine", "", ("x", 1))
    assert asked("says", what="one value") == (False, "bad", "try x", ("x",))
    for what in ("nothing", "text", "list", "five"):
        assert not asked("says", what=what).holds
        assert "cannot be checked: TypeError: a check returns a bool" in asked("says", what=what).evidence
    assert "cannot be checked: " in asked("says", what="no json").evidence
    assert "KeyError" in asked("says", what="unheard of").evidence
    assert "says: why: not a parameter" in asked("says", what="plain", why=1).evidence
    assert asked("hangs") == (False, "cannot be checked: TimeoutError: took longer than 0.1 s", "", ())
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
        session = Source(Clumsy).open(None)
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

    session = Source(Polite).open(None)
    execution = run(session, ("ask", {"politely": True}), ("ask", {"politely": False}))
    assert [o.status for o in execution.observations] == ["ok", "error"]
    assert execution.discrepancies[0].message == "say please"
    assert execution.observations[1].value == {"error": "say please"}
    session.family.close()


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
    session = Source(Meter).open(None)
    first, second = values(run(session, ("loop", {}), ("loop", {})))
    assert first == second

    async def inside() -> list[Any]:
        return [*values(run(session, ("loop", {}))), id(asyncio.get_running_loop())]

    in_worker, own = asyncio.run(inside())
    assert in_worker == first != own
    session.family.close()


def test_async_tools_of_async_code_run_in_its_own_loop() -> None:
    async def inside() -> None:
        session = Source(Meter, timeout=5).open(None)
        body = execute(Trajectory(steps=(Step(id="a", tool="loop"),)), session)
        assert values((await adrive(body)).execution) == [id(asyncio.get_running_loop())]
        session.family.close()

    asyncio.run(inside())


def test_cancelling_async_code_ends_its_calls() -> None:
    started, ended = threading.Event(), threading.Event()

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
        started.set()
        time.sleep(0.1)
        return n

    async def cancelled(name: str) -> None:
        session = Source(from_functions([wait, slow], effects="read")).open(None)
        step = Step(id="b", tool=name, args={"n": "$item"}, for_each="[`1`, `2`, $a, `4`]")
        plan = Trajectory(steps=(Step(id="a", tool="slow", args={"n": 3}), step))
        task = asyncio.create_task(adrive(execute(plan, session)))
        await asyncio.sleep(0.15)
        await asyncio.to_thread(started.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        session.family.close()

    asyncio.run(cancelled("wait"))
    assert ended.is_set()
    calls.clear()
    asyncio.run(cancelled("slow"))
    time.sleep(0.3)
    assert calls == [3, 1]  # the call that ran was waited for by nobody, and no other began


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
        session = Source(environment, timeout=timeout).open(None)
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
    session = Source(Kinds).open(None)
    first = Step(id="a", tool="plain", args={"x": 0})
    repeated = Step(id="b", tool="bad", args={"x": "$item"}, for_each="[$a, `2`]")
    body = execute(Trajectory(steps=(first, repeated)), session)
    with dspy.context(callbacks=[BaseCallback(), told]):
        assert listened(session.toolbox.tools["plain"])
        asyncio.run(adrive(body)) if awaited else drive(body)
    here, failed = threading.get_ident(), ("end", None, "ValueError")
    assert told.events == [
        ("start", 0, here), ("end", 1, None), ("start", 1, here), failed, ("start", 2, here), failed
    ]  # fmt: skip
    with dspy.context(callbacks=[BaseCallback()]):  # one that does not care for tools, like a budget's ledger
        assert not listened(session.toolbox.tools["plain"])
    session.family.close()


def test_a_call_that_hangs_is_told_as_a_timeout() -> None:
    def hang() -> None:
        time.sleep(0.5)

    told = Told()
    session = Source(from_functions([hang], effects="read"), timeout=0.05).open(None)
    with dspy.context(callbacks=[told]):
        assert run(session, ("hang", {})).discrepancies[0].kind == "timeout"
    assert told.events == [("start", "hang", {}), ("end", None, "TimeoutError")]


def test_a_callback_that_fails_does_not_fail_the_call() -> None:
    class Broken(BaseCallback):
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            raise RuntimeError("broken")

    with dspy.context(callbacks=[Broken()]):
        assert values(run(Source(Kinds).open(None), ("plain", {"x": 1}))) == [2]


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
        run(Source(from_functions([ask], effects="read")).open(None), ("ask", {"x": 1}))
    assert parents == calls and len(calls) == 1


def test_sessions_of_one_family_serve_several_threads() -> None:
    session = Source(Ledger).open(None)
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
        @tool(effect="read")
        def hang(self) -> int:
            time.sleep(0.6)
            return 1

        @tool(effect="read")
        def quick(self) -> int:
            return 2

    session = Source(Hangs, timeout=0.2).open(None)
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
