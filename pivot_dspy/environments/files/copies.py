"""A tree laid out as real files in a folder of its own, for commands, and what these changed there."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from pivot_dspy.environments.files.content import FileContent
from pivot_dspy.environments.files.manifest import FileEntry, Identity, identity_of, scan
from pivot_dspy.environments.files.tree import MAX_BYTES, Tree
from pivot_dspy.errors import ConfigurationError, ToolError

MAX_CHANGED = 64 << 20
"""Bytes that one command may leave changed."""


@contextmanager
def laid_out(tree: Tree) -> Iterator[tuple[Path, dict[str, Identity]]]:
    """The files of a tree in a temporary folder, and by path what each is there.

    Where the file system can share blocks between files (btrfs, XFS), it does, and copies what is written to.

    Raises:
        ToolError: a file cannot be read, or has changed since the tree was made.
    """
    with TemporaryDirectory(prefix="pivot-", ignore_cleanup_errors=True) as folder:
        there: dict[str, Identity] = {}
        paths = tree.paths()
        for parent in {posixpath.dirname(path) for path in paths}:
            Path(folder, "work", parent).mkdir(parents=True, exist_ok=True)
        for path in paths:
            target = Path(folder, "work", path)
            entry = tree.base.entries.get(path)
            if path in tree.changes or entry is None:
                _write(target, tree.content(path))
            elif entry.kind == "file":
                _copy(tree, path, entry, target)
            elif entry.kind == "link":
                target.symlink_to(entry.target)
            if os.path.lexists(target):
                there[path] = identity_of(os.lstat(target))
        Path(folder, "work").mkdir(exist_ok=True)
        yield Path(folder, "work"), there


def take_changes(tree: Tree, folder: Path, there: dict[str, Identity], max_files: int) -> list[str]:
    """Take what has changed in a folder where a tree was laid out into the tree; the paths.

    What is hidden is left where it is; empty folders are nothing, as for git.

    Raises:
        ToolError: more has changed than may, or something that cannot be: a link out of the directory, a pipe.
    """
    # The rules stay those of the tree: an ignore file that the command wrote cannot bring out what is hidden.
    try:
        now = scan(folder, tree.base.hidden, max_files, ignore_files=False).entries
    except ConfigurationError as error:
        raise ToolError(f"nothing of what the command did was kept: it left more than {max_files} files") from error
    changed = [path for path in now if there.get(path) != now[path].identity]
    gone = [path for path in there if path not in now]
    if sum(now[path].size for path in changed) > MAX_CHANGED:
        raise ToolError(f"the command wrote more than {MAX_CHANGED:,} bytes, so that nothing of it was kept")
    made = tree.fork()
    for path in gone:
        made.delete(path)
    for path in changed:
        entry = now[path]
        if entry.kind == "link":
            made.put(path, FileContent(b"", target=entry.target))
        elif entry.kind == "file" and entry.size <= MAX_BYTES:
            made.put(path, FileContent((folder / path).read_bytes(), entry.mode & 0o777))
        else:
            raise ToolError(f"the command left {path}, which cannot be kept ({entry.kind}, {entry.size:,} bytes)")
    for path in changed:
        if now[path].kind == "link":
            made.resolve(path)
    changes = [path for path in {*made.changes, *tree.changes} if made.changes.get(path) != tree.changes.get(path)]
    tree.changes, tree.reads = made.changes, made.reads
    return sorted(changes)


def _write(target: Path, content: FileContent) -> None:
    if content.target is not None:
        target.symlink_to(content.target)
        return
    target.write_bytes(content.data)
    target.chmod(content.mode)


def _copy(tree: Tree, path: str, entry: FileEntry, target: Path) -> None:
    source = tree.base.root / path
    try:
        with open(source, "rb", opener=_no_link) as read, open(target, "xb") as written:
            same = identity_of(os.fstat(read.fileno())) == entry.identity
            if same:
                _copy_blocks(read.fileno(), written.fileno(), entry.size)
            same = same and identity_of(os.fstat(read.fileno())) == entry.identity
    except PermissionError as error:
        raise ToolError(f"there is no permission to read {path}, which a command may need") from error
    except OSError as error:
        raise ToolError(f"{path} cannot be copied for a command: {error.strerror}") from error
    if not same:
        raise ToolError(f"{path} was changed by something else since this trial began; a new run sees it")
    os.chmod(target, entry.mode & 0o777)
    os.utime(target, ns=(entry.identity[3], entry.identity[3]))  # for what goes by the time of a file, as make does


def _no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _copy_blocks(source: int, target: int, size: int) -> None:
    """Copy within the kernel, which shares blocks where it can."""
    left = size
    while left and hasattr(os, "copy_file_range"):
        try:
            copied = os.copy_file_range(source, target, left)
        except OSError:  # another file system
            break
        if not copied:
            return
        left -= copied
    while block := os.read(source, 1 << 20):
        os.write(target, block)
