"""What Pivot costs in processor time, as ratios: beside bare `dspy.Predict`, `dspy.ReAct` and another build of itself.

`python -m programs.benchmarks.processor [--data DIR] [--against CHECKOUT] [--json PATH]`. The answers are the offline
model's, taken down beforehand and given in turn, so that its own computing is not measured. What is compared takes
turns; each ratio is that of the process's CPU seconds in one turn. No row uses a cache of DSPy's. The shop is generated
where `--data` names none; `--against` names a checkout of another version, whose no-op tasks run in its own processes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import Request, Response
from rich.console import Console
from rich.table import Table

from pivot_dspy import Pivot
from pivot_dspy.simulator import OfflineEngine, offline_lm
from programs.benchmarks.overhead import WANTED, ModelCall, NoOp, recorded, reference
from programs.options import positive, writable

TARGETS = {
    "cpu_per_lm_call_of_predict_noop": 2.0,
    "cpu_per_lm_call_of_predict_shopping": 3.5,
    "cpu_per_lm_call_of_predict_http": 1.4,
    "cpu_per_noop_task_of_other_build": 0.5,
    "cpu_of_react_per_pivot_task": 8.0,
    "share_of_ideal_32_threads": 0.6,
    "share_of_ideal_32_threads_predict": 0.0,
}
"""At most so much, for a ratio to Predict or another build; at least, for the others; 0 where there is no target."""
AT_LEAST = {"cpu_of_react_per_pivot_task", "share_of_ideal_32_threads"}
THREADS, LATENCY = 32, 0.05
REQUEST = f"Add {WANTED}."


class InTurn:
    """An engine that gives answers in turn, from the first one again after the last."""

    supported_params = OfflineEngine.supported_params

    def __init__(self, answers: Sequence[Response]) -> None:
        self._turns = cycle(answers)

    def complete(self, request: Request) -> Response:
        return next(self._turns)

    def stream(self, request: Request) -> Iterator[Any]:
        raise NotImplementedError("the benchmark does not stream")

    def close(self) -> None:
        """Nothing is held."""

    def __deepcopy__(self, memo: dict[int, Any]) -> InTurn:
        return self


class TakenDown(InTurn):
    """An engine that passes on what another answers, and keeps it."""

    def __init__(self, engine: OfflineEngine) -> None:
        super().__init__(())
        self.engine = engine
        self.answers: list[Response] = []

    def complete(self, request: Request) -> Response:
        self.answers.append(self.engine.answer(request))
        return self.answers[-1]


class Workload(NamedTuple):
    """Tasks of one refiner, and all that its model is asked and answers in one round over them."""

    refiner: Pivot
    requests: tuple[str, ...]
    calls: tuple[ModelCall, ...]
    answers: tuple[Response, ...]

    def refine(self) -> None:
        """One round over the tasks."""
        for request in self.requests:
            self.refiner(request=request)

    def predict(self, lm: dspy.LM) -> None:
        """The same calls of the model by `dspy.Predict`, with the same inputs, as DSPy does it by itself."""
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            for call in self.calls:
                given = {"signature": call.predict.signature, **call.inputs}
                dspy.Predict(given.pop("signature"))(**given)


def taken_down(refiner: Pivot, engine: OfflineEngine, requests: Sequence[str]) -> Workload:
    """One round with the offline model. Raises RuntimeError where a task is not solved."""
    noted = TakenDown(engine)
    refiner.set_lm(_lm(noted))
    calls = [call for request in requests for call in recorded(refiner, request)[1]]
    return Workload(refiner, tuple(requests), tuple(calls), tuple(noted.answers))


def noop() -> Workload:
    engine = offline_lm([reference(REQUEST)], slip=0.0, heed=1.0, relapse=0.0).engine
    return taken_down(Pivot("request -> sum: int", NoOp), engine, [REQUEST])


def shopping(directory: Path, tasks: int) -> Workload:
    """The first tasks of a shop, with a model that errs now and then as the shopping program's does."""
    from programs.deepplanning.environment import Market, Shopping
    from programs.deepplanning.loader import load_cases
    from programs.deepplanning.readable import readable

    known = readable(directory, load_cases(directory))
    cases = known.cases[:tasks]
    engine = offline_lm(known.references.values(), slip=0.0, heed=1.0, relapse=0.0).engine
    return taken_down(Pivot(Shopping, Market(cases).open), engine, [case.query for case in cases])


def against_predict(work: Workload, repeats: int, rounds: int) -> list[float]:
    """Pivot's CPU a call of the model over that of `dspy.Predict`; both make as many calls."""
    work.refiner.set_lm(_lm(InTurn(work.answers)))
    return ratios(work.refine, partial(work.predict, _lm(InTurn(work.answers))), repeats, rounds)


def over_http(work: Workload, repeats: int, rounds: int) -> list[float]:
    """The same with DSPy's own HTTP engine and a server on the loopback, in another process."""
    from programs.benchmarks.loopback import served

    texts = [str(answer.text) for answer in work.answers]
    with served(texts) as ours, served(texts) as theirs:
        work.refiner.set_lm(ours)
        return ratios(work.refine, partial(work.predict, theirs), repeats, rounds)


