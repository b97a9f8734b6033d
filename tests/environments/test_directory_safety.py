"""What no tool, check or command of a directory may show or reach: secrets, ignored files, and all that is outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files.hidden import HIDDEN, Hidden
from pivot_dspy.environments.files.manifest import FileEntry, Manifest
from pivot_dspy.environments.files.tree import Tree
from pivot_dspy.errors import ToolError
from tests.environments.trees import FILES, HIDDEN_FILES, SECRET, fill, git, needs_sandbox, state

TOOLS: list[Callable[[Any, str], Any]] = [
    lambda trial, path: trial.read_file(path),
    lambda trial, path: trial.write_file(path, "x"),
    lambda trial, path: trial.edit_file(path, SECRET[:3], "x"),
    lambda trial, path: trial.delete_file(path),
    lambda trial, path: trial.move_file(path, "shown.txt"),
    lambda trial, path: trial.move_file("README.md", path),
    lambda trial, path: trial.file_exists(path),
    lambda trial, path: trial.file_contains(path, SECRET),
    lambda trial, path: trial.file_equals(path, SECRET),
]
WAYS_ROUND = ["peek", "folder/id_rsa", ".ENV", "src/../.env", ".git", ".git/hooks/x"]
OUTSIDE = ["..", "../outside.txt", "a/../../outside.txt", "/etc/passwd", "link", "away/outside.txt", "chain", "round"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "outside.txt").write_text(SECRET)
    root = fill(tmp_path / "real", {**FILES, **HIDDEN_FILES})
    (root / "link").symlink_to("../outside.txt")
    (root / "away").symlink_to(tmp_path)
    (root / "chain").symlink_to("link")
    (root / "round").symlink_to("round")
    (root / "peek").symlink_to(".env")
    (root / "folder").symlink_to("keys")
    (root / "good").symlink_to("src/tools")
    return root


@pytest.fixture
def trial(root: Path) -> Any:
    return DirectoryEnvironment(root).fork()


@pytest.mark.parametrize("call", TOOLS)
@pytest.mark.parametrize("path", [*HIDDEN_FILES, *WAYS_ROUND])
def test_what_is_hidden_is_neither_shown_nor_changed(root: Path, trial: Any, path: str, call: Any) -> None:
    """A link may be moved or deleted, for that is not what it leads to."""
    before = state(root)
    try:
        shown = json.dumps(call(trial, path))
    except ToolError as error:
        shown = str(error)
        assert path == "peek" or "hidden here" in shown
    else:
        assert path == "peek"
    assert SECRET not in shown and state(root) == before
    contents = [change.after.data for change in trial._tree.changes.values() if change.after is not None]
    assert not any(SECRET.encode() in data for data in contents)


def test_lists_and_searches_leave_out_what_is_hidden(trial: Any) -> None:
    shown = json.dumps([trial.list_files(), trial.list_files(".*"), trial.search_files("."), trial.search_files("k-7")])
    assert SECRET not in shown
    assert not {*HIDDEN_FILES} & {*trial.list_files(limit=1000)["files"]}


@pytest.mark.parametrize("call", [*TOOLS])
@pytest.mark.parametrize("path", OUTSIDE)
def test_nothing_leads_out_of_the_directory(root: Path, tmp_path: Path, trial: Any, path: str, call: Any) -> None:
    before = state(tmp_path)
    try:
        shown = json.dumps(call(trial, path))
    except ToolError as error:
        shown = str(error)
    else:
        assert path in ("link", "chain", "round")  # moved or deleted themselves, or replaced
    assert SECRET not in shown and state(tmp_path) == before


def test_links_inside_are_followed(root: Path, trial: Any) -> None:
    assert trial.read_file("good/saw.py")["path"] == "src/tools/saw.py"
    assert trial.edit_file("good/saw.py", "30", "40")["path"] == "src/tools/saw.py"


def test_a_link_that_was_swapped_in_meanwhile_is_not_followed(root: Path, tmp_path: Path) -> None:
    real = DirectoryEnvironment(root, commands="none")
    trial: Any = real.fork()
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy/saw.py").write_text(SECRET)
    (root / "src/tools").rename(root / "src/old")
    (root / "src/tools").symlink_to(tmp_path / "copy")
    with pytest.raises(ToolError, match="changed by something else"):
        trial.read_file("src/tools/saw.py")
    (root / "docs").rename(tmp_path / "docs")
    before = state(tmp_path / "docs")
    with pytest.raises(ToolError, match="leads out of the directory"), real.transaction():
        (root / "docs").mkdir()
        real._tree = real.fork()._tree  # type: ignore[attr-defined]
        real.write_file("docs/new.txt", "x")
        (root / "docs").rmdir()
        (root / "docs").symlink_to(tmp_path / "docs")
    assert state(tmp_path / "docs") == before


def test_a_hidden_file_cannot_be_written_over_by_its_folder(root: Path, trial: Any) -> None:
    (root / "later.txt").write_text("theirs")
    with pytest.raises(ToolError, match="something that is not shown here"):
        trial.write_file("later.txt", "x")
    with pytest.raises(ToolError, match="hidden here"):
        trial.write_file("build/new.txt", "x")
    trial.write_file(".gitignore", "")
    with pytest.raises(ToolError, match="hidden here"):
        trial.read_file("build/out.txt")


@given(st.lists(st.sampled_from(["..", ".", "", "a", "b", "link"]), max_size=6).map("/".join))
def test_a_resolved_path_is_always_inside(path: str) -> None:
    links = {"a/link": "../b", "b/link": "../../x"}
    entries = {path: FileEntry("link", 0, 0, (0,) * 5, target) for path, target in links.items()}
    tree = Tree(Manifest(Path("/nowhere"), entries, Hidden(HIDDEN)))
    try:
        place = tree.resolve(path)
    except ToolError:
        return
    assert not place.startswith("/") and ".." not in place.split("/")
    assert tree.resolve(place) == place


def test_ignore_files_count_as_in_git(tmp_path: Path) -> None:
    """The same files are ignored as git says."""
    files = {
        ".gitignore": "*.log\n!keep.log\n/top.txt\nout/\n[bad\n", "keep.log": "", "a.log": "", "top.txt": "",
        "sub/top.txt": "", "sub/.gitignore": "!b.log\ninner/\n", "sub/b.log": "", "sub/c.log": "", "sub/inner/x": "",
        "out/keep.log": "", "sub/out/x": "", "deep/er/a.log": "", "deep/out": "",
    }  # fmt: skip
    fill(tmp_path, files)
    git(tmp_path, "init", "-q")
    listed = git(tmp_path, "ls-files", "-o", "-z", "--exclude-per-directory=.gitignore")
    shown = DirectoryEnvironment(tmp_path, hidden=()).list_files(limit=1000)["files"]
    assert shown == sorted(listed.split("\0")[:-1])


def test_a_folder_without_permission_is_named() -> None:
    """Run by another user than root, who may do all."""
    with TemporaryDirectory() as folder:
        refuse_without_permission(Path(folder))


def refuse_without_permission(tmp_path: Path) -> None:
    fill(tmp_path, {"open.txt": "x", "shut/a.txt": "x", "dark.txt": "x"})
    tmp_path.chmod(0o755)
    (tmp_path / "shut").chmod(0o000)
    (tmp_path / "dark.txt").chmod(0o000)
    script = f"""
