"""How much of the possible throughput many tasks at once reach, and what they leave in memory.

`python -m programs.benchmarks.throughput [--tasks 200] [--threads 32] [--processes 0] [--latency 0.05] [--json PATH]`.
The possible is the sum of the model's latencies divided by the threads: what a machine without any work of its own would
need. The model is the offline one, without a cache; its own computing counts as ours.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context

import dspy
from rich.console import Console
from rich.table import Table

from pivot_dspy import Pivot
from pivot_dspy.offline import offline_lm
from pivot_dspy.optimizer.parallel import run_all
from programs.benchmarks.overhead import NoOp, reference
from programs.options import positive, writable

LIMITS = {"share_of_possible": 0.8, "grown_mb": 10.0}


def refine(program: Pivot, request: str) -> tuple[bool, int]:
    """Whether the task was solved, and how many calls of the model it took."""
    result = program(request=request)
    return result.verified, result.ledger.usage.lm_calls


def measure(tasks: int, threads: int, latency: float, processes: int = 0, *, progress: bool = True) -> dict[str, float]:
    """All figures, by name.

    Raises:
        RuntimeError: a task failed.
    """
    requests = [f"Add what you find, number {number:04d}." for number in range(tasks)]
    lm = offline_lm(map(reference, requests), slip=0.0, heed=1.0, relapse=0.0, latency=latency, cache=False)
    program = Pivot("request -> sum: int", NoOp)
    program.set_lm(lm)
    memory: list[float] = []

    def on_done(position: int, outcome: tuple[bool, int]) -> int:
        memory.append(resident())
        solved, calls = outcome
        if not solved:
            raise RuntimeError(f"task {position} was not solved")
        return calls

    work = partial(refine, program)
    with dspy.context(disable_history=True), _executor(processes, threads) as executor:
        run_all(executor, requests[: max(2, processes)], work, on_done=on_done, num_threads=threads)
        memory.clear()
        started, used = time.perf_counter(), _cpu()
        ran = run_all(
            executor, requests, work, on_done=on_done, num_threads=threads, progress="Tasks" if progress else ""
        )
        seconds, cpu = time.perf_counter() - started, _cpu() - used
    if ran.errors:
        raise RuntimeError(ran.summary())
    calls = sum(result or 0 for result in ran.results)
    possible = calls * latency / (processes or threads)
    half = len(memory) // 2
    return {
        "seconds": seconds,
        "possible_seconds": possible,
        "share_of_possible": possible / seconds,
        "model_calls": calls,
        "cpu_ms_per_model_call": cpu / calls * 1000,
        "cores": os.cpu_count() or 1,
        "grown_mb": max(memory[half:]) - max(memory[:half]),
    }


@contextmanager
def _executor(processes: int, threads: int) -> Iterator[Executor | None]:
    if not processes:
        yield None
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as executor:
        yield executor


def resident() -> float:
    """Megabytes of memory that the process holds now, or where the system does not tell, the most it ever held."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def _cpu() -> float:
    return time.process_time()
