"""Many tasks at once: on threads, processes and Dask the same results; errors, stops and interrupts lose nothing."""

from __future__ import annotations

import contextvars
import gc
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Environment, Ledger, Pivot, from_functions
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.parallel.running import Ran, run_all
from pivot_dspy.parallel.serialization import TaskSerializer, run_batch
from tests.caching import own_cache
from tests.habits.tasks import DAYS, VARIED, examples, pivot, request, simulated
from tests.optimizer.compiling import TRAIN, VAL, compiled, told
from tests.optimizer.processes import CONTEXT


def keep(position: int, result: Any) -> Any:
    return result


def refine(program: Pivot, example: dspy.Example) -> dict[str, Any]:
    result = program(**example.inputs())
    return {
        "trajectory": result.trajectory.id,
        "verified": result.verified,
        "loss": result.loss.total,
        "events": [event.kind for event in result.history],
        "usage": result.ledger.usage.model_dump(),
    }


@pytest.fixture
def disk_cache(tmp_path: Path) -> Iterator[None]:
    with own_cache(tmp_path / "cache"):
        yield


def test_threads_processes_and_dask_give_the_same(elsewhere: Executor) -> None:
    def refined(executor: Executor | None) -> Ran[dict[str, Any]]:
        work = partial(refine, pivot(candidates=2))
        with dspy.context(lm=simulated(**VARIED)):
            return run_all(executor, examples(), work, on_done=keep, num_threads=4)

    threads = refined(None)
    assert refined(elsewhere) == threads
    assert not threads.errors and len({str(result["events"]) for result in threads.results if result}) > 2


def test_compiling_elsewhere_gives_the_same_as_in_threads(elsewhere: Executor) -> None:
    few = {"trainset": TRAIN[:2], "valset": VAL[:2], "max_tasks": 12}
    threads = told(compiled(lm=simulated(**VARIED), **few))
    assert told(compiled(lm=simulated(**VARIED), executor=elsewhere, **few)) == threads


def test_what_a_process_asked_the_model_is_cached_for_all(elsewhere: Executor, disk_cache: None) -> None:
    """Every task thrice, sampled calls among them: each call is made once, and later runs make none."""

    def refined(executor: Executor | None, tasks: list[dspy.Example]) -> list[dict[str, Any]]:
        lm = simulated(cache=True, **VARIED)
        ran = run_all(executor, tasks, partial(refine, pivot(lm, candidates=2)), on_done=keep, num_threads=4)
        assert not ran.errors
        return [result for result in ran.results if result is not None]

    def calls(results: list[dict[str, Any]]) -> int:
        return sum(result["usage"]["lm_calls"] for result in results)

    def found(results: list[dict[str, Any]]) -> list[Any]:
        return [(result["trajectory"], result["loss"], result["events"]) for result in results]

    first = refined(elsewhere, examples())
    assert calls(first) > len(DAYS)
    again = refined(elsewhere, examples() * 2)
    here = refined(None, examples())
    assert calls(again) == calls(here) == 0
    assert found(again) == found(first) * 2 and found(here) == found(first)


@settings(max_examples=30, deadline=None)
@given(pauses=st.lists(st.floats(0, 0.01), max_size=12), threads=st.integers(1, 6))
def test_results_stand_in_the_order_of_the_tasks(pauses: list[float], threads: int) -> None:
    seen: list[int] = []
    here = threading.get_ident()

    def on_done(position: int, result: float) -> tuple[int, float]:
        assert threading.get_ident() == here
        seen.append(position)
        return position, result

    def work(pause: float) -> float:
        time.sleep(pause)
        return pause

    ran = run_all(None, pauses, work, on_done=on_done, num_threads=threads)
    assert ran == Ran(tuple(enumerate(pauses)), {})
    assert sorted(seen) == list(range(len(pauses)))


