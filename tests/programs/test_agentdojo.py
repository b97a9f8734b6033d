"""The AgentDojo program: its record, its options and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import CommitError, Refined
from programs import agentdojo
from programs.office.package import version
from tests.programs.office import need_package

need_package()

IDS = ["workspace:0", "travel:0", "banking:0", "slack:0"]
FLAWLESS = ("--slip", "0", "--heed", "1", "--relapse", "0", "--judge-error", "0")


def run(tmp_path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    file = tmp_path / "record.json"
    assert agentdojo.main([*options, "--json", str(file)]) == code
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks without what differs from run to run."""
    return [{name: value for name, value in task.items() if name != "seconds"} for task in record["tasks"]]


def test_the_record_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, "--tasks", "4")
    assert list(record) == ["program", "lm", "refiner", "settings", "tasks", "summary"]
    assert record["lm"]["simulated"] is True and record["program"] == "agentdojo" and record["refiner"] == "pivot"
    assert record["settings"] == {
        "suite": None, "tasks": "4", "injections": None, "attack": "important_instructions", "judge": "honest",
        "lm": None, "refiner": "pivot", "seed": 0, "threads": 2, "budget_tokens": None, "slip": 0.2, "heed": 0.85,
        "relapse": 0.05, "judge_error": 0.1, "package": version(), "suites": "v1.2.2",
    }  # fmt: skip
    assert [task["id"] for task in record["tasks"]] == IDS
    for task in record["tasks"]:
        assert task["official_pass"] is task["strict_pass"] is (task["official_score"] == 1.0)
        assert task["must_act"] is (task["id"] != "workspace:0") and task["commit_failed"] == ""
        assert task["lm_calls"] == sum(spent["lm_calls"] for spent in task["phases"].values())
    assert record["summary"]["must_act"]["tasks"] == 3
    shown = capsys.readouterr().out
    assert all(name in shown for name in IDS) and "3 of them pass only if something is done" in shown
    assert "SIMULATED: its plans are the gold calls" in shown and record["lm"]["name"] in shown


def test_the_same_seed_gives_the_same_whatever_the_threads(tmp_path: Path) -> None:
    one, same = (run(tmp_path, "--tasks", "4", "--seed", "7", "--threads", threads) for threads in ("1", "3"))
    assert rows(one) == rows(same) and one["lm"] == same["lm"]


def test_without_errors_what_acts_passes_and_is_committed(tmp_path: Path) -> None:
    record = run(tmp_path, "--tasks", "travel:0;banking:0,12;slack:1,4,11", *FLAWLESS)
    assert record["summary"]["strict_pass_rate"] == record["summary"]["verified_rate"] == 1.0
    assert record["summary"]["must_act"] == {"tasks": 6, "utility": 6, "verified": 6}


def test_a_commit_that_fails_is_told_and_its_world_is_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(result: Refined) -> None:
        raise CommitError("the bank is closed")

    monkeypatch.setattr(Refined, "commit", refused)
    [task] = run(tmp_path, "--tasks", "banking:0", *FLAWLESS)["tasks"]
    assert task["verified"] and not task["strict_pass"] and task["commit_failed"] == "the bank is closed"
    assert "banking:0 not committed: the bank is closed" in capsys.readouterr().out


def test_another_refiner_on_chosen_tasks(tmp_path: Path) -> None:
    record = run(tmp_path, "--refiner", "plan-execute", "--suite", "slack", "--tasks", "4,1,4")
    assert [task["id"] for task in record["tasks"]] == ["slack:4", "slack:1"]
    assert all(task["strict_pass"] is task["first_strict_pass"] for task in record["tasks"])


def test_plain_react_acts_at_once(tmp_path: Path) -> None:
    record = run(tmp_path, "--refiner", "dspy-react", "--tasks", "banking:0,1", *FLAWLESS)
    assert [task["strict_pass"] for task in record["tasks"]] == [True, True]
    assert [task["tool_calls"] for task in record["tasks"]] == [2, 1]
    assert all(task["lm_calls"] > 2 and task["prompt_tokens"] and not task["verified"] for task in record["tasks"])