import os, sys, json
from pathlib import Path
from pivot_dspy.environments.directory import DirectoryEnvironment
import pathspec, regex  # what is imported when used, while this user may still read it
DirectoryEnvironment({str(tmp_path)!r}, commands="none").read_file("open.txt")
if os.getuid() == 0:
    os.chdir("/"); os.setgid(65534); os.setuid(65534)
real = DirectoryEnvironment({str(tmp_path)!r}, commands="none")
said = []
for path in ("shut/a.txt", "dark.txt"):
    try:
        real.read_file(path)
    except Exception as error:
        said.append(str(error))
try:
    with real.transaction():
        real.write_file("new.txt", "x")
except Exception as error:
    said.append(str(error))
print(json.dumps([real.list_files()["files"], said]))
"""
    if os.getuid() != 0:
        tmp_path.chmod(0o555)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    (tmp_path / "shut").chmod(0o755)
    tmp_path.chmod(0o755)
    assert done.returncode == 0, done.stderr
    files, said = json.loads(done.stdout)
    assert files == ["dark.txt", "open.txt", "shut"]
    assert said[:2] == ["there is no permission to look into shut", "there is no permission to read dark.txt"]
    assert said[2].startswith("nothing was changed: there is no permission to write")


# ------------------------------------------------------------------------------------------------------------ commands

SPIES = [
    "cat .env peek folder/id_rsa server.pem build/out.txt .git/config",
    "grep -r k-7f3a /work /etc /dev/shm /var /home 2>/dev/null",
    "cat {root}/.env {root}/../outside.txt",
    "cat /proc/*/environ /proc/1/root{root}/.env",
    "env",
    "ls -la ~ /home /root {root}",
]


@needs_sandbox
@pytest.mark.parametrize("command", SPIES)
def test_a_command_sees_nothing_but_the_files(
    root: Path, trial: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_KEY", SECRET)
    result = trial.run_command(command.format(root=root))
    assert SECRET not in result["output"]


@needs_sandbox
@pytest.mark.parametrize(
    "command",
    [
        "echo x > {root}/new.txt", "rm -rf {root}", "touch /usr/x", "mount --bind / /tmp", "kill -9 -1; sleep 0.1",
        "python -c \"import socket; socket.create_connection(('127.0.0.1', {port}), 1)\"",
        "python -c \"import socket; socket.getaddrinfo('example.org', 80)\"",
    ],
)  # fmt: skip
def test_a_command_reaches_nothing_but_the_files(root: Path, tmp_path: Path, trial: Any, command: str) -> None:
    import socket

    before = state(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = trial.run_command(command.format(root=root, port=server.getsockname()[1]))
    assert not result["passed"] or command.startswith(("rm", "kill"))
    assert state(tmp_path) == before


@needs_sandbox
def test_what_a_command_may_read_does_not_bring_out_the_directory(root: Path, tmp_path: Path) -> None:
    fill(tmp_path, {"library/a.txt": "of the library"})
    trial: Any = DirectoryEnvironment(root, readable=[tmp_path, root / "src"]).fork()
    shown = trial.run_command(f"cat {tmp_path}/library/a.txt {root}/src/tools/saw.py {root}/.env {root}/keys/id_rsa")
    assert "of the library" in shown["output"] and "TEETH" in shown["output"] and SECRET not in shown["output"]


@needs_sandbox
def test_a_command_cannot_bring_out_what_is_hidden(root: Path, trial: Any) -> None:
    result = trial.run_command("rm .gitignore; mkdir build; echo x > build/new.txt; echo y > shown.txt; echo z > .env")
    assert result["changed"] == [".gitignore", "shown.txt"]
    with pytest.raises(ToolError, match="leads out of the directory"):
        trial.run_command("ln -s /etc/passwd out")
    assert trial.list_files("out")["files"] == []
