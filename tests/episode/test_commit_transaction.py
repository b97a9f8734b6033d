"""A commit as one transaction: whatever stops it, nothing was done, and it says so."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import CommitError, Environment, OutcomeUnknown, Requirement, check, tool
from pivot_dspy.environment.factory import EnvironmentLike, SessionFactory
from tests.episode.committing import refined
from tests.scripted import step, submit


class Books(Environment):
    """Entries that are made durable together. `faults` says which of the calls to come raise in the real world."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.mails: list[str] = []
        self.faults: list[bool] = []
        self.beginning: list[BaseException] = []
        self.ending: list[BaseException] = []
        self.threads: list[str] = []
        self.ended: list[str] = []

    @contextmanager
    def transaction(self) -> Iterator[None]:
        if self.beginning:
            raise self.beginning.pop(0)
        before = list(self.entries)
        self.threads.append(threading.current_thread().name)
        try:
            yield
            if self.ending:
                raise self.ending.pop(0)
            self.ended.append("durable")
        except BaseException:
            self.entries[:] = before
            self.ended.append("undone")
            raise
        finally:
            self.threads.append(threading.current_thread().name)

    @tool(effect="read")
    def listed(self) -> list[str]:
        return list(self.entries)

    @tool(effect="write", undo="strike")
    def enter(self, text: str) -> int:
        self.threads.append(threading.current_thread().name)
        if self.faults and self.faults.pop(0):
            raise ConnectionError("the ink is dry")
        self.entries.append(text)
        return len(self.entries)

    def strike(self, text: str) -> None:
        self.entries.remove(text)

    @tool(effect="irreversible", undo="apologise")
    def mail(self, to: str) -> str:
        self.mails.append(to)
        return f"sent to {to}"

    def apologise(self, to: str) -> None:
        self.mails.remove(to)

    @check
    def has(self, count: int) -> tuple[bool, str]:
        return len(self.entries) == count, f"{len(self.entries)} entries"


PLAN = [step("a", "enter", text="one"), step("b", "enter", text="two"), step("c", "listed"), submit(answer="Done.")]
TIMEOUTS = pytest.mark.parametrize("timeout", [None, 30.0])
LATER = "all was rolled back, so nothing was done; when the cause is gone, resume_commit() starts again"


@TIMEOUTS
def test_a_step_that_fails_undoes_all_of_it(timeout: float | None) -> None:
    real = Books()
    result = refined(real, PLAN, status="judged", timeout=timeout)
    real.faults = [False, True]
    with pytest.raises(CommitError) as caught:
        result.commit()
    error = caught.value
    assert real.entries == [] and real.ended == ["undone"] and isinstance(error.cause, ConnectionError)
    assert str(error).endswith(LATER) and error.step == "b" and not error.undo
    assert error.execution is None and result.committed is None
    with pytest.raises(CommitError, match=r"steps run for real: none; .* resume_commit\(\) starts again"):
        result.commit()
    execution = result.resume_commit()
    assert real.entries == ["one", "two"] and real.ended == ["undone", "durable"] and execution is result.committed
    assert [seen.calls for seen in execution.observations] == [1, 1, 1, 0]
    assert len(set(real.threads[-4:])) == 1  # entered and left where the tools run
    with pytest.raises(CommitError, match="already committed"):
        result.resume_commit()


def test_what_departs_undoes_all_of_it() -> None:
    real = Books()
    result = refined(real, [step("a", "enter", text="one"), submit(answer="$a")], status="judged")
    real.entries.append("by another")
    with pytest.raises(CommitError, match="gave 1 and now 2.*nothing was done") as caught:
        result.commit()
    assert real.entries == ["by another"] and caught.value.difference is not None


def test_a_requirement_that_does_not_hold_undoes_all_of_it_and_is_looked_at_inside() -> None:
    copies: list[int] = []

    class Copied(Books):
        def fork(self) -> Environment:
            copies.append(len(self.threads))
            return super().fork()

        @tool(effect="write")
        def enter_quietly(self, text: str) -> None:
            self.entries.append(text)

    real = Copied()
    steps = [step("a", "enter_quietly", text="one"), step("m", "mail", to="Ann"), submit(answer="x")]
    result = refined(real, steps, Requirement(id="R1", check="has", args={"count": 1}))
    real.entries.append("by another")
    copies.clear()
    with pytest.raises(CommitError, match="all was run, and requirement R1 does not hold: 2 entries") as caught:
        result.commit(allow="all")
    # A mail is beyond any transaction, and is said to be.
    assert "rolled back, which does not undo the steps m" in str(caught.value) and real.mails == ["Ann"]
    assert copies == []  # they may not have what the transaction did
    assert [undo.tool for undo in caught.value.undo] == ["apologise"] and real.entries == ["by another"]
    assert [seen.step for seen in result.committed.observations] == ["m"] and result.committed.outputs == {}
    real.entries.clear()
    result.resume_commit()
    assert real.mails == ["Ann"] and real.entries == ["one"]


@pytest.mark.parametrize("allow", [["m"], "all"])
def test_partial_commits_are_transactions_too(allow: Any) -> None:
    real = Books()
    steps = [step(name, "mail", to=name) for name in ("m", "n")] + PLAN
    result = refined(real, steps)
    real.faults = [True]
    with pytest.raises(CommitError, match="which does not undo the steps m"):
        result.commit(allow=allow)
    assert real.entries == []
    result.resume_commit()
    assert real.entries == ["one", "two"] and real.mails == (["m"] if allow == ["m"] else ["m", "n"])


