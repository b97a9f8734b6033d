"""What large states, results and searches cost: processor seconds and memory, each figure from a process of its own.

`python -m programs.benchmarks.state_cost [--json PATH] [--only FIGURE] [--scale PART]`. It uses nothing that older
builds lack: with `PYTHONPATH` set to another checkout, `python programs/benchmarks/state_cost.py` measures that one.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import resource
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

from pivot_dspy import Environment, Step, Trajectory, check, tool
from pivot_dspy.crossover import Parent, crossover
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_class import of_class
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.memory.memory import TrajectoryMemory
from pivot_dspy.memory.records import Entries, Lesson
from pivot_dspy.phases.inspect import inspect, parent
from pivot_dspy.requirements import Requirement, Requirements
from programs.benchmarks.figures import show
from programs.deepplanning.coupons import COUPONS, NAMES
from programs.deepplanning.selection import cheapest_with_coupons
from programs.options import writable

RECORD = 650
"""Bytes that a record of the state takes in memory, about."""
MEGABYTE = 1_000_000


class Store(Environment):
    """A state of many small records."""

    def __init__(self, records: int) -> None:
        self.records = [
            {"id": number, "name": f"record {number}", "tags": [f"tag {number}", "new"], "price": number / 7,
             "stock": {"here": number, "there": -number}}
            for number in range(records)
        ]  # fmt: skip

    @tool(effect="write")
    def rename(self, number: int, name: str) -> bool:
        """Gives a record another name."""
        self.records[number % len(self.records)]["name"] = name
        return True


class Library(Environment):
    """Reads that give much, and the same every time."""

    def __init__(self, characters: int) -> None:
        self.characters = characters

    @tool(effect="read")
    def read(self, page: int, attempt: int = 0) -> list[str]:
        """A page."""
        return [f"line {number} of page {page} ".ljust(1000, ".") for number in range(self.characters // 1000)]


class Shelf(Environment):
    """Items that are searched and taken one by one."""

    def __init__(self) -> None:
        self.taken: list[str] = []

    @tool(effect="read")
    def search(self, color: str, size: int) -> list[dict[str, Any]]:
        """What there is."""
        return [{"name": f"{color} {size}", "color": color, "size": size}]

    @tool(effect="write")
    def take(self, name: str) -> bool:
        """Takes it."""
        self.taken.append(name)
        return True

    @check
    def has(self, color: str, size: int) -> bool:
        """It was taken."""
        return f"{color} {size}" in self.taken


def writes(scale: float = 1.0, megabytes: float = 12.7) -> float:
    """Processor seconds of five writes and one rewrite from the fourth on."""
    session = SessionFactory(lambda: Store(max(1, round(megabytes * MEGABYTE * scale / RECORD)))).open(None)
    steps = [Step(id=f"s{number}", tool="rename", args={"number": number, "name": "x"}) for number in range(5)]
    trajectory = Trajectory(steps=tuple(steps))
    rewritten = Trajectory(steps=(*steps[:3], *(step.model_copy(update={"id": f"{step.id}b"}) for step in steps[3:])))
    started = time.process_time()
    run = run_sync(execute(trajectory, session.fork()))
    run_sync(execute(rewritten, run.after(3).fork(), base=run))
    seconds = time.process_time() - started
    session.family.close()
    return seconds


def writes_peak(scale: float = 1.0) -> float:
    """Megabytes of memory of this process at most, with ten times that state."""
    writes(scale, 127.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def result(scale: float = 1.0, rewrites: int = 16, reads: int = 20) -> float:
    """Megabytes that the runs of a search hold, each of which rewrites the middle one of some reads of 1 MB."""
    session = SessionFactory(lambda: Library(round(MEGABYTE * scale))).open(None)
    tracemalloc.start()
    runs: list[ExecutedRun] = []
    for attempt in range(rewrites + 1):
        steps = [Step(id=f"s{number}", tool="read", args={"page": number}) for number in range(reads)]
        steps[reads // 2] = Step(id=f"s{reads // 2}", tool="read", args={"page": reads // 2, "attempt": attempt})
        trajectory, base = Trajectory(steps=tuple(steps)), runs[-1] if runs else None
        runs.append(run_sync(execute(trajectory, base.after(reads // 2).fork() if base else session, base=base)))
    gc.collect()
    held = tracemalloc.get_traced_memory()[0] / MEGABYTE
    tracemalloc.stop()
    session.family.close()
    return held


def coupons(scale: float = 1.0) -> float:
    """Processor seconds to find the cheapest of six items of thirty products with two of each of ten coupons."""
    dice = random.Random(7)
    shelves = [
        [
            {"product_id": f"{item}-{number}", "price": dice.randrange(20_000, 150_000) / 100, "brand": number % 4}
            for number in range(max(1, round(30 * scale)))
        ]
        for item in range(6)
    ]
    owned = dict.fromkeys(NAMES[: max(1, round(len(COUPONS) * scale))], 2)
    started = time.process_time()
    cheapest_with_coupons(shelves, owned, True)
    return time.process_time() - started


def blame_seconds(count: int) -> float:
    """Processor seconds to grade a run of so many searches, with a requirement for each, and one of them misread."""
    requirements = Requirements(
        items=tuple(
            Requirement(id=f"R{number}", text="a thing", check="has", args={"color": f"c{number}", "size": number})
            for number in range(count)
        )
    )
    session = SessionFactory(Shelf).open(None)
    wrong = count // 2
    steps: list[Step] = []
    for number in range(count):
        size = number + (number == wrong)
        steps.append(Step(id=f"s{number}", tool="search", args={"color": f"c{number}", "size": size}))
        steps.append(Step(id=f"t{number}", tool="take", args={"name": f"$s{number}[0].name"}))
    run = run_sync(execute(Trajectory(steps=tuple(steps)), session, copies=False))
    inspection = inspect(run, requirements, inputs={})
    toolbox, started = of_class(Shelf), time.process_time()
    parent(inspection, requirements, toolbox, task="Take the things.")
    seconds = time.process_time() - started
    session.family.close()
    return seconds


def parents_seconds(count: int, then: Callable[[Parent, Parent], object] | None = None) -> float:
    """Processor seconds to grade two trajectories of so many steps, which differ in every tenth, for a crossover; or
    to do with them what `then` says."""
    toolbox = of_class(Shelf)
    parents = []
    for side in range(2):
        steps = [
            Step(id=f"s{number}", tool="search", args={"color": f"c{number}", "size": side * (number % 10 == 0)})
            for number in range(count)
        ]
        session = SessionFactory(Shelf).open(None)
        run = run_sync(execute(Trajectory(steps=tuple(steps)), session, copies=False))
        session.family.close()
        parents.append((inspect(run, Requirements(), inputs={}), Requirements()))
    started = time.process_time()
    first, second = (parent(inspection, requirements, toolbox) for inspection, requirements in parents)
    if then is not None:
        started = time.process_time()
        then(first, second)
    return time.process_time() - started


def growth(seconds: Callable[[int], float], count: int) -> float:
    """The exponent by which the time grows from half the count to the count, each the best of three."""
    half, whole = (min(seconds(number) for _ in range(3)) for number in (max(1, count // 2), max(2, count)))
    return math.log2(max(whole, 1e-9) / max(half, 1e-9))


def blame_growth(scale: float = 1.0) -> float:
    """The exponent by which blame grows with items and requirements, at 160 of these."""
    return growth(blame_seconds, round(160 * scale))


def parents_growth(scale: float = 1.0) -> float:
    """The exponent by which the grading of a crossover's parents grows with the steps, at 1,000 of these."""
    return growth(parents_seconds, round(1000 * scale))


