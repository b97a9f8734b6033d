"""The throughput benchmark: that it runs what it says, and what it reports. Nothing that is timed is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from programs.benchmarks import throughput
from programs.benchmarks.throughput import LIMITS, main, measure


def test_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    figures = measure(6, 3, 0.01)
    assert figures.keys() == {
        "seconds", "share_of_possible", "share_the_processor_allows", "bare_share_of_possible", "share_of_bare",
        "model_calls", "cpu_ms_per_model_call", "bare_cpu_ms_per_model_call", "grown_mb",
    }  # fmt: skip
    assert figures["model_calls"] == 12  # a plan and a repair each
    assert figures["seconds"] > 0.01 * 12 / 3 and 0 < figures["share_of_possible"] < 1
    assert 0 < figures["share_the_processor_allows"] <= 1 and figures["cpu_ms_per_model_call"] > 0
    assert 0 < figures["bare_share_of_possible"] < 1 and figures["bare_cpu_ms_per_model_call"] > 0
    assert figures["share_of_bare"] > 0
    assert "Tasks: 100%" in capsys.readouterr().err


@pytest.mark.parametrize(("share", "grown", "code"), [(0.9, 1.0, 0), (0.5, 1.0, 1), (0.9, 99.0, 1)])
def test_the_command(
    share: float,
    grown: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    figures = {"share_of_possible": share, "grown_mb": grown}
    monkeypatch.setattr(throughput, "measure", lambda *given: figures)
    assert main(["--json", str(tmp_path / "figures.json")]) == code
    assert json.loads((tmp_path / "figures.json").read_text(encoding="utf-8")) == figures
    shown = capsys.readouterr().out
    assert all(name in shown for name in LIMITS)
    with pytest.raises(SystemExit):
        main(["--latency", "0"])
