"""Commands on the files of a directory: what they change, what they may take, and those without a sandbox."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest

from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files import sandbox
from pivot_dspy.environments.files.sandbox import CommandLimits
from pivot_dspy.errors import ConfigurationError, OutcomeUnknown, ToolError
from tests.environment.running import run
from tests.environments.trees import FILES, fill, needs_sandbox, state

SHORT = CommandLimits(seconds=1.0, output_bytes=100_000, shown=1000, memory=256 << 20, file_bytes=1 << 20)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path / "real", FILES)


@needs_sandbox
def test_what_a_command_changes_is_a_change_of_the_trial(root: Path) -> None:
    real = DirectoryEnvironment(root)
    (root / "to-run").symlink_to("run.sh")
    (root / "to-run-too").hardlink_to(root / "run.sh")
    before = state(root)
    trial: Any = real.fork()
    trial.write_file("README.md", "one\n")
    command = "./to-run; cat README.md; rm -r src; mkdir new; echo two >> README.md; ln -s a.txt docs/b"
    result = trial.run_command(command)
    assert result["passed"] and result["output"] == "run\none\n"
    assert result["changed"] == ["README.md", "docs/b", "src/tools/hammer.py", "src/tools/saw.py"]
    assert trial.read_file("docs/b")["text"] == FILES["docs/a.txt"]
    trial.run_command("chmod +x README.md; sed -i s/run/ran/ run.sh")
    assert state(root) == before
    with real.transaction():
        real._tree = trial._tree
    assert os.access(root / "README.md", os.X_OK) and (root / "run.sh").stat().st_mode & 0o777 == 0o755
    assert os.readlink(root / "docs/b") == "a.txt" and not (root / "src").exists()


@needs_sandbox
def test_what_a_command_leaves_alone_is_no_change(root: Path) -> None:
    trial: Any = DirectoryEnvironment(root).fork()
    result = trial.run_command("cp README.md x; rm x; cat docs/a.txt run.sh > /tmp/y; touch -r README.md README.md")
    assert (result["passed"], result["changed"], trial._tree.changes) == (True, [], {})
    assert trial.run_command("exit 3") | {"version": ""} == {
        "passed": False, "code": 3, "output": "", "changed": [], "version": "",
    }  # fmt: skip


ENDLESS = [
    ("sleep 60", "took longer than 1 s"),
    ("while :; do :; done", "took longer than 1 s"),
    ("(setsid sleep 60 &) ; sleep 60 & wait", "took longer than 1 s"),
    ("yes", "printed more than 100,000 bytes"),
    ("cat /dev/zero", "printed more than 100,000 bytes"),
]


@needs_sandbox
@pytest.mark.parametrize(("command", "message"), ENDLESS)
def test_a_command_that_never_ends_is_ended(root: Path, command: str, message: str) -> None:
    trial: Any = DirectoryEnvironment(root, limits=SHORT).fork()
    started = time.monotonic()
    with pytest.raises(ToolError, match=message):
        trial.run_command(f"echo x > new.txt; {command}")
    assert time.monotonic() - started < 10 and not trial._tree.changes


@needs_sandbox
def test_nothing_that_a_command_has_started_outlives_it(root: Path) -> None:
    trial: Any = DirectoryEnvironment(root).fork()
    for _ in range(5):
        assert trial.run_command("(setsid sh -c 'while :; do :; done; : 31415926' >/dev/null 2>&1 &); true")["passed"]
    running = [path for path in Path("/proc").glob("[0-9]*/cmdline") if b"31415926" in _read(path)]
    assert running == []


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@needs_sandbox
def test_a_command_has_no_more_than_it_may_take(root: Path) -> None:
    trial: Any = DirectoryEnvironment(root, limits=SHORT).fork()
    assert not trial.run_command("python -c 'bytearray(1 << 30)'")["passed"]
    assert not trial.run_command("dd if=/dev/zero of=large bs=1M count=5; rm large; false")["passed"]
    shown = trial.run_command("seq 1 10000")["output"]
    assert len(shown) < 1200 and shown.startswith("1\n2\n") and shown.endswith("9999\n10000\n")
    assert "bytes left out" in shown
    with pytest.raises(ToolError, match="cannot be kept"):
        trial.run_command("mkfifo pipe")
    with pytest.raises(ToolError, match="NUL"):
        trial.run_command("echo \0")
    assert not trial._tree.changes


@needs_sandbox
def test_the_limit_of_a_tool_is_that_of_its_command(root: Path) -> None:
    session = SessionFactory(DirectoryEnvironment(root, limits=CommandLimits(seconds=3)), timeout=0.5).open(None)
    assert run(session, ("run_command", {"command": "sleep 1; echo done"})).observations[0].value["output"] == "done\n"


@needs_sandbox
def test_a_command_that_hangs_is_an_observation(root: Path) -> None:
    session = SessionFactory(DirectoryEnvironment(root, limits=SHORT)).open(None)
    fault = run(session, ("run_command", {"command": "sleep 60"})).observations[0].fault
    assert fault is not None and "took longer than 1 s and was ended" in fault.message


# -------------------------------------------------------------------------------------------------- without a sandbox


def test_without_a_sandbox_a_command_waits_for_commit(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pivot_dspy.environments.directory.bubblewrap", lambda: None)
    with pytest.raises(ConfigurationError, match="install bubblewrap"):
        DirectoryEnvironment(root, commands="sandboxed")
    real, before = DirectoryEnvironment(root), state(root)
    assert "run_command" not in real.toolbox.tools and "command_passes" not in real.toolbox.checks
    session = SessionFactory(real).open(None)
    assert run(session, ("run_command_for_real", {"command": "touch x"})).observations[0].status == "withheld"
    for environment in (real, real.fork()):
        call: Any = environment
        with pytest.raises((ToolError, PermissionError)):
            call.run_command_for_real("touch x")
    assert state(root) == before


def test_no_commands_are_offered_where_none_are_wanted(root: Path) -> None:
    tools = DirectoryEnvironment(root, commands="none").toolbox.tools
    assert not [name for name in tools if name.startswith("run_command")]


def test_a_command_for_real_sees_what_was_changed_until_then(root: Path) -> None:
    real = DirectoryEnvironment(root, commands="irreversible")
    with real.transaction():
        real.write_file("README.md", "one\n")
        assert real.run_command_for_real("cat README.md; echo two > two.txt")["output"] == "one\n"
        assert real.read_file("two.txt")["text"] == "two\n"
        real.write_file("three.txt", "three\n")
    contents = [(root / name).read_text() for name in ("README.md", "two.txt", "three.txt")]
    assert contents == ["one\n", "two\n", "three\n"]


def test_what_a_command_for_real_was_to_see_is_taken_back(root: Path) -> None:
    real, before = DirectoryEnvironment(root, commands="irreversible"), state(root, times=False)
    with pytest.raises(KeyError), real.transaction():
        real.write_file("README.md", "one\n")
        real.delete_file("src")
        real.run_command_for_real("true")
        real.write_file("other.txt", "x")
        raise KeyError
    assert state(root, times=False) == before
    with pytest.raises(OutcomeUnknown, match="cannot be taken back"), real.transaction():
        real.write_file("README.md", "one\n")
        real.run_command_for_real("echo two > README.md")
        raise KeyError
    assert (root / "README.md").read_text() == "two\n"


def test_a_sandbox_that_does_not_work_is_none(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setattr(sandbox, "bubblewrap", lambda: None)
    with pytest.raises(ConfigurationError, match="no sandbox for commands works here"):
        sandbox.run_confined("true", root, SHORT, real=root)