def crossing(scale: float = 1.0) -> float:
    """Processor seconds of the crossover itself, at 1,000 steps."""
    return parents_seconds(max(1, round(1000 * scale)), crossover)


def retrieval(scale: float = 1.0) -> float:
    """Processor milliseconds to find what a task is told, among 20,000 entries; the first time, which makes the index,
    is left out."""
    dice = random.Random(7)
    vocabulary = [f"word{number}" for number in range(3000)]
    lessons = tuple(
        Lesson(
            environment="Shop" if number % 100 == 0 else "Other",
            trigger=" ".join(dice.choices(vocabulary, k=8)),
            mistake=" ".join(dice.choices(vocabulary, k=8)),
            avoid=" ".join(dice.choices(vocabulary, k=8)),
            tools=(f"tool{number % 50}",),
        )
        for number in range(max(2, round(20_000 * scale)))
    )
    memory = TrajectoryMemory(Entries(lessons=lessons))
    tasks = [" ".join(dice.choices(vocabulary, k=20)) for _ in range(21)]
    memory.retrieve(tasks[0], "Shop")
    started = time.process_time()
    for task in tasks[1:]:
        memory.retrieve(task, "Shop")
    return (time.process_time() - started) / (len(tasks) - 1) * 1000


FIGURES: dict[str, Callable[[float], float]] = {
    "writes_s": writes,
    "writes_peak_mb": writes_peak,
    "result_mb": result,
    "coupons_s": coupons,
    "blame_160_s": lambda scale: blame_seconds(max(1, round(160 * scale))),
    "blame_growth": blame_growth,
    "parents_1000_s": lambda scale: parents_seconds(max(1, round(1000 * scale))),
    "parents_growth": parents_growth,
    "crossover_1000_s": crossing,
    "retrieval_ms": retrieval,
}
LIMITS = {
    "writes_peak_mb": 600.0,
    "result_mb": 20.0,
    "coupons_s": 0.3,
    "blame_growth": 1.2,
    "parents_growth": 1.2,
    "retrieval_ms": 5.0,
}
"""That of `writes_s` is 0.4 of what the build takes that copies whole states."""


def measure(name: str, scale: float) -> float:
    """A figure, from a process of its own. Raises CalledProcessError where that fails."""
    command = [sys.executable, __file__, "--only", name, "--scale", str(scale), "--bare"]
    return float(json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.state_cost", description=__doc__)
    parser.add_argument("--only", choices=list(FIGURES), metavar="FIGURE", help=", ".join(FIGURES))
    parser.add_argument("--scale", type=float, default=1.0, metavar="PART", help="of all sizes; 1 are those of LIMITS")
    parser.add_argument("--bare", action="store_true", help="measure in this process, and write the number alone")
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    names = list(FIGURES) if options.only is None else [options.only]
    if options.bare:
        sys.stdout.write(json.dumps({name: FIGURES[name](options.scale) for name in names}[names[0]]))
        return 0
    figures = {name: measure(name, options.scale) for name in names}
    show("Cost of state", figures, LIMITS, options.json)
    return 0 if all(figures[name] <= limit for name, limit in LIMITS.items() if name in figures) else 1


if __name__ == "__main__":
    sys.exit(main())
