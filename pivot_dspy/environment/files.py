"""How files stand that an environment names by their paths."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

SMALL = 64 << 10
"""Bytes up to which a file is compared by its content: within a tick of its clock a file system notes no change."""

ENTRIES = 500
"""Files of a folder that are looked at."""

BESIDE = ("-wal", "-journal")
"""What SQLite writes beside a database until it is written into it."""

SCHEMES = ("sqlite:///", "file://", "file:")


def file_state(path: str, *, folders: bool = True) -> Any:
    """How the file or folder stands, as plain data; None where there is none."""
    try:
        found = os.stat(path)
        if stat.S_ISREG(found.st_mode):
            return [_of_file(path, found), *(_size_and_time(path + end) for end in BESIDE)]
        if stat.S_ISDIR(found.st_mode) and folders:
            return dict(_entries(path))
    except (OSError, ValueError):  # not there, or no path at all
        pass
    return None


def named_files(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The files that texts name, among attributes and in the lists and dictionaries that these hold, with their states.

    A relative path counts where it is that of a file, an absolute one also where it is that of a folder.
    """
    for name, value in values.items():
        if isinstance(value, str):
            yield from _named(name, value)
        elif type(value) in (list, tuple, dict) and len(value) <= 50:
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            for key, item in list(pairs):
                if isinstance(item, str):
                    yield from _named(f"{name}[{key!r}]", item)


def _named(name: str, text: str) -> Iterator[tuple[str, Any]]:
    if not 1 < len(text) <= 1024 or "\n" in text or not ("." in text or os.sep in text):
        return
    scheme = next((scheme for scheme in SCHEMES if text.startswith(scheme)), "")
    path = text.removeprefix(scheme).partition("?")[0] if scheme else text
    found = file_state(path, folders=os.path.isabs(path) and path != os.sep)
    if found is not None:
        yield name, found


def _of_file(path: str, found: os.stat_result) -> list[Any]:
    if found.st_size <= SMALL and os.access(path, os.R_OK):
        with open(path, "rb") as file:
            return [found.st_size, hashlib.blake2b(file.read(), digest_size=16).hexdigest()]
    return [found.st_size, found.st_mtime_ns]


def _size_and_time(path: str) -> list[int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _entries(folder: str) -> Iterator[tuple[str, list[int] | None]]:
    """Size and time of the files below a folder, the nearest first."""
    waiting, count = [folder], 0
    for place in waiting:  # grows meanwhile
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                count += 1
                if count > ENTRIES:
                    return
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                yield os.path.relpath(entry.path, folder), _size_and_time(entry.path) if entry.is_file() else None
