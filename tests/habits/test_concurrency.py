"""Many calls at once: each gets its own result, and the ledgers add up to what the model's engine counted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import lru_cache

import dspy
import pytest

from pivot_dspy import Refined, trajectory_metric
from tests.habits.tasks import DAYS, VARIED, examples, pivot, request, simulated


def check(results: Sequence[Refined], lm: dspy.LM) -> None:
    """Every result is that of its task alone, and nothing was booked twice, elsewhere or not at all."""
    assert [result.trajectory for result in results] == [result.trajectory for result in alone()]
    assert [result.ledger.usage for result in results] == [result.ledger.usage for result in alone()]
    booked = sum((result.ledger.usage for result in results[1:]), results[0].ledger.usage)
    counted = lm.engine.calls
    assert (booked.lm_calls, booked.prompt_tokens, booked.completion_tokens) == (
        counted.lm_calls, counted.prompt_tokens, counted.completion_tokens,
    )  # fmt: skip
    assert booked.cache_hits == 0


@lru_cache(maxsize=1)
def alone() -> tuple[Refined, ...]:
    """The same tasks one after the other; they do differ."""
    program = pivot(simulated(**VARIED))
    results = tuple(program(request=request(day)) for day in DAYS)
    assert len({result.trajectory.id for result in results}) == len(DAYS)
    assert len({result.ledger.usage.lm_calls for result in results}) > 1
    return results


@pytest.mark.parametrize("threads", [1, 4])
def test_evaluate(threads: int) -> None:
    lm = simulated(**VARIED)
    evaluate = dspy.Evaluate(
        devset=examples(), metric=trajectory_metric, num_threads=threads, display_progress=False, max_errors=1
    )
    evaluated = evaluate(pivot(lm))
    results = [prediction for _, prediction, _ in evaluated.results]
    check(results, lm)
    scores = [score.score for _, _, score in evaluated.results]
    assert evaluated.score == pytest.approx(100 * sum(scores) / len(scores), abs=0.01)
    assert [score == 1.0 for score in scores] == [result.verified for result in results]
    assert all(score.feedback for _, _, score in evaluated.results)


def test_parallel_and_batch() -> None:
    lm = simulated(**VARIED)
    program = pivot(lm)
    pairs = [(program, example) for example in examples()]
    check(dspy.Parallel(num_threads=4, timeout=0, disable_progress_bar=True)(pairs), lm)
    lm = simulated(**VARIED)
    check(pivot(lm).batch(examples(), num_threads=3, disable_progress_bar=True, timeout=0), lm)


async def test_gather() -> None:
    lm = simulated(**VARIED)
    program = pivot(lm)
    check(await asyncio.gather(*(program.acall(request=request(day)) for day in DAYS)), lm)


async def test_asyncify() -> None:
    lm = simulated(**VARIED)
    program = dspy.asyncify(pivot(lm))
    check(await asyncio.gather(*(program(request=request(day)) for day in DAYS)), lm)


async def test_sync_and_async_give_the_same() -> None:
    program = pivot(simulated(**VARIED))
    for day, before in zip(DAYS, alone(), strict=True):
        after = await program.acall(request=request(day))
        assert (after.trajectory, after.loss, after.verdict) == (before.trajectory, before.loss, before.verdict)
        assert [event.kind for event in after.history] == [event.kind for event in before.history]


def test_pivot_inside_another_module() -> None:
    class Desk(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.refine = pivot()

        def forward(self, day: str) -> Refined:
            result: Refined = self.refine(request=request(day))
            return result

    lm = simulated(**VARIED)
    desk = Desk()
    desk.set_lm(lm)
    assert "refine.plan.predict" in dict(desk.named_predictors())
    days = [dspy.Example(day=day).with_inputs("day") for day in DAYS]
    check(desk.batch(days, num_threads=3, disable_progress_bar=True, timeout=0), lm)
