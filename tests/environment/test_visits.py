"""Flows that are driven in the thread of an environment: one visit for many jobs, each within its own time."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Environment, Step, Trajectory, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.visits import Look, visiting
from pivot_dspy.environment.worker import Worker
from pivot_dspy.execution import execute
from pivot_dspy.flow import Await, Flow, awaited_at_once, run_async, run_sync

TIMEOUT = 5.0
SHORT = 0.05

Drive = Callable[[Flow[Any]], Any]


class CountingWorker(Worker):
    """A worker that counts what is submitted to it."""

    def __init__(self) -> None:
        super().__init__()
        self.visits = 0

    def submit(self, function: Callable[[], Any]) -> Any:
        self.visits += 1
        return super().submit(function)


@pytest.fixture
def worker() -> Iterator[CountingWorker]:
    worker = CountingWorker()
    yield worker
    worker.stop()


@pytest.fixture
def released() -> Iterator[threading.Event]:
    """Ends what hangs, at the latest with the test."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture(params=["sync", "async"])
def drive(request: pytest.FixtureRequest) -> Drive:
    return run_sync if request.param == "sync" else lambda flow: asyncio.run(run_async(flow))


def job(function: Callable[[], Any], timeout: float | None = TIMEOUT) -> Await:
    def outside() -> Any:
        raise AssertionError("it is to be done in a visit")

    return awaited_at_once(outside, Look(function, timeout))


def test_jobs_that_follow_each_other_share_a_visit_and_the_thread(worker: CountingWorker, drive: Drive) -> None:
    def steps() -> Flow[list[str]]:
        names = []
        for _ in range(20):
            names.append((yield job(lambda: threading.current_thread().name)))
        return names

    assert set(drive(visiting(steps(), worker, TIMEOUT))) == {"pivot-environment"}
    assert worker.visits == 1


def test_what_is_no_job_is_waited_for_where_the_flow_was_begun(worker: CountingWorker, drive: Drive) -> None:
    def steps() -> Flow[tuple[Any, ...]]:
        first = yield job(threading.get_ident)
        outside = yield awaited_at_once(threading.get_ident)
        second = yield job(threading.get_ident)
        return first, outside, second

    first, outside, second = drive(visiting(steps(), worker, TIMEOUT))
    assert first == second != outside == threading.get_ident()


def test_a_job_that_hangs_is_left_behind_and_the_flow_goes_on_without_it(
    worker: CountingWorker, released: threading.Event, drive: Drive
) -> None:
    done: list[str] = []

    def steps() -> Flow[str]:
        yield job(lambda: done.append("before"))
        try:
            yield job(released.wait, SHORT)
        except TimeoutError as error:
            done.append(str(error))
        yield job(lambda: done.append("after"))
        released.set()
        yield job(lambda: time.sleep(SHORT))  # the thread that hung has ended by then, and goes on with nothing
        return "end"

    assert drive(visiting(steps(), worker, TIMEOUT)) == "end"
    assert done == ["before", f"took longer than {SHORT:g} s", "after"]


def test_jobs_that_take_longer_together_than_one_may_are_not_overdue(worker: CountingWorker, drive: Drive) -> None:
    def steps() -> Flow[int]:
        for _ in range(6):
            yield job(partial(time.sleep, 0.1), 0.4)
        return 6

    assert drive(visiting(steps(), worker, 0.4)) == 6


