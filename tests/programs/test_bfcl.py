"""The BFCL program: its record, its options and what it says of bad input."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from programs import bfcl
from programs.multi_turn.checker import score
from programs.multi_turn.package import version
from tests.programs.conversations import need_package

need_package()

IDS = ["multi_turn_base_0", "multi_turn_base_1", "multi_turn_base_2"]


def run(tmp_path: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    file = tmp_path / "record.json"
    assert bfcl.main([*options, "--json", str(file)]) == code
    record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return record


def rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """The tasks without what differs from run to run."""
    return [{name: value for name, value in task.items() if name != "seconds"} for task in record["tasks"]]


def test_the_record_and_the_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, "--tasks", "3")
    assert list(record) == ["program", "lm", "refiner", "settings", "tasks", "summary"]
    assert record["lm"]["simulated"] is True and record["program"] == "bfcl" and record["refiner"] == "pivot"
    assert record["settings"] == {
        "set": "base", "tasks": "3", "lm": None, "refiner": "pivot", "seed": 0, "threads": 2, "budget_tokens": None,
        "slip": 0.2, "heed": 0.85, "relapse": 0.05, "judge_error": 0.1, "package": version(),
    }  # fmt: skip
    assert [task["id"] for task in record["tasks"]] == IDS
    for task in record["tasks"]:
        assert task["official_pass"] is task["strict_pass"] is (task["official_score"] == 1.0)
        assert task["losses"] == sorted(task["losses"], reverse=True)
        assert task["lm_calls"] == sum(spent["lm_calls"] for spent in task["phases"].values())
    assert record["summary"]["tasks"] == 3
    shown = capsys.readouterr().out
    assert all(name.removeprefix("multi_turn_") in shown for name in IDS)
    assert "SIMULATED: its plans are the gold calls" in shown and "judge" in shown and record["lm"]["name"] in shown


def test_the_same_seed_gives_the_same_whatever_the_threads(tmp_path: Path) -> None:
    one, same = (run(tmp_path, "--tasks", "4", "--seed", "7", "--threads", threads) for threads in ("1", "3"))
    assert rows(one) == rows(same) and one["lm"] == same["lm"]


def test_without_errors_every_task_passes(tmp_path: Path) -> None:
    options = ("--slip", "0", "--heed", "1", "--relapse", "0", "--judge-error", "0")
    for name in ("miss_func", "long_context"):
        record = run(tmp_path, "--set", name, "--tasks", "4", *options)
        assert record["summary"]["strict_pass_rate"] == record["summary"]["verified_rate"] == 1.0
        assert record["tasks"][0]["id"] == f"multi_turn_{name}_0"


def test_another_refiner_on_chosen_tasks(tmp_path: Path) -> None:
    record = run(tmp_path, "--refiner", "plan-execute", "--tasks", f"{IDS[2]}, {IDS[0]},{IDS[2]}")
    assert [task["id"] for task in record["tasks"]] == [IDS[2], IDS[0]]
    assert all(task["strict_pass"] is task["first_strict_pass"] for task in record["tasks"])


def test_gold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = run(tmp_path, "--gold", "--tasks", "5")
    assert [(row["set"], row["tasks"], row["gold"], row["without_last"], row["failed"]) for row in record["sets"]] == [
        (name, 5, 5, 0, []) for name in ("base", "long_context", "miss_func", "miss_param")
    ]
    assert "Gold calls: 20/20 pass; without the last call of a task: 0/20" in capsys.readouterr().out


def test_gold_that_fails_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bfcl, "score", lambda execution, case, gold: (False, False))
    record = run(tmp_path, "--gold", "--set", "base", "--tasks", "2", code=1)
    assert record["sets"][0]["failed"] == IDS[:2]
    assert f"Not as expected: {IDS[0]}, {IDS[1]}" in capsys.readouterr().out


def test_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "programs.bfcl", "--tasks", IDS[1]]
    root = Path(bfcl.__file__).parents[1]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True, env=os.environ)
    assert "SIMULATED" in ran.stdout and not ran.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--tasks", "base_0"), "no task is called base_0; tasks: multi_turn_base_0, "),
        (("--gold", "--set", "base", "--tasks", "x"), "no task is called x"),
        (("--tasks", "0"), "at least 1"),
        (("--set", "live"), "invalid choice: 'live'"),
        (("--refiner", "magic"), "invalid choice: 'magic' (choose from"),
        (("--tasks", "1", "--slip", "1.5"), "slip=1.5"),
        (("--tasks", "1", "--judge-error", "2"), "judge_error=2"),
        (("--threads", "0"), "--threads: 0 is no whole number above 0"),
        (("--json", "nowhere/record.json"), "--json: nowhere/record.json is no file in an existing folder"),
        (("--tasks", "1", "--budget-tokens", "50"), "does not pay for one plan"),
    ],
)
def test_bad_options(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = bfcl.main(options)
    except SystemExit as error:  # argparse
        code = int(str(error.code))
    said = capsys.readouterr()
    assert code == 2 and told in said.err and "Traceback" not in said.err


def test_a_task_that_breaks_down_is_reported_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = score
    first = iter([RuntimeError("out of order")])

    def broken(*given: Any) -> Any:
        for error in first:
            raise error
        return whole(*given)

    monkeypatch.setattr(bfcl, "score", broken)
    record = run(tmp_path, "--tasks", "3", "--threads", "1", code=1)
    assert [task["id"] for task in record["tasks"]] == IDS[1:]
    assert f"No result, for a reason that is logged above: {IDS[0]}" in capsys.readouterr().out