def against_react(work: Workload, repeats: int, rounds: int) -> list[float]:
    """The CPU of `dspy.ReAct` for the no-op task over Pivot's."""
    engine = offline_lm([reference(REQUEST)], slip=0.0, heed=1.0, relapse=0.0).engine

    def react(lm: dspy.LM) -> None:
        world = NoOp()
        with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
            dspy.ReAct("request -> sum: int", tools=[world.look, world.add])(request=REQUEST)

    noted = TakenDown(engine)
    react(_lm(noted))
    work.refiner.set_lm(_lm(InTurn(work.answers)))
    return ratios(partial(react, _lm(InTurn(noted.answers))), work.refine, repeats, rounds)


def ratios(one: Callable[[], object], other: Callable[[], object], repeats: int, rounds: int) -> list[float]:
    """CPU seconds of `one` over those of `other`, for each repeat of so many rounds; they take turns."""
    for warm in (one, other):
        seconds(warm, 2)
    return [seconds(one, rounds) / seconds(other, rounds) for _ in range(repeats)]


def seconds(function: Callable[[], object], rounds: int) -> float:
    """CPU seconds of this process for so many calls."""
    started = time.process_time()
    for _ in range(rounds):
        function()
    return time.process_time() - started


def against_build(checkout: Path, repeats: int, rounds: int) -> list[float]:
    """The CPU of a no-op task here over that in another checkout, each in a process of its own."""
    here = Path(__file__).parents[2]

    def task(root: Path) -> float:
        command = [sys.executable, __file__, "--task", str(rounds)]  # this very file measures the other's package
        environment = {**os.environ, "PYTHONPATH": str(root)}
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)

    return [task(here) / task(checkout) for _ in range(repeats)]


def noop_task(rounds: int) -> float:
    """CPU seconds of one no-op task."""
    work = noop()
    work.refiner.set_lm(_lm(InTurn(work.answers)))
    seconds(work.refine, max(1, rounds // 4))
    return seconds(work.refine, rounds) / rounds


def in_threads(tasks: int) -> tuple[float, float]:
    """The share of what the model's latency allows, by Pivot and by `dspy.Predict`, of many tasks at once."""
    from programs.benchmarks.throughput import measure

    figures = measure(tasks, THREADS, LATENCY, progress=False)
    return figures["share_of_possible"], figures["bare_share_of_possible"]


def measure(
    repeats: int, rounds: int, *, data: Path | None = None, tasks: int = 3, checkout: Path | None = None
) -> dict[str, list[float]]:
    """All ratios, one for each repeat, by the names in `TARGETS`; no row for a build where no checkout is named."""
    figures: dict[str, list[float]] = {}
    with dspy.context(disable_history=True), tempfile.TemporaryDirectory() as scratch:
        work = noop()
        figures["cpu_per_lm_call_of_predict_noop"] = against_predict(work, repeats, rounds)
        if data is None:
            from programs.deepplanning.generate import generate

            generate(Path(scratch))
        shop = shopping(data or Path(scratch), tasks)
        figures["cpu_per_lm_call_of_predict_shopping"] = against_predict(shop, repeats, max(1, rounds // 10))
        figures["cpu_per_lm_call_of_predict_http"] = over_http(work, repeats, rounds)
        if checkout is not None:
            figures["cpu_per_noop_task_of_other_build"] = against_build(checkout, repeats, rounds)
        figures["cpu_of_react_per_pivot_task"] = against_react(work, repeats, rounds)
        shares = [in_threads(2 * rounds) for _ in range(max(1, repeats // 2))]
    names = ("share_of_ideal_32_threads", "share_of_ideal_32_threads_predict")
    return figures | dict(zip(names, map(list, zip(*shares, strict=True)), strict=True))


def show(figures: Mapping[str, Sequence[float]]) -> None:
    table = Table(title="Processor time", title_justify="left")
    for name in ("ratio", "median", "least", "most", "target"):
        table.add_column(name, justify="left" if name == "ratio" else "right")
    for name, values in figures.items():
        target = f"{'>=' if name in AT_LEAST else '<='} {TARGETS[name]:g}" if TARGETS[name] else ""
        numbers = (statistics.median(values), min(values), max(values))
        table.add_row(name, *(f"{number:.2f}" for number in numbers), target)
    Console().print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.processor", description=__doc__)
    parser.add_argument("--repeats", type=positive, default=5, help="of each comparison")
    parser.add_argument("--rounds", type=positive, default=40, help="over the tasks, in each turn")
    parser.add_argument("--data", type=Path, metavar="DIR", help="the published shop (default: a generated one)")
    parser.add_argument("--tasks", type=positive, default=3, help="of the shop")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another version of this repository")
    parser.add_argument("--json", type=writable, metavar="PATH")
    parser.add_argument("--task", type=positive, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.task:
        with dspy.context(disable_history=True):
            sys.stdout.write(f"{noop_task(options.task)}\n")
        return 0
    figures = measure(
        options.repeats, options.rounds, data=options.data, tasks=options.tasks, checkout=options.against
    )
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2), encoding="utf-8")
    return 0


def _lm(engine: InTurn) -> dspy.LM:
    return dspy.LM("in-turn", engine=engine, cache=False)


if __name__ == "__main__":
    sys.exit(main())
