"""A directory as an environment: what tools give, and that nothing is real before a commit, then all of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files.hidden import HIDDEN
from pivot_dspy.errors import ConfigurationError, ToolError
from tests.environment.running import run
from tests.environments.trees import FILES, fill, needs_sandbox, state, texts


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return fill(tmp_path / "real", FILES)


@pytest.fixture
def trial(root: Path) -> Any:
    return DirectoryEnvironment(root).fork()


# ------------------------------------------------------------------------------------------------------------- reading


def test_files_are_listed_by_patterns_and_cut(trial: Any) -> None:
    assert trial.list_files()["files"] == sorted(FILES)
    assert trial.list_files("src/")["files"] == ["src/tools/hammer.py", "src/tools/saw.py"]
    assert trial.list_files("*.md", 0) | {"version": ""} == {"files": [], "left_out": 1, "version": ""}
    before = trial.list_files()["version"]
    trial.write_file("new.txt", "")
    assert trial.list_files()["version"] != before


def test_lines_of_a_file_are_read_with_their_ends(trial: Any) -> None:
    assert trial.read_file("docs/a.txt")["text"] == "first\r\nsecond\r\n"
    part = trial.read_file("src/tools/hammer.py", 4, 4)
    assert (part["text"], part["first"], part["last"], part["lines"], part["left_out"]) == ("def hit():\n", 4, 4, 5, "")
    trial.write_file("empty", "")
    assert trial.read_file("empty")["text"] == ""
    with pytest.raises(ToolError, match="has 5 lines"):
        trial.read_file("src/tools/hammer.py", 6)


def test_what_is_left_out_of_a_large_file_is_named(root: Path, trial: Any) -> None:
    trial.write_file("large.txt", "".join(f"line {number}\n" for number in range(20_000)))
    part = trial.read_file("large.txt")
    assert len(part["text"]) <= 40_000 and part["left_out"] == f"lines {part['last'] + 1} to 20000: " + (
        f"read_file with first={part['last'] + 1}"
    )
    rest = trial.read_file("large.txt", part["last"] + 1)
    assert rest["text"].startswith(f"line {part['last']}\n")
    trial.write_file("wide.txt", "x" * 50_000)
    assert trial.read_file("wide.txt")["left_out"].startswith("line 1 goes on for 10,000 more characters")
    trial.write_file("tail.txt", "a\n" * 10)
    assert trial.read_file("tail.txt", 1, 3)["left_out"] == ""


def test_a_file_that_is_no_text_is_an_error(root: Path) -> None:
    (root / "image.bin").write_bytes(b"\x00\x01")
    (root / "latin.txt").write_bytes("é".encode("latin-1"))
    os.mkfifo(root / "pipe")
    trial: Any = DirectoryEnvironment(root).fork()
    for name in ("image.bin", "latin.txt"):
        with pytest.raises(ToolError, match="no UTF-8 text"):
            trial.read_file(name)
    with pytest.raises(ToolError, match="special"):
        trial.read_file("pipe")
    with pytest.raises(ToolError, match=r"no file READM\.md; did you mean 'README\.md'"):
        trial.read_file("READM.md")
    with pytest.raises(ToolError, match="src is a folder"):
        trial.read_file("src")
    assert "2 files" in trial.search_files("Two")["left_out"] or "3 files" in trial.search_files("Two")["left_out"]


def test_a_search_gives_lines_once_and_is_stopped(trial: Any) -> None:
    matches = trial.search_files(r"^(WEIGHT|TEETH) = \d+|return")["matches"]
    assert [(match["path"], match["line"]) for match in matches] == [
        ("src/tools/hammer.py", 1), ("src/tools/hammer.py", 5), ("src/tools/saw.py", 1),
    ]  # fmt: skip
    assert trial.search_files("second", "docs/")["matches"][0]["text"] == "second"
    assert trial.search_files(r"\w", limit=1)["left_out"].endswith("more matches")
    with pytest.raises(ToolError, match="no regular expression"):
        trial.search_files("(")
    trial.write_file("evil.txt", "a" * 5000 + "!")
    with pytest.raises(ToolError, match="the search took more than"):
        trial.search_files(r"(a|aa)+$", "evil.txt")


# ------------------------------------------------------------------------------------------------------------- editing


def test_an_edit_replaces_exactly_what_it_names(trial: Any) -> None:
    trial.edit_file("src/tools/saw.py", "TEETH = 30", "TEETH = 40")
    assert trial.read_file("src/tools/saw.py")["text"] == "TEETH = 40\n"
    trial.edit_file("docs/a.txt", "first\nsecond", "one\ntwo")
    assert trial.read_file("docs/a.txt")["text"] == "one\r\ntwo\r\n"
    trial.edit_file("src/tools/hammer.py", "WEIGHT", "MASS", True)
    assert "WEIGHT" not in trial.read_file("src/tools/hammer.py")["text"]


@pytest.mark.parametrize(
    ("old", "message"),
    [
        ("def hit() :\n    return WEIGTH", r"nearest, from line 4, is:\ndef hit\(\):\n    return WEIGHT"),
        ("WEIGHT", "stands 2 times in src/tools/hammer.py, on lines 1, 5"),
        ("", "old is empty"),
        ("%%%%", "nothing in its 5 lines is like it"),
    ],
)
def test_an_edit_that_does_not_fit_says_where(trial: Any, old: str, message: str) -> None:
    before = trial.read_file("src/tools/hammer.py")
    with pytest.raises(ToolError, match=message):
        trial.edit_file("src/tools/hammer.py", old, "x")
    assert trial.read_file("src/tools/hammer.py") == before and not trial._tree.changes


def test_a_large_file_may_go_unread(root: Path) -> None:
    with open(root / "large.bin", "wb") as file:
        file.truncate(20 << 20)
    real: Any = DirectoryEnvironment(root, commands="none")
    for call in (real.read_file, lambda path: real.move_file(path, "other")):
        with pytest.raises(ToolError, match="more than the 16,777,216 that can be read"):
            call("large.bin")
    with pytest.raises(ToolError, match="more than the"):
        real.fork().write_file("large.txt", "x" * (17 << 20))
    with real.transaction():
        real.delete_file("large.bin")
    assert not (root / "large.bin").exists()


def test_folders_are_moved_and_deleted_whole(trial: Any) -> None:
    assert trial.move_file("src", "lib")["moved"] == ["lib/tools/hammer.py", "lib/tools/saw.py"]
    assert trial.list_files("src/")["files"] == []
    for target in ("docs", "run.sh"):
        with pytest.raises(ToolError, match="is there already"):
            trial.move_file("lib", target)
    with pytest.raises(ToolError, match="lies in lib itself"):
        trial.move_file("lib", "lib/deeper")
    assert trial.delete_file("lib")["deleted"] == ["lib/tools/hammer.py", "lib/tools/saw.py"]
    with pytest.raises(ToolError, match="no file lib"):
        trial.delete_file("lib")


@pytest.mark.parametrize("path", ["src", "README.md/x", ""])
def test_a_file_cannot_stand_where_something_else_does(trial: Any, path: str) -> None:
    with pytest.raises(ToolError):
        trial.write_file(path, "x")


# --------------------------------------------------------------------------------------- trials, and the real directory

NAMES = st.sampled_from(["a.txt", "b/c.txt", "b/d.txt", "b", "README.md", "docs/a.txt", "run.sh", "./b/../e.txt"])
CALLS = st.one_of(
    st.tuples(st.just("write_file"), NAMES, st.sampled_from(["", "one", "two\n", "first"])),
    st.tuples(st.just("edit_file"), NAMES, st.sampled_from(["o", "first", "#"]), st.sampled_from(["", "x"])),
    st.tuples(st.just("delete_file"), NAMES),
    st.tuples(st.just("move_file"), NAMES, NAMES),
    st.tuples(st.just("fork")),
)


def apply_to(environment: Any, calls: list[tuple[str, ...]], forks: bool) -> Any:
    """Make the calls; what is no good changes nothing."""
    for name, *args in calls:
        if name == "fork":
            environment = environment.fork() if forks else environment
            continue
        before = dict(environment._tree.changes)
        try:
            getattr(environment, name)(*args)
        except ToolError:
            assert environment._tree.changes == before
    return environment


@given(calls=st.lists(CALLS, max_size=8))
@settings(deadline=None, max_examples=60)
def test_a_commit_makes_just_what_the_trial_had(calls: list[tuple[str, ...]]) -> None:
    with TemporaryDirectory() as folder:
        root = fill(Path(folder), FILES)
        before, real = state(root), DirectoryEnvironment(folder, commands="none")
        trial = apply_to(real.fork(), calls, forks=True)
        seen = {path: trial._tree.read(path).decode() for path in trial._tree.paths()}
        assert state(root) == before  # byte for byte, and no file was touched
        with real.transaction():
            apply_to(real, calls, forks=False)
            assert state(root) == before
        assert texts(root) == seen
        assert not any(path.is_dir() and not any(path.iterdir()) for path in root.rglob("*"))


def changes(tool: str, *args: Any) -> Any:
    return pytest.param(tool, dict(args), id=tool)


WRITES = [
    changes("write_file", ("path", "README.md"), ("text", "x")),
    changes("edit_file", ("path", "README.md"), ("old", "Two"), ("new", "Three")),
    changes("delete_file", ("path", "src")),
    changes("move_file", ("source", "src"), ("target", "lib")),
    pytest.param("run_command", {"command": "rm -r src; chmod 600 README.md"}, marks=needs_sandbox, id="run_command"),
]


@pytest.mark.parametrize(("tool", "args"), WRITES)
@pytest.mark.parametrize("kind", ["instance", "factory"])
def test_no_way_of_writing_is_seen_before_commit(root: Path, kind: str, tool: str, args: dict[str, Any]) -> None:
    instance = DirectoryEnvironment(root)
    source = SessionFactory(instance if kind == "instance" else lambda: DirectoryEnvironment(root))
    before = state(root)
    session = source.open(None, watched=True)
    deeper = session.fork()
    assert session.family.tier == "fork"
    with session.family.watched():
        for opened in (deeper, session):
            assert run(opened, (tool, args)).observations[0].fault is None
            assert "README.md" in str(opened.environment.describe()) or "src" in opened.environment.describe()
    assert state(root) == before
    real = source.open_real(None)
    transaction: Any = real.environment.transaction()
    with transaction:
        run(real, (tool, args))
        assert state(root) == before
    real.family.close()
    assert state(root, times=False) != {path: value[:2] for path, value in before.items()}


def test_a_commit_that_fails_leaves_all_as_it_was(root: Path) -> None:
    real, before = DirectoryEnvironment(root, commands="none"), state(root)
    with pytest.raises(KeyError), real.transaction():
        real.write_file("README.md", "x")
        raise KeyError
    assert state(root) == before
    with real.transaction():
        real.read_file("README.md")
    assert state(root) == before


def test_an_instance_with_changes_of_its_own_commits_nothing(root: Path) -> None:
    real = DirectoryEnvironment(root, commands="none")
    real.write_file("README.md", "by hand")
    assert (root / "README.md").read_text() == FILES["README.md"]
    with pytest.raises(ConfigurationError, match="trial with changes"), real.transaction():
        pass


def test_forks_know_nothing_of_each_other(root: Path) -> None:
    first: Any = DirectoryEnvironment(root).fork()
    first.write_file("README.md", "first")
    second = first.fork()
    second.write_file("README.md", "second")
    first.delete_file("src")
    assert first.read_file("README.md")["text"] == "first" and second.list_files("src/")["files"]


Meddle = Callable[[Path], Any]


@pytest.mark.parametrize(
    ("meddle", "stops"),
    [
        (lambda root: (root / "README.md").write_text("# Tools\n\nTwo TOOLS.\n"), True),
        (lambda root: (root / "README.md").unlink(), True),
        (lambda root: (root / "docs/a.txt").write_text("other"), True),
        (lambda root: (root / "new.txt").write_text("theirs"), True),
        (lambda root: (root / "src/tools/saw.py").write_text("TEETH = 1\n"), False),
    ],
)
def test_what_somebody_else_changes_stops_a_commit(root: Path, meddle: Meddle, stops: bool) -> None:
    """What was read, or is to be replaced, made or deleted; not what nobody looked at."""
    real = DirectoryEnvironment(root, commands="none")
    try:
        with real.transaction():
            real.read_file("docs/a.txt")
            real.edit_file("README.md", "Two", "Three")
            real.write_file("new.txt", "ours")
            meddle(root)
            theirs = state(root)
    except ToolError as error:
        assert stops and "somebody else has changed" in str(error)
        assert state(root) == theirs
    else:
        assert not stops and (root / "new.txt").read_text() == "ours"


def test_what_somebody_else_changes_is_no_content_of_a_trial(root: Path, trial: Any) -> None:
    trial.read_file("README.md")
    (root / "README.md").write_text("other")
    for call in (trial.read_file, trial.delete_file):
        with pytest.raises(ToolError, match="changed by something else since this trial began"):
            call("README.md")


def test_versions_differ_with_the_content_and_hold_no_figures(root: Path) -> None:
    real = DirectoryEnvironment(root, commands="none")
    version = real.read_file("README.md")["version"]
    (root / "README.md").write_text("other")
    assert real.read_file("README.md")["version"] != version and version.isalpha()


# -------------------------------------------------------------------------------------------------------------- checks


def test_checks_look_at_the_files(trial: Any) -> None:
    assert trial.file_exists("README.md").holds and not trial.file_exists("none").holds
    assert trial.file_contains("README.md", "Two").holds and not trial.file_contains("README.md", "Three").holds
    assert trial.file_equals("src/tools/saw.py", "TEETH = 30\n").holds
    assert "line 1 is" in trial.file_equals("src/tools/saw.py", "TEETH = 31\n").evidence
    trial.write_file("docs/b.txt", "")
    assert trial.unchanged_except(["docs/"]).holds
    assert trial.unchanged_except(["*.md"]) == (False, "changed: docs/b.txt", "", ("docs/b.txt",), None, 1, ())


@needs_sandbox
def test_a_command_decides_and_changes_nothing(trial: Any) -> None:
    assert trial.command_passes("grep -q Two README.md && rm README.md").holds
    found = trial.command_passes("echo why; exit 3")
    assert not found.holds and "exit code 3: why" in found.evidence
    assert trial.file_exists("README.md").holds and not trial._tree.changes
    trial.write_file("README.md", "One")
    assert not trial.command_passes("grep -q Two README.md && rm README.md").holds


# ----------------------------------------------------------------------------------------------------------- bad input


def test_a_directory_that_cannot_be_used_names_the_remedy(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="more than 3 files; name a folder inside"):
        DirectoryEnvironment(root, max_files=3)
    DirectoryEnvironment(root, max_files=3, hidden=(*HIDDEN, "src/", "docs/"))
    for path in (tmp_path / "none", root / "README.md"):
        with pytest.raises(ConfigurationError, match="cannot be read"):
            DirectoryEnvironment(path)
    wrong: Any = "some"
    with pytest.raises(ConfigurationError, match="commands is"):
        DirectoryEnvironment(root, commands=wrong)
    with pytest.raises(ConfigurationError, match="pattern that is none"):
        DirectoryEnvironment(root, hidden=["!"])


def opened(root: Path) -> Session:
    return SessionFactory(DirectoryEnvironment(root)).open(None)


def test_errors_of_tools_are_observations(root: Path) -> None:
    call = ("edit_file", {"path": "README.md", "old": "Tow tools", "new": ""})
    fault = run(opened(root), call).observations[0].fault
    assert fault is not None and fault.kind == "tool_error"
    assert fault.message.endswith("the nearest, from line 3, is:\nTwo tools.")
