"""A git repository as an environment: trials that reach nothing of git, and what a commit makes of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy.environments.git_repository import GitEnvironment
from pivot_dspy.errors import ConfigurationError, ToolError
from tests.environments.trees import SECRET, fill, git, needs_sandbox, repository, state

HOOKS = ("pre-commit", "commit-msg", "post-commit", "post-index-change", "reference-transaction", "post-checkout")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with hooks that leave a mark, a stash, a tag, and uncommitted changes of the user."""
    root = repository(tmp_path / "real")
    (root / "README.md").write_text("stashed")
    git(root, "stash", "-q")
    git(root, "tag", "v1")
    (root / "docs/a.txt").write_text("mine\n")
    (root / "src/tools/own.py").write_text("OWN = 1\n")
    fill(root, {"staged.txt": "staged\n"})
    git(root, "add", "staged.txt")
    for hook in HOOKS:
        (root / ".git/hooks" / hook).write_text(f"#!/bin/sh\ntouch {tmp_path}/{hook}-ran\n")
        (root / ".git/hooks" / hook).chmod(0o755)
    return root


def ran(root: Path) -> list[str]:
    return sorted(path.name for path in root.parent.glob("*-ran"))


def change(environment: Any) -> None:
    environment.edit_file("src/tools/saw.py", "30", "40")
    environment.write_file("new/b.txt", "new\n")
    environment.delete_file("run.sh")


def test_a_trial_has_the_files_as_they_stand_and_changes_nothing(root: Path) -> None:
    before = state(root)
    trial: Any = GitEnvironment(root).fork()
    assert trial.read_file("docs/a.txt")["text"] == "mine\n"
    change(trial)
    assert trial.status() | {"commit": ""} == {
        "branch": "main", "commit": "", "submodules": [],
        "uncommitted": ["docs/a.txt", "src/tools/own.py", "staged.txt"],
        "changed": ["new/b.txt", "run.sh", "src/tools/saw.py"],
    }  # fmt: skip
    assert trial.commit_changes("Second")["files"] == ["new/b.txt", "run.sh", "src/tools/saw.py"]
    trial.diff(), trial.log(), trial.fork().list_files()
    assert state(root) == before and ran(root) == []


def test_a_diff_is_against_the_last_commit(root: Path) -> None:
    trial: Any = GitEnvironment(root).fork()
    change(trial)
    shown = trial.diff("src/")["diff"]
    assert "--- a/src/tools/saw.py\n+++ b/src/tools/saw.py\n@@ -1 +1 @@\n-TEETH = 30\n+TEETH = 40\n" in shown
    assert "--- /dev/null\n+++ b/src/tools/own.py\n" in shown and "run.sh" not in shown
    assert "+++ /dev/null" in trial.diff("run.sh")["diff"]
    trial.write_file("large.txt", "line\n" * 10_000)
    assert trial.diff()["left_out"] == ["large.txt"]


def test_the_log_names_commits(root: Path) -> None:
    real = GitEnvironment(root)
    [entry] = real.log()
    assert (entry["author"], entry["subject"]) == ("A", "First")
    assert real.log(path="src") == [entry] and real.log(path="docs/none.txt") == [] and real.log(limit=0) == []


def test_a_commit_changes_the_files_alone_where_no_message_is_given(root: Path) -> None:
    real = GitEnvironment(root)
    with real.transaction():
        change(real)
    assert (root / "src/tools/saw.py").read_text() == "TEETH = 40\n" and not (root / "run.sh").exists()
    assert git(root, "log", "--format=%s").split() == ["First"] and ran(root) == []


@pytest.mark.parametrize("by", ["tool", "option"])
def test_a_commit_of_git_has_just_the_changes(root: Path, by: str) -> None:
    real = GitEnvironment(root, message="Second" if by == "option" else None)
    with real.transaction():
        change(real)
        if by == "tool":
            real.commit_changes("Second")
    assert ran(root) == []
    assert git(root, "log", "-1", "--format=%s %an", "--name-status").splitlines() == [
        "Second A", "", "A\tnew/b.txt", "D\trun.sh", "M\tsrc/tools/saw.py",
    ]  # fmt: skip
    assert git(root, "status", "--porcelain").splitlines() == [" M docs/a.txt", "A  staged.txt", "?? src/tools/own.py"]
    assert git(root, "stash", "list") and git(root, "tag") == "v1\n" and git(root, "fsck", "--strict") == ""


def test_modes_and_links_are_committed(root: Path) -> None:
    real = GitEnvironment(root, message="Second")
    (root / "aim").symlink_to("README.md")
    git(root, "add", "aim")
    git(root, "-c", "core.hooksPath=/dev/null", "commit", "-q", "-m", "Aim", "aim")
    with real.transaction():
        real.move_file("run.sh", "bin/run.sh")
        real.move_file("aim", "bin/aim")
    listed = git(root, "ls-files", "--stage", "bin").splitlines()
    assert [line.split(" ")[0] for line in listed] == ["120000", "100755"]