def test_a_job_may_have_less_time_than_the_visit_that_it_is_met_in(
    worker: CountingWorker, released: threading.Event, drive: Drive
) -> None:
    def steps() -> Flow[None]:
        yield job(lambda: None)
        yield job(released.wait, SHORT)

    began = time.monotonic()
    with pytest.raises(TimeoutError):
        drive(visiting(steps(), worker, 60.0))
    assert time.monotonic() - began < 2.0


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.02, 0.04, TIMEOUT]), st.booleans()), max_size=8))
def test_each_job_gives_its_own_result_whatever_hangs_before_it(plan: list[tuple[bool, float, bool]]) -> None:
    """Of a plan: whether a job hangs, its timeout, and whether something else is waited for before it."""
    worker, released = Worker(), threading.Event()
    plan = [(hangs and timeout < TIMEOUT, timeout, other) for hangs, timeout, other in plan]

    def steps() -> Flow[list[Any]]:
        results: list[Any] = []
        for number, (hangs, timeout, other) in enumerate(plan):
            if other:
                yield awaited_at_once(lambda: None)
            try:
                results.append((yield job(*(released.wait, timeout) if hangs else (partial(int, number), TIMEOUT))))
            except TimeoutError:
                results.append("hung")
        return results

    try:
        expected = ["hung" if hangs else number for number, (hangs, _, _) in enumerate(plan)]
        assert run_sync(visiting(steps(), worker, TIMEOUT)) == expected
    finally:
        released.set()
        worker.stop()


def test_what_a_job_raises_is_raised_in_the_flow_and_what_the_flow_raises_comes_through(
    worker: CountingWorker, drive: Drive
) -> None:
    def fail() -> None:
        raise LookupError("inside")

    def steps() -> Flow[None]:
        try:
            yield job(fail)
        except LookupError as error:
            raise ValueError("of the flow") from error

    with pytest.raises(ValueError, match="of the flow") as raised:
        drive(visiting(steps(), worker, TIMEOUT))
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_visit_inside_of_one_is_the_same_visit(worker: CountingWorker, drive: Drive) -> None:
    def inner() -> Flow[int]:
        yield job(lambda: None)
        return 1

    def outer() -> Flow[int]:
        first = yield from visiting(inner(), worker, TIMEOUT)
        return first + (yield from visiting(inner(), worker, TIMEOUT))

    assert drive(visiting(outer(), worker, TIMEOUT)) == 2
    assert worker.visits == 1


def test_a_cancelled_task_leaves_the_visit_with_the_job_that_it_hangs_in(
    worker: CountingWorker, released: threading.Event
) -> None:
    went_on = threading.Event()

    def steps() -> Flow[None]:
        yield job(released.wait)
        went_on.set()

    async def main() -> None:
        task = asyncio.ensure_future(run_async(visiting(steps(), worker, TIMEOUT)))
        await asyncio.sleep(SHORT)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    released.set()
    assert worker.run(lambda: "free", TIMEOUT) == "free"
    assert not went_on.wait(SHORT)


class Slow(Environment):
    """Its own words about where it stands never come."""

    released = threading.Event()

    @tool(effect="read")
    def look(self) -> int:
        return 1

    def describe(self) -> str:
        Slow.released.wait()
        return "late"

    def fork(self) -> Environment:
        return Slow()


def test_words_of_the_environment_that_do_not_come_are_not_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    session = SessionFactory(Slow, timeout=0.2).open(None)
    try:
        began = time.monotonic()
        run = run_sync(execute(Trajectory(steps=(Step(id="a", tool="look"),)), session))
        assert time.monotonic() - began < 3.0
        assert run.execution.by_step["a"].value == 1
        assert run.execution.state == ""
        assert "describe of Slow failed" in caplog.text
    finally:
        Slow.released.set()
        session.family.close()


def test_a_run_of_several_calls_takes_one_visit(
    worker: CountingWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counter(Environment):
        def __init__(self) -> None:
            self.count = 0

        @tool(effect="write")
        def add(self) -> int:
            self.count += 1
            return self.count

    session = SessionFactory(Counter, timeout=TIMEOUT).open(None)
    monkeypatch.setattr(session.family, "worker", worker)
    try:
        steps = tuple(Step(id=f"s{number}", tool="add") for number in range(5))
        run = run_sync(execute(Trajectory(steps=steps), session))
        assert [seen.value for seen in run.execution.observations] == [1, 2, 3, 4, 5]
        assert worker.visits == 1
    finally:
        session.family.close()
