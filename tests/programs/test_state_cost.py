"""The benchmark of large states, on tiny ones: that each figure is one. Nothing that is timed is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from programs.benchmarks import state_cost
from programs.benchmarks.state_cost import FIGURES, LIMITS, main


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure(name: str) -> None:
    figure = FIGURES[name](0.01)
    assert math.isfinite(figure) and (figure >= 0 or name.endswith("_growth"))


def test_what_runs_observe_alike_is_held_once() -> None:
    assert state_cost.result(0.05, rewrites=8, reads=4) < 2 * state_cost.result(0.05, rewrites=1, reads=4)


def test_a_figure_comes_from_a_process_of_its_own() -> None:
    assert state_cost.measure("coupons_s", 0.1) >= 0


@pytest.mark.parametrize(("value", "code"), [(0.0, 0), (1e9, 1)])
def test_the_command(
    value: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(state_cost, "measure", lambda name, scale: value)
    assert main(["--json", str(tmp_path / "figures.json")]) == code
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == dict.fromkeys(FIGURES, value)
    shown = capsys.readouterr().out
    assert LIMITS.keys() <= FIGURES.keys() and all(name in shown for name in FIGURES)
