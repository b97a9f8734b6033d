"""The comparison as a command: its record, its files, how it goes on, and what it says of bad input."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy import PlanningFailed
from pivot_dspy.simulator import OfflineEngine, Rates, Reference
from programs import compare
from programs.comparison.benchmarks import load
from programs.comparison.results import Results
from programs.comparison.runs import Record, Unit
from programs.deepplanning.generate import generate
from programs.refiners import REFINERS
from tests.openai_server import OpenAIServer
from tests.programs.comparing import BreaksDown
from tests.programs.shops import NO_DATA, SHOPPING, UNREADABLE, make_unreadable

SMALL = ("--refiners", "pivot,best-of-n", "--tasks", "3", "--seeds", "1")
PROMISED = (
    "runs", "official_pass_rate", "strict_pass_rate", "tokens_per_task", "tokens_per_solved", "lm_calls", "tool_calls",
    "tool_calls_reused", "seconds", "curve", "ci",
)  # fmt: skip


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "figures.json"


def run(file: Path, *options: str, code: int = 0) -> dict[str, Any]:
    """The record that the program writes."""
    assert compare.main([*options, "--json", str(file)]) == code
    found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return found


def timeless(found: dict[str, Any]) -> dict[str, Any]:
    """The record without what differs from run to run."""
    for one in found["refiners"].values():
        del one["seconds"]
    return found


def lines(file: Path) -> list[str]:
    return file.with_suffix(".jsonl").read_text(encoding="utf-8").splitlines()


def test_the_record_and_the_tables(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    html = file.with_suffix(".html")
    found = run(file, *SMALL, "--html", str(html))
    assert list(found)[:4] == ["program", "lm", "settings", "refiners"]
    assert found["program"] == "shopping" and found["lm"]["simulated"] is True
    assert found["lm"]["name"].startswith("offline/slip=0.2,") and "seed" not in found["lm"]["name"]
    assert found["settings"] == {
        "refiners": ["pivot", "best-of-n"], "tasks": ["L1-1", "L2-1", "L3-1"], "seeds": 1, "data": "generated",
        "budget_tokens": None, "threads": 2, "notes": [], "slip": 0.2, "heed": 0.85, "relapse": 0.05, "judge_error": 0,
    }  # fmt: skip
    assert list(found["refiners"]) == ["pivot", "best-of-n"] and found["pairs"] == {"finished": 3, "planned": 3}
    for one in found["refiners"].values():
        assert tuple(one)[: len(PROMISED)] == PROMISED
        assert one["runs"] == 3 and one["lm_calls"] >= 1 and one["errors"] == []
        assert all(isinstance(tokens, int) and 0 <= rate <= 1 for tokens, rate in one["curve"])
        assert set(one["ci"]) == {"official_pass_rate", "strict_pass_rate", "tokens_per_task", "tokens_per_solved"}
    assert found["refiners"]["pivot"]["strict_pass_rate"] > found["refiners"]["best-of-n"]["strict_pass_rate"]
    shown = capsys.readouterr().out
    assert "SIMULATED" in shown and "Against pivot" in shown and max(map(len, shown.splitlines())) <= 120
    ElementTree.fromstring(html.read_text(encoding="utf-8"))
    written = [path.read_text(encoding="utf-8") for path in (file, html, file.with_suffix(".jsonl"))]
    places = {str(file.parent), str(Path(compare.__file__).parents[1]), str(Path.home()), sys.prefix}
    assert not any(place in text for place in places for text in written)


def test_a_task_that_the_offline_model_cannot_read_is_left_out(
    tmp_path: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    generate(tmp_path, tasks=3)
    make_unreadable(tmp_path, "L2-1")
    found = run(file, "--data", str(tmp_path), "--refiners", "plan-execute", "--seeds", "1")
    assert found["settings"]["tasks"] == ["L1-1", "L3-1"] and found["pairs"] == {"finished": 2, "planned": 2}
    said = capsys.readouterr()
    assert "task L2-1 is left out" in said.err and UNREADABLE in said.err
    assert [note for note in found["settings"]["notes"] if "Left out: 1 task" in note and note in said.out]


def test_it_goes_on_where_it_was_cut_off(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = timeless(run(file, *SMALL))
    kept = file.with_suffix(".jsonl")
    content = kept.read_bytes()
    third = [place for place, sign in enumerate(content) if sign == 10][2]
    kept.write_bytes(content[: third + 40])  # killed while it wrote the fourth of six
    capsys.readouterr()
    assert timeless(run(file, *SMALL)) == whole
    assert "3 of 6 runs were finished before." in capsys.readouterr().out
    assert len(lines(file)) == 6 and [json.loads(line) for line in lines(file)]
    finished = lines(file)
    assert timeless(run(file, *SMALL)) == whole and lines(file) == finished


def test_more_refiners_tasks_or_seeds_run_only_what_is_new(file: Path) -> None:
    run(file, *SMALL)
    finished = lines(file)
    more = run(file, "--refiners", "plan-execute,pivot,best-of-n", "--tasks", "4", "--seeds", "2")
    assert lines(file)[:6] == finished and len(lines(file)) == 3 * 4 * 2
    assert more["pairs"] == {"finished": 8, "planned": 8}


@pytest.mark.parametrize("other", [("--slip", "0.1"), ("--budget-tokens", "9000")])
def test_other_settings_use_nothing_of_it(
    file: Path, other: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--refiners", "plan-execute", "--tasks", "1", "--seeds", "1")
    run(file, *options)
    capsys.readouterr()
    run(file, *options, *other)
    assert len(lines(file)) == 2
    assert "figures.jsonl also holds 1 run of other refiners, tasks, seeds, settings or versions" in " ".join(
        capsys.readouterr().out.split()
    )


def test_interrupted_it_keeps_and_shows_what_is_finished(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = Results.add

    def add(self: Results, unit: Unit, record: Record) -> None:
        keep(self, unit, record)
        if (unit.refiner, unit.task.id) == ("best-of-n", "L2-1"):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Results, "add", add)
    found = run(file, *SMALL, "--seeds", "9", "--threads", "1", code=130)
    shown = capsys.readouterr().out
    assert "Interrupted. The same command goes on from here." in shown and "of 27 pairs of task and seed" in shown
    assert 2 <= found["pairs"]["finished"] < 27
    assert {one["runs"] for one in found["refiners"].values()} == {found["pairs"]["finished"]}
    assert len(lines(file)) // 2 == found["pairs"]["finished"]


def test_a_rival_that_fails_has_not_solved_the_task(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(REFINERS, "fragile", BreaksDown)
    found = run(file, "--refiners", "pivot,fragile", "--tasks", "2", "--seeds", "1", "--slip", "0")
    fragile = found["refiners"]["fragile"]
    assert found["refiners"]["pivot"]["strict_pass_rate"] == 1
    assert (fragile["strict_pass_rate"], fragile["official_pass_rate"], fragile["tokens_per_solved"]) == (0, 0, None)
    assert [(one["task"], one["seed"]) for one in fragile["errors"]] == [("L1-1", 0), ("L2-1", 0)]
    assert {one["error"] for one in fragile["errors"]} == {"RuntimeError: no room left in file.txt"}
    assert fragile["tokens_per_task"] > 1000
    assert "fragile failed in 2 of 2 runs, counted as not solved; the first, L1-1" in capsys.readouterr().out


class Sampling:
    """A model that answers the same prompt otherwise each time."""

    def __init__(self, references: list[Reference]) -> None:
        self._engines = (OfflineEngine(references, Rates(slip=0.3, seed=seed)) for seed in itertools.count())

    def answer(self, request: Any) -> Any:
        return next(self._engines).answer(request)


def test_a_real_model_is_asked_afresh_for_every_refiner_and_seed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = load("shopping", "1", None, offline=True).tasks[0]
    assert task.reference is not None
    with OpenAIServer(Sampling([task.reference])) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "x")
        monkeypatch.setenv("OPENAI_API_BASE", server.url)
        options = ["--lm", "openai/loopback", "--refiners", "plan-execute,pivot", "--tasks", "1", "--seeds", "3"]
        options += ["--threads", "1"]  # so that the samples come in the same order every time
        found = run(file, *options)
        calls = sum(one["lm_calls"] * one["runs"] for one in found["refiners"].values())
        assert len(server.requests) == calls >= 6
        assert {body["temperature"] for body in server.requests} == {1.0}
        plans = {json.loads(line)["run"]["completion_tokens"] for line in lines(file) if "plan-execute" in line}
        assert len(plans) > 1  # samples, not one answer three times
        assert run(file, *options)["refiners"] == found["refiners"] and len(server.requests) == calls
    assert found["lm"] == {"name": "openai/loopback", "simulated": False} and "slip" not in found["settings"]


def test_what_the_provider_refused_is_tried_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dspy.utils.exceptions import LMRateLimitError

    class Refused(BreaksDown):
        def forward(self, **inputs: Any) -> Any:
            raise PlanningFailed("no plan") from LMRateLimitError("slow down")

    monkeypatch.setitem(REFINERS, "rival", Refused)
    options = ("--refiners", "rival", "--tasks", "1", "--seeds", "1")
    assert run(file, *options)["refiners"]["rival"]["errors"][0]["transient"]
    assert not file.with_suffix(".jsonl").exists()
    monkeypatch.setitem(REFINERS, "rival", REFINERS["pivot"])
    assert run(file, *options)["refiners"]["rival"]["errors"] == [] and len(lines(file)) == 1


def test_as_a_command_that_is_killed(file: Path) -> None:
    root = Path(compare.__file__).parents[1]
    command = [sys.executable, "-m", "programs.compare", "--refiners", "pivot", "--seeds", "50", "--json", str(file)]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as started:
        try:
            while started.poll() is None and not (file.with_suffix(".jsonl").exists() and len(lines(file)) >= 4):
                time.sleep(0.05)
            started.send_signal(signal.SIGINT)
            told, _ = started.communicate(timeout=300)
        finally:
            started.kill()
    assert started.returncode == 130, told
    assert "of 300 pairs of task and seed are" in told and "Traceback" not in told
    assert json.loads(file.read_text(encoding="utf-8"))["pairs"]["finished"] == len(lines(file)) >= 4


# ---------------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--refiners", "magic"), f"no refiner is called magic; refiners: {', '.join(REFINERS)}"),
        (("--refiners", "pivot,"), "no refiner is called ''; refiners: pivot,"),
        (("--program", "gaia"), "invalid choice: 'gaia' (choose from"),
        (("--tasks", "L9-9"), "no task is called L9-9; tasks: L1-1, L1-2,"),
        (("--tasks", "0"), "at least 1"),
        (("--program", "meeting_room", "--tasks", "other"), "no task is called other; tasks: launch-plan"),
        (("--program", "meeting_room", "--data", "here"), "leave --data out"),
        (("--data", "nowhere"), "nowhere: no such folder; expected database_level"),
        (("--seeds", "0"), "--seeds: 0 is no whole number above 0"),
        (("--budget-tokens", "50"), "a budget of 50 tokens does not pay for one plan"),
        (("--slip", "1.5"), "slip=1.5"),
        (("--threads", "many"), "--threads: many is no whole number above 0"),
        (("--json", "nowhere/figures.json"), "nowhere/figures.json is no file in an existing folder"),
        (("--json", "x.json", "--html", "x.json"), "--json and --html are one file"),
        (("--lm", "openai/"), "--lm openai/: model 'openai/' has a provider prefix but no model id"),
    ],
)
def test_bad_options(options: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code = compare.main(options)
    except SystemExit as error:  # argparse
        code = int(str(error.code))
    found = capsys.readouterr()
    assert code == 2 and told in found.err and "Traceback" not in found.err and "strict" not in found.out


def test_a_model_without_a_key_ends_it_and_leaves_earlier_figures(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    file.write_text("{}", encoding="utf-8")
    options = ("--lm", "openai/gpt-4.1-mini", "--tasks", "2", "--seeds", "1", "--refiners", "pivot")
    assert run(file, *options, code=2) == {} and "OPENAI_API_KEY" in capsys.readouterr().err


@pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
def test_real_tasks(file: Path) -> None:
    found = run(file, "--data", str(SHOPPING), "--tasks", "4", "--seeds", "1", "--refiners", "pivot,plan-execute")
    assert found["settings"]["data"] == "directory"
    assert found["refiners"]["pivot"]["strict_pass_rate"] > found["refiners"]["plan-execute"]["strict_pass_rate"]
