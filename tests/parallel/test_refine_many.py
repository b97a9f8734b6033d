"""refine_many: one result for each task, in order, on any executor; errors are results, and nothing counts twice."""

from __future__ import annotations

import json
import os
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from glob import glob
from pathlib import Path
from typing import Any

import dspy
import pytest

from pivot_dspy import (
    ConfigurationError,
    FailedTask,
    Pivot,
    Refined,
    RefinedMany,
    TooManyErrors,
    refine_many,
)
from pivot_dspy.dspy_internals import BaseCallback
from tests.habits.tasks import DAYS, VARIED, examples, pivot, request, simulated
from tests.optimizer.compiling import compiled, told
from tests.optimizer.processes import CONTEXT
from tests.simulator.rooms import Book, Rooms


def refined(refiner: Any = None, tasks: Any = None, **options: Any) -> RefinedMany:
    with dspy.context(lm=simulated(**VARIED)):
        return refine_many(refiner or pivot(), examples() if tasks is None else tasks, **{"threads": 4, **options})


def outcomes(many: RefinedMany) -> list[Any]:
    return [(result.trajectory.id, result.verified, result.ledger.usage) for result in many]


def deadly(folder: Path, deaths: int = 1) -> Pivot:
    """A refiner whose environment takes its process down when it is opened for the third day, so often."""
    for death in range(deaths):
        (folder / f"death-{death}").touch()
    markers = str(folder / "death-*")  # no path, whose files would be watched as what a run must leave as it is

    def opened(task: Any) -> Rooms:
        if task.request == request(DAYS[2]):
            for marker in map(Path, glob(markers)):
                marker.unlink()
                os._exit(1)
        return Rooms()

    return Pivot(Book, opened)


@pytest.fixture(scope="module")
def here() -> RefinedMany:
    return refined()


def test_threads_share_the_callers_context(here: RefinedMany) -> None:
    heard: list[str] = []

    class Listener(BaseCallback):  # type: ignore[misc]
        def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            heard.append(instance.model)

    kept: dict[int, Refined] = {}
    with dspy.context(callbacks=[Listener()]), ThreadPoolExecutor(3) as executor:
        many = refined(executor=executor, on_done=kept.__setitem__)
    assert outcomes(many) == outcomes(here) and not many.errors
    assert len(heard) == many.ledger.usage.lm_calls == sum(result.ledger.usage.lm_calls for result in many)
    assert len(many) == len(DAYS) and [kept[at] for at in range(len(kept))] == list(many) and many[0] is kept[0]


@pytest.mark.parametrize("name", ["processes", "dask", "ray_pool"])
def test_other_processes_give_the_same(name: str, here: RefinedMany, request: pytest.FixtureRequest) -> None:
    many = refined(executor=request.getfixturevalue(name))
    assert outcomes(many) == outcomes(here) and many.ledger.phases == here.ledger.phases


def test_what_a_dead_dask_worker_had_not_finished_runs_again_and_counts_once(
    dask: Executor, here: RefinedMany, tmp_path: Path
) -> None:
    many = refined(deadly(tmp_path), executor=dask)
    assert not list(tmp_path.glob("death-*")) and not many.errors
    assert outcomes(many) == outcomes(here) and many.ledger.phases == here.ledger.phases


def test_a_compilation_survives_a_dead_dask_worker_with_its_journal_right(dask: Executor, tmp_path: Path) -> None:
    few = {"trainset": examples()[:3], "valset": examples()[5:7], "max_tasks": 10}
    expected = told(compiled(deadly(tmp_path, deaths=0), lm=simulated(**VARIED), **few))
    program = compiled(deadly(tmp_path), lm=simulated(**VARIED), executor=dask, log_dir=tmp_path / "log", **few)
    assert not list(tmp_path.glob("death-*")) and told(program) == expected
    lines = [json.loads(line) for file in (tmp_path / "log").glob("*.jsonl") for line in file.open(encoding="utf-8")]
    runs = [line["key"] for line in lines if line["kind"] == "run"]
    assert len(runs) == len(set(runs)) == program.detailed_results.runs


def test_a_dead_process_of_a_pool_fails_its_tasks_alone(here: RefinedMany, tmp_path: Path) -> None:
    with ProcessPoolExecutor(1, mp_context=CONTEXT) as mortal:
        many = refined(deadly(tmp_path), executor=mortal, threads=1, max_errors=99)
    assert len(many) == len(DAYS) and outcomes(RefinedMany(many.results[:2])) == outcomes(here)[:2]
    assert [*many.errors] == [*range(2, len(DAYS))] and not many[2].verified
    assert all(type(error).__name__ == "BrokenProcessPool" for error in many.errors.values())
    assert many.ledger.usage.lm_calls == sum(result.ledger.usage.lm_calls for result in here.results[:2])


def test_an_error_is_the_result_of_its_task() -> None:
    tasks = [*examples()[:2], dspy.Example(wish="no such input").with_inputs("wish"), examples()[2]]
    many = refined(tasks=tasks)
    assert [type(result) for result in many] == [Refined, Refined, FailedTask, Refined]
    assert "missing: request" in str(many.errors[2]) and many[2].ledger.usage.lm_calls == 0
    with pytest.raises(ConfigurationError, match="missing: request"):
        refined(tasks=tasks, raise_errors=True)
    few = refined(tasks=tasks[2:3] * 3 + tasks[:1], threads=1, max_errors=2)
    kinds = [type(error) for error in few.errors.values()]
    assert kinds == [ConfigurationError, ConfigurationError, TooManyErrors, TooManyErrors]
    assert refined(tasks=[]).results == ()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"tasks": [dspy.Example(request="", commit=True).with_inputs("request", "commit")]}, "makes nothing real"),
        ({"refiner": dspy.Predict("a -> b")}, "takes a refiner"),
        ({"threads": 0}, "at least 1"),
        ({"tasks": ["Book a room."]}, r"examples\[0\] is a str"),
        ({"tasks": [dspy.Example(request="Book.")]}, "with_inputs"),
        ({"executor": 3}, "concurrent.futures.Executor"),
    ],
)
def test_what_cannot_work_is_told_before_anything_runs(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        refined(**options)