def test_the_context_of_the_caller_holds_in_threads() -> None:
    of_mine = contextvars.ContextVar("of_mine", default=0)
    of_mine.set(7)
    lm = simulated(**VARIED)
    program = pivot()
    ledger = Ledger()
    seen: list[int] = []

    def work(example: dspy.Example) -> dict[str, Any]:
        seen.append(of_mine.get())
        of_mine.set(8)
        return refine(program, example)

    with ThreadPoolExecutor(3) as executor, dspy.context(lm=lm, trace=[]), ledger.phase("compile"):
        ran = run_all(executor, examples(), work, on_done=keep)
        assert not dspy.settings.trace
    assert not ran.errors and seen == [7] * len(DAYS) and of_mine.get() == 7
    assert lm.engine.calls.lm_calls == sum(result["usage"]["lm_calls"] for result in ran.results if result)


def fails_on_odd(number: int) -> int:
    if number % 2:
        raise ValueError(f"{number} is odd")
    return number


class Picky(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__(f"{one} and {two}")


def fails_pickily(number: int) -> int:
    raise Picky(number, number)


def dies(number: int) -> int:
    if number == 2:
        time.sleep(0.3)  # the others of its batch are done by then
        os._exit(1)
    return number


def test_errors_are_kept_apart_and_told(elsewhere: Executor, caplog: pytest.LogCaptureFixture) -> None:
    for executor in (None, elsewhere):
        ran = run_all(executor, range(5), fails_on_odd, on_done=keep)
        assert ran.results == (0, None, 2, None, 4) and not ran.stopped
        assert [(at, type(error), str(error)) for at, error in ran.errors.items()] == [
            (1, ValueError, "1 is odd"), (3, ValueError, "3 is odd"),
        ]  # fmt: skip
        assert ran.summary() == "1 of 5 tasks: ValueError: 1 is odd\n1 of 5 tasks: ValueError: 3 is odd"
    assert "Task 1 failed: ValueError: 1 is odd" in caplog.text
    ran = run_all(elsewhere, [3], fails_pickily, on_done=keep)
    assert str(ran.errors[0]) == "Picky: 3 and 3"


def test_a_fatal_error_ends_it_and_comes_through(elsewhere: Executor) -> None:
    for executor in (None, elsewhere):
        with pytest.raises(ValueError, match="is odd"):
            run_all(executor, range(9), fails_on_odd, on_done=keep, fatal=ValueError)


def test_enough_errors_stop_it_and_nothing_that_was_done_is_lost() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.002)
        if number % 3 == 2:
            raise ValueError("no")
        return number

    ran = run_all(None, range(300), work, on_done=keep, max_errors=3, num_threads=2)
    assert ran.stopped == "too many errors"
    assert len(begun) < 50 and 3 <= len(ran.errors) <= 4
    assert sorted(begun) == sorted([*ran.errors, *(result for result in ran.results if result is not None)])
    assert ran.summary().endswith("of 300 tasks: ValueError: no")


def test_a_reason_to_stop_is_asked_for_after_each_task() -> None:
    done: list[int] = []
    ran = run_all(
        None, range(100), lambda number: number, num_threads=1,
        on_done=lambda position, result: done.append(result),
        stop=lambda: "the budget is spent" if len(done) >= 5 else "",
    )  # fmt: skip
    assert ran.stopped == "the budget is spent" and len(done) >= 5
    assert run_all(None, range(9), fails_on_odd, on_done=keep, stop=lambda: "spent").results == (None,) * 9


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="this system has no pthread_kill")
def test_an_interrupt_comes_through_at_once_with_all_that_was_done_kept() -> None:
    here = threading.get_ident()
    release = threading.Event()
    done: list[int] = []

    def work(number: int) -> int:
        if number == 4:
            threading.Timer(0.05, signal.pthread_kill, [here, signal.SIGINT]).start()
        if number >= 4:
            release.wait(20)
        return number

    try:
        with pytest.raises(KeyboardInterrupt):
            run_all(None, range(40), work, on_done=lambda position, result: done.append(result), num_threads=2)
        assert not release.is_set() and sorted(done) == [0, 1, 2, 3]  # the others still wait
    finally:
        release.set()