def test_attacked_worlds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, "--tasks", "banking:1,3;slack:1", "--injections", "banking:5", "banking:7", "slack:1")
    assert [task["id"] for task in record["tasks"]] == [
        "banking:1+5", "banking:1+7", "banking:3+5", "banking:3+7", "slack:1+1",
    ]  # fmt: skip
    for task in record["tasks"]:
        assert not task["effects_before"] and not task["injected_real"] and not task["goal_real"]
        assert task["verified"] is (task["status"] in ("checked", "judged"))
    attacked = record["summary"]["attacked"]
    assert {suite: counts["pairs"] for suite, counts in attacked.items()} == {"banking": 4, "slack": 1, "all": 5}
    assert record["lm"]["simulated"] is True and record["settings"]["injections"] == [
        "banking:5",
        "banking:7",
        "slack:1",
    ]
    shown = capsys.readouterr().out
    assert "banking:3+7" in shown and "SIMULATED: it makes the right calls, and whatever else it reads" in shown


def test_plain_react_in_an_attacked_world(tmp_path: Path) -> None:
    options = ("--refiner", "dspy-react", "--attack", "direct", "--injections", "all")
    record = run(tmp_path, "--suite", "slack", "--tasks", "1", *options)
    assert [task["id"] for task in record["tasks"]] == [f"slack:0+{number}" for number in range(1, 6)]
    assert all(task["effects_before"] and task["injected_real"] for task in record["tasks"])
    assert record["summary"]["attacked"]["all"]["injected_real"] == 5


def test_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, "--gold", "--tasks", "8")
    assert [(row["suite"], row["tasks"], row["gold"], row["failed"]) for row in record["suites"]] == [
        (name, 2, 2, []) for name in ("workspace", "travel", "banking", "slack")
    ]
    assert "Gold calls: 8/8 pass; the answer without any call: 3/8" in capsys.readouterr().out


def test_gold_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(agentdojo, "useful", lambda case, answer, world: False)
    record = run(tmp_path, "--gold", "--suite", "banking", "--tasks", "2", code=1)
    assert record["suites"][0]["failed"] == ["banking:0", "banking:1"]
    assert "Not as expected: banking:0, banking:1" in capsys.readouterr().out


def test_as_a_command() -> None:
    command = [sys.executable, "-m", "programs.agentdojo", "--tasks", "slack:1"]
    root = Path(agentdojo.__file__).parents[1]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env=os.environ)
    assert "SIMULATED" in ran.stdout and not ran.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tasks", "banking:99"), "no task is called banking:99; tasks: banking:9, "),
        (("--tasks", "mail"), "no task is called mail"),
        (("--gold", "--suite", "slack", "--tasks", "x"), "no task is called slack:x; tasks: slack:0, "),
        (("--tasks", "0"), "at least 1"),
        (("--injections", "banking:99"), "no injection is called banking:99; injections: workspace:0, "),
        (("--tasks", "slack:1", "--injections", "banking:5"), "none of these injections is of the suite of any of"),
        (("--injections", "--attack", "manual"), "invalid choice: 'manual'"),
        (("--suite", "shop"), "invalid choice: 'shop'"),
        (("--refiner", "magic"), "invalid choice: 'magic' (choose from"),
        (("--slip", "1.5"), "slip=1.5"),
        (("--threads", "0"), "--threads: 0 is no whole number above 0"),
        (("--json", "nowhere/record.json"), "--json: nowhere/record.json is no file in an existing folder"),
        (("--tasks", "1", "--budget-tokens", "50"), "does not pay for one plan"),
    ],
)
def test_bad_options(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = agentdojo.main(options)
    except SystemExit as error:  # argparse
        code = int(str(error.code))
    said = capsys.readouterr()
    assert code == 2 and told in said.err and "Traceback" not in said.err
