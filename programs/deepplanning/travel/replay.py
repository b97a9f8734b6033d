"""Replays calls of the DeepPlanning travel tools and compares every answer with the benchmark's own.

Run as `python -m programs.deepplanning.travel.replay --data DIR [--calls FILE] [--json PATH]`; the exit code is 1 where
an answer differs."""

from __future__ import annotations

import argparse
import json
import sys
import time
import tracemalloc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from programs.deepplanning.travel.loader import TravelTask, load_tasks, read_lines
from programs.deepplanning.travel.tools import call
from programs.options import DataError, writable

_FIELDS = ("language", "id", "tool", "arguments", "observation")


class Mismatch(NamedTuple):
    """One answer that differs, and the line of the call."""

    place: str
    tool: str
    arguments: str
    recorded: str
    answered: str


@dataclass
class Report:
    """One replay.

    Args:
        tasks: how many were called.
        calls: by tool; so are `equal`, those answered to the letter, and `seconds`, spent in the tools.
        megabytes: what the database with the most places takes in memory.
    """

    tasks: int = 0
    calls: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    megabytes: float = 0.0
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def ms_per_call(self) -> float:
        """Mean milliseconds of one call; 0 where there are none."""
        return 1000 * sum(self.seconds.values()) / self.calls.total() if self.calls else 0.0

    def figures(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        mismatches = [mismatch._asdict() for mismatch in self.mismatches]
        return {"ms_per_call": self.ms_per_call, **vars(self), "mismatches": mismatches}


def replay(directory: str | Path, calls: str | Path | None = None) -> Report:
    """Answers every call of a file, by default tool_calls.jsonl.gz in the directory, from the directory's databases.

    Raises:
        DataError: the data is missing or broken, or a call is of an unknown task.
    """
    report = Report()
    tasks: dict[str, TravelTask] = {}
    called: dict[str, TravelTask] = {}
    for place, record in read_lines(Path(calls) if calls else Path(directory) / "tool_calls.jsonl.gz"):
        if missing := [name for name in _FIELDS if name not in record]:
            raise DataError(f"{place}: no {', '.join(missing)}; expected an object with {', '.join(_FIELDS)}")
        language, number, tool, arguments, recorded = (record[name] for name in _FIELDS)
        name = f"{language}-{number}"
        if name not in tasks:
            tasks |= {task.id: task for task in load_tasks(directory, language=language)}
        if name not in tasks:
            raise DataError(f"{place}: no task {name} in {directory}")
        database = tasks[name].database
        called[name] = tasks[name]
        started = time.perf_counter()
        answered = call(database, tool, arguments)
        report.seconds[tool] = report.seconds.get(tool, 0.0) + time.perf_counter() - started
        report.calls[tool] += 1
        report.equal[tool] += answered == recorded
        if answered != recorded:
            report.mismatches.append(Mismatch(place, tool, arguments, recorded, answered))
    report.tasks = len(called)
    if called:
        report.megabytes = _megabytes(max(called.values(), key=lambda task: len(task.database.locations)))
    return report


def show(report: Report, console: Console, first: int = 5) -> None:
    """Prints the counts and the speed by tool, the memory and the first few mismatches."""
    table = Table("tool", title=f"calls on {report.tasks} tasks")
    for heading in ("calls", "equal", "ms a call"):
        table.add_column(heading, justify="right")
    for tool, count in report.calls.most_common():
        table.add_row(escape(tool), str(count), str(report.equal[tool]), f"{1000 * report.seconds[tool] / count:.3f}")
    table.add_section()
    table.add_row("all", str(report.calls.total()), str(report.equal.total()), f"{report.ms_per_call:.3f}")
    console.print(table)
    console.print(f"the largest database takes {report.megabytes:.1f} MB of memory")
    for mismatch in report.mismatches[:first]:
        where = f"{mismatch.place}: {mismatch.tool} {mismatch.arguments}"
        console.print(
            escape(f"{where[:400]}\n  recorded {mismatch.recorded[:400]}\n  answered {mismatch.answered[:400]}")
        )


def main(argv: list[str] | None = None) -> int:
    """The command: 0 where every answer is equal, 1 where one is not, 2 where the data cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m programs.deepplanning.travel.replay", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder that holds database_{en,zh}/id_N")
    parser.add_argument("--calls", type=Path, help="calls, .jsonl or .jsonl.gz; DATA/tool_calls.jsonl.gz")
    parser.add_argument("--json", type=writable, help="write the report here, too")
    options = parser.parse_args(argv)
    try:
        report = replay(options.data, options.calls)
    except DataError as error:
        Console(stderr=True).print(escape(str(error)))
        return 2
    show(report, Console())
    if options.json:
        options.json.write_text(json.dumps(report.figures(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return 1 if report.mismatches else 0


def _megabytes(task: TravelTask) -> float:
    """What a fresh copy of the task's database takes, at its most while it is read."""
    tracemalloc.start()
    try:
        task.open_database()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


if __name__ == "__main__":
    sys.exit(main())
