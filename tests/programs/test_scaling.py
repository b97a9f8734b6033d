"""The scaling benchmark on a tiny run: that it runs what it says. Nothing that is timed is asserted."""

from __future__ import annotations

import pytest

from programs.benchmarks.scaling import main, measure


@pytest.mark.parametrize("kind", ["threads", "processes"])
def test_it_runs_and_tells_its_share(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--tasks", "4", "--threads", "4", "--executor", kind, "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "4 tasks, 4 at a time, 50 ms a call" in shown and "compile" in shown and "bare" in shown


def test_the_figures() -> None:
    compiled, bare = measure(3, 2, "threads", 1)
    assert bare.calls == 6 and compiled.calls > bare.calls  # a plan and a repair each
    for row in (compiled, bare):
        assert row.seconds > row.calls * 0.05 / 2 * 0.9 and 0 < row.share < 1.2 and row.cpu >= 0
