"""Git's own commands on a repository, without its hooks, and what a trial needs to know of one."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from pivot_dspy.environments.files.content import FileChange
from pivot_dspy.environments.files.manifest import Manifest
from pivot_dspy.errors import ConfigurationError, ToolError

SECONDS = 20.0
"""That one command of git may take."""
QUIET = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "core.quotePath=false", "gc.auto=0", "log.showSignature=0")
SUBMODULE = "160000"
UNDER_WAY = ("MERGE_HEAD", "CHERRY_PICK_HEAD", "REVERT_HEAD", "rebase-merge", "rebase-apply", "BISECT_LOG")
NO_FILTER = ("unspecified", "unset")


@dataclass(frozen=True)
class GitManifest(Manifest):
    """What a working tree held, and where its branch stood."""

    head: str = ""
    """The id of the commit; empty where there is none yet."""
    branch: str = ""
    """Its full name; empty where the head is detached."""


class Git:
    """Runs git in a repository: no hooks, no questions, no optional locks, and of the caller's environment nothing
    that would lead it to another repository.

    Raises:
        ConfigurationError: git is not installed, or the path is not the top of a working tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        try:
            top = self._run("rev-parse", "--show-toplevel")
        except OSError as error:
            raise ConfigurationError(f"{root} is no directory that may be read, or git is not installed") from error
        if top.returncode:
            said = top.stderr.decode("utf-8", "replace").strip()
            raise ConfigurationError(
                f"{root} is no working tree of git ({said}); for files alone use DirectoryEnvironment; clone a bare "
                "repository first"
            )
        if Path(os.fsdecode(top.stdout).rstrip("\n")).resolve() != root:
            raise ConfigurationError(f"{root} is not the top of its repository; pass {os.fsdecode(top.stdout).strip()}")

    def __call__(self, *words: str, given: bytes = b"", index: Path | None = None) -> bytes:
        """What a command of git prints.

        Args:
            index: a file to use in the place of the repository's index.

        Raises:
            ToolError: it failed, with what git said.
        """
        try:
            done = self._run(*words, given=given, index=index)
        except subprocess.TimeoutExpired as error:
            raise ToolError(f"git {words[0]} took longer than {SECONDS:g} s") from error
        if done.returncode:
            raise ToolError(f"git {words[0]} failed: {done.stderr.decode('utf-8', 'replace').strip()[:500]}")
        return done.stdout

    def line(self, *words: str) -> str:
        """The one line that a command prints; empty where it fails."""
        done = self._run(*words)
        return "" if done.returncode else done.stdout.decode("utf-8", "replace").rstrip("\n")

    def names(self, *words: str, given: bytes = b"") -> list[str]:
        """What a command prints, split at NUL; what is no UTF-8 is passed over, as no tool can name it."""
        parts = self(*words, given=given).split(b"\0")
        return [part.decode("utf-8") for part in parts if part and _is_utf8(part)]

    def _run(self, *words: str, given: bytes = b"", index: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        settings = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        settings |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C"}
        if index is not None:
            settings["GIT_INDEX_FILE"] = str(index)
        quiet = [word for setting in QUIET for word in ("-c", setting)]
        return subprocess.run(
            ["git", "--no-pager", "--literal-pathspecs", *quiet, *words],
            cwd=self.root, env=settings, input=given, capture_output=True, timeout=SECONDS,
        )  # fmt: skip

    # --------------------------------------------------------------------------------------------------- what is there

    def excludes(self) -> str:
        """The lines of ignore files that stand outside of the working tree."""
        home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
        named = self.line("config", "--type=path", "--get", "core.excludesFile") or str(home / "git" / "ignore")
        inside = self.root / self.line("rev-parse", "--git-path", "info/exclude")
        texts = [path.read_text("utf-8", "replace") for path in (Path(named), inside) if path.is_file()]
        return "\n".join(texts)

    def uncommitted(self) -> list[str]:
        """The files that are otherwise than in the last commit, also those that git does not track."""
        status = ("status", "--porcelain=v1", "-z", "--untracked-files=all", "--ignore-submodules=all", "--no-renames")
        return sorted(entry[3:] for entry in self.names(*status))

    def text_at(self, commit: str, path: str) -> str | None:
        """The text of a file in a commit; None where it has none, or no text."""
        done = self._run("cat-file", "blob", f"{commit}:{path}")
        if done.returncode or b"\0" in done.stdout:
            return None
        return done.stdout.decode("utf-8", "replace")

    # ------------------------------------------------------------------------------------------------- making a commit

    def refuse_commit(self, base: GitManifest, changes: Mapping[str, FileChange]) -> None:
        """Raises ToolError where the changes cannot become a commit of the branch, with the remedy."""
        if not changes:
            raise ToolError("nothing is changed that could be committed; change files first")
        if not base.head:
            raise ToolError("the repository has no commit yet; make the first one by hand")
        if not base.branch:
            raise ToolError("the head is detached: a commit would be on no branch; check out a branch first")
        folder = self.root / self.line("rev-parse", "--git-dir")
        if under_way := [name for name in UNDER_WAY if (folder / name).exists()]:
            raise ToolError(f"a merge or the like is under way ({under_way[0]}); end it first")
        if own := sorted({*self.uncommitted()} & {*changes}):
            raise ToolError(
                f"{own[0]} has uncommitted changes of the user, which would be committed too; commit or stash them "
                "first, or leave this commit out: the files change all the same"
            )
        paths = "\0".join(changes).encode()
        values = self.names("check-attr", "-z", "--stdin", "filter", given=paths)
        if filtered := [path for path, value in zip(values[::3], values[2::3], strict=False) if value not in NO_FILTER]:
            raise ToolError(f"{filtered[0]} goes through a filter of git, as with LFS; leave this commit to the user")
        self("var", "GIT_COMMITTER_IDENT")  # who commits is known

    def prepare(self, base: GitManifest, changes: Mapping[str, FileChange], message: str) -> str:
        """Write a commit of the changes, on which no branch stands yet; what `finish` needs to know.

        Raises:
            ToolError: it cannot be made.
        """
        self.refuse_commit(base, changes)
        entries = {path: self._entry(path, change, base.head) for path, change in changes.items()}
        with TemporaryDirectory(prefix="pivot-") as folder:
            index = Path(folder, "index")
            self("read-tree", base.head, index=index)
            self("update-index", "-z", "--index-info", given=_index_info(entries), index=index)
            tree = self("write-tree", index=index).decode().strip()
        commit = self("commit-tree", tree, "-p", base.head, given=message.encode()).decode().strip()
        return json.dumps({"branch": base.branch, "old": base.head, "new": commit, "entries": entries})

    def finish(self, note: str) -> None:
        """Let the branch and the index stand at a commit that was prepared; done twice, it does nothing.

        Raises:
            ToolError: the branch has gone elsewhere; nothing was done.
        """
        if not note:
            return
        told = json.loads(note)
        branch, old, new = told["branch"], told["old"], told["new"]
        if self.line("symbolic-ref", "-q", "HEAD") != branch:
            raise ToolError(f"another branch than {branch} was checked out meanwhile")
        before = {path: self._staged(path, old) for path in told["entries"]}
        self("update-index", "-z", "--index-info", given=_index_info(told["entries"]))
        if self.line("rev-parse", "--verify", branch) == new:
            return
        try:
            self("update-ref", "-m", "commit by pivot_dspy", branch, new, old)
        except ToolError:
            self("update-index", "-z", "--index-info", given=_index_info(before))
            raise

    def _entry(self, path: str, change: FileChange, head: str) -> Sequence[str]:
        """Mode and blob of a changed file, which is written to the repository's objects."""
        content = change.after
        if content is None:
            return _no_entry(head)
        if content.target is not None:
            return "120000", self("hash-object", "-w", "--stdin", given=content.target.encode()).decode().strip()
        blob = self("hash-object", "-w", "--stdin", f"--path={path}", given=content.data).decode().strip()
        return "100755" if content.mode & 0o100 else "100644", blob

    def _staged(self, path: str, head: str) -> Sequence[str]:
        listed = self.line("ls-files", "--stage", "-z", "--", path).partition("\t")[0].split(" ")
        return (listed[0], listed[1]) if len(listed) == 3 else _no_entry(head)


def _no_entry(head: str) -> Sequence[str]:
    """What takes a path out of the index of a repository with ids like `head`."""
    return "0", "0" * len(head)


def _index_info(entries: Mapping[str, Sequence[str]]) -> bytes:
    return b"".join(f"{mode} {blob}\t{path}".encode() + b"\0" for path, (mode, blob) in entries.items())


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
