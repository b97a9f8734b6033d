"""Makes changes of a directory real, all or none, whatever ends the process meanwhile.

All new contents are first written beside the files, into the folder `.pivot-commit` at the top of the directory, and
then a plan of what is to be put where. Until the plan stands there, nothing of the directory has changed, and what was
staged is dropped when the directory is opened again. From then on the commit counts as done: what a killed process has
left of it is completed when the directory is opened again (`recover`), and each step can be done twice. Where a step
fails in a living process (a full disk, a permission), what was done is undone. A reader may see some files new and
others old for as long as the renames take: no file system that is found everywhere changes several files at once.
"""

from __future__ import annotations

import fcntl
import json
import os
import posixpath
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from pivot_dspy.environments.files.content import ABSENT, FileChange, FileContent, version_of_file
from pivot_dspy.environments.files.manifest import Manifest, entry_at
from pivot_dspy.errors import ConfigurationError, ToolError

STAGING = ".pivot-commit"
PLAN = "plan.json"


@dataclass(frozen=True)
class Move:
    """One path that changes."""

    name: str
    """Of what is staged for it, and of what is kept of it."""
    path: str
    before: str
    """The version that stands there until then."""
    after: str


def _nothing(note: str) -> None:
    """Ends a commit that is of files alone."""


def commit(
    manifest: Manifest,
    changes: Mapping[str, FileChange],
    reads: Iterable[str] = (),
    note: str = "",
    finish: Callable[[str], None] = _nothing,
) -> None:
    """Make the changes of a directory real.

    Args:
        manifest: how the directory stood when they were made.
        reads: further paths that must still stand as they did.
        note: text that is kept with the plan, for `finish`, here or in `recover`.
        finish: what else belongs to the commit: it does all of it or none, where it raises a ToolError, and nothing
            where it was done before.

    Raises:
        ToolError: something that was read or is to be changed has been changed by somebody else, or cannot be written;
            the directory is as it was.
    """
    root = manifest.root
    with locked(root):
        if os.path.lexists(root / STAGING):
            raise ToolError(f"an earlier commit of {root} was cut off; open the environment again, which completes it")
        _refuse_changed(manifest, changes, reads)
        try:
            moves = _stage(root, changes)
            _write_plan(root, moves, note)
        except OSError as error:
            shutil.rmtree(root / STAGING, ignore_errors=True)
            raise ToolError(f"nothing was changed: {_said(error)}") from error
        done: list[Move] = []
        try:
            for move in moves:
                _keep_old(root, move)
                done.append(move)
                _put(root, move)
            _sync_parents(root, moves)
            finish(note)
        except (OSError, ToolError) as error:
            _undo(root, done)
            _discard(root)
            raise ToolError(f"nothing was changed: {_said(error)}") from error
        _discard(root)


def recover(root: Path, finish: Callable[[str], None] = _nothing) -> bool:
    """Complete what a commit that was cut off has left, or drop it where it had not begun; whether there was anything.

    Args:
        finish: as of `commit`.

    Raises:
        ConfigurationError: somebody has changed meanwhile what was to be changed, or `finish` refused.
    """
    if not (root / STAGING).is_dir():
        return False
    with locked(root):
        if not (root / STAGING).is_dir():
            return False
        if not (root / STAGING / PLAN).exists():
            shutil.rmtree(root / STAGING)
            return True
        plan = json.loads((root / STAGING / PLAN).read_text(encoding="utf-8"))
        moves = [Move(**move) for move in plan["moves"]]
        for move in moves:
            if _version_at(root / move.path) not in (move.before, move.after):
                raise ConfigurationError(
                    f"a commit was cut off, and {move.path} was changed since then; what it was to become stands in "
                    f"{root / STAGING}: put it there by hand if it is wanted, then delete that folder"
                )
        for move in moves:
            _put(root, move)
        _sync_parents(root, moves)
        try:
            finish(plan["note"])
        except ToolError as error:
            raise ConfigurationError(
                f"a commit was cut off; its files are in place now, and the rest of it cannot be done: {error}; finish "
                f"by hand what is wanted, then delete {root / STAGING}"
            ) from error
        _discard(root)
    return True


def _discard(root: Path) -> None:
    (root / STAGING / PLAN).unlink()  # from here on nothing is to be completed
    shutil.rmtree(root / STAGING)


@contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the directory against other commits, also of other processes: each ends its wait with its process."""
    descriptor = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _refuse_changed(manifest: Manifest, changes: Mapping[str, FileChange], reads: Iterable[str]) -> None:
    root = manifest.root
    for path in sorted({*reads, *changes}):
        entry, now = manifest.entries.get(path), entry_at(root / path)
        same = (entry.identity if entry else None) == (now.identity if now else None)
        # Within a tick of its clock a file system notes no change: what is to be replaced is compared by its content.
        if not same or (path in changes and _version_at(root / path) != changes[path].before):
            raise ToolError(f"nothing was changed: somebody else has changed {path} meanwhile; run again")
    for path in changes:
        parent = root / posixpath.dirname(path)
        while not parent.is_dir():
            parent = parent.parent
        if parent.resolve() != root.resolve() and root.resolve() not in parent.resolve().parents:
            raise ToolError(f"nothing was changed: {path} now leads out of the directory")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise ToolError(f"nothing was changed: there is no permission to write in {parent}")
        if os.lstat(parent).st_dev != os.lstat(root).st_dev:
            raise ToolError(f"nothing was changed: {path} lies on another file system; make its mount an environment")


def _stage(root: Path, changes: Mapping[str, FileChange]) -> list[Move]:
    (root / STAGING / "new").mkdir(parents=True)
    (root / STAGING / "old").mkdir()
    (root / STAGING / ".gitignore").write_text("*\n")
    moves = []
    for number, (path, change) in enumerate(sorted(changes.items())):
        if change.after is not None:
            _write_content(root / STAGING / "new" / str(number), change.after)
        after = ABSENT if change.after is None else change.after.version
        moves.append(Move(str(number), path, change.before, after))
    return sorted(moves, key=lambda move: move.after != ABSENT)  # a folder may have to go before a file of its name


def _write_content(path: Path, content: FileContent) -> None:
    if content.target is not None:
        path.symlink_to(content.target)
        return
    with open(path, "xb") as file:
        file.write(content.data)
        file.flush()
        os.fchmod(file.fileno(), content.mode)
        os.fsync(file.fileno())


def _write_plan(root: Path, moves: list[Move], note: str) -> None:
    """The moment from which on the commit counts as done is the rename."""
    draft = root / STAGING / "draft"
    with open(draft, "x", encoding="utf-8") as file:
        json.dump({"moves": [asdict(move) for move in moves], "note": note}, file)
        file.flush()
        os.fsync(file.fileno())
    _sync(root / STAGING / "new")
    draft.rename(root / STAGING / PLAN)
    _sync(root / STAGING)
    _sync(root)


def _keep_old(root: Path, move: Move) -> None:
    if move.before == ABSENT:
        return
    old = root / STAGING / "old" / move.name
    try:
        os.link(root / move.path, old, follow_symlinks=False)
    except OSError:  # a file system without hard links
        shutil.copy2(root / move.path, old, follow_symlinks=False)


def _put(root: Path, move: Move) -> None:
    """Put what was staged in its place; done twice, it does nothing."""
    target = root / move.path
    if move.after == ABSENT:
        with suppress(FileNotFoundError, NotADirectoryError):
            target.unlink()
        _drop_empty(root, target.parent)
        return
    staged = root / STAGING / "new" / move.name
    if os.path.lexists(staged):
        target.parent.mkdir(parents=True, exist_ok=True)
        staged.replace(target)


def _drop_empty(root: Path, folder: Path) -> None:
    """Take away folders in which nothing is left, as git does."""
    while folder != root:
        try:
            folder.rmdir()
        except OSError:
            return
        folder = folder.parent


def _undo(root: Path, done: list[Move]) -> None:
    for move in reversed(done):
        target = root / move.path
        if move.before == ABSENT:
            target.unlink(missing_ok=True)
            _drop_empty(root, target.parent)
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / STAGING / "old" / move.name).replace(target)


def _sync_parents(root: Path, moves: list[Move]) -> None:
    for folder in {(root / move.path).parent for move in moves}:
        if folder.is_dir():
            _sync(folder)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _version_at(path: Path) -> str:
    """The version of what stands at a path; of what is no file or link a word that no version is."""
    entry = entry_at(path)
    if entry is None:
        return ABSENT
    if entry.kind == "link":
        return FileContent(b"", target=entry.target).version
    if entry.kind != "file":
        return entry.kind
    with open(path, "rb") as file:
        return version_of_file(file)


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}"
