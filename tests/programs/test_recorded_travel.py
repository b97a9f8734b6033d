"""Recorded travel plans: read from their texts, refined as trajectories, and never worse by their loss."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from programs import travel
from programs.benchmarks.recorded_travel import main, recorded_plans, refine, summary, trajectory
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.loader import load_tasks
from programs.options import DataError
from tests.programs.travel.cities import NO_DATA, TRAVEL

RUNS = "recorded_runs.jsonl.gz"
KINDS = {
    "travel_intercity_public": "{mode} {number}, {from} - {to}, ¥{cost}/person",
    "travel_city": "{from} - {to}, {distance}, {duration}, ¥{cost}",
    "attraction": "{name}, ¥{cost}/person",
    "meal": "{meal_type}, {name}, ¥{cost}/person",
    "hotel": "{activity}, {name}",
    "buffer": "{description}",
}


def text_of(plan: dict[str, Any]) -> str:
    """A plan as an agent writes it."""
    lines = []
    for day in plan["daily_plans"]:
        lines += [f"Day {day['day_number']}:", f"Current City: {day['current_city']}"]
        stay = day.get("accommodation")
        lines.append(f"Accommodation: {stay['name']}, ¥{stay['price_per_night']}/room/night" if stay else "")
        for activity in day["activities"]:
            details = KINDS[activity["type"]].format_map(activity["details"])
            lines.append(f"{activity['time_slot']} | {activity['type']} | {details}")
    return "\n".join([*lines, f"Total Estimated Budget: ¥{plan['budget_summary']['total_estimated_budget']}"])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two generated tasks, and for each a plan whose total is twice what it costs."""
    folder = tmp_path_factory.mktemp("data")
    generate(folder, seed=2, tasks=2)
    file = folder / "record.json"
    assert travel.main(["--data", str(folder), "--slip", "0", "--json", str(file)]) == 0
    runs = []
    for task in json.loads(file.read_text(encoding="utf-8"))["tasks"]:
        plan = task["plan"]
        plan["budget_summary"]["total_estimated_budget"] *= 2
        language, number = task["id"].split("-")
        runs.append({"language": language, "id": int(number), "model": "m", "plan_text": text_of(plan)})
    with gzip.open(folder / RUNS, "wt", encoding="utf-8") as lines:
        lines.write("\n".join(map(json.dumps, runs)))
    return folder


def test_a_text_becomes_a_trajectory_that_proposes_its_plan(data: Path) -> None:
    run = next(recorded_plans(data / RUNS))
    assert run.task == load_tasks(data)[0].id and run.parsed.share == 1.0 and run.composite is None
    made = trajectory({"origin": "A"}, run.parsed.plan)
    assert [step.tool for step in made.steps] == ["start", "propose"] and made.submit is None
    assert made.steps[0].args == {"origin": "A"} and made.steps[1].args["plan"] == run.parsed.plan


def test_refining_makes_none_worse_by_its_loss(data: Path) -> None:
    runs = list(recorded_plans(data / RUNS))
    found = refine(data, runs, seed=0, console=Console(quiet=True))
    told = summary(runs, found)
    assert told["runs"] == told["refined"] == told["texts_read_whole"] == 2 and told["activities_read"] == 1.0
    assert told["loss_rose"] == 0 and told["loss_fell"] > 0
    assert told["composite_after"] >= told["composite_before"] and told["commonsense_before"] < 1.0
    for row in found:
        assert row["losses"] == sorted(row["losses"], reverse=True) and row["lm_calls"] > 0


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "report.json"
    assert main(["--data", str(data), "--limit", "1", "--json", str(file)]) == 0
    report = json.loads(file.read_text(encoding="utf-8"))
    assert len(report["runs"]) == 1 and report["lm"]["simulated"] is True
    shown = capsys.readouterr().out
    assert "simulated" in shown and "composite_after" in shown


@pytest.mark.parametrize(
    ("run", "told"),
    [
        ({"language": "en", "id": 0, "model": "m"}, "line 1: no plan_text"),
        ({"language": "fr", "id": 0, "model": "m", "plan_text": ""}, "line 1: expected language en or zh"),
        ({"language": "en", "id": 999, "model": "m", "plan_text": ""}, "no task for the runs of en-999"),
    ],
)
def test_broken_runs_are_named(
    run: dict[str, Any], told: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "runs.jsonl"
    file.write_text(json.dumps(run), encoding="utf-8")
    assert main(["--data", str(data), "--runs", str(file)]) == 2
    assert told in capsys.readouterr().err
    if "line 1" in told:
        with pytest.raises(DataError, match=told):
            list(recorded_plans(file))


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_real_texts_are_read() -> None:
    runs = list(recorded_plans(TRAVEL / RUNS))
    assert len(runs) == 46 and all(run.parsed.share == 1.0 for run in runs)
    rows = refine(TRAVEL, runs[:4], seed=0, console=Console(quiet=True))
    assert summary(runs[:4], rows)["loss_rose"] == 0