@TIMEOUTS
def test_one_that_cannot_be_begun_or_ended_has_done_nothing(timeout: float | None) -> None:
    real = Books()
    result = refined(real, PLAN, status="judged", timeout=timeout)
    real.beginning, real.ending = [OSError("locked")], [RuntimeError("changed meanwhile")]
    with pytest.raises(CommitError, match="could not be begun: OSError: locked; all was rolled back, so nothing"):
        result.commit()
    assert not real.ended
    with pytest.raises(CommitError, match="not be made durable: RuntimeError: changed meanwhile; .*nothing was done"):
        result.resume_commit()
    assert real.entries == [] and result.committed is None
    result.resume_commit()
    assert real.entries == ["one", "two"]


def test_of_one_whose_end_nobody_knows_nothing_is_done_again_unasked() -> None:
    real = Books()
    result = refined(real, PLAN, status="judged")
    real.ending = [OutcomeUnknown("the line went dead")]
    doubt = r'nobody knows whether its transaction was made durable.*resume_commit\(repeat="all"\) starts again'
    with pytest.raises(CommitError, match=f"{doubt}; steps run inside of it: a, b, c"):
        result.commit()
    assert [seen.step for seen in result.committed.observations] == ["a", "b", "c", "submit"]
    for repeat in (None, "a"):
        with pytest.raises(CommitError, match=doubt):
            result.resume_commit(repeat=repeat)
    assert real.entries == []
    result.resume_commit(repeat="all")
    assert real.entries == ["one", "two"]


class Interrupted(Books):
    """Is interrupted in a call, in the real world alone."""

    interrupts = False

    @tool(effect="write")
    def stop(self) -> str:
        if self.interrupts:
            self.interrupts = False
            raise KeyboardInterrupt
        return "went on"


@TIMEOUTS
def test_an_interrupt_undoes_all_of_it(timeout: float | None) -> None:
    real = Interrupted()
    result = refined(real, [*PLAN[:1], step("s", "stop"), submit(answer="x")], status="judged", timeout=timeout)
    real.interrupts = True
    with pytest.raises(KeyboardInterrupt):
        result.commit()
    assert real.entries == [] and real.ended == ["undone"] and result.committed is None
    result.resume_commit()
    assert real.entries == ["one"]


async def test_a_cancelled_one_is_undone_and_goes_on_awaited() -> None:
    started = asyncio.Event()

    class Slow(Books):
        waits = False

        @tool(effect="write")
        async def wait(self) -> str:
            started.set()
            await asyncio.sleep(10 if self.waits else 0)
            return "waited"

    real = Slow()
    result = await asyncio.to_thread(refined, real, [*PLAN[:1], step("w", "wait"), submit(answer="x")], status="judged")
    real.waits = True
    started.clear()
    waiting = asyncio.ensure_future(result.acommit())
    await started.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert real.entries == [] and real.ended == ["undone"] and result.committed is None
    real.waits = False
    await result.aresume_commit()
    assert real.entries == ["one"] and real.ended == ["undone", "durable"]


async def test_one_that_is_cancelled_while_it_ends_is_known_to_have_ended() -> None:
    ending, let_go = threading.Event(), threading.Event()

    class Slow(Books):
        @contextmanager
        def transaction(self) -> Iterator[None]:
            with super().transaction():
                yield
            ending.set()
            let_go.wait(10)

    real = Slow()
    result = await asyncio.to_thread(refined, real, PLAN, status="judged", timeout=30.0)
    waiting = asyncio.ensure_future(result.acommit())
    await asyncio.to_thread(ending.wait, 10)
    waiting.cancel()
    let_go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert real.entries == ["one", "two"]
    with pytest.raises(CommitError, match="already committed"):
        await result.aresume_commit()


def _sources() -> list[tuple[str, EnvironmentLike, list[Books]]]:
    made: list[Books] = []

    class Reopened(Books):
        def __init__(self) -> None:
            super().__init__()
            made.append(self)

    def factory() -> Reopened:
        return Reopened()

    return [("a class", Reopened, made), ("a function", factory, made)]


@pytest.mark.parametrize(("kind", "source", "made"), _sources())
def test_it_holds_in_the_world_that_a_factory_makes(kind: str, source: Any, made: list[Books]) -> None:
    result = refined(source, PLAN, status="judged")
    original = SessionFactory.open_real

    def failing(self: SessionFactory, *args: Any) -> Any:
        session = original(self, *args)
        session.environment.faults = [False, True]  # type: ignore[attr-defined]
        return session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SessionFactory, "open_real", failing)
        with pytest.raises(CommitError, match=r"nothing was done"):
            result.commit()
    assert made[-1].entries == []
    result.resume_commit()
    assert made[-1].entries == ["one", "two"]


@given(st.lists(st.booleans(), max_size=12), st.lists(st.booleans(), max_size=3), st.lists(st.booleans(), max_size=3))
def test_it_is_done_as_a_whole_or_not_at_all(faults: list[bool], begins: list[bool], ends: list[bool]) -> None:
    real = Books()
    result = refined(real, PLAN, Requirement(id="R1", check="has", args={"count": 2}), status="judged")
    real.faults = list(faults)
    attempt: Any = result.commit
    for attempts in range(20):
        real.beginning = [OSError("no")] if attempts < len(begins) and begins[attempts] else []
        real.ending = [OSError("no")] if attempts < len(ends) and ends[attempts] else []
        try:
            attempt()
            break
        except CommitError as error:
            assert real.entries == [] and result.committed is None and error.execution is None and not error.undo
            attempt = result.resume_commit
    assert real.entries == ["one", "two"] and real.ended.count("durable") == 1