REFUSED = {
    "is detached": lambda root: git(root, "checkout", "-q", "--detach"),
    "merge or the like is under way": lambda root: (root / ".git/MERGE_HEAD").write_text("x"),
    "has uncommitted changes of the user": lambda root: (root / "src/tools/saw.py").write_text("TEETH = 30 # mine\n"),
    "goes through a filter": lambda root: (root / ".gitattributes").write_text("*.py filter=lfs\n"),
    "tell me who you are": lambda root: git(root, "config", "--unset", "user.email"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_a_commit_that_would_do_harm_is_refused(root: Path, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("XDG_CONFIG_HOME", "/nonexistent")
    git(root, "config", "user.useConfigOnly", "true")
    REFUSED[reason](root)
    before, real = state(root), GitEnvironment(root)
    with pytest.raises(ToolError, match=reason if "who" not in reason else "user.useConfigOnly|tell me who"):
        change_and_commit(real)
    assert state(root) == before
    with real.transaction():
        change(real)
    assert "40" in (root / "src/tools/saw.py").read_text()


def change_and_commit(real: GitEnvironment) -> None:
    with real.transaction():
        change(real)
        real.commit_changes("Second")


def test_a_commit_of_nothing_or_on_nothing_is_refused(root: Path, tmp_path: Path) -> None:
    trial: Any = GitEnvironment(root).fork()
    with pytest.raises(ToolError, match="nothing is changed"):
        trial.commit_changes("Second")
    fill(tmp_path / "empty", {"a.txt": "a"})
    git(tmp_path / "empty", "init", "-q")
    first: Any = GitEnvironment(tmp_path / "empty").fork()
    first.write_file("a.txt", "b")
    assert first.log() == [] and "+b" in first.diff()["diff"]
    with pytest.raises(ToolError, match="no commit yet"):
        first.commit_changes("First")


def test_a_branch_that_has_gone_on_stops_the_commit(root: Path) -> None:
    real = GitEnvironment(root)
    with pytest.raises(ToolError, match="nothing was changed"), real.transaction():
        change(real)
        real.commit_changes("Second")
        git(root, "-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "Theirs", "--only")
        before = state(root / "src", times=False), git(root, "status", "--porcelain")
    assert (state(root / "src", times=False), git(root, "status", "--porcelain")) == before
    assert git(root, "log", "-1", "--format=%s") == "Theirs\n"


def test_what_git_ignores_and_tracks_counts(root: Path) -> None:
    fill(root, {"build/kept.txt": "kept\n", "build/out.txt": SECRET, "mine.tmp": SECRET, ".env": SECRET})
    git(root, "add", "-f", "build/kept.txt", ".env")
    (root / ".git/info/exclude").write_text("*.tmp\n")
    trial: Any = GitEnvironment(root).fork()
    files = trial.list_files()["files"]
    assert "mine.tmp" not in files and ".env" not in files and "build/out.txt" not in files
    assert trial.read_file("build/kept.txt")["text"] == "kept\n" and "build/kept.txt" in files
    assert ".env" not in str([trial.status(), trial.diff()]) and SECRET not in trial.diff()["diff"]
    for path in ("mine.tmp", ".env", "build/out.txt", "build/new.txt", ".git/config"):
        with pytest.raises(ToolError, match="hidden here"):
            trial.read_file(path)


def test_repositories_inside_are_closed(root: Path, tmp_path: Path) -> None:
    other = repository(tmp_path / "other", {"inner.txt": "inner"})
    git(root, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(other), "sub")
    repository(root / "nested", {"inner.txt": "inner"})
    trial: Any = GitEnvironment(root).fork()
    assert trial.status()["submodules"] == ["nested", "sub"]
    assert not [path for path in trial.list_files()["files"] if "inner" in path]
    for path in ("sub/inner.txt", "sub/new.txt", "nested/inner.txt"):
        with pytest.raises(ToolError, match="is a repository of its own"):
            trial.write_file(path, "x")


def test_a_caller_in_a_hook_leads_to_no_other_repository(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_INDEX_FILE", "/nowhere/index")
    assert GitEnvironment(root).status()["branch"] == "main"


def test_a_path_that_is_no_working_tree_names_the_remedy(root: Path, tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "--bare", "bare.git")
    (tmp_path / "plain").mkdir()
    for path, message in {
        root / "src": f"pass {root}", tmp_path / "bare.git": "clone a bare", tmp_path / "plain": "DirectoryEnvironment",
        tmp_path / "none": "no directory that may be read",
    }.items():  # fmt: skip
        with pytest.raises(ConfigurationError, match=message):
            GitEnvironment(path)


def test_a_linked_working_tree_is_one(root: Path, tmp_path: Path) -> None:
    git(root, "-c", "core.hooksPath=/dev/null", "worktree", "add", "-q", str(tmp_path / "linked"), "-b", "other")
    real = GitEnvironment(tmp_path / "linked", message="Second")
    with real.transaction():
        change(real)
    assert git(tmp_path / "linked", "log", "-1", "--format=%s") == "Second\n"
    assert git(root, "log", "-1", "--format=%s") == "First\n"
    assert git(tmp_path / "linked", "status", "--porcelain") == ""


@needs_sandbox
def test_a_command_has_no_repository(root: Path) -> None:
    before = state(root)
    trial: Any = GitEnvironment(root).fork()
    assert not trial.run_command("git log || ls -d .git")["passed"]
    assert trial.run_command("git init -q . && git config user.x y; echo z > z.txt")["changed"] == ["z.txt"]
    assert state(root) == before
