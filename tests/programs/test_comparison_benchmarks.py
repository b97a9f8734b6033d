"""The benchmarks of a comparison: which tasks are taken, and that scores tell success from failure."""

from __future__ import annotations

import importlib.util
import threading
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import Budget, Pivot, Refiner, Step, Trajectory
from pivot_dspy.flow import Flow
from pivot_dspy.simulator import Reference, offline_lm
from programs.comparison import benchmarks
from programs.comparison.benchmarks import Benchmark, Task, load
from programs.comparison.runs import Record, Runner, Unit
from programs.deepplanning.generate import generate
from programs.office.package import MissingPackage
from programs.options import DataError
from tests.programs.office import AGENTDOJO
from tests.programs.shops import make_unreadable

BFCL = pytest.mark.skipif(importlib.util.find_spec("bfcl_eval") is None, reason="bfcl-eval is not installed")
PACKAGED = [pytest.param("bfcl", marks=BFCL), pytest.param("agentdojo", marks=AGENTDOJO)]


def solved(benchmark: Benchmark, task: Task, refiner: type[Refiner] = Pivot) -> Record:
    """What comes of a task without slips."""

    def model(task: Task, seed: int) -> Any:
        assert isinstance(task.reference, Reference)
        return offline_lm([task.reference], slip=0, heed=1, relapse=0, cache=False)

    record = Runner({"it": refiner}, benchmark.signature, model, Budget()).run(Unit("it", task, 0), threading.Event())
    assert record is not None
    return record


class Early(Pivot):
    """Submits at once: it does nothing for the task."""

    def search(self, episode: Any, given: Any) -> Flow[Any]:
        outputs = dict.fromkeys(self.signature.output_fields, "done")
        return super().search(episode, Trajectory(steps=(Step(id="submit", tool="submit", args=outputs),)))


def ids(benchmark: Benchmark) -> list[str]:
    return [task.id for task in benchmark.tasks]


def test_shopping_tasks_are_spread_over_the_levels(tmp_path: Path) -> None:
    generate(tmp_path, tasks=7)
    data = str(tmp_path)
    assert ids(load("shopping", "4", data, offline=True)) == ["L1-1", "L2-1", "L3-1", "L1-2"]
    assert ids(load("shopping", None, data, offline=True)) == ["L1-1", "L1-2", "L1-3", "L2-1", "L2-2", "L3-1", "L3-2"]
    assert ids(load("shopping", "L3-1, L1-1,L3-1", data, offline=True)) == ["L3-1", "L1-1"]


def test_shopping_tasks_that_the_offline_model_cannot_read_are_left_out(tmp_path: Path) -> None:
    generate(tmp_path, tasks=3)
    make_unreadable(tmp_path, "L2-1")
    offline = load("shopping", None, str(tmp_path), offline=True)
    assert ids(offline) == ["L1-1", "L3-1"] and list(offline.unread) == ["L2-1"]
    assert offline.notes == ("Left out: 1 task that the offline model's rules cannot read: L2-1.",)
    real = load("shopping", None, str(tmp_path), offline=False)
    assert ids(real) == ["L1-1", "L2-1", "L3-1"] and not real.unread and not real.notes
    with pytest.raises(DataError, match="none of the tasks; of L2-1"):
        load("shopping", "L2-1", str(tmp_path), offline=True)


def test_as_many_generated_tasks_as_are_asked_for() -> None:
    found = load("shopping", "9", None, offline=True)
    assert len(found.tasks) == 9 and found.data == "generated"
    fewer = load("shopping", "L1-2", None, offline=True).tasks[0]
    assert [task.fingerprint for task in found.tasks if task.id == "L1-2"] == [fewer.fingerprint]


def test_a_fingerprint_changes_with_the_gold(tmp_path: Path) -> None:
    generate(tmp_path, tasks=2)
    before = load("shopping", None, str(tmp_path), offline=True).tasks
    file = tmp_path / "database_level1" / "case_1" / "validation_cases.json"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace('"product_id": "', '"product_id": "x', 1), encoding="utf-8")
    after = load("shopping", None, str(tmp_path), offline=True).tasks
    assert before[0].fingerprint != after[0].fingerprint and before[1].fingerprint == after[1].fingerprint


