"""An append-only record of finished work, as JSON lines, from which a killed run goes on."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator, Mapping
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import plain

FORMAT = 1
"""Version of the form of the lines; it stands in the first line of every file."""


class _Place(NamedTuple):
    path: Path
    start: int
    length: int


class Journal:
    """Finished work by kind and key, in a folder of JSON-lines files.

    A line is on the disk when `append` returns. Each opening, and each process that inherits or unpickles a journal,
    writes a file of its own, so that no line of one writer can run into another's, on network drives too. A line that
    was cut off by a kill is the last of its file and is passed over: nothing is ever appended behind it. What other
    processes append is seen by the next opening. Only the places of the lines are held in memory.

    Args:
        path: the folder; it is made when there is something to write.

    Raises:
        ConfigurationError: the path is a file, or a line that is not the last of its file is damaged, or a file is of
            another format; the message names file and line.

    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> Journal(folder).append("task", "7", {"score": 0.5})
    >>> Journal(folder).get("task", "7")
    {'score': 0.5}
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.exists() and not self.path.is_dir():
            raise ConfigurationError(f"a journal is a folder, and {self.path} is a file; name a folder, or a new path")
        self._lock = threading.Lock()
        self._places: dict[str, dict[str, _Place]] = {}
        self._file: FileIO | None = None
        self._name = Path()
        self._owner = os.getpid()
        self._number = 0
        for file in sorted(self.path.glob("*.jsonl")):
            self._number = max(self._number, _number(file))
            self._read(file)

    def append(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Writes one line; of lines with the same kind and key the last one counts.

        NaN and infinities become null.

        Raises:
            ValueError: something in `data` has no JSON form.
            OSError: the disk is full or cannot be written; the journal stays usable.
        """
        line = _line({"kind": kind, "key": key, "data": plain(dict(data))})
        with self._lock:
            if self._owner != os.getpid():  # a fork shares its parent's file, and must not write to it
                self._file, self._owner = None, os.getpid()
            file = self._file or self._create()
            try:
                start = file.tell()
                _write(file, line)
            except BaseException:
                self._file = None  # half a line may stand there: the next one begins a new file
                file.close()
                raise
            self._places.setdefault(kind, {})[key] = _Place(self._name, start, len(line))

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """What was last appended under `kind` and `key`, None if nothing was."""
        with self._lock:
            place = self._places.get(kind, {}).get(key)
        return None if place is None else _load(place)

    def items(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and data of one kind, read one by one, in the order in which the keys first appeared."""
        with self._lock:
            places = tuple(self._places.get(kind, {}).items())
        return ((key, _load(place)) for key, place in places)

    def close(self) -> None:
        """Closes the file; another `append` begins a new one."""
        with self._lock:
            if self._file is not None and self._owner == os.getpid():
                self._file.close()
            self._file = None

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[type[Journal], tuple[Path]]:
        return type(self), (self.path,)

    def __deepcopy__(self, memo: dict[int, Any]) -> Journal:
        return self

    def _create(self) -> FileIO:
        """A new file, whose name sorts behind those that were there at opening."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._number += 1
        self._name = self.path / f"{self._number:05d}-{uuid.uuid4().hex[:8]}.jsonl"
        self._file = FileIO(self._name, "x")
        _write(self._file, _line({"kind": "journal", "key": "format", "data": {"format": FORMAT}}))
        return self._file

    def _read(self, file: Path) -> None:
        start = 0
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                record = _record(line)
                if record is None:
                    if next(stream, None) is not None:
                        raise ConfigurationError(
                            f"{file}, line {number} is damaged: {line[:60]!r}; delete the line to have its work done "
                            "again, or the folder to start anew"
                        )
                    return
                kind, key, data = record
                if kind == "journal" and data.get("format") != FORMAT:
                    raise ConfigurationError(
                        f"{file} has the format {data.get('format')!r}, and this version of pivot_dspy reads format "
                        f"{FORMAT}; name another folder, or use the version that wrote it"
                    )
                if kind != "journal":
                    self._places.setdefault(kind, {})[key] = _Place(file, start, len(line))
                start += len(line)


def _number(file: Path) -> int:
    """The number that a file's name begins with, 0 for a file that someone else put there."""
    digits = file.name.partition("-")[0]
    return int(digits) if digits.isdecimal() else 0


def _line(record: Mapping[str, Any]) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write(file: FileIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())


def _record(line: bytes) -> tuple[str, str, dict[str, Any]] | None:
    """Kind, key and data of a line, None if it is no whole line of a journal."""
    try:
        record = json.loads(line)
        kind, key, data = record["kind"], record["key"], record["data"]
    except (ValueError, TypeError, KeyError):
        return None
    whole = isinstance(kind, str) and isinstance(key, str) and isinstance(data, dict)
    return (kind, key, data) if whole else None


def _load(place: _Place) -> dict[str, Any]:
    with place.path.open("rb") as stream:
        stream.seek(place.start)
        line = stream.read(place.length)
    record = _record(line)
    if record is None:
        raise ConfigurationError(f"{place.path} was changed while it was in use, at byte {place.start}; open it anew")
    return record[2]
