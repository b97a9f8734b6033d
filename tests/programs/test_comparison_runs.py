"""Single runs: what is recorded, what counts as a failure, and that no run depends on another."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import LMAuthError, LMRateLimitError

from pivot_dspy import Budget, Execution, Loss, Pivot, PivotError, PlanningFailed, Refiner, Requirements, Trajectory
from pivot_dspy.episode.events import AcceptEvent, ElectEvent, InspectEvent, PlanEvent, RejectEvent
from pivot_dspy.simulator import offline_lm
from programs.comparison.benchmarks import Benchmark, Task, load
from programs.comparison.runs import Hopeless, Record, Runner, Unit, anytime
from programs.refiners import REFINERS
from tests.optimizer.processes import CONTEXT
from tests.programs.comparing import BreaksDown

SLIPS = {"slip": 0.3, "heed": 0.7, "relapse": 0.1}


@pytest.fixture(scope="module")
def shopping() -> Benchmark:
    return load("shopping", "3", None, offline=True)


def offline(task: Task, seed: int) -> dspy.LM:
    assert task.reference is not None
    return offline_lm([task.reference], **SLIPS, seed=seed, cache=False)


def runner(benchmark: Benchmark, refiners: dict[str, Callable[..., Refiner]], **changes: Any) -> Runner:
    return replace(Runner(refiners, benchmark.signature, offline, Budget()), **changes)


def test_processes_give_the_same_and_a_lost_one_is_an_error_of_its_runs(shopping: Benchmark) -> None:
    units = [Unit(name, task, 0) for task in shopping.tasks[:2] for name in ("pivot", "best-of-n")]
    expected = timeless(list(runner(shopping, REFINERS).all(units, 2, lambda unit, record: None)))
    kept: list[Record] = []
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as executor:
        records = list(runner(shopping, REFINERS).all(units, 2, lambda unit, record: kept.append(record), executor))
        assert timeless(records) == timeless(kept) == expected
        dying = runner(shopping, {"it": lambda *args, **options: os._exit(1)})
        (lost,) = dying.all([Unit("it", shopping.tasks[0], 0)], 1, lambda unit, record: None, executor)
    assert lost.transient and not lost.strict and "BrokenProcessPool" in str(lost.error)


def one(benchmark: Benchmark, refiner: Callable[..., Refiner], place: int = 0, **changes: Any) -> Record:
    """The record of one task, the first if not said otherwise, with seed 0."""
    unit = Unit("it", benchmark.tasks[place], 0)
    record = runner(benchmark, {"it": refiner}, **changes).run(unit, threading.Event())
    assert record is not None
    return record


def timeless(records: Sequence[Record]) -> dict[tuple[str, str, int], Record]:
    return {(r.refiner, r.task, r.seed): r.model_copy(update={"seconds": 0.0}) for r in records}


def test_a_run_does_not_depend_on_the_others_nor_on_threads(shopping: Benchmark) -> None:
    names = ("pivot", "best-of-n", "majority-of-n")  # the latter two sample the same prompts
    units = [Unit(name, task, seed) for seed in (0, 1) for task in shopping.tasks[:2] for name in names]
    kept: list[Record] = []
    together = runner(shopping, REFINERS).all(units, 3, lambda unit, record: kept.append(record))
    found = timeless(list(together))
    assert len(found) == len(units) and timeless(kept) == found
    for name in names:
        alone = [unit for unit in reversed(units) if unit.refiner == name]
        mine = timeless(list(runner(shopping, REFINERS).all(alone, 1, lambda unit, record: None)))
        assert mine == {key: record for key, record in found.items() if key[0] == name}
    by_seed = {seed: [found["pivot", task.id, seed].trace for task in shopping.tasks[:2]] for seed in (0, 1)}
    assert by_seed[0] != by_seed[1]


def test_a_record_says_what_the_refiner_itself_says(shopping: Benchmark) -> None:
    task = shopping.tasks[1]  # whose plan has to be mended
    record = one(shopping, Pivot, 1)
    with dspy.context(lm=offline(task, 0)):
        result = Pivot(shopping.signature, task.environment)(**task.inputs)
    usage = result.ledger.usage
    for name in ("prompt_tokens", "completion_tokens", "lm_calls", "tool_calls", "tool_calls_reused"):
        assert getattr(record, name) == getattr(usage, name)
    assert record.verified is result.verified and record.exhausted is None and record.error is None
    assert (record.official, record.strict) == task.score(result.execution) == record.trace[-1][1:]
    accepted = [event.tokens for event in result.history if event.kind == "accept"]
    assert [spent for spent, _, _ in record.trace] == accepted and len(accepted) > 1


def test_what_a_shorter_budget_gives_is_what_the_trace_says(shopping: Benchmark) -> None:
    whole = one(shopping, Pivot, 1)
    assert len(whole.trace) > 1
    for spent, official, strict in whole.trace[:-1]:
        short = one(shopping, Pivot, 1, budget=Budget(tokens=spent))
        assert (short.official, short.strict) == (official, strict) == whole.cut(spent)
        assert short.exhausted is not None and short.tokens >= spent


def execution(name: str) -> Execution:
    return Execution(trajectory=Trajectory(steps=()), state=name)


def scored(names: Sequence[str]) -> tuple[Task, list[str]]:
    """A task that executions in these states solve, officially and strictly; and those that were scored."""
    seen: list[str] = []

    def score(found: Execution) -> tuple[bool, bool]:
        seen.append(found.state)
        return found.state in names, found.state == names[0]

    return Task(id="t", inputs={}, environment=lambda: None, score=score, fingerprint=""), seen  # type: ignore[arg-type,return-value]


def test_a_trace_takes_the_latest_execution_and_ends_with_the_result() -> None:
    plan = Trajectory(steps=())
    bad, good, best = execution("bad"), execution("good"), execution("best")
    history = [
        PlanEvent(trajectory=plan, requirements=Requirements(), tokens=5),
        InspectEvent(trajectory=plan, execution=bad, loss=Loss(), tokens=10),
        ElectEvent(trajectory=plan, loss=Loss(), tokens=10),
        InspectEvent(trajectory=plan, execution=good, loss=Loss(), tokens=20),
        RejectEvent(trajectory=plan, tokens=20),
        AcceptEvent(trajectory=plan, loss=Loss(), tokens=30),
        AcceptEvent(trajectory=plan, loss=Loss(), tokens=40),
    ]
    task, seen = scored(["best", "good"])
    told = ((10, False, False), (30, True, False), (40, True, False))
    assert anytime(history, task, good, 50) == told
    assert seen == ["bad", "good"]  # each once
    assert anytime(history, task, best, 50) == (*told, (50, True, True))  # the result is another one
    assert anytime(history, task, None, 50) == (*told, (50, False, False))  # there is none: it broke down
    assert anytime([], task, None, 7) == ((7, False, False),)


def test_a_refiner_that_breaks_down_has_not_solved_the_task(shopping: Benchmark) -> None:
    record = one(shopping, BreaksDown, model=lambda task, seed: offline_lm([task.reference], slip=0, cache=False))
    assert record.error == "RuntimeError: no room left in file.txt"
    assert not (record.official or record.strict or record.verified or record.transient)
    assert record.tokens > 1000 and record.lm_calls == 1  # what it spent counts
    assert record.trace[0] == (record.tokens, True, True) and record.trace[-1] == (record.tokens, False, False)
    assert record.cut(record.tokens) == (False, False)


class Fails(Pivot):
    """Gets no plan."""

    cause: Exception = ValueError("unreadable")

    def forward(self, **inputs: Any) -> Any:
        raise PlanningFailed("no plan") from self.cause


def test_no_plan_is_a_failure_and_one_of_the_provider_is_worth_another_try(shopping: Benchmark) -> None:
    assert one(shopping, Fails).model_dump(include={"error", "transient", "strict", "trace"}) == {
        "error": "PlanningFailed: no plan", "transient": False, "strict": False, "trace": ((0, False, False),),
    }  # fmt: skip
    busy = type("Busy", (Fails,), {"cause": LMRateLimitError("slow down")})
    assert one(shopping, busy).transient


@pytest.mark.parametrize("cause", [LMAuthError("no key"), PivotError("unused")])
def test_what_no_run_survives_ends_it_all(shopping: Benchmark, cause: Exception) -> None:
    refiner = type("Locked", (Fails,), {"cause": cause})
    if isinstance(cause, LMAuthError):
        with pytest.raises(Hopeless, match="it on L1-1: no plan"):
            one(shopping, refiner)
    else:
        assert one(shopping, refiner).error
    with pytest.raises(Hopeless, match="it on L1-1: a budget of 50 tokens does not pay for one plan"):
        one(shopping, Pivot, budget=Budget(tokens=50))


def test_left_early_it_stops_what_is_in_flight(shopping: Benchmark) -> None:
    kept: list[Record] = []
    units = [Unit("pivot", task, seed) for seed in range(20) for task in shopping.tasks]
    records = runner(shopping, REFINERS).all(units, 2, lambda unit, record: kept.append(record))
    next(records)
    records.close()
    assert 1 <= len(kept) < 10
