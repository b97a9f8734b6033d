"""The working tree of a git repository as an environment: its files, what git says of them, and a commit at the end."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict

from pivot_dspy.environment.base import tool
from pivot_dspy.environments.directory import DirectoryEnvironment
from pivot_dspy.environments.files import reading
from pivot_dspy.environments.files.commit import commit
from pivot_dspy.environments.files.editing import text_of
from pivot_dspy.environments.files.git import SUBMODULE, Git, GitManifest
from pivot_dspy.environments.files.hidden import Hidden
from pivot_dspy.environments.files.manifest import scan
from pivot_dspy.environments.files.tree import Tree
from pivot_dspy.errors import ConfigurationError, ToolError

MAX_DIFF = 30_000
"""Characters of a diff that one call shows."""


class Status(TypedDict):
    """Where the repository stands."""

    branch: str
    """Empty where the head is detached."""
    commit: str
    uncommitted: list[str]
    """The files that the user has changed since the last commit, before this run."""
    changed: list[str]
    """The files that were changed here."""
    submodules: list[str]
    """Folders that are repositories of their own, and closed to these tools."""


class Diff(TypedDict):
    """What is otherwise than in the last commit."""

    diff: str
    left_out: list[str]
    """Files of which the changes are not shown, as they are long or no text."""


class LogEntry(TypedDict):
    """A commit."""

    commit: str
    author: str
    day: str
    subject: str


class CommitNote(TypedDict):
    """A commit that is to be made."""

    message: str
    files: list[str]


class GitEnvironment(DirectoryEnvironment):
    """The working tree of a git repository: the tools of `DirectoryEnvironment`, status, diff, log, and a commit.

    Trials have the files as they stand, the user's uncommitted changes among them, and no repository: nothing that they
    do can reach branches, tags, stash, configuration or hooks of the real one, which is only read. What a commit makes
    real is the files in the working tree; where `commit_changes` was called, or a `message` is given, also one commit
    of just these files on the branch that is checked out, all of it or none. It is made without hooks and unsigned, and
    leaves alone what the user has staged.

    Files that git tracks are shown although an ignore file names them, but for secrets. Submodules and other
    repositories inside are not entered. Where a commit would take in the user's own uncommitted changes, or there is no
    branch, no first commit, or a merge under way, or a file goes through a filter (LFS), the commit is refused.

    Args:
        path: the top of the working tree.
        message: of the commit that is made of the changes where the model makes none; None for no commit then.
        options: as of `DirectoryEnvironment`.

    Raises:
        ConfigurationError: git is not installed, the path is not the top of a working tree; as `DirectoryEnvironment`.
    """

    def __init__(self, path: str | Path, *, message: str | None = None, **options: Any) -> None:
        self._git = Git(Path(path).expanduser().resolve())
        self._message = message
        super().__init__(path, **options)

    @tool(effect="read")
    def status(self) -> Status:
        """The branch, the files with uncommitted changes of the user, and those that were changed here."""
        tree = self._seen()
        base = _repository(tree)
        own = [path for path in self._git.uncommitted() if path not in base.hidden]
        return Status(
            branch=base.branch.removeprefix("refs/heads/"), commit=base.head[:12], uncommitted=own,
            changed=sorted(tree.changes), submodules=list(base.closed),
        )  # fmt: skip

    @tool(effect="read")
    def diff(self, pattern: str = "") -> Diff:
        """A unified diff of the files, or those that fit a pattern, against the last commit."""
        tree = self._seen()
        base = _repository(tree)
        shown, left_out = "", []
        for path in sorted({*self._git.uncommitted(), *tree.changes}):
            if path in base.hidden or (pattern and not reading.fits(path, [pattern])):
                continue
            try:
                part = self._diff_of(tree, base.head, path)
            except ToolError:
                part = None
            if part is None or len(shown) + len(part) > MAX_DIFF:
                left_out.append(path)
            else:
                shown += part
        return Diff(diff=shown, left_out=left_out)

    @tool(effect="read")
    def log(self, limit: int = 10, path: str = "") -> list[LogEntry]:
        """The last commits of the branch, the newest first, or those that changed a file or folder."""
        tree = self._seen()
        head = _repository(tree).head
        if not head:
            return []
        place = tree.resolve(path)
        words = ["log", "-z", f"--max-count={max(0, limit)}", "--format=%h%x1f%an%x1f%as%x1f%s", head]
        entries = self._git(*words, "--", *([place] if place else [])).decode("utf-8", "replace").split("\0")
        parts = [entry.split("\x1f", 3) for entry in entries if entry]
        return [LogEntry(commit=part[0], author=part[1], day=part[2], subject=part[3]) for part in parts]

    @tool(effect="write")
    def commit_changes(self, message: str) -> CommitNote:
        """Let all changes that are made here become one commit on the branch, with this message."""
        tree = self._changed()
        if not message.strip():
            raise ToolError("a commit needs a message")
        self._git.refuse_commit(_repository(tree), tree.changes)
        tree.message = message
        return CommitNote(message=message, files=sorted(tree.changes))

    def _look(self) -> GitManifest:
        git = self._git
        stages = [entry.partition("\t") for entry in git.names("ls-files", "--stage", "-z")]
        submodules = {path for stage, _, path in stages if stage.startswith(SUBMODULE)}
        tracked = {path for _, _, path in stages}
        tracked |= {path[: end + 1] for path in tracked for end in range(len(path)) if path[end] == "/"}
        hidden = Hidden(self._hidden, git.excludes(), frozenset(tracked))

        def is_repository(folder: str) -> bool:
            return folder in submodules or os.path.lexists(self._root / folder / ".git")

        base = scan(self._root, hidden, self._max_files, skip=is_repository)
        head, branch = git.line("rev-parse", "--verify", "-q", "HEAD"), git.line("symbolic-ref", "-q", "HEAD")
        return GitManifest(base.root, base.entries, base.hidden, base.closed, head, branch)

    def _make_real(self, tree: Tree) -> None:
        message = tree.message or self._message
        note = self._git.prepare(_repository(tree), tree.changes, message) if message and tree.changes else ""
        commit(tree.base, tree.changes, tree.reads, note, self._finish)

    def _finish(self, note: str) -> None:
        self._git.finish(note)

    def _diff_of(self, tree: Tree, head: str, path: str) -> str | None:
        """The diff of one file; None where one side is no text."""
        before = self._git.text_at(head, path) if head else None
        is_new = before is None and (not head or not self._git.line("rev-parse", "--verify", "-q", f"{head}:{path}"))
        if before is None and not is_new:
            return None
        after = text_of(tree.read(path), path) if path in tree else None
        lines = difflib.unified_diff(
            (before or "").splitlines(keepends=True), (after or "").splitlines(keepends=True),
            "/dev/null" if is_new else f"a/{path}", "/dev/null" if after is None else f"b/{path}",
        )  # fmt: skip
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _repository(tree: Tree) -> GitManifest:
    """What a tree of this environment began from."""
    if not isinstance(tree.base, GitManifest):
        raise ConfigurationError("this tree was made of a directory that is no repository")
    return tree.base
