"""Options are checked before a program runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.benchmarks import blame, overhead, recorded, replay


@pytest.mark.parametrize("program", [blame, overhead, recorded, replay])
def test_a_path_that_cannot_be_written_is_told_before_the_run(
    program: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = [] if program is overhead else ["--data", str(tmp_path)]
    with pytest.raises(SystemExit):
        program.main([*data, "--json", str(tmp_path / "none" / "x.json")])  # type: ignore[attr-defined]
    assert "no file in an existing folder" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--runs", "0"], ["--runs", "-1"], ["--runs", "many"]])
def test_counts_are_above_zero(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        overhead.main(arguments)
    assert "whole number above 0" in capsys.readouterr().err
