"""Leaks before commit: each way that an environment may leak, and what comes of it; and what the comparison costs.

`python -m programs.trust.leaks [--part table|overhead]`. No model and no network: the plans are given.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import dspy
from rich.console import Console
from rich.table import Table

from pivot_dspy import Pivot, Step, Trajectory
from pivot_dspy.environment import isolation
from pivot_dspy.errors import ConfigurationError, IsolationError
from pivot_dspy.simulator import offline_lm
from programs.deepplanning.environment import POLICY, Market, Shopping
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_cases
from programs.deepplanning.readable import readable, warn
from programs.trust import leaky_outside  # noqa: F401  # registers its ways
from programs.trust.leaky import CALLED, WAYS, Way, paid

Outcome = Literal["stopped", "named", "copied", "SILENT"]
LIMIT = 0.05
"""Of a run's own time, that the comparison may take."""
SETTLING = 0.05
"""Seconds that a thread which outlives its call gets to do harm."""


class Row(NamedTuple):
    """What came of one way to leak."""

    way: str
    outcome: Outcome
    what: str
    """The attribute that the error names, or the refusal."""


def rows() -> list[Row]:
    """Every way, tried."""
    return [attempt(name) for name in WAYS]


def attempt(name: str) -> Row:
    """One way, run through `Pivot` with a given plan, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        home, variables = os.getcwd(), dict(os.environ)
        try:
            return _attempt(name, WAYS[name], Path(folder))
        finally:
            os.chdir(home)
            os.environ.clear()
            os.environ.update(variables)


def _attempt(name: str, way: Way, folder: Path) -> Row:
    CALLED.clear()
    environment, look = way.make(folder)
    before = look()
    steps = tuple(Step(id=f"s{n}", tool=tool) for n, tool in enumerate(way.tools))
    plan = Trajectory(steps=(*steps, Step(id="submit", tool="submit", args={"answer": "done"})))
    refused = ""
    try:
        with dspy.context(lm=offline_lm([])):
            pivot = Pivot("request -> answer", environment, requirements=[{"check": "holds"}], timeout=5.0)
            result = pivot(request="Do it.", trajectory=plan)
        refused = "; ".join(fault.message for fault in result.execution.discrepancies)
    except IsolationError as error:
        return Row(name, "named", ", ".join(error.paths))
    except (PermissionError, ConfigurationError) as error:  # of a constructor: it cannot be opened
        refused = str(error)
    gc.collect()
    time.sleep(SETTLING)
    if look() != before:
        return Row(name, "SILENT", refused)
    return Row(name, "stopped" if look is paid else "copied", refused.partition(";")[0])  # a payment is never copied


class Overhead(NamedTuple):
    """What the comparison costs in the shopping domain, medians over runs, in milliseconds of CPU time."""

    run: float
    """Of a whole run, the offline model's time left out."""
    comparison: float
    """Of that, noting what is real and comparing it."""
    share: float


def overhead(data: Path | None = None, *, tasks: int = 12, repeats: int = 3) -> Overhead:
    """The share of the comparison in runs of Pivot on shopping tasks, generated ones unless `data` names a folder."""
    with tempfile.TemporaryDirectory() as scratch:
        directory = data or Path(scratch)
        if data is None:
            generate(directory, seed=0)
        known = readable(directory, load_cases(directory)[:tasks])
        warn(known.unread)
        cases = list(known.cases)
        lm = offline_lm(known.references.values(), seed=0, cache=False)
        pivot = Pivot(Shopping, Market(cases, policy=POLICY).open)
        pivot.set_lm(lm)
        pivot(request=cases[0].query)  # what is done once in a process
        runs, compared = [], []
        for case in cases * repeats:
            with _Stopwatch(lm.engine, "complete") as model, _Compared() as comparison:
                started = time.process_time()
                pivot(request=case.query)
                took = time.process_time() - started
            runs.append(took - model.seconds)
            compared.append(comparison.seconds)
    share = statistics.median(part / whole for part, whole in zip(compared, runs, strict=True))
    return Overhead(statistics.median(runs) * 1000, statistics.median(compared) * 1000, share)


class _Stopwatch:
    """The time spent in a method while the block runs."""

    def __init__(self, owner: Any, *methods: str) -> None:
        self.seconds = 0.0
        self._owner, self._methods = owner, {name: getattr(owner, name) for name in methods}

    def __enter__(self) -> _Stopwatch:
        for name, method in self._methods.items():
            setattr(self._owner, name, self._timed(method))
        return self

    def __exit__(self, *error: object) -> None:
        for name, method in self._methods.items():
            setattr(self._owner, name, method)

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            started = time.process_time()
            try:
                return method(*args, **options)
            finally:
                self.seconds += time.process_time() - started

        return timed


class _Compared(_Stopwatch):
    """The time that is spent on noting and comparing what is real."""

    def __init__(self) -> None:
        super().__init__(isolation.Isolation, "__init__", "require_own", "require")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.trust.leaks", description=__doc__)
    parser.add_argument("--part", choices=("table", "overhead"), help="only this (default: both)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="published shopping tasks (default: generated)")
    options = parser.parse_args(arguments)
    console, failed = Console(), False
    if options.part != "overhead":
        found = rows()
        failed = _show(found, console)
    if options.part != "table":
        cost = overhead(options.data)
        failed |= cost.share >= LIMIT
        console.print(
            f"The comparison takes {cost.comparison:.2f} of {cost.run:.1f} ms of a run's own time: {cost.share:.1%} "
            f"(limit {LIMIT:.0%})"
        )
    return int(failed)


def _show(found: list[Row], console: Console) -> bool:
    """Print the table; whether something is silent."""
    table = Table("way", "outcome", "what")
    for row in found:
        table.add_row(row.way, row.outcome, row.what[:100])
    console.print(table)
    counts = {
        outcome: sum(row.outcome == outcome for row in found) for outcome in ("stopped", "named", "copied", "SILENT")
    }
    console.print(f"{len(found)} ways: " + ", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    return counts["SILENT"] > 0


if __name__ == "__main__":
    sys.exit(main())
