"""The benchmark of forks of files measures every way on a small state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from programs.benchmarks.forks_of_files import WAYS, make_directory, make_repository, measure, read_files, write_file


@pytest.mark.parametrize("name", [name for name in WAYS if "git clone" not in name])
def test_each_way_is_measured(name: str) -> None:
    figures = measure(name, files=20, megabytes=0.1)
    assert {*figures} == {"processor_ms", "clock_ms", "held_mb", "disk_mb"}
    assert all(value >= 0 for value in figures.values())
    if "fork" in name:
        assert figures["disk_mb"] == 0


@pytest.mark.parametrize("make", [make_directory, make_repository])
def test_a_state_is_made_read_and_written(tmp_path: Path, make: Any) -> None:
    environment = make(tmp_path, 0.01)
    assert len(read_files(environment)) == 10
    fork = environment.fork()
    write_file(fork, 1)
    assert len(read_files(fork)) == 11 and len(read_files(environment)) == 10
