"""The travel domain among the benchmarks of a comparison, and what is measured beside success."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import Budget, Execution, Pivot, PlanExecute, Refiner
from pivot_dspy.simulator import offline_lm
from programs import compare
from programs.comparison.benchmarks import Benchmark, Task, load
from programs.comparison.report import sheets
from programs.comparison.runs import Record, Runner, Unit
from programs.comparison.statistics import figures
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.rules import ABOUT
from tests.programs.comparing import BreaksDown, record

FORMS = ["travel", "travel-json"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, seed=3, tasks=2)
    return str(folder)


def ran(benchmark: Benchmark, refiner: type[Refiner], **rates: float) -> Record:
    """What comes of the first task."""

    def model(task: Task, seed: int) -> Any:
        assert task.reference is not None
        return offline_lm([task.reference], **{"slip": 0, "heed": 1, "relapse": 0, **rates}, cache=False)

    runner = Runner({"it": refiner}, benchmark.signature, model, Budget(), benchmark.requirements)
    made = runner.run(Unit("it", benchmark.tasks[0], 0), threading.Event())
    assert made is not None
    return made


@pytest.mark.parametrize("program", FORMS)
def test_both_forms_are_scored_and_measured(program: str, data: str) -> None:
    benchmark = load(program, None, data, offline=True)
    assert benchmark.name == program and len(benchmark.tasks) == 2
    assert [requirement.id for requirement in benchmark.requirements] == list(ABOUT)
    right = ran(benchmark, Pivot)
    assert right.official and right.strict
    assert right.measured("commonsense") == right.measured("composite") == 1.0
    assert right.measured("composite", 10) == 0.0  # nothing was planned by then


def test_a_run_without_a_result_measures_nothing(data: str) -> None:
    benchmark = load("travel", None, data, offline=True)
    assert benchmark.tasks[0].measure is not None
    assert benchmark.tasks[0].measure(None) == {"commonsense": 0.0, "composite": 0.0}
    broken = ran(benchmark, BreaksDown)
    assert broken.error and broken.measured("composite") == 0.0


def test_a_fingerprint_changes_with_gold_tables_and_form(tmp_path: Path) -> None:
    generate(tmp_path, seed=3, tasks=1)

    def fingerprint(program: str = "travel") -> str:
        [task] = load(program, None, str(tmp_path), offline=True).tasks
        return task.fingerprint

    before = fingerprint()
    assert fingerprint() == before != fingerprint("travel-json")
    gold = tmp_path / "gold_en.jsonl"
    text = gold.read_text(encoding="utf-8")
    gold.write_text(text.replace('"room_number": ', '"room_number": 1'), encoding="utf-8")
    assert fingerprint() != before
    gold.write_text(text, encoding="utf-8")
    assert fingerprint() == before
    [table] = tmp_path.glob("database_en/*/hotels/hotels.csv")
    table.write_text(table.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert fingerprint() != before


def test_generated_tasks_outlive_their_folder() -> None:
    benchmark = load("travel", "1", None, offline=True)
    assert benchmark.data == "generated" and ran(benchmark, Pivot).official


def test_a_comparison_shows_the_means_also_at_equal_tokens(data: str, tmp_path: Path, capsys: Any) -> None:
    page = tmp_path / "page.html"
    options = ["--program", "travel", "--data", data, "--refiners", "pivot,plan-execute", "--seeds", "1"]
    assert compare.main([*options, "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    for words in ("Means [95%]", "Mean composite at equal tokens", "Official success is case accuracy", "SIMULATED"):
        assert words in shown and words in page.read_text(encoding="utf-8")


def measured(refiner: str, task: str, *values: float, tokens: int = 100) -> Record:
    """A run whose results were worth these, every `tokens` tokens."""
    measures = tuple((tokens * at, {"composite": value}) for at, value in enumerate(values, start=1))
    return record(refiner, task, tokens=tokens * len(values), measures=measures)


def test_measures_are_averaged_and_cut() -> None:
    runs = [measured("a", "t", 0.5, 1.0), measured("a", "u", 0.0, 0.5), measured("b", "t", 1.0, 1.0), record("b", "u")]
    made = figures(runs, ["a", "b"])
    assert made["a"]["measures"]["composite"]["mean"] == 0.75
    assert made["b"]["measures"]["composite"]["mean"] == 0.5  # one without a result counts 0
    curve = dict(map(tuple, made["a"]["measures"]["composite"]["curve"]))
    assert curve[min(curve)] == 0.25 and curve[max(curve)] == 0.75
    settings = {"tasks": ["t", "u"], "seeds": 1, "data": "own", "budget_tokens": None}
    titles = [sheet.title for sheet in sheets({"program": "p", "refiners": made, "settings": settings})]
    assert titles[2] == "Means [95%]; a run without a result counts 0"
    assert titles[-1].startswith("Mean composite at equal tokens")


def test_where_nothing_else_is_measured_nothing_is_shown() -> None:
    made = figures([record("a", "t"), record("b", "t")], ["a", "b"])
    settings = {"tasks": ["t"], "seeds": 1, "data": "own", "budget_tokens": None}
    sheets_made = sheets({"program": "p", "refiners": made, "settings": settings})
    assert made["a"]["measures"] == {} and not [sheet for sheet in sheets_made if "Mean" in sheet.title]


def test_an_execution_is_scored_once_however_often_it_is_accepted(data: str) -> None:
    benchmark = load("travel", None, data, offline=True)
    [task, _] = benchmark.tasks
    asked: list[Execution | None] = []
    assert task.measure is not None
    whole = task.measure

    def measure(execution: Execution | None) -> dict[str, float]:
        asked.append(execution)
        return whole(execution)

    watched = Task(**{**vars(task), "measure": measure})
    ran(Benchmark(**{**vars(benchmark), "tasks": (watched,)}), PlanExecute, slip=0.5)
    assert len(asked) == len({id(execution) for execution in asked})
