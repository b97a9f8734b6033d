"""Writes a small made data set in the benchmark's layout: our own cities, sights and restaurants, the real fields."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from programs.deepplanning.travel.database import COLUMNS, FILES, Language
from programs.deepplanning.travel.generate.city import City
from programs.deepplanning.travel.generate.tasks import make_task


def generate(directory: str | Path, *, seed: int = 0, tasks: int = 6) -> None:
    """Writes `tasks` tasks under `directory`, every third in Chinese; the same bytes for the same seed.

    Each wish singles out what is meant, and there is a plan that keeps all rules and wishes. Tasks of even numbers have
    a budget.

    Raises:
        ValueError: a negative number of tasks.
    """
    if tasks < 0:
        raise ValueError(f"tasks is {tasks}; expected 0 or more")
    root = Path(directory)
    records: dict[str, list[dict[str, Any]]] = {}
    for number in range(tasks):
        language: Language = "zh" if number % 3 == 2 else "en"
        task = make_task(random.Random(f"{seed}/{number}"), language, with_budget=number % 2 == 0)
        _write_tables(root / f"database_{language}" / f"id_{number}", task.city)
        records.setdefault(f"queries_{language}.jsonl", []).append({"id": number, "query": task.request})
        records.setdefault(f"gold_{language}.jsonl", []).append({"id": number, "meta_info": task.gold})
    for name, listed in records.items():
        lines = [json.dumps(record, ensure_ascii=False) + "\n" for record in listed]
        (root / name).write_bytes("".join(lines).encode())


def _write_tables(folder: Path, city: City) -> None:
    roads = [
        dict(zip(COLUMNS["roads"], (start, stop, *map(str, road)), strict=True)) for start, stop, road in city.legs
    ]
    for name, rows in {**city.tables, "roads": roads}.items():
        file = folder / FILES[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_csv(COLUMNS[name], rows).encode())


def _csv(columns: Iterable[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(columns), restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
