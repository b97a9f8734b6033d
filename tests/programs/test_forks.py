"""The benchmark of forks, on tiny states: that each figure is one. Nothing that is timed is asserted."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from programs.benchmarks import forks
from programs.benchmarks.forks import FIGURES, KINDS, figure_of, main


@pytest.mark.parametrize("name", FIGURES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_figure(kind: str, name: str) -> None:
    figure = figure_of(kind, name, 0.01)
    assert math.isfinite(figure) and figure >= 0


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(forks, "measure", lambda kind, name, scale: 2.0)
    assert main(["--json", str(tmp_path / "figures.json")]) == 0
    told = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert told == {f"{kind}.{name}": 2.0 for kind in KINDS for name in FIGURES}
    capsys.readouterr()
    assert main(["--kind", "sql", "--only", "fork_s", "--scale", "0.01", "--bare"]) == 0
    assert float(capsys.readouterr().out) >= 0
