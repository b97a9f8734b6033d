"""Reads DeepPlanning travel tasks from disk, with the gold kept apart from what a solver may see."""

from __future__ import annotations

import gzip
import json
import logging
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal

from programs.deepplanning.travel.database import FILES, Language, TravelDatabase, missing_files
from programs.options import DataError

logger = logging.getLogger(__name__)

LAYOUT = (
    "database_{en,zh}/id_N/ beside queries_{en,zh}.jsonl and gold_{en,zh}.jsonl, or beside the benchmark's own "
    "travelplanning_query_{en,zh}.json, which holds both"
)
_GOLD: dict[str, type] = {
    "org": str, "dest": list, "days": int, "depart_date": str, "return_date": str, "depart_weekday": int,
    "people_number": int, "room_number": int, "hard_constraints": dict,
}  # fmt: skip


@dataclass(frozen=True)
class TravelTask:
    """One task as a solver may see it.

    Args:
        id: the language and the number, as in "en-12".
        request: what the traveller asks for.
        open_database: what `database` calls, once, when it is first asked for.
    """

    id: str
    language: Language
    number: int
    request: str
    open_database: Callable[[], TravelDatabase] = field(repr=False, compare=False)

    @cached_property
    def database(self) -> TravelDatabase:
        """What the tools look up. Raises DataError where a file is broken."""
        return self.open_database()


def load_tasks(directory: str | Path, *, language: Language = "en") -> list[TravelTask]:
    """The tasks of one language by their numbers; none holds any gold.

    Tasks without roads, of which the benchmark has published 23, are left out with a warning.

    Raises:
        DataError: requests or tables are missing or broken; of missing tables the message names every one.
    """
    queries = _records(directory, language, "queries")
    requests = {number: _expect(place, record, "query", str) for number, place, record in queries}
    root = Path(directory) / f"database_{language}"
    folders = {number: root / f"id_{number}" for number in sorted(requests)}
    for number in _incomplete(root, folders):
        del folders[number]
    return [
        TravelTask(
            f"{language}-{number}", language, number, requests[number], partial(TravelDatabase.read, folder, language)
        )
        for number, folder in folders.items()
    ]


def load_gold(directory: str | Path, *, language: Language = "en") -> dict[str, dict[str, Any]]:
    """The `meta_info` of the tasks of one language by their ids, such as "en-12". For scoring only.

    Raises:
        DataError: the file is missing or broken.
    """
    gold = {}
    for number, place, record in _records(directory, language, "gold"):
        meta = _expect(place, record, "meta_info", dict)
        for key, kind in _GOLD.items():
            _expect(f"{place}, meta_info", meta, key, kind)
        gold[f"{language}-{number}"] = meta
    return gold


def read_lines(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of a JSON lines file, plain or packed, each with its place in words.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    place = str(file)
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                place = f"{file}, line {number}"
                if line.strip():
                    yield place, _object(place, json.loads(line))
    except json.JSONDecodeError as error:
        raise DataError(f"{place}: expected JSON, but {error.msg} at column {error.colno}") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{place}: cannot be read ({error})") from error


def _records(
    directory: str | Path, language: Language, kind: Literal["queries", "gold"]
) -> Iterator[tuple[int, str, dict[str, Any]]]:
    """The number, the place in words and the record of each task."""
    root = Path(directory)
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected {LAYOUT} (hub_directory() downloads it)")
    lines, published = root / f"{kind}_{language}.jsonl", root / f"travelplanning_query_{language}.json"
    if not (lines.is_file() or published.is_file()):
        raise DataError(f"{root}: neither {lines.name} nor {published.name}; expected {LAYOUT}")
    for place, record in read_lines(lines) if lines.is_file() else _published(published):
        number = str(record.get("id"))
        if not number.isdecimal():
            raise DataError(f"{place}: expected 'id' to be a whole number")
        yield int(number), place, record


def _published(file: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        records = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{file}: cannot be read as JSON ({error})") from error
    if not isinstance(records, list):
        raise DataError(f"{file}: expected a list of tasks")
    for position, record in enumerate(records, start=1):
        place = f"{file}, task {position}"
        yield place, _object(place, record)


def _incomplete(root: Path, folders: dict[int, Path]) -> list[int]:
    """The tasks without roads, with a warning. Raises DataError where other tables are missing, or no task has any."""
    missing = {number: files for number, folder in folders.items() if (files := missing_files(folder))}
    roadless = [number for number, files in missing.items() if files == [FILES["roads"]]]
    broken = [f"id_{number} lacks {', '.join(files)}" for number, files in missing.items() if number not in roadless]
    if broken:
        raise DataError(f"{root}: {'; '.join(broken)}; unpack {root.name}.zip again")
    if len(roadless) == len(folders):
        raise DataError(f"{root}: no task has {FILES['roads']}; expected {LAYOUT}")
    if roadless:
        names = ", ".join(f"id_{number}" for number in roadless)
        logger.warning("%s: left out for want of %s: %s", root, FILES["roads"], names)
    return roadless


def _object(place: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{place}: expected a JSON object, found {type(value).__name__}")
    return value


def _expect(place: str, record: dict[str, Any], key: str, kind: type) -> Any:
    if not isinstance(record.get(key), kind):
        raise DataError(f"{place}: expected {key!r} to be of type {kind.__name__}")
    return record[key]
