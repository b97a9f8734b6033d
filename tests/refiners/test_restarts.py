"""DSPy begins a slow task again: its tools are run once all the same."""

from __future__ import annotations

import asyncio
import threading
from functools import partial
from typing import Any

import dspy
import pytest
from dspy.utils.parallelizer import ParallelExecutor

from pivot_dspy import Pivot
from tests.scripted import plan, scripted, step, submit

SECONDS = 2.5
"""How long a call of the tool takes: DSPy looks for what is late once a second."""


def slow_tool(calls: list[int]) -> Any:
    def double(number: int) -> int:
        """Twice as much."""
        calls.append(number)
        threading.Event().wait(SECONDS if len(calls) == 1 else 0)
        return 2 * number

    return double


def lm() -> dspy.LM:
    return scripted(plan=plan([step("a", "double", number=1), submit(answer="$a")]))


def test_evaluate_runs_a_slow_example_once(monkeypatch: pytest.MonkeyPatch) -> None:
    short = partial(ParallelExecutor, timeout=0.2)
    monkeypatch.setattr("dspy.evaluate.evaluate.ParallelExecutor", short)
    calls: list[int] = []
    asked: list[int] = []

    class Program(dspy.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.agent = Pivot("q -> answer: int", tools=[slow_tool(calls)], effects="read")

        def forward(self, q: str) -> Any:
            asked.append(1)
            return self.agent(q=q)

    devset = [dspy.Example(q="?").with_inputs("q")]
    with dspy.context(lm=lm()):
        evaluate = dspy.Evaluate(devset=devset, metric=lambda gold, pred: float(pred.answer == 2), num_threads=2)
        assert evaluate(Program()).score == 100.0
    assert len(asked) >= 2, "DSPy did not begin it again, and nothing was tested"
    assert len(calls) == 2  # the run, and that which verifies it


def test_equal_calls_of_one_attempt_and_of_two_tasks_are_each_run() -> None:
    calls: list[int] = [0]
    agent = Pivot("q -> answer: int", tools=[slow_tool(calls)], effects="read")
    executor = ParallelExecutor(num_threads=2, disable_progress_bar=True)
    with dspy.context(lm=lm()):
        results = executor.execute(lambda item: (agent(q=item), agent(q=item)), ["?", "?"])
    assert len({id(result) for pair in results for result in pair}) == 4 and len(calls) == 1 + 2 * 4


def test_whoever_asks_again_gets_the_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = Pivot("q -> answer: int", tools=[slow_tool([])], effects="read")
    raised: list[Exception] = []

    def late(self: Any, given: Any) -> Any:
        threading.Event().wait(SECONDS)
        raise ValueError("of the first attempt")

    monkeypatch.setattr(Pivot, "_refine", late)

    def work(item: str) -> Any:
        try:
            return agent(q=item)
        except ValueError as error:
            raised.append(error)
            return None

    ParallelExecutor(num_threads=2, timeout=0.2, disable_progress_bar=True).execute(work, ["?"])
    assert {str(error) for error in raised} == {"of the first attempt"}


def restarted(work: Any) -> list[Any]:
    """What an executor gives that soon begins a task again."""
    executor = ParallelExecutor(num_threads=2, timeout=0.2, disable_progress_bar=True)
    with dspy.context(lm=lm()):
        return list(executor.execute(work, ["?"]))


def test_an_awaited_call_is_run_once() -> None:
    calls: list[int] = []
    agent = Pivot("q -> answer: int", tools=[slow_tool(calls)], effects="read")
    asked: list[str] = []

    async def both(item: str) -> Any:
        asked.append(item)
        return await asyncio.gather(agent.acall(q=item), agent.acall(q="other"))

    [(first, second)] = restarted(lambda item: asyncio.run(both(item)))
    assert (first.answer, second.answer) == (2, 2)
    assert len(asked) >= 2 and len(calls) == 4


def test_a_call_inside_two_executors_is_run_once() -> None:
    calls: list[int] = []
    agent = Pivot("q -> answer: int", tools=[slow_tool(calls)], effects="read")
    asked: list[str] = []

    def twice(item: str) -> Any:
        asked.append(item)
        example = dspy.Example(q=item).with_inputs("q")
        pairs = [(agent, example), (agent, example)]
        parallel = [dspy.Parallel(num_threads=2, timeout=0, disable_progress_bar=True) for _ in range(2)]
        return [result for each in parallel for result in each(pairs)]

    [results] = restarted(twice)
    assert [result.answer for result in results] == [2] * 4 and len({*map(id, results)}) == 4
    assert len(asked) >= 2 and len(calls) == 4 * 2


async def test_who_stops_waiting_for_the_first_attempt_does_not_end_it() -> None:
    calls: list[int] = []
    agent = Pivot("q -> answer: int", tools=[slow_tool(calls)], effects="read")
    waited: list[str] = []

    async def first_or_nothing(item: str) -> Any:
        waited.append(item)
        return await asyncio.wait_for(agent.acall(q=item), None if len(waited) == 1 else 0.1)

    [result] = await asyncio.to_thread(restarted, lambda item: asyncio.run(first_or_nothing(item)))
    assert result.answer == 2 and len(calls) == 2