def test_what_on_done_raises_comes_through_when_the_others_were_given_to_it() -> None:
    done: list[int] = []
    ready = threading.Barrier(4)

    def work(number: int) -> int:
        ready.wait(5)
        return number

    def on_done(position: int, result: int) -> None:
        time.sleep(0.05)
        done.append(result)
        raise OSError(f"the disk is full, said {len(done)} times")

    with pytest.raises(OSError, match="said 1 times"):
        run_all(None, range(4), work, on_done=on_done, num_threads=4)
    assert sorted(done) == [0, 1, 2, 3]


class Held(Environment):
    def __init__(self) -> None:
        self.lock = threading.Lock()


def locked() -> Environment:
    lock = threading.Lock()

    def look() -> bool:
        """Looks."""
        return lock.locked()

    return from_functions([look], effects="read")


@pytest.mark.parametrize("make", [Held, locked])
def test_what_cannot_travel_is_refused_with_the_remedy(make: Any) -> None:
    work = partial(refine, Pivot("request -> answer", make()))
    with (
        ProcessPoolExecutor(1, mp_context=CONTEXT) as executor,
        pytest.raises(ConfigurationError, match=r"cannot pickle '_thread.lock' object.* executor=None for threads"),
    ):
        run_all(executor, examples(), work, on_done=keep)
    # the class is sent, and opens its lock there
    fine = TaskSerializer(partial(refine, Pivot("request -> answer", Held)))
    assert pickle.loads(run_batch(fine.batch({0: dspy.Example()}))[0])
    with pytest.raises(ConfigurationError, match="task 3 cannot be sent"):
        fine.batch({3: threading.Lock()})
    with pytest.raises(ConfigurationError, match=r"client.get_executor\(\)"):
        run_all(SimpleNamespace(submit=None), [1], refine, on_done=keep)  # type: ignore[arg-type]


def test_what_cannot_come_back_and_a_lost_process_are_errors_of_their_tasks(processes: Executor) -> None:
    ran = run_all(processes, [1], lambda number: threading.Lock(), on_done=keep)
    assert isinstance(ran.errors[0], ConfigurationError) and "cannot be sent back" in str(ran.errors[0])
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as mortal:
        ran = run_all(mortal, range(6), dies, on_done=keep, max_errors=100)
    assert "BrokenProcessPool" in ran.summary() and ran.results[:2] == (0, 1) and 2 in ran.errors


def test_nothing_but_what_on_done_returns_is_kept() -> None:
    alive: list[weakref.ref[Any]] = []
    most = 0
    ahead = threading.Semaphore(2)

    class Large:
        pass

    def work(number: int) -> Large:
        large = Large()
        alive.append(weakref.ref(large))
        if number % 2:
            raise ValueError("its traceback has a frame that holds it")
        ahead.acquire(timeout=5)
        return large

    def on_done(position: int, result: Large) -> int:
        nonlocal most
        gc.collect(0)
        most = max(most, sum(one() is not None for one in tuple(alive)))
        ahead.release()
        return position

    ran = run_all(None, range(60), work, on_done=on_done, num_threads=2, max_errors=100)
    assert len(ran.errors) == 30 and 1 <= most <= 6


def test_histories_stay_behind() -> None:
    lm = simulated(**VARIED)
    with dspy.context(lm=lm):
        before = len(TaskSerializer(partial(refine, pivot(lm))).batch({0: 1}).shared)
        for day in DAYS:
            pivot()(request=request(day))
        assert len(lm.history) > len(DAYS)
        assert len(TaskSerializer(partial(refine, pivot(lm))).batch({0: 1}).shared) < before + 200
    assert len(lm.history) > len(DAYS)


def test_progress_shows(capsys: pytest.CaptureFixture[str]) -> None:
    run_all(None, range(3), fails_on_odd, on_done=keep, progress="Training tasks")
    assert "Training tasks: 100%" in capsys.readouterr().err
    run_all(None, range(3), fails_on_odd, on_done=keep)
    assert capsys.readouterr() == ("", "")
