"""How much of the possible throughput many tasks at once reach, what stands in the way, and what they leave in memory.

`python -m programs.benchmarks.throughput [--tasks 200] [--threads 32] [--latency 0.05] [--processes N] [--json PATH]`.
Possible is what the model's latency alone allows: its sum over all calls, divided by the tasks at once. The answers
are those of the offline model, taken down beforehand, so that its own computing is not measured. A Python process
computes on one core: what that allows, by the processor time that goes with one call of the model, stands beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import Request, Response
from rich.console import Console
from rich.table import Table

from pivot_dspy import Pivot
from pivot_dspy.offline import OfflineEngine, offline_lm
from pivot_dspy.optimizer.parallel import run_all
from programs.benchmarks.overhead import NoOp, reference
from programs.options import positive, writable

LIMITS = {"share_of_possible": 0.8, "grown_mb": 10.0}


class Recorded:
    """An engine that gives the answers of another, taken down on the first call with a prompt, after a set latency."""

    supported_params = OfflineEngine.supported_params

    def __init__(self, engine: OfflineEngine, latency: float = 0.0, answers: dict[str, Response] | None = None) -> None:
        self.engine = engine
        self.latency = latency
        self.answers = {} if answers is None else answers

    def complete(self, request: Request) -> Response:
        time.sleep(self.latency)
        key = repr(request.messages)
        if key not in self.answers:
            self.answers[key] = self.engine.answer(request)
        return self.answers[key]

    def stream(self, request: Request) -> Iterator[Any]:
        raise NotImplementedError("the benchmark does not stream")

    def close(self) -> None:
        """Nothing is held."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Recorded:
        return self


class Outcome(NamedTuple):
    """Of one task; the processor time is that of its process so far."""

    solved: bool
    calls: int
    process: int
    cpu: float


def refine(program: Pivot, request: str) -> Outcome:
    result = program(request=request)
    return Outcome(result.verified, result.ledger.usage.lm_calls, os.getpid(), time.process_time())


def measure(tasks: int, threads: int, latency: float, processes: int = 0, *, progress: bool = True) -> dict[str, float]:
    """All figures, by name.

    Args:
        processes: Dask workers that share the threads; none, if 0.

    Raises:
        RuntimeError: a task failed.
    """
    requests = [f"Add what you find, number {number:04d}." for number in range(tasks)]
    engine = offline_lm(map(reference, requests), slip=0.0, heed=1.0, relapse=0.0).engine
    program = Pivot("request -> sum: int", NoOp)
    recorded = Recorded(engine)
    memory: list[float] = []

    def on_done(position: int, outcome: Outcome) -> Outcome:
        memory.append(resident())
        return outcome

    def run(executor: Executor | None, engine: Recorded, shown: str = "") -> tuple[Outcome, ...]:
        program.set_lm(dspy.LM("recorded", engine=engine, cache=False))
        work = partial(refine, program)
        ran = run_all(executor, requests, work, on_done=on_done, num_threads=threads, progress=shown)
        if ran.errors or not all(outcome and outcome.solved for outcome in ran.results):
            raise RuntimeError(ran.summary() or "a task was not solved")
        return tuple(outcome for outcome in ran.results if outcome)

    with dspy.context(disable_history=True):  # DSPy keeps the last 10,000 calls, whoever makes them
        run(None, recorded)
        with _executor(processes, threads) as executor:
            warmed = run(executor, Recorded(engine, 0.0, recorded.answers)) if processes else ()
            before = _cpu(warmed) if processes else {os.getpid(): time.process_time()}
            memory.clear()
            started = time.perf_counter()
            outcomes = run(executor, Recorded(engine, latency, recorded.answers), "Tasks" if progress else "")
            seconds = time.perf_counter() - started
            after = _cpu(outcomes) if processes else {os.getpid(): time.process_time()}
    calls = sum(outcome.calls for outcome in outcomes)
    cpu = sum(after[process] - before.get(process, 0.0) for process in after) / calls
    possible = calls * latency / threads
    reachable = max(possible, calls * cpu / max(1, min(processes, os.cpu_count() or 1)))
    half = len(memory) // 2
    return {
        "seconds": seconds,
        "share_of_possible": possible / seconds,
        "share_the_processor_allows": possible / reachable,
        "model_calls": calls,
        "cpu_ms_per_model_call": cpu * 1000,
        "grown_mb": max(memory[half:]) - max(memory[:half]),
    }


@contextmanager
def _executor(processes: int, threads: int) -> Iterator[Executor | None]:
    if not processes:
        yield None
        return
    from distributed import Client, LocalCluster

    share = -(-threads // processes)
    with (
        LocalCluster(n_workers=processes, threads_per_worker=share, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client.get_executor()


def _cpu(outcomes: Sequence[Outcome]) -> dict[int, float]:
    """Processor seconds of each process up to the last of its tasks."""
    return {one.process: one.cpu for one in sorted(outcomes, key=lambda one: one.cpu)}


def resident() -> float:
    """Megabytes of memory that this process holds, or where the system does not tell, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.throughput", description=__doc__)
    parser.add_argument("--tasks", type=positive, default=200)
    parser.add_argument("--threads", type=positive, default=32)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds that one call of the model takes")
    parser.add_argument("--processes", type=positive, default=0, help="Dask workers that share the threads")
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    if not options.latency > 0:
        parser.error("--latency is above 0")
    figures = measure(options.tasks, options.threads, options.latency, options.processes)
    table = Table(title=f"{options.tasks} tasks, {options.threads} at once", title_justify="left")
    for name in ("figure", "value", "limit"):
        table.add_column(name, justify="left" if name == "figure" else "right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}", f"{LIMITS[name]:g}" if name in LIMITS else "")
    Console().print(table)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    reached = figures["share_of_possible"] >= LIMITS["share_of_possible"]
    return 0 if reached and figures["grown_mb"] <= LIMITS["grown_mb"] else 1


if __name__ == "__main__":
    sys.exit(main())
