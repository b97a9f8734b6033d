"""What stands in a directory at one moment: names and how to tell that a file is still the same, but no contents."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pivot_dspy.environments.files.hidden import Hidden
from pivot_dspy.errors import ConfigurationError

IGNORE_FILE = ".gitignore"
IGNORE_CAP = 1 << 20
"""Bytes of an ignore file that are read."""

Kind = Literal["file", "link", "special", "unreadable"]
Identity = tuple[int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class FileEntry:
    """What stands at a path."""

    kind: Kind
    """`special` for a pipe, socket or device; `unreadable` for a folder that may not be listed."""
    size: int
    mode: int
    identity: Identity
    """Device, inode, size, and the times of the last change of content and of anything: another after any change."""
    target: str = ""
    """What a link names."""


@dataclass(frozen=True)
class Manifest:
    """What a directory held when it was looked at; shared by all that came of it, and never changed."""

    root: Path
    entries: dict[str, FileEntry] = field(repr=False)
    """By path relative to the directory, with `/`; folders are not named, what is hidden neither."""
    hidden: Hidden = field(repr=False)
    closed: tuple[str, ...] = ()
    """Folders that are no part of it, though nothing hides them."""


def scan(
    root: Path,
    hidden: Hidden,
    max_files: int,
    *,
    skip: Callable[[str], bool] = lambda folder: False,
    ignore_files: bool = True,
) -> Manifest:
    """What stands in a directory; links are not followed, and what is hidden is not entered.

    Args:
        hidden: is told of the ignore files that are met, unless `ignore_files` is false.
        skip: whether a folder is closed, by its relative path.

    Raises:
        ConfigurationError: it is no directory, may not be read, or holds more than `max_files` files.
    """
    entries: dict[str, FileEntry] = {}
    closed: list[str] = []
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(root / folder) as listing:
                children = sorted(listing, key=lambda child: child.name)
        except OSError as error:
            if not folder:
                raise ConfigurationError(
                    f"the directory {root} cannot be read: {error.strerror}; name one that is there and may be read"
                ) from error
            entries[folder] = FileEntry("unreadable", 0, 0, (0, 0, 0, 0, 0))
            continue
        prefix = f"{folder}/" if folder else ""
        if ignore_files and IGNORE_FILE in (child.name for child in children if child.is_file(follow_symlinks=False)):
            hidden.ignore(folder, _text_of(root / folder / IGNORE_FILE))
        for child in children:
            path = prefix + child.name
            if child.is_dir(follow_symlinks=False):
                if f"{path}/" not in hidden:
                    (closed if skip(path) else waiting).append(path)
            elif path not in hidden and _is_text(path):
                entry = entry_at(child.path)
                if entry is not None:
                    entries[path] = entry
        if len(entries) > max_files:
            raise ConfigurationError(
                f"{root} holds more than {max_files} files; name a folder inside of it, name in `hidden` what is not "
                "needed, or raise max_files"
            )
    return Manifest(root, entries, hidden, tuple(closed))


def entry_at(path: str | Path) -> FileEntry | None:
    """What stands at a path, links not followed; None where nothing does, or a folder."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError:
        return FileEntry("unreadable", 0, 0, (0, 0, 0, 0, 0))
    if stat.S_ISDIR(status.st_mode):
        return None
    kind: Kind = "file" if stat.S_ISREG(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "special"
    target = os.readlink(path) if kind == "link" else ""
    return FileEntry(kind, status.st_size, stat.S_IMODE(status.st_mode), identity_of(status), target)


def identity_of(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _text_of(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read(IGNORE_CAP).decode("utf-8", "replace")
    except OSError:
        return ""


def _is_text(path: str) -> bool:
    """Whether a name can be written in JSON: one that is not UTF-8 cannot be named by a model either."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
