"""What a fork of an environment on real state costs, beside a deep copy of the same state as Python objects.

`python -m programs.benchmarks.forks [--kind KIND] [--scale PART] [--json PATH]`. Each figure is from a process of its
own. Seconds are of its processor, the median of some tries; megabytes are by how much its memory grew at most.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pivot_dspy import Environment
from pivot_dspy.environments.sql import SQLEnvironment
from programs.benchmarks.figures import show
from programs.benchmarks.forks_of_files import make_directory, make_repository, read_files, write_file
from programs.options import writable

HELD = 20
"""Forks that are held at once."""
TRIES = 7
"""Of what is timed."""
RECORD = 250
"""Bytes of a record in the database, about."""


@dataclass(frozen=True)
class Kind:
    """One kind of environment that is measured."""

    make: Callable[[Path, float], Environment]
    """Makes the real state in an empty folder, this part of its full size, and gives the environment on it."""
    objects: Callable[[Environment], Any]
    """The same state as Python objects."""
    write: Callable[[Any, int], Any]
    """Makes a small change in a fork; the number tells one from another."""


def make_database(folder: Path, scale: float) -> Environment:
    """10 MB of records in a file of SQLite."""
    path = folder / "shop.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, name TEXT, description TEXT, price REAL)")
    rows = (
        (number, f"item {number}", f"what item {number} is for; ".ljust(220, "."), number / 7)
        for number in range(max(1, round(10_000_000 * scale / RECORD)))
    )
    connection.executemany("INSERT INTO items VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return SQLEnvironment(f"sqlite:///{path}")


def read_database(environment: Environment) -> Any:
    """All records of it."""
    rows = environment.query("SELECT * FROM items", limit=10**9).rows  # type: ignore[attr-defined]
    return [dict(row) for row in rows]


def write_database(fork: Any, number: int) -> Any:
    """Change the price of one item."""
    return fork.execute("UPDATE items SET price = 0 WHERE id = :id", {"id": number})


KINDS = {
    "sql": Kind(make_database, read_database, write_database),
    "directory": Kind(make_directory, read_files, write_file),
    "git": Kind(make_repository, read_files, write_file),
}


def seconds_of(step: Callable[[int], Any]) -> float:
    """Processor seconds of a step, the median of some tries; what it gives is closed."""
    spent = []
    for number in range(TRIES):
        started = time.process_time()
        made = step(number)
        spent.append(time.process_time() - started)
        if isinstance(made, Environment):
            made.close()
    return statistics.median(spent)


def fork_s(kind: Kind, environment: Environment) -> float:
    """A fork of the real one."""
    return seconds_of(lambda number: environment.fork())


def fork_of_fork_s(kind: Kind, environment: Environment) -> float:
    """A fork of a fork that only reads."""
    first = environment.fork()
    return seconds_of(lambda number: first.fork())


def fork_and_write_s(kind: Kind, environment: Environment) -> float:
    """A fork of a fork, and a change in it."""
    first = environment.fork()

    def forked(number: int) -> Environment:
        made = first.fork()
        kind.write(made, number)
        return made

    return seconds_of(forked)


def deepcopy_s(kind: Kind, environment: Environment) -> float:
    """A deep copy of the same state."""
    state = kind.objects(environment)
    return seconds_of(lambda number: copy.deepcopy(state))


def forks_held_mb(kind: Kind, environment: Environment) -> float:
    """Twenty forks that are held, each with a change."""
    first = environment.fork()
    forks, before = [first.fork() for _ in range(HELD)], _peak()
    for number, fork in enumerate(forks):
        kind.write(fork, number)
    return _peak() - before


def deepcopies_held_mb(kind: Kind, environment: Environment) -> float:
    """Twenty deep copies that are held."""
    state = kind.objects(environment)
    held, before = [state], _peak()
    held += [copy.deepcopy(state) for _ in range(HELD)]
    return _peak() - before


def _peak() -> float:
    """Megabytes of memory of this process at most until now."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


FIGURES: dict[str, Callable[[Kind, Environment], float]] = {
    figure.__name__: figure
    for figure in (fork_s, fork_of_fork_s, fork_and_write_s, deepcopy_s, forks_held_mb, deepcopies_held_mb)
}


def figure_of(kind: str, name: str, scale: float) -> float:
    """One figure, in this process."""
    with tempfile.TemporaryDirectory() as folder:
        environment = KINDS[kind].make(Path(folder), scale)
        return FIGURES[name](KINDS[kind], environment)


def measure(kind: str, name: str, scale: float) -> float:
    """A figure, from a process of its own. Raises CalledProcessError where that fails."""
    asked = ["--kind", kind, "--only", name, "--scale", str(scale), "--bare"]
    command = [sys.executable, "-m", "programs.benchmarks.forks", *asked]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.forks", description=__doc__)
    parser.add_argument("--kind", choices=sorted(KINDS), help="one instead of all")
    parser.add_argument("--only", choices=list(FIGURES), metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--scale", type=float, default=1.0, metavar="PART", help="of the full size")
    parser.add_argument("--bare", action="store_true", help="measure in this process, and write the number alone")
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    kinds = sorted(KINDS) if options.kind is None else [options.kind]
    names = list(FIGURES) if options.only is None else [options.only]
    if options.bare:
        sys.stdout.write(json.dumps(figure_of(kinds[0], names[0], options.scale)))
        return 0
    figures = {f"{kind}.{name}": measure(kind, name, options.scale) for kind in kinds for name in names}
    show("Cost of forks", figures, {}, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
