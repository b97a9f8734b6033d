"""How much of the possible throughput many tasks at once reach, what stands in the way, and what they leave in memory.

`python -m programs.benchmarks.throughput [--tasks 200] [--threads 32] [--latency 0.05] [--processes N] [--json PATH]`.
Possible is what the model's latency alone allows: its sum over all calls, divided by the tasks at once. The answers
are those of the offline model, taken down beforehand, so that its own computing is not measured. A Python process
computes on one core: what that allows, by the processor time that goes with one call of the model, stands beside it;
and so does what the same calls reach in the same run when `dspy.Predict` makes them with nothing around it ("bare").
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import Request, Response

from pivot_dspy import Pivot
from pivot_dspy.parallel.running import run_all
from pivot_dspy.simulator import OfflineEngine, offline_lm
from programs.benchmarks.figures import show
from programs.benchmarks.overhead import WANTED, ModelCall, NoOp, recorded, reference
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


BareCalls = tuple[tuple[int, dict[str, Any], dspy.Adapter], ...]
"""The model calls of one task: which predictor made each, by its number, with what, and through which adapter."""


def predict(predictors: Sequence[dspy.Predict], calls: BareCalls) -> Outcome:
    for number, inputs, adapter in calls:
        with dspy.context(adapter=adapter):
            predictors[number](**inputs)
    return Outcome(True, len(calls), os.getpid(), time.process_time())


def bare(made: Iterable[Sequence[ModelCall]]) -> tuple[list[dspy.Predict], list[BareCalls]]:
    """A predictor for each signature that was asked with, and the calls of each task, in their order."""
    numbers: dict[type[dspy.Signature], int] = {}

    def numbered(call: ModelCall) -> tuple[int, dict[str, Any], dspy.Adapter]:
        given = dict(call.inputs)
        signature = given.pop("signature", call.predict.signature)
        return numbers.setdefault(signature, len(numbers)), given, call.adapter

    calls = [tuple(map(numbered, task)) for task in made]
    return [dspy.Predict(signature) for signature in numbers], calls


class Timed(NamedTuple):
    """Of one run over all tasks."""

    seconds: float
    calls: int
    cpu: float


def measure(tasks: int, threads: int, latency: float, processes: int = 0, *, progress: bool = True) -> dict[str, float]:
    """All figures, by name.

    Args:
        processes: Dask workers that share the threads; none, if 0.

    Raises:
        RuntimeError: a task failed.
    """
    requests = [f"Add {WANTED}, number {number:04d}." for number in range(tasks)]
    engine = offline_lm(map(reference, requests), slip=0.0, heed=1.0, relapse=0.0).engine
    program = Pivot("request -> sum: int", NoOp)
    answers = Recorded(engine)
    memory: list[float] = []
    cpu: dict[int, float] = {}

    def on_done(position: int, outcome: Outcome) -> Outcome:
        memory.append(resident())
        return outcome

    def run(executor: Executor | None, work: Callable[[Any], Outcome], given: Sequence[Any], shown: str = "") -> Timed:
        memory.clear()
        before = dict(cpu) if executor is not None else {os.getpid(): time.process_time()}
        started = time.perf_counter()
        ran = run_all(executor, given, work, on_done=on_done, num_threads=threads, progress=shown)
        seconds = time.perf_counter() - started
        outcomes = tuple(outcome for outcome in ran.results if outcome)
        if ran.errors or not all(outcome.solved for outcome in outcomes):
            raise RuntimeError(ran.summary() or "a task was not solved")
        cpu.update(_cpu(outcomes) if executor is not None else {os.getpid(): time.process_time()})
        spent = sum(cpu[process] - before.get(process, 0.0) for process in cpu)
        return Timed(seconds, sum(outcome.calls for outcome in outcomes), spent)

    with dspy.context(disable_history=True):  # DSPy keeps the last 10,000 calls, whoever makes them
        program.set_lm(_lm(answers))
        predictors, calls = bare(recorded(program, request)[1] for request in requests)
        with _executor(processes, threads) as executor:
            if processes:
                run(executor, partial(refine, program), requests)
            lm = _lm(Recorded(engine, latency, answers.answers))
            program.set_lm(lm)
            for predictor in predictors:
                predictor.lm = lm
            alone = run(executor, partial(predict, predictors), calls)
            ours = run(executor, partial(refine, program), requests, "Tasks" if progress else "")
    if alone.calls != ours.calls:
        raise RuntimeError(f"{ours.calls} calls of the model were to be made again, and {alone.calls} were")
    possible = ours.calls * latency / threads
    reachable = max(possible, ours.cpu / max(1, min(processes, os.cpu_count() or 1)))
    half = len(memory) // 2
    return {
        "seconds": ours.seconds,
        "share_of_possible": possible / ours.seconds,
        "share_the_processor_allows": possible / reachable,
        "bare_share_of_possible": possible / alone.seconds,
        "share_of_bare": alone.seconds / ours.seconds,
        "model_calls": ours.calls,
        "cpu_ms_per_model_call": ours.cpu / ours.calls * 1000,
        "bare_cpu_ms_per_model_call": alone.cpu / alone.calls * 1000,
        "grown_mb": max(memory[half:]) - max(memory[:half]),
    }


def _lm(engine: Recorded) -> dspy.LM:
    return dspy.LM("recorded", engine=engine, cache=False)


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
    show(f"{options.tasks} tasks, {options.threads} at once", figures, LIMITS, options.json)
    reached = figures["share_of_possible"] >= LIMITS["share_of_possible"]
    return 0 if reached and figures["grown_mb"] <= LIMITS["grown_mb"] else 1


if __name__ == "__main__":
    sys.exit(main())
