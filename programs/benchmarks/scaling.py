"""How near `PivotOptimizer.compile` comes to what the model's latency alone allows, on threads, processes or Dask.

`python -m programs.benchmarks.scaling [--tasks 200] [--threads 32] [--executor threads|processes|dask] [--workers 2]`.
Ideal is the latency of all calls of the model divided by the tasks at once. The answers are those of the offline model,
taken down in a compilation before, so that its own computing is not measured, and none comes from DSPy's cache. Workers
begin within the time that is measured, and import everything in it. "bare" is what `dspy.Predict` reaches with the
calls of one run over the tasks, on as many threads of one process, with nothing around it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Literal

import dspy
from dspy.lm15 import Request, Response
from rich.console import Console
from rich.table import Table

from pivot_dspy import Pivot, PivotOptimizer
from pivot_dspy.parallel.running import run_all
from pivot_dspy.simulator import offline_lm
from programs.benchmarks.overhead import WANTED, NoOp, recorded, reference
from programs.benchmarks.throughput import Recorded, bare, predict
from programs.options import positive

Kind = Literal["threads", "processes", "dask"]
LATENCY = 0.05
"""Seconds that one call of the model takes."""


class Counted(Recorded):
    """Counts how often it is asked."""

    calls = 0

    def complete(self, request: Request) -> Response:
        self.calls += 1
        return super().complete(request)


@dataclass(frozen=True)
class Timed:
    """Of one way to make calls of the model."""

    name: str
    calls: int
    seconds: float
    cpu: float
    """Processor seconds of this process and of the workers that it began."""
    threads: int

    @property
    def share(self) -> float:
        """Of the ideal."""
        return self.calls * LATENCY / self.threads / self.seconds


def measure(tasks: int, threads: int, kind: Kind, workers: int) -> list[Timed]:
    """A compilation of Pivot on the tasks, and bare predictions.

    Args:
        threads: tasks at a time in all.
        workers: processes that share the threads; no matter for threads of this process.
    """
    requests = [f"Add {WANTED}, number {number:04d}." for number in range(tasks)]
    trainset = [dspy.Example(request=request).with_inputs("request") for request in requests]
    engine = offline_lm(map(reference, requests), slip=0.0, heed=1.0, relapse=0.0).engine
    program = Pivot("request -> sum: int", NoOp)
    share = threads if kind == "threads" else -(-threads // workers)

    def compile_with(answers: Recorded, at_once: int, executor: Executor | None = None) -> None:
        program.set_lm(dspy.LM("recorded", engine=answers, cache=False))
        optimizer = PivotOptimizer(num_threads=at_once, executor=executor, display_progress=False)
        optimizer.compile(program, trainset=trainset)

    def compiled() -> float:
        begun = time.perf_counter()
        with _executor(kind, workers, share) as executor:
            compile_with(Recorded(engine, LATENCY, counted.answers), share, executor)
            return time.perf_counter() - begun

    def predicted() -> float:
        begun = time.perf_counter()
        run_all(None, calls, partial(predict, predictors), num_threads=threads, on_done=_drop)
        return time.perf_counter() - begun

    counted = Counted(engine)
    compile_with(counted, 1)
    predictors, calls = bare(recorded(program, request)[1] for request in requests)
    for predictor in predictors:
        predictor.lm = dspy.LM("recorded", engine=Recorded(engine, LATENCY, counted.answers), cache=False)
    label = kind if kind == "threads" else f"{kind}, {workers} with {share} threads each"
    return [
        _timed(f"compile, {label}", counted.calls, threads, compiled),
        _timed("bare dspy.Predict, threads", sum(map(len, calls)), threads, predicted),
    ]


@contextmanager
def _executor(kind: Kind, workers: int, threads: int) -> Iterator[Executor | None]:
    """A new executor; None for threads of this process."""
    if kind == "threads":
        yield None
    elif kind == "processes":
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool
    else:
        from distributed import Client, LocalCluster

        with (
            LocalCluster(n_workers=workers, threads_per_worker=threads, dashboard_address=None) as cluster,
            Client(cluster) as client,
        ):
            yield client.get_executor()


def _drop(position: int, outcome: object) -> None:
    """Keeps nothing."""


def _timed(name: str, calls: int, threads: int, work: Callable[[], float]) -> Timed:
    """What `work` took, in seconds by its own account: that workers end is no part of it, and is waited for here."""
    spent = _processor()
    seconds = work()
    return Timed(name, calls, seconds, _processor() - spent, threads)


def _processor() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.scaling", description=__doc__)
    parser.add_argument("--tasks", type=positive, default=200)
    parser.add_argument("--threads", type=positive, default=32, help="tasks at a time in all (default: 32)")
    parser.add_argument("--executor", choices=("threads", "processes", "dask"), default="threads")
    parser.add_argument("--workers", type=positive, default=2, help="processes that share the threads (default: 2)")
    options = parser.parse_args(arguments)
    table = Table(title=f"{options.tasks} tasks, {options.threads} at a time, {LATENCY * 1000:g} ms a call")
    for column in ("", "calls", "seconds", "share of the ideal", "processor ms a call"):
        table.add_column(column, justify="right" if column else "left")
    for row in measure(options.tasks, options.threads, options.executor, options.workers):
        table.add_row(
            row.name, str(row.calls), f"{row.seconds:.2f}", f"{row.share:.0%}", f"{row.cpu / row.calls * 1000:.2f}"
        )
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
