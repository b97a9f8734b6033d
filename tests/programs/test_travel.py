"""The travel program: its record, its options, what it says of bad input, and that no gold is ever shown."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from dspy.utils.dummies import DummyLM

from programs import travel
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.loader import TravelTask, load_tasks
from programs.deepplanning.travel.rules import ABOUT
from programs.deepplanning.travel.trip_plan import Agency
from tests.programs.travel.cities import NO_DATA, TRAVEL

PROMISED: dict[str, Any] = {
    "id": str, "verified": bool, "status": str, "official_score": float, "official_pass": bool, "strict_pass": bool,
    "commonsense": float, "personalized": float, "composite": float, "plan": dict, "losses": list, "lm_calls": int,
    "prompt_tokens": int, "completion_tokens": int, "tool_calls": int, "seconds": float,
}  # fmt: skip
"""The fields of a task's row and their types."""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, seed=3, tasks=5)
    return folder


@pytest.fixture(scope="module")
def ids(data: Path) -> list[str]:
    return [task.id for task in load_tasks(data)]


def run(tmp_path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    file = tmp_path / "record.json"
    assert travel.main([*options, "--json", str(file)]) == code
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks without what differs from run to run."""
    return [{name: value for name, value in task.items() if name != "seconds"} for task in record["tasks"]]


def refused(capsys: pytest.CaptureFixture[str], *options: str) -> str:
    assert travel.main(list(options)) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ") and "Traceback" not in said.err
    return " ".join(said.err.split())


def test_the_record_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path)
    assert list(record) == ["program", "lm", "refiner", "settings", "tasks", "summary", "unread"]
    assert record["program"] == "travel" and record["refiner"] == "pivot" and record["lm"]["simulated"] is True
    assert record["settings"] == {
        "language": "en", "tasks": None, "form": "builder", "lm": None, "refiner": "pivot", "seed": 0, "threads": 2,
        "budget_tokens": None, "slip": 0.2, "heed": 0.85, "relapse": 0.05, "data": "generated",
    }  # fmt: skip
    for task in record["tasks"]:
        for name, kind in PROMISED.items():
            assert isinstance(task[name], kind), name
        assert task["losses"] == sorted(task["losses"], reverse=True)
        assert task["composite"] == task["official_score"] == (task["commonsense"] + task["personalized"]) / 2
        assert task["official_pass"] is (task["commonsense"] == task["personalized"] == 1.0)
        assert task["official_pass"] or not task["strict_pass"]
    for name in ("commonsense", "composite"):
        mean = sum(task[name] for task in record["tasks"]) / len(record["tasks"])
        assert record["summary"][name] == pytest.approx(mean)
    shown = capsys.readouterr().out
    assert all(task["id"] in shown for task in record["tasks"]) and "SIMULATED" in shown and "Averages" in shown
    assert max(map(len, shown.splitlines())) <= 160 and "Day 1" not in shown


@pytest.mark.parametrize("form", ["builder", "json"])
def test_without_slips_both_forms_reach_what_is_asked_for(form: str, tmp_path: Path, data: Path) -> None:
    record = run(tmp_path, "--data", str(data), "--form", form, "--slip", "0")
    assert record["settings"]["form"] == form and record["settings"]["data"] == "directory"
    assert record["summary"]["verified_rate"] == record["summary"]["strict_pass_rate"] == 1.0
    assert record["summary"]["commonsense"] == record["summary"]["composite"] == 1.0


def test_generated_tasks_are_in_both_languages(tmp_path: Path) -> None:
    record = run(tmp_path, "--language", "zh", "--slip", "0")
    assert [task["id"][:3] for task in record["tasks"]] == ["zh-"] * 3
    assert record["summary"]["strict_pass_rate"] == 1.0


def test_the_same_seed_gives_the_same_whatever_the_threads(tmp_path: Path) -> None:
    one, same = (run(tmp_path, "--tasks", "2", "--seed", "7", "--threads", threads) for threads in ("1", "3"))
    assert rows(one) == rows(same) and one["lm"] == same["lm"]


def test_tasks_by_count_and_by_id(tmp_path: Path, data: Path, ids: list[str]) -> None:
    given = ("--data", str(data))
    assert [task["id"] for task in run(tmp_path, *given, "--tasks", "2")["tasks"]] == ids[:2]
    assert [task["id"] for task in run(tmp_path, *given, "--tasks", f"{ids[2]},{ids[0]}")["tasks"]] == [ids[2], ids[0]]


def test_one_task_is_shown_day_by_day_and_several_where_asked(
    data: Path, ids: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert travel.main(["--data", str(data), "--tasks", ids[0], "--slip", "0"]) == 0
    shown = capsys.readouterr().out
    assert "Day 1, " in shown and "Total ¥" in shown and f"Rules: {len(ABOUT)} of {len(ABOUT)} hold" in shown
    assert "Wishes: " in shown and "Benchmark: " in shown
    assert travel.main(["--data", str(data), "--tasks", "2", "--show"]) == 0
    assert capsys.readouterr().out.count("Day 1, ") == 2


def test_the_page_holds_every_trip(tmp_path: Path, data: Path, ids: list[str]) -> None:
    file = tmp_path / "trips.html"
    record = run(tmp_path, "--data", str(data), "--page", str(file))
    text = file.read_text(encoding="utf-8")
    assert all(f'<article id="{name}"' in text for name in ids) and "SIMULATED" in text
    assert str(tmp_path) not in text and "page" not in record["settings"]


def test_every_refiner_is_held_to_the_rules(tmp_path: Path, data: Path, ids: list[str]) -> None:
    options = ("--data", str(data), "--tasks", ids[0], "--slip", "0", "--refiner", "plan-execute")
    [task] = run(tmp_path, *options)["tasks"]
    assert {entry["about"] for entry in task["established"]} >= set(ABOUT)


def test_a_budget_ends_a_run_and_says_so(tmp_path: Path, data: Path, ids: list[str]) -> None:
    options = ("--data", str(data), "--tasks", ids[0], "--slip", "0.9")
    spent = run(tmp_path, *options)["tasks"][0]["phases"]["plan"]
    tokens = spent["prompt_tokens"] + spent["completion_tokens"] + 100
    [task] = run(tmp_path, *options, "--budget-tokens", str(tokens))["tasks"]
    assert task["exhausted"].startswith("tokens: ") and not task["verified"]


def test_as_a_command(tmp_path: Path) -> None:
    root = Path(travel.__file__).parents[1]
    command = [sys.executable, "-m", "programs.travel", "--tasks", "1", "--json", str(tmp_path / "record.json")]
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    ran = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=True)
    assert "SIMULATED" in ran.stdout and not ran.stderr


def test_data_from_the_hub_is_used_where_it_was_unpacked(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(travel, "hub_directory", lambda language: asked.append(language) or data)
    assert run(tmp_path, "--data", "hub")["settings"]["data"] == "hub" and asked == ["en"]


# ------------------------------------------------------------------------------------------------------------ left out


def unreadable(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Requests that no rule reads."""
    whole = Agency.reference

    def reference(agency: Agency, task: TravelTask) -> Any:
        if task.id in names:
            raise ValueError("no rule reads 'a shiny one'")
        return whole(agency, task)

    monkeypatch.setattr(Agency, "reference", reference)


def test_a_request_that_no_rule_reads_is_left_out(
    tmp_path: Path, data: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable(monkeypatch, ids[1])
    record = run(tmp_path, "--data", str(data))
    assert [task["id"] for task in record["tasks"]] == [ids[0], *ids[2:]]
    assert list(record["unread"]) == [ids[1]] and record["summary"]["unread"] == 1
    said = capsys.readouterr()
    assert f"warning: task {ids[1]} is left out" in said.err and "shiny" in said.err
    assert f"Left out: 1 task that the offline model's rules cannot read: {ids[1]}." in said.out


def test_where_no_request_is_read_it_says_so(
    data: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable(monkeypatch, *ids)
    assert "can read none of the tasks" in refused(capsys, "--data", str(data))


def turn(name: str, **args: Any) -> dict[str, str]:
    return {"next_thought": "On.", "tool_calls": json.dumps({"tool_calls": [{"name": name, "args": args}]})}


def test_a_real_model_is_asked_for_every_task_in_the_published_form_too(
    tmp_path: Path, data: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unreadable(monkeypatch, *ids)
    text = "Day 1:\nCurrent City: Bton\n09:00-10:00 | attraction | Museum, ¥40/person\nodd\n10:00-11:00 | walk | on"
    answers = [turn("recommend_attractions", city="Bton"), turn("submit", plan=text)]
    monkeypatch.setattr(travel.dspy, "LM", lambda name: DummyLM(answers * len(ids)))
    record = run(tmp_path, "--data", str(data), "--form", "published", "--lm", "some/model", "--threads", "1")
    assert [task["id"] for task in record["tasks"]] == ids and record["refiner"] == "published"
    for task in record["tasks"]:
        assert task["lm_calls"] == 2 and task["tool_calls"] == 1 and task["parsed_share"] == 0.5
        assert not task["verified"] and task["plan"]["daily_plans"] and task["composite"] < 0.5
    assert "SIMULATED" not in capsys.readouterr().out


def test_a_task_without_a_plan_counts_nothing(
    tmp_path: Path, data: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [{"next_thought": "Hm.", "tool_calls": "none"}] * 9
    monkeypatch.setattr(travel.dspy, "LM", lambda name: DummyLM(answers))
    given = ("--data", str(data), "--tasks", ids[0], "--form", "published", "--lm", "some/model")
    [task] = run(tmp_path, *given)["tasks"]
    assert task["plan"] is None and task["parsed_share"] is None
    assert task["commonsense"] == task["composite"] == 0.0 and "no plan was handed in" in task["reasons"][0]


# ------------------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    "options", [("--form", "published"), ("--form", "published", "--lm", "m", "--refiner", "react")]
)
def test_the_published_form_needs_a_model_and_takes_no_refiner(
    options: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        travel.main(list(options))
    assert "needs --lm" in capsys.readouterr().err


def test_bad_input_is_told(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no task is called en-999; tasks: " in refused(capsys, "--data", str(data), "--tasks", "en-999")
    assert "no such folder" in refused(capsys, "--data", str(tmp_path / "nowhere"))
    assert "neither queries_en.jsonl nor" in refused(capsys, "--data", str(tmp_path))
    assert "does not pay for one plan" in refused(capsys, "--data", str(data), "--budget-tokens", "50")


def test_gold_that_is_missing_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path, tasks=1)
    (tmp_path / "gold_en.jsonl").unlink()
    assert "gold_en.jsonl" in refused(capsys, "--data", str(tmp_path))


# ----------------------------------------------------------------------------------------------------- gold and reality


class Witness(BaseCallback):
    """Everything that passes to models and tools."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        self.texts.append(repr(inputs))

    def on_tool_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self.texts.append(repr(outputs))


def test_no_gold_is_reachable(tmp_path: Path) -> None:
    generate(tmp_path, tasks=2)
    file = tmp_path / "gold_en.jsonl"
    records = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    for record in records:
        record["meta_info"]["hard_constraints"] = {"hotel_zzgold": {"hotel_name": "zzgold inn"}}
    file.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    witness = Witness()
    with dspy.context(callbacks=[witness]):
        record = run(tmp_path, "--data", str(tmp_path), "--slip", "0.5")
    assert len(witness.texts) >= 2 and all(task["personalized"] == 0.0 for task in record["tasks"])
    assert not any("zzgold" in text for text in witness.texts)


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_real_tasks(language: str, tmp_path: Path) -> None:
    given = ("--data", str(TRAVEL), "--language", language, "--tasks", f"{language}-12,{language}-46,{language}-98")
    record = run(tmp_path, *given)
    for task in record["tasks"]:
        assert task["losses"] == sorted(task["losses"], reverse=True)
    assert record["summary"]["commonsense"] >= 0.8
