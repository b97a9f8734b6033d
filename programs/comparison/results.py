"""The file of finished runs, one JSON line each: an interrupted comparison goes on from it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from programs.comparison.benchmarks import fingerprint
from programs.comparison.runs import Record, Unit
from programs.options import DataError


def beside(path: Path) -> Path:
    """The file of finished runs that belongs to a `--json` path.

    >>> beside(Path("figures.json")).name, beside(Path("figures")).name
    ('figures.jsonl', 'figures.jsonl')
    """
    return path.with_suffix(".jsonl") if path.suffix == ".json" else path.with_name(f"{path.name}.jsonl")


@cache
def code() -> str:
    """Changes with the sources of `pivot_dspy` and of the programs: their results must not outlive them. The list of
    refiners is left out, so that one more does not count as a change."""
    texts = {}
    for package in ("pivot_dspy", "programs"):
        with resources.as_file(resources.files(package)) as folder:
            for file in sorted(folder.rglob("*.py")):
                texts[file.relative_to(folder.parent).as_posix()] = file.read_text(encoding="utf-8")
    texts.pop("programs/refiners.py", None)
    return fingerprint(texts)


class Results:
    """Finished runs, kept in memory, and in a file where one is given.

    Args:
        file: read if it is there; a last line that was torn off while it was written is removed.
        settings: all that decides what comes of a run beside refiner, task and seed; runs of other settings stay in
            the file and are not used.

    Raises:
        DataError: the file is none of finished runs.
    """

    def __init__(self, file: Path | None, settings: Mapping[str, Any]) -> None:
        self._file = file
        self._settings = dict(settings)
        self._lock = threading.Lock()
        self._kept: dict[str, Any] = {}
        self._records: dict[str, Record] = {}
        if file is not None and file.exists():
            self._read(file)

    def get(self, unit: Unit) -> Record | None:
        """The record of a run that is finished.

        Raises:
            DataError: it is in the file, but cannot be read.
        """
        key = self._key(unit)
        if key not in self._records and key in self._kept:
            try:
                self._records[key] = Record.model_validate(self._kept[key])
            except ValidationError as error:
                raise _broken(self._file, f"the run {key}", error) from error
        return self._records.get(key)

    def add(self, unit: Unit, record: Record) -> None:
        """Keep a record; on disk at once, unless its run is worth another try."""
        key = self._key(unit)
        with self._lock:
            self._records[key] = record
            if self._file is None or record.transient:
                return
            with self._file.open("a", encoding="utf-8") as lines:
                lines.write(json.dumps({"key": key, "run": record.model_dump()}, ensure_ascii=False) + "\n")

    def unused(self, units: Iterable[Unit]) -> int:
        """How many runs in the file are none of `units` with these settings."""
        return len(self._kept.keys() - {self._key(unit) for unit in units})

    def _key(self, unit: Unit) -> str:
        return fingerprint(self._settings, unit.refiner, unit.task.id, unit.task.fingerprint, unit.seed)

    def _read(self, file: Path) -> None:
        content = file.read_bytes()
        whole = content.rpartition(b"\n")[0]
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                found = json.loads(line)
                self._kept[found["key"]] = found["run"]
            except (ValueError, KeyError, TypeError) as error:
                raise _broken(file, f"line {number}", error) from error
        if not content.endswith(b"\n"):  # torn off; the file has been seen to be one of ours
            with file.open("r+b") as lines:
                lines.truncate(len(whole) + 1 if whole else 0)


def _broken(file: Path | None, place: str, error: Exception) -> DataError:
    return DataError(
        f"{file}, {place}: not the record of a run ({type(error).__name__}); remove the line, or the file to begin anew"
    )
