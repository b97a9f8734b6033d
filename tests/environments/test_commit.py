"""Commits of files are whole or nothing, whatever ends the process, and whatever fails on the way."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files import commit as commits
from pivot_dspy.errors import ConfigurationError, ToolError
from tests.environments.trees import FILES, fill, state, texts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path / "real", FILES)


@pytest.mark.parametrize("kind", ["directory", "git"])
def test_a_commit_that_is_killed_is_whole_or_nothing(tmp_path: Path, kind: str) -> None:
    words = [sys.executable, "-m", "tests.environments.kills", kind, str(tmp_path), "20"]
    done = subprocess.run(words, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["moments"] > 20
    for at_death, opened, left in told["seen"]:
        assert (at_death, opened) in {("before", "before"), ("planned", "after"), ("after", "after")}
        assert not left
    assert {at_death for at_death, _, _ in told["seen"]} >= {"before", "planned"}


def test_a_step_that_fails_undoes_those_before_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, before = DirectoryEnvironment(root, commands="none"), state(root, times=False)
    put, count = commits._put, 0

    def failing(where: Path, move: Any) -> None:
        nonlocal count
        count += 1
        if count == 5:
            raise OSError(28, "No space left on device", "README.md")
        put(where, move)

    monkeypatch.setattr(commits, "_put", failing)
    message = r"nothing was changed: No space left on device: README\.md"
    with pytest.raises(ToolError, match=message), real.transaction():
        real.move_file("src", "lib")
        real.write_file("README.md", "x")
        real.write_file("a/b.txt", "x")
    assert count == 5 and state(root, times=False) == before


def test_what_was_changed_after_a_kill_is_not_overwritten(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DirectoryEnvironment(root, commands="none")

    def killed(where: Path, move: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commits, "_put", killed)
    with pytest.raises(KeyboardInterrupt), real.transaction():
        real.write_file("README.md", "x")
        real.write_file("a.txt", "x")
    monkeypatch.undo()
    with pytest.raises(ToolError, match="an earlier commit of .* was cut off"), real.transaction():
        real.write_file("a.txt", "y")
    (root / "README.md").write_text("theirs")
    with pytest.raises(ConfigurationError, match=r"README\.md was changed since then"):
        DirectoryEnvironment(root)
    (root / "README.md").write_text(FILES["README.md"])
    DirectoryEnvironment(root)
    assert texts(root) == {**FILES, "README.md": "x", "a.txt": "x"} and not (root / ".pivot-commit").exists()


def test_modes_and_links_are_kept(root: Path) -> None:
    real = DirectoryEnvironment(root, commands="none")
    (root / "link").symlink_to("run.sh")
    with real.transaction():
        real.edit_file("link", "echo run", "echo ran")
        real.move_file("link", "other")
    assert (root / "run.sh").stat().st_mode & 0o777 == 0o755 and os.readlink(root / "other") == "run.sh"
    assert (root / "run.sh").read_text() == "#!/bin/sh\necho ran\n" and not (root / "link").is_symlink()


def test_a_folder_may_become_a_file_and_a_file_a_folder(root: Path) -> None:
    real = DirectoryEnvironment(root, commands="none")
    with real.transaction():
        real.delete_file("src")
        real.write_file("src", "now a file")
        real.delete_file("run.sh")
        real.write_file("run.sh/a.txt", "now a folder")
    assert (root / "src").read_text() == "now a file" and (root / "run.sh/a.txt").read_text() == "now a folder"
