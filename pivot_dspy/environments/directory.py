"""A directory of files as an environment: what a trial changes is seen by nobody until a commit puts it there."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.environment.from_class import of_class
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.environments.files import reading
from pivot_dspy.environments.files.commit import commit, recover
from pivot_dspy.environments.files.content import ABSENT, FileChange
from pivot_dspy.environments.files.copies import laid_out, take_changes
from pivot_dspy.environments.files.editing import replaced, text_of
from pivot_dspy.environments.files.hidden import HIDDEN, Hidden
from pivot_dspy.environments.files.manifest import Manifest, scan
from pivot_dspy.environments.files.reading import FileList, FileText, Matches
from pivot_dspy.environments.files.results import CommandResult, MovedFiles, RemovedFiles, WrittenFile
from pivot_dspy.environments.files.sandbox import (
    NO_SANDBOX,
    CommandLimits,
    Outcome,
    bubblewrap,
    run_confined,
    run_unconfined,
)
from pivot_dspy.environments.files.tree import Tree
from pivot_dspy.errors import ConfigurationError, OutcomeUnknown, ToolError

logger = logging.getLogger(__name__)

Commands = Literal["sandboxed", "irreversible", "none"]
SLACK = 15.0
"""Seconds that a tool which runs a command may take beyond the command: the files are laid out for it."""


class DirectoryEnvironment(Environment):
    """A directory: tools to list, read, search, write, edit, delete and move its files, and to run commands on them.

    An instance changes nothing on disk: what tools write stays in it, or in the fork that a trial works in. A commit
    (or `with environment.transaction():`, by hand) looks at the directory afresh, and at its end all changes become
    real together: see `pivot_dspy.environments.files.commit`. It is refused where somebody else has changed meanwhile
    what was read or is to be changed.

    No tool, check or command sees what is hidden, and none leads out of the directory, by `..`, an absolute path or a
    link. Empty folders are nothing, as for git. It needs POSIX (Linux, macOS).

    Args:
        path: the directory.
        hidden: patterns, as in a `.gitignore` file, of what is hidden, beside what the directory's own ignore files
            name; to add to the default, `hidden=(*HIDDEN, "data/")`.
        commands: how the model may run commands: `sandboxed`, on a copy of the files in a sandbox without network, so
            that what they change is one more change of the trial; `irreversible`, in the directory itself and with all
            that the caller may do, so that they wait for commit, where they see the changes made until then; `none`.
            The default is `sandboxed` where bubblewrap works, and `irreversible` elsewhere.
        limits: what one command may take.
        readable: further folders of this machine that commands in the sandbox may read, such as a compiler's.
        max_files: that the directory may hold.

    Raises:
        ConfigurationError: there is no such directory, it may not be read, holds more files than that, or a commit in
            it was cut off and cannot be completed; or there is no sandbox where one is asked for.

    >>> from tempfile import TemporaryDirectory
    >>> folder = TemporaryDirectory()
    >>> notes = Path(folder.name, "notes.txt")
    >>> notes.write_text("milk\\n")
    5
    >>> directory = DirectoryEnvironment(folder.name)
    >>> trial = directory.fork()
    >>> trial.edit_file("notes.txt", "milk", "tea")["path"], trial.read_file("notes.txt")["text"], notes.read_text()
    ('notes.txt', 'tea\\n', 'milk\\n')
    >>> with directory.transaction():
    ...     _ = directory.edit_file("notes.txt", "milk", "tea")
    >>> notes.read_text()
    'tea\\n'
    >>> folder.cleanup()
    """

    orientation = ("list_files",)
    vocabulary = "Paths are relative to the top of the directory, like src/a.py; patterns are as in a .gitignore file."

    def __init__(
        self,
        path: str | Path,
        *,
        hidden: Iterable[str] = HIDDEN,
        commands: Commands | None = None,
        limits: CommandLimits = CommandLimits(),  # noqa: B008
        readable: Sequence[str | Path] = (),
        max_files: int = 20_000,
    ) -> None:
        self._root = Path(path).expanduser().resolve()
        self._hidden = tuple(hidden)
        self._limits, self._max_files = limits, max_files
        self._readable = tuple(Path(folder).resolve() for folder in readable)
        self._commands: Commands = commands or ("sandboxed" if bubblewrap() else "irreversible")
        self._tree: Tree | None = None
        """What this instance sees, once it is a trial or commits; None for the directory as it is."""
        self._committing = False
        self._earlier: list[dict[str, FileChange]] = []
        """What takes back the changes that a commit had to make real before its end, for a command to see them."""
        if self._commands not in ("sandboxed", "irreversible", "none"):
            raise ConfigurationError(f'commands is "sandboxed", "irreversible" or "none"; got {commands!r}')
        if commands == "sandboxed" and bubblewrap() is None:
            raise ConfigurationError(
                f"{NO_SANDBOX}; or leave `commands` out, and commands wait for commit"
            )
        if recover(self._root, self._finish):
            logger.warning("a commit to %s was cut off; it has been completed, or dropped where it had not begun", path)
        self._look()

    # ------------------------------------------------------------------------------------------------- the contract

    @property
    def toolbox(self) -> Toolbox:
        """The tools: of those that run commands, the one that is offered."""
        kind: Any = type(self)
        return _toolbox(kind, self._commands, self._limits.seconds + SLACK)

    def fork(self) -> Environment:
        """An independent trial: it holds its own changes in memory, and reads what it has not changed from the disk."""
        copied = copy.copy(self)
        copied._tree = Tree(self._look()) if self._tree is None or self._committing else self._tree.fork()
        copied._committing = False
        return copied

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make real at the end, all or none, what tools change meanwhile.

        Raises:
            ConfigurationError: this instance has changes of its own, which are nobody's commit.
            ToolError: nothing was changed, for the reason that it tells.
        """
        if self._tree is not None and (self._committing or self._tree.changes):
            raise ConfigurationError("this instance is a trial with changes; commit to another, made from the path")
        self._tree, self._committing, self._earlier = Tree(self._look()), True, []
        try:
            yield
            self._make_real(self._tree)
        except BaseException:
            self._take_back()
            raise
        finally:
            self._tree, self._committing, self._earlier = None, False, []

    def describe(self) -> str:
        """Which files the trial has changed."""
        changed = [] if self._tree is None else sorted(self._tree.changes)
        more = f" and {len(changed) - 20} more" if len(changed) > 20 else ""
        return f"changed files: {', '.join(changed[:20])}{more}" if changed else "no file is changed"

    # ------------------------------------------------------------------------------------------------------ reading

    @tool(effect="read")
    def list_files(self, pattern: str = "", limit: int = 300) -> FileList:
        """The files, or those that fit a pattern as in a .gitignore file: `*.py`, `src/`, `docs/**/*.md`."""
        return reading.listing(self._seen(), pattern, limit)

    @tool(effect="read")
    def read_file(self, path: str, first: int = 1, last: int | None = None) -> FileText:
        """The text of a file, or of its lines from `first` to `last`."""
        return reading.file_text(self._seen(), path, first, last)

    @tool(effect="read")
    def search_files(self, regex: str, pattern: str = "", limit: int = 50) -> Matches:
        """The lines that a regular expression matches, in all files or those that fit a pattern."""
        return reading.matches(self._seen(), regex, pattern, limit)

    # ------------------------------------------------------------------------------------------------------ changing

    @tool(effect="write")
    def write_file(self, path: str, text: str) -> WrittenFile:
        """Let a file have this text as a whole; folders are made where needed."""
        tree = self._changed()
        place = tree.resolve(path)
        before = tree.version(place)
        tree.write(place, text.encode("utf-8"))
        return WrittenFile(path=place, before=before, after=tree.version(place))

    @tool(effect="write")
    def edit_file(self, path: str, old: str, new: str, everywhere: bool = False) -> WrittenFile:
        """Replace the exact text `old`, which must stand in the file once, or with `everywhere` at least once."""
        tree = self._changed()
        place = tree.resolve(path)
        before = tree.read(place)
        text = replaced(text_of(before, path), old, new, path, everywhere=everywhere)
        version = tree.version(place)
        tree.write(place, text.encode("utf-8"))
        return WrittenFile(path=place, before=version, after=tree.version(place))

    @tool(effect="write")
    def delete_file(self, path: str) -> RemovedFiles:
        """Delete a file, or a folder with all files in it."""
        tree = self._changed()
        place = tree.resolve(path, follow=False)
        places = [place] if place in tree else tree.below(place) if place and tree.is_folder(place) else [place]
        versions = {name: tree.version(name) for name in places}
        for name in places:
            tree.delete(name)
        return RemovedFiles(deleted=places, version=reading.version_of_data(versions))

    @tool(effect="write")
    def move_file(self, source: str, target: str) -> MovedFiles:
        """Move or rename a file, or a folder with all files in it; nothing may stand at the target."""
        tree = self._changed()
        start, end = tree.resolve(source, follow=False), tree.resolve(target, follow=False)
        moved = tree.move(start, end)
        return MovedFiles(moved=moved, version=reading.version_of_data([tree.version(path) for path in moved]))

    # ------------------------------------------------------------------------------------------------------ commands

    @tool(effect="write")
    def run_command(self, command: str) -> CommandResult:
        """Run a shell command at the top of a copy of the files, without network; the files that it changes change.

        Hidden files are not there. `python` is the one that runs this environment.
        """
        tree = self._changed()
        with laid_out(tree) as (folder, there):
            outcome = self._confined(command, folder)
            changed = take_changes(tree, folder, there, self._max_files)
        versions = [tree.version(path) for path in changed]
        return CommandResult(
            passed=outcome.code == 0, code=outcome.code, output=outcome.output, changed=changed,
            version=reading.version_of_data(versions),
        )  # fmt: skip

    @tool(effect="irreversible")
    def run_command_for_real(self, command: str) -> CommandResult:
        """Run a shell command at the top of the directory, with all that the user may do."""
        if not self._committing or self._tree is None:
            raise ToolError("a command without a sandbox runs in a commit alone")
        tree = self._tree
        before = Tree(tree.base)
        back = {
            path: FileChange(ABSENT if change.after is None else change.after.version, before.content_or_none(path))
            for path, change in tree.changes.items()
        }
        commit(tree.base, tree.changes, tree.reads)
        self._earlier.append(back)
        outcome = run_unconfined(command, self._root, self._limits)
        self._tree = Tree(self._look(), message=tree.message)
        return CommandResult(
            passed=outcome.code == 0, code=outcome.code, output=outcome.output, changed=[], version=""
        )

    # -------------------------------------------------------------------------------------------------------- checks

    @check
    def file_exists(self, path: str) -> CheckResult:
        """There is a file at the path."""
        tree = self._seen()
        holds = tree.resolve(path) in tree
        return CheckResult(holds, f"{path} is {'there' if holds else 'not there'}", about=(path,))

    @check
    def file_contains(self, path: str, text: str) -> CheckResult:
        """The file has the text in it."""
        tree = self._seen()
        holds = text in text_of(tree.read(tree.resolve(path)), path)
        return CheckResult(holds, f"{path} {'has' if holds else 'does not have'} the text in it", about=(path,))

    @check
    def file_equals(self, path: str, text: str) -> CheckResult:
        """The file has just this text."""
        tree = self._seen()
        there = text_of(tree.read(tree.resolve(path)), path)
        return CheckResult(there == text, "" if there == text else reading.first_difference(there, text), about=(path,))

    @check
    def unchanged_except(self, patterns: list[str]) -> CheckResult:
        """No file is changed, made or deleted but those that fit one of the patterns."""
        changes = [] if self._tree is None else sorted(self._tree.changes)
        others = [path for path in changes if not reading.fits(path, patterns)]
        return CheckResult(not others, f"changed: {', '.join(others or changes) or 'nothing'}", about=tuple(others))

    @check
    def command_passes(self, command: str) -> CheckResult:
        """A shell command ends with exit code 0, on a copy of the files in the sandbox; what it changes is dropped."""
        tree = self._seen()
        key = command, tree.state
        if key not in tree.memory:  # each evaluation of a requirement asks again
            with laid_out(tree) as (folder, _):
                tree.memory[key] = self._confined(command, folder)
        outcome = tree.memory[key]
        return CheckResult(outcome.code == 0, f"exit code {outcome.code}: {outcome.output[-500:].strip()}")

    # -------------------------------------------------------------------------------------------- what others extend

    def _look(self) -> Manifest:
        """The directory as it is now."""
        return scan(self._root, Hidden(self._hidden), self._max_files)

    def _make_real(self, tree: Tree) -> None:
        commit(tree.base, tree.changes, tree.reads)

    def _finish(self, note: str) -> None:
        """What belongs to a commit beside the files, by its note."""

    # ------------------------------------------------------------------------------------------------------- helpers

    def _seen(self) -> Tree:
        return Tree(self._look()) if self._tree is None else self._tree

    def _changed(self) -> Tree:
        """The tree that a tool changes: with its first change an instance becomes a trial."""
        if self._tree is None:
            self._tree = Tree(self._look())
        return self._tree

    def _take_back(self) -> None:
        """Undo what a commit that failed had made real before its end.

        Raises:
            OutcomeUnknown: it cannot be undone, for a command has changed the same files.
        """
        for changes in reversed(self._earlier):
            try:
                commit(self._look(), changes)
            except ToolError as error:
                raise OutcomeUnknown(f"what a command was to see cannot be taken back: {error}") from error

    def _confined(self, command: str, folder: Path) -> Outcome:
        return run_confined(command, folder, self._limits, real=self._root, readable=self._readable)


@lru_cache(maxsize=64)
def _toolbox(kind: Any, commands: Commands, seconds: float) -> Toolbox:
    offered = {"sandboxed": "run_command", "irreversible": "run_command_for_real", "none": None}[commands]
    whole = of_class(kind)
    tools = [
        replace(spec, timeout=seconds) if spec.name == offered else spec
        for spec in whole.tools.values()
        if spec.name == offered or not spec.name.startswith("run_command")
    ]
    checks = [spec for spec in whole.checks.values() if commands == "sandboxed" or spec.name != "command_passes"]
    return Toolbox(tools, checks, whole.lookups.values())
