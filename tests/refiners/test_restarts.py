"""DSPy begins a slow task again: its tools are run once all the same."""

from __future__ import annotations

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