@pytest.mark.parametrize("program", ["shopping", "meeting_room", *PACKAGED])
def test_scores_tell_success_from_nothing_done(program: str) -> None:
    benchmark = load(program, "slack:1,4" if program == "agentdojo" else "1", None, offline=True)
    for task in benchmark.tasks:
        record = solved(benchmark, task)
        assert record.official and record.strict and record.trace[-1][1:] == (True, True)
        record = solved(benchmark, task, Early)
        assert record.trace[0][1:] == (False, False)


def test_the_meeting_is_scored_by_the_task_and_not_by_what_the_model_made_of_it() -> None:
    benchmark = load("meeting_room", None, None, offline=True)
    [task] = benchmark.tasks
    assert task.reference is not None
    steps = [dict(step) for step in task.reference.steps]
    wanted = [{"id": "p", "tool": "request_scope", "args": {"scope": "calendar.read"}}, *steps]

    def score(written: list[dict[str, Any]]) -> tuple[bool, bool]:
        from pivot_dspy.environment.factory import SessionFactory
        from pivot_dspy.execution import execute
        from pivot_dspy.flow import run_sync

        trajectory = Trajectory(steps=tuple(Step(**step) for step in written))
        session = SessionFactory(task.environment).open(None)
        outputs = {name: field.annotation for name, field in benchmark.signature.output_fields.items()}
        return task.score(run_sync(execute(trajectory, session, outputs=outputs)).execution)

    assert score(wanted) == (True, True)
    assert score(steps) == (False, False)  # nobody asked for the scope
    other = {"room": "Elm", "start": "2026-03-12T09:00:00", "end": "2026-03-12T10:00:00"}
    assert score([*wanted[:-1], {"id": "x", "tool": "book_room", "args": other}, wanted[-1]]) == (True, False)
    assert score([step for step in wanted if step["tool"] != "book_room"]) == (False, False)


@BFCL
def test_bfcl_tasks_are_spread_over_the_sets_and_the_scenarios() -> None:
    found = load("bfcl", "12", None, offline=False)
    names = [name.removeprefix("multi_turn_").rpartition("_") for name in ids(found)]
    kinds = [kind for kind, _, _ in names]
    assert sorted(kinds) == sorted(["base", "long_context", "miss_func", "miss_param"] * 3)
    numbers = sorted(int(number) for _, _, number in names)
    assert len(set(numbers)) == 12 and numbers[0] < 25 and numbers[-1] > 175
    assert all(task.reference is None for task in found.tasks)
    with pytest.raises(DataError, match="leave --data out"):
        load("bfcl", "1", "somewhere", offline=True)


def test_without_the_package_bfcl_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr("programs.multi_turn.package.importlib.import_module", missing)
    with pytest.raises(DataError, match="pip install --no-deps bfcl-eval"):
        load("bfcl", "1", None, offline=True)


@AGENTDOJO
def test_agentdojo_tasks_are_taken_from_the_suites_in_turn() -> None:
    found = load("agentdojo", "6", None, offline=False)
    assert ids(found) == ["workspace:0", "travel:0", "banking:0", "slack:0", "workspace:1", "travel:1"]
    assert all(task.reference is None for task in found.tasks)
    assert ids(load("agentdojo", "travel:3,5;slack:2", None, offline=True)) == ["travel:3", "travel:5", "slack:2"]
    assert len({task.fingerprint for task in load("agentdojo", None, None, offline=False).tasks}) == 97
    with pytest.raises(DataError, match="leave --data out"):
        load("agentdojo", "1", "somewhere", offline=True)


def test_without_the_package_agentdojo_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> Any:
        raise MissingPackage("get it with: pip install --no-deps agentdojo")

    monkeypatch.setattr("programs.office.data.suites", missing)
    with pytest.raises(DataError, match="pip install --no-deps agentdojo"):
        load("agentdojo", "1", None, offline=True)


def test_a_program_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(DataError, match="no program is called gaia; programs: shopping, bfcl, agentdojo, meeting_room"):
        load("gaia", None, None, offline=True)
    programs = ["shopping", "bfcl", "agentdojo", "meeting_room", "travel", "travel-json"]
    assert list(benchmarks.PROGRAMS) == programs
