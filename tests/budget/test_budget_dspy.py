"""DSPy's ways to run at once and to stream, and the user's own tracking."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.budget import Ledger, LedgerReport, Usage
from tests.budget.counting import AsyncCountingEngine, CountingEngine, Watcher, ask, in_parallel, predict

# ---- DSPy's ways to run at once -------------------------------------------------------------------------------------


def in_evaluate(module: dspy.Module, questions: list[str]) -> None:
    examples = [dspy.Example(question=q).with_inputs("question") for q in questions]
    dspy.Evaluate(devset=examples, metric=lambda *_: 1.0, num_threads=8, display_progress=False)(module)


def in_threads(module: dspy.Module, questions: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        for job in [pool.submit(contextvars.copy_context().run, module, question=q) for q in questions]:
            job.result()


def in_asyncify(module: dspy.Module, questions: list[str]) -> None:
    async def main() -> None:
        await asyncio.gather(*(dspy.asyncify(module)(question=q) for q in questions))

    asyncio.run(main())


def in_gather(module: dspy.Module, questions: list[str]) -> None:
    async def main() -> None:
        await asyncio.gather(*(module.acall(question=q) for q in questions))

    asyncio.run(main())


Way = Callable[[dspy.Module, list[str]], None]
WAYS: list[Way] = [in_parallel, in_evaluate, in_threads, in_asyncify, in_gather]


@pytest.mark.parametrize("way", WAYS)
def test_totals_equal_the_engines_own_count(lm: dspy.LM, engine: CountingEngine, way: Way) -> None:
    ledger = Ledger()
    with ledger.phase("inspect"):
        way(predict, [f"owner=a {i} {'garbled' if i % 5 == 0 else ''}" for i in range(40)])
    assert engine.requests["a"] == 48
    assert ledger.by_phase == {"inspect": engine.total()}


@pytest.mark.parametrize("way", WAYS)
def test_a_ledger_per_item_when_many_run_at_once(lm: dspy.LM, engine: CountingEngine, way: Way) -> None:
    reports: dict[str, LedgerReport] = {}

    class Refiner(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            ledger = Ledger()
            with ledger.phase("plan"):
                predict(question=question)
            with ledger.phase("evolve"):
                in_threads(predict, [f"{question} {i}" for i in range(3)])  # nested, dspy.Parallel trips over tqdm
            reports[question] = ledger.snapshot()
            return dspy.Prediction(answer="yes")

        async def aforward(self, question: str) -> dspy.Prediction:
            ledger = Ledger()
            with ledger.phase("plan"):
                await predict.acall(question=question)
            with ledger.phase("evolve"):
                await asyncio.gather(*(predict.acall(question=f"{question} {i}") for i in range(3)))
            reports[question] = ledger.snapshot()
            return dspy.Prediction(answer="yes")

    around = Ledger()
    with around.phase("other run"):
        way(Refiner(), [f"owner=o{i} {'x' * i}" for i in range(10)])
    assert len(reports) == 10 and around.usage == Usage()
    for question, report in reports.items():
        assert report.usage == engine.used[question.split()[0].removeprefix("owner=")]
        assert [report.phases[name].lm_calls for name in ("plan", "evolve")] == [1, 3]


script = st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["plan", "evolve"]), st.integers(0, 5)), max_size=25)


@settings(max_examples=15, deadline=None)
@given(script)
def test_any_interleaving_of_ledgers_and_phases(jobs: list[tuple[int, str, int]]) -> None:
    engine = CountingEngine()
    ledgers = [Ledger() for _ in range(3)]

    async def one(who: int, phase: str, what: int) -> None:
        with ledgers[who].phase(phase):
            await predict.acall(question=f"owner=o{who}{phase} {what}")

    async def main() -> None:
        await asyncio.gather(*(one(*job) for job in jobs))

    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), cache=False)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        asyncio.run(main())
    for who, ledger in enumerate(ledgers):
        for phase, usage in ledger.by_phase.items():
            assert usage == engine.used[f"o{who}{phase}"]
    assert sum((ledger.usage for ledger in ledgers), Usage()) == engine.total()


async def test_streamify_around_a_refiner(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()

    class Refiner(dspy.Module):
        def __init__(self) -> None:
            super().__init__()
            self.plan = dspy.Predict("question -> answer")

        def forward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return self.plan(question=question)

    listeners = [dspy.streaming.StreamListener(signature_field_name="answer")]
    stream = dspy.streamify(Refiner(), stream_listeners=listeners)
    last = [item async for item in stream(question="owner=a")][-1]
    assert last.answer == "yes"
    assert ledger.usage == engine.total() == engine.used["a"]


async def test_streamify_inside_a_phase_and_after_it(lm: dspy.LM, engine: CountingEngine) -> None:
    first, second = Ledger(), Ledger()
    with first.phase("plan"):
        stream = dspy.streamify(dspy.Predict("question -> answer"))
        [item async for item in stream(question="owner=first")]
    [item async for item in stream(question="owner=nobody")]
    with second.phase("plan"):
        [item async for item in stream(question="owner=second")]
    assert first.usage == engine.used["first"] and second.usage == engine.used["second"]


async def test_a_task_that_outlives_its_phase_is_booked_to_it(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with ledger.phase("plan"):
        task = asyncio.create_task(predict.acall(question="owner=a"))
    await task
    assert ledger.by_phase == {"plan": engine.used["a"]}


# ---- the user's own tracking ----------------------------------------------------------------------------------------


def tokens_of(usage: dict[str, Any]) -> int:
    return sum(entry["prompt_tokens"] + entry["completion_tokens"] for entry in usage.values())


def test_track_usage_around_a_phase_sees_all_even_from_threads(lm: dspy.LM, engine: CountingEngine) -> None:
    ledger = Ledger()
    with dspy.track_usage() as tracker, ledger.phase("plan"):
        ask("owner=a")
        in_parallel(predict, [f"owner=a {i}" for i in range(10)])
        with dspy.track_usage() as nested:
            ask("owner=a nested")
        ask("owner=a")
    assert tokens_of(tracker.get_total_tokens()) == ledger.usage.total_tokens == engine.total().total_tokens
    assert 0 < tokens_of(nested.get_total_tokens()) < ledger.usage.total_tokens


@pytest.mark.parametrize("where", ["phase in module", "module in phase"])
async def test_get_lm_usage_works_as_ever(lm: dspy.LM, engine: CountingEngine, where: str) -> None:
    ledger = Ledger()

    class Refiner(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return ask(question)

        async def aforward(self, question: str) -> dspy.Prediction:
            with ledger.phase("plan"):
                return await predict.acall(question=question)

    with dspy.context(track_usage=True):
        if where == "phase in module":
            first, second = Refiner()(question="owner=a"), await Refiner().acall(question="owner=b")
        else:
            with ledger.phase("plan"):
                first, second = ask("owner=a"), await predict.acall(question="owner=b")
    assert tokens_of(first.get_lm_usage()) == engine.used["a"].total_tokens
    assert tokens_of(second.get_lm_usage()) == engine.used["b"].total_tokens
    assert ledger.usage == engine.total()


def test_the_users_callbacks_go_on(lm: dspy.LM, engine: CountingEngine) -> None:
    everywhere, on_lm = Watcher(), Watcher()
    lm.callbacks.append(on_lm)
    ledger = Ledger()
    with dspy.context(callbacks=[everywhere]):
        with ledger.phase("plan"), ledger.phase("inspect"):
            ask("owner=a")
        ask("owner=b")
        assert dspy.settings.callbacks == [everywhere]
    assert everywhere.events == on_lm.events == ["start", "end"] * 2
    assert ledger.by_phase == {"inspect": engine.used["a"]}
