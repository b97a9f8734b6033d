"""Recorded runs as trajectories: each executes to its own cart, and what Pivot accepts from there is never worse."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pivot_dspy import Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from programs.benchmarks.recorded import failed_runs, main, refine, summary
from programs.benchmarks.replay import read_runs
from programs.deepplanning.environment import Market, final_cart
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_cases, load_gold
from programs.deepplanning.recorded import messages
from programs.deepplanning.shop import Shop
from programs.options import DataError
from tests.programs.shops import NO_DATA, SHOPPING, make_unreadable, task

real = pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
RUNS = "recorded_runs.jsonl.gz"


@real
def test_every_recorded_run_executes_to_its_own_cart() -> None:
    cases = {(case.level, case.number): case for case in load_cases(SHOPPING)}
    source = SessionFactory(Market(cases.values()).open, timeout=None)
    count = 0
    for _, run in read_runs(SHOPPING / RUNS):
        trajectory = Trajectory.from_messages(messages(run))
        left_out = len(run["calls"]) - len(trajectory)  # calls that failed and were put right
        assert 0 <= left_out <= sum("error" in str(call["observation"])[:200].lower() for call in run["calls"])
        session = source.open(task(cases[run["level"], run["case"]]))
        assert final_cart(run_sync(execute(trajectory, session)).execution) == run["final_cart"]
        count += 1
    assert count == 236


@real
def test_refining_real_runs_makes_none_worse_by_its_loss() -> None:
    failed = list(failed_runs(SHOPPING / RUNS))
    rows = refine(SHOPPING, failed[::25], seed=0, console=Console(quiet=True))
    figures = summary(rows)
    assert figures["failed_runs"] == figures["log_executes_to_its_cart"] == len(rows) > 4
    assert figures["loss_rose"] == 0 and figures["loss_fell"] > 0
    assert figures["official_score_after"] >= figures["official_score_before"]
    for row in rows:
        assert row["losses"] == sorted(row["losses"], reverse=True)
        assert row["verified"] is (row["losses"][-1] == 0.0)


# ---------------------------------------------------------------------------------------------------- without real data


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Generated tasks, and for each a run that put one product of the gold in the cart and then stopped."""
    generate(tmp_path, seed=2, tasks=3)
    lines = [json.dumps(stopped_short(tmp_path, place)) for place in range(3)]
    with gzip.open(tmp_path / RUNS, "wt", encoding="utf-8") as file:
        file.write("\n".join(lines))
    return tmp_path


def stopped_short(folder: Path, place: int) -> dict[str, Any]:
    case = load_cases(folder)[place]
    gold = load_gold(folder, case.id)
    shop = Shop.of(case)
    calls = []
    for tool, args in (("get_user_info", {}), ("add_product_to_cart", {"product_id": gold.product_ids[0]})):
        arguments = json.dumps(args)
        calls.append({"tool": tool, "arguments": arguments, "observation": shop.answer(tool, arguments)})
    expected = len(gold.products) + len(gold.coupons)
    return {
        "level": case.level, "case": case.number, "model": "m", "calls": calls, "final_cart": shop.cart, "matched": 1,
        "expected": expected,
    }  # fmt: skip


def test_the_command(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), "--json", str(data / "report.json")]) == 0
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in report["runs"]] == ["L1-1", "L2-1", "L3-1"]
    assert report["summary"]["log_executes_to_its_cart"] == 3 and report["summary"]["loss_rose"] == 0
    assert all(row["after"] >= row["before"] and row["lm_calls"] > 0 for row in report["runs"])
    shown = capsys.readouterr().out
    assert "simulated" in shown and "official_score_after" in shown
    assert main(["--data", str(data), "--limit", "1", "--json", str(data / "report.json")]) == 0
    assert len(json.loads((data / "report.json").read_text(encoding="utf-8"))["runs"]) == 1


def test_runs_of_a_task_that_cannot_be_read_are_left_out(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_unreadable(data, "L2-1")
    assert main(["--data", str(data), "--json", str(data / "report.json")]) == 0
    report = json.loads((data / "report.json").read_text(encoding="utf-8"))
    assert [row["id"] for row in report["runs"]] == ["L1-1", "L3-1"] and report["summary"]["left_out"] == 1
    said = capsys.readouterr()
    assert "task L2-1 is left out" in said.err and "left_out" in said.out


def test_runs_that_did_not_fail_are_left_alone(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = stopped_short(data, 0)
    (data / "runs.jsonl").write_text(json.dumps({**run, "matched": run["expected"]}), encoding="utf-8")
    assert main(["--data", str(data), "--runs", str(data / "runs.jsonl")]) == 0
    assert "no recorded run failed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"matched": None}, "line 1: "),
        ({"case": 7}, "no case for the runs of (level, case) [(1, 7)]"),
        ({"calls": "none"}, "line 1: "),
    ],
)
def test_broken_runs_are_named(
    change: dict[str, Any], told: str, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = {name: value for name, value in {**stopped_short(data, 0), **change}.items() if value is not None}
    (data / "runs.jsonl").write_text(json.dumps(run), encoding="utf-8")
    assert main(["--data", str(data), "--runs", str(data / "runs.jsonl")]) == 2
    assert told in capsys.readouterr().err
    if "line 1" in told:
        with pytest.raises(DataError, match="runs.jsonl, line 1"):
            list(failed_runs(data / "runs.jsonl"))


@pytest.mark.parametrize(
    ("options", "told"), [(("--limit", "0"), "--limit"), (("--runs", "nowhere"), "nowhere"), (("--data", "x"), "x/")]
)
def test_bad_options(options: tuple[str, ...], told: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(data), *options]) == 2
    assert told in capsys.readouterr().err


def test_messages_are_a_chat_log(data: Path) -> None:
    run = stopped_short(data, 1)
    log = messages(run)
    assert [entry["role"] for entry in log] == ["assistant", "tool"] * 2
    trajectory = Trajectory.from_messages(log)
    assert [(step.tool, step.args) for step in trajectory.steps] == [
        (call["tool"], json.loads(call["arguments"])) for call in run["calls"]
    ]
