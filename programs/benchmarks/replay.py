"""Replays recorded DeepPlanning runs through the in-memory shop and compares every answer with the recorded one.

Run as `python -m programs.benchmarks.replay --data DIR [--runs FILE] [--json PATH]`; the exit code is 1 where under
99.9% of the observations, or not all final carts, are equal."""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from programs.deepplanning.loader import load_cases
from programs.deepplanning.shop import Shop
from programs.deepplanning.store import Store
from programs.options import DataError, writable

TARGET = 0.999
_EXPECTED = "expected a JSON object with level, case, calls (tool, arguments, observation) and final_cart"


@dataclass(frozen=True)
class Mismatch:
    """One answer that differs: where, what was asked, and both answers; `call` is None for a final cart."""

    case: str
    model: str
    call: int | None
    tool: str
    arguments: str
    recorded: str
    answered: str


@dataclass
class Report:
    """Counts of one replay: calls and those equal as JSON or to the letter, by tool, carts, and seconds in the shop."""

    runs: int = 0
    equal_carts: int = 0
    seconds: float = 0.0
    calls: Counter[str] = field(default_factory=Counter)
    equal: Counter[str] = field(default_factory=Counter)
    identical: Counter[str] = field(default_factory=Counter)
    mismatches: list[Mismatch] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Share of the observations that are equal; 1 where there are none."""
        return self.equal.total() / self.calls.total() if self.calls else 1.0

    @property
    def passed(self) -> bool:
        """Whether the shop behaves as recorded: the target share of observations, and every final cart."""
        return self.share >= TARGET and self.equal_carts == self.runs

    @property
    def ms_per_call(self) -> float:
        """Mean milliseconds of one call."""
        return 1000 * self.seconds / self.calls.total() if self.calls else 0.0

    def figures(self) -> dict[str, Any]:
        """All of it as one JSON object."""
        return {
            "passed": self.passed,
            "share": self.share,
            "ms_per_call": self.ms_per_call,
            **vars(self),
            "mismatches": [vars(mismatch) for mismatch in self.mismatches],
        }


def read_runs(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The runs of a plain or gzipped JSON lines file, with line numbers. Raises DataError naming file and line."""
    number = 0
    try:
        with gzip.open(file, "rt", encoding="utf-8") if file.suffix == ".gz" else file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except json.JSONDecodeError as error:
        raise DataError(f"{file}, line {number}: {error}; {_EXPECTED}") from error
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{file}, after line {number}: cannot be read ({error})") from error


def replay(directory: str | Path, runs_file: str | Path | None = None) -> Report:
    """Replays every run of a file (by default recorded_runs.jsonl.gz in the directory) on the directory's cases, each
    in a fresh shop. Raises DataError where the data is missing or broken, or a run is of an unknown case."""
    file = Path(runs_file) if runs_file else Path(directory) / "recorded_runs.jsonl.gz"
    cases = {(case.level, case.number): (case, Store(case.products)) for case in load_cases(directory)}
    report = Report()
    for line, run in read_runs(file):
        try:
            case, store = cases[int(run["level"]), int(run["case"])]
            calls = [(call["tool"], call["arguments"], call["observation"]) for call in run["calls"]]
            final_cart = run["final_cart"]
        except KeyError as error:
            raise DataError(f"{file}, line {line}: no {error}; {_EXPECTED}, of a case in {directory}") from error
        except (TypeError, ValueError) as error:
            raise DataError(f"{file}, line {line}: {error}; {_EXPECTED}") from error
        shop = Shop.of(case, store)
        model = str(run.get("model", ""))
        report.runs += 1
        for place, (tool, arguments, recorded) in enumerate(calls):
            started = time.perf_counter()
            answered = shop.answer(tool, arguments)
            report.seconds += time.perf_counter() - started
            report.calls[tool] += 1
            report.identical[tool] += answered == recorded
            if _same(answered, recorded):
                report.equal[tool] += 1
            else:
                asked = (case.id, model, place, tool, str(arguments))
                report.mismatches.append(Mismatch(*asked, str(recorded), answered))
        if shop.cart == final_cart:
            report.equal_carts += 1
        else:
            recorded, answered = (json.dumps(cart, ensure_ascii=False) for cart in (final_cart, shop.cart))
            report.mismatches.append(Mismatch(case.id, model, None, "final cart", "", recorded, answered))
    return report


def show(report: Report, console: Console, first: int = 5) -> None:
    """Prints the counts by tool, the carts, the speed and the first few mismatches."""
    table = Table("tool", title=f"{report.runs} recorded runs")
    for heading in ("calls", "equal", "to the letter"):
        table.add_column(heading, justify="right")
    for tool, count in report.calls.most_common():
        table.add_row(escape(tool), str(count), str(report.equal[tool]), str(report.identical[tool]))
    table.add_section()
    totals = (report.calls.total(), report.equal.total(), report.identical.total())
    table.add_row("all", *map(str, totals))
    table.add_row("final carts", str(report.runs), str(report.equal_carts), "")
    console.print(table)
    rate = report.calls.total() / report.seconds if report.seconds else 0.0
    console.print(f"{report.share:.3%} equal; {rate:,.0f} calls a second, {report.ms_per_call:.3f} ms a call")
    for mismatch in report.mismatches[:first]:
        where = f"{mismatch.case} {mismatch.model} call {mismatch.call}: {mismatch.tool} {mismatch.arguments}"
        console.print(
            escape(f"{where[:400]}\n  recorded {mismatch.recorded[:400]}\n  answered {mismatch.answered[:400]}")
        )


def main(argv: list[str] | None = None) -> int:
    """The command: 0 where the shop behaves as recorded, 1 where it does not, 2 where the data cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.replay", description=__doc__)
    parser.add_argument("--data", required=True, type=Path, help="folder that holds database_level{1,2,3}/case_N")
    parser.add_argument("--runs", type=Path, help="recorded runs, .jsonl or .jsonl.gz; DATA/recorded_runs.jsonl.gz")
    parser.add_argument("--json", type=writable, help="write the report here, too")
    options = parser.parse_args(argv)
    try:
        report = replay(options.data, options.runs)
    except DataError as error:
        Console(stderr=True).print(escape(str(error)))
        return 2
    show(report, Console())
    if options.json:
        options.json.write_text(json.dumps(report.figures(), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    return 0 if report.passed else 1


def _same(answered: str, recorded: Any) -> bool:
    if answered == recorded:
        return True
    try:
        return bool(json.loads(answered) == json.loads(recorded))
    except (TypeError, ValueError):
        return False


if __name__ == "__main__":
    sys.exit(main())
