"""The processor benchmark: that what it compares does the same work, and what it reports. Nothing timed is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from programs.benchmarks import processor
from programs.benchmarks.loopback import served
from programs.benchmarks.processor import TARGETS, InTurn, main, measure, noop


def test_all_ratios_of_a_tiny_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processor, "THREADS", 2)
    monkeypatch.setattr(processor, "LATENCY", 0.001)
    monkeypatch.setattr(processor, "against_build", lambda *given: [1.0])  # two processes, each with its imports
    figures = measure(1, 1, tasks=1, checkout=Path("other"))
    assert figures.keys() == TARGETS.keys()
    assert all(len(values) == 1 and values[0] > 0 for values in figures.values())


def test_the_task_of_a_build_is_timed_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--task", "1"]) == 0
    assert float(capsys.readouterr().out) > 0


def test_predict_gets_the_answers_that_pivot_gets() -> None:
    work = noop()
    assert len(work.calls) == len(work.answers) == 2  # one plan, one repair
    turns = InTurn(work.answers)
    work.refiner.set_lm(processor._lm(turns))
    work.refine()
    work.predict(processor._lm(turns))
    assert turns.complete(None) == work.answers[0]


def test_the_loopback_gives_answers_in_turn() -> None:
    with served(["first", "second"]) as lm:
        assert [lm("a")[0], lm("b")[0], lm("c")[0]] == ["first", "second", "first"]


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"cpu_per_lm_call_of_predict_noop": [3.0, 2.0, 4.0]}
    monkeypatch.setattr(processor, "measure", lambda *given, **options: figures)
    assert main(["--json", str(tmp_path / "figures.json")]) == 0
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == figures
    shown = capsys.readouterr().out
    assert all(number in shown for number in ("3.00", "2.00", "4.00", "<= 2"))
