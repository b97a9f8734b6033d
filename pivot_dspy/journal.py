"""An append-only record of finished work, as JSON lines, from which a killed run goes on."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from io import FileIO
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import plain

FORMAT = 1
"""Version of the form of the lines; it stands in the first line of every file."""


class _JournalLine(BaseModel):
    """What a line holds; of a file's first line, kind "journal", the format."""

    kind: str
    key: str
    data: dict[str, Any]


class Journal(AbstractContextManager["Journal"]):
    """Finished work by kind and key, in a folder of JSON-lines files.

    A line is on the disk when `append` returns. Each opening, and each process that inherits a journal, writes a file
    of its own, so that no line of one writer can run into another's, on network drives too. A line that was cut off by
    a kill is the last of its file and is passed over: nothing is ever appended behind it. What other processes append
    is seen by the next opening.

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
        # By kind and key, as text: it takes a fraction of the parsed data's memory, and whoever reads gets a copy.
        self._lines: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
        self._file: FileIO | None = None
        self._writer = 0
        files = sorted(self.path.glob("*.jsonl"))
        self._files = len(files)
        for file in files:
            self._read(file)

    def append(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Write one line; of lines with the same kind and key the last one counts.

        NaN and infinities become null.

        Raises:
            ValueError: something in `data` has no JSON form.
            OSError: the disk is full or cannot be written; the journal stays usable.
        """
        line = _line(kind, key, data)
        with self._lock:
            if self._file is None or self._writer != os.getpid():  # a fork must not write to its parent's file
                self._file, self._writer = self._create(), os.getpid()
            try:
                _write(self._file, line)
            except BaseException:
                self._file.close()
                self._file = None  # half a line may stand there: the next one begins a new file
                raise
            self._lines[kind][key] = line

    def get(self, kind: str, key: str) -> dict[str, Any] | None:
        """What was last appended under `kind` and `key`, None if nothing was."""
        with self._lock:
            line = self._lines[kind].get(key)
        return None if line is None else json.loads(line)["data"]

    def items(self, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Keys and data of one kind, in the order in which the keys first appeared."""
        with self._lock:
            lines = tuple(self._lines[kind].items())
        return ((key, json.loads(line)["data"]) for key, line in lines)

    def close(self) -> None:
        """Close the file; another `append` begins a new one."""
        with self._lock:
            if self._file is not None:
                self._file.close()
            self._file = None

    def __exit__(self, *_: object) -> None:
        self.close()

    def _create(self) -> FileIO:
        """A new file, whose name sorts behind those that were there at opening."""
        self.path.mkdir(parents=True, exist_ok=True)
        self._files += 1
        file = FileIO(self.path / f"{self._files:05d}-{uuid.uuid4().hex[:8]}.jsonl", "x")
        _write(file, _line("journal", "format", {"format": FORMAT}))
        return file

    def _read(self, file: Path) -> None:
        lines = file.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            try:
                entry = _JournalLine.model_validate_json(line)
            except ValueError as error:
                if not any(lines[number:]):
                    return  # the end of the file, or a line that a kill cut off
                raise ConfigurationError(
                    f"{file}, line {number} is damaged: {line[:60]!r}; delete the line to have its work done again, "
                    "or the folder to start anew"
                ) from error
            if entry.kind != "journal":
                self._lines[entry.kind][entry.key] = line
            elif (version := entry.data.get("format")) != FORMAT:
                raise ConfigurationError(
                    f"{file} has the format {version!r}, and this version of pivot_dspy reads format {FORMAT}; "
                    "name another folder, or use the version that wrote it"
                )


def _line(kind: str, key: str, data: Mapping[str, Any]) -> bytes:
    entry = plain({"kind": kind, "key": key, "data": dict(data)})
    return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _write(file: FileIO, line: bytes) -> None:
    rest = memoryview(line)
    while rest:
        rest = rest[file.write(rest) :]
    os.fsync(file.fileno())
