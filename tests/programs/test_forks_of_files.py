"""The benchmark of forks of files measures every way on a small state."""

from __future__ import annotations

import pytest

from programs.benchmarks.forks_of_files import WAYS, measure


@pytest.mark.parametrize("name", [name for name in WAYS if "git clone" not in name])
def test_each_way_is_measured(name: str) -> None:
    figures = measure(name, files=20, megabytes=0.1)
    assert {*figures} == {"processor_ms", "clock_ms", "held_mb", "disk_mb"}
    assert all(value >= 0 for value in figures.values())
    if "fork" in name:
        assert figures["disk_mb"] == 0
