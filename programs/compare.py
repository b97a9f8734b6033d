"""Compares refiners on the same tasks with the same seeds: success, tokens, calls, and success at equal tokens.

`python -m programs.compare --program shopping` needs no key and no network: the offline model plans, a simulator, and
its noise model is printed with the tables. `--lm NAME` takes any model that DSPy reaches. With `--json PATH` each run
is kept as soon as it is finished, in PATH with the ending .jsonl: the same command goes on where it was cut off, and
one with more refiners, tasks or seeds runs only what is new.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from functools import partial
from typing import Any

import dspy
from rich.console import Console
from rich.progress import Progress

from pivot_dspy import ConfigurationError
from pivot_dspy.simulator import Rates, offline_lm
from programs.comparison import report
from programs.comparison.benchmarks import PROGRAMS, Benchmark, Task, load
from programs.comparison.page import page
from programs.comparison.results import Results, beside, code
from programs.comparison.runs import Hopeless, Model, Record, Runner, Unit
from programs.comparison.statistics import figures, finished_pairs
from programs.comparison.workers import workers
from programs.deepplanning.readable import warn
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.options import DataError, positive, writable
from programs.refiners import REFINERS

RATES = tuple(report.RATES)
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    if options.json and options.html and options.json == options.html:
        parser.error("--json and --html are one file; give them different names")
    console = report.console()
    try:
        refiners = _refiners(options.refiners)
        benchmark = load(options.program, options.tasks, options.data, offline=options.lm is None)
        warn(benchmark.unread)
        if options.judge_error is None:
            options.judge_error = benchmark.judge_error
        lm, model = _model(options)
        settings = {"program": benchmark.name, "lm": lm, "budget_tokens": options.budget_tokens, "code": code()}
        chosen = {name: getattr(options, name) for name in ("max_tokens", "budget_seconds", "constrained")}
        settings |= {name: value for name, value in chosen.items() if value}
        results = Results(beside(options.json) if options.json else None, settings)
        # Seed by seed, so that what is finished first is spread over the tasks; the refiners on one task together.
        units = [
            Unit(refiner, task, seed)
            for seed in range(options.seeds) for task in benchmark.tasks for refiner in refiners
        ]  # fmt: skip
        ended = _run(units, benchmark, model, results, options, console)
    except (DataError, ConfigurationError) as error:
        _tell(error)
        return 2
    except KeyboardInterrupt:  # before anything was run
        return INTERRUPTED
    record = _record(units, results, refiners, benchmark, lm, options)
    if ended and not record["pairs"]["finished"]:
        return ended
    report.show(record, console)
    if options.json:
        written = json.dumps(record, ensure_ascii=False, indent=2, allow_nan=False)
        options.json.write_text(written + "\n", encoding="utf-8")
    if options.html:
        options.html.write_text(page(record), encoding="utf-8")
    return ended


def _run(
    units: list[Unit],
    benchmark: Benchmark,
    model: Model,
    results: Results,
    options: argparse.Namespace,
    console: Console,
) -> int:
    """Runs what is not finished yet; 0, or the exit code where it was cut off."""
    ahead = [unit for unit in units if results.get(unit) is None]
    if len(ahead) < len(units):
        console.print(f"{len(units) - len(ahead)} of {len(units)} runs were finished before.")
    if unused := results.unused(units):
        told = f"{beside(options.json).name} also holds {unused} run{'s' * (unused != 1)}"
        console.print(f"{told} of other refiners, tasks, seeds, settings or versions, not used here.", highlight=False)
    made = {name: partial(make, constrained=True) for name, make in REFINERS.items()}
    refiners = made if options.constrained else REFINERS
    runner = Runner(refiners, benchmark.signature, model, budget_of(options), benchmark.requirements)
    try:
        with (
            Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
            workers(options.processes, options.dask) as executor,
        ):
            bar = progress.add_task("comparing", total=len(units), completed=len(units) - len(ahead))

            def keep(unit: Unit, record: Record) -> None:
                results.add(unit, record)
                progress.advance(bar)

            with closing(runner.all(ahead, options.threads, keep, executor)) as records:
                for _ in records:
                    pass
    except Hopeless as error:
        _tell(error)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted." + (" The same command goes on from here." if options.json else ""), style="yellow")
        return INTERRUPTED
    return 0


def _record(
    units: list[Unit],
    results: Results,
    refiners: list[str],
    benchmark: Benchmark,
    lm: str,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """What `--json` writes, and what is shown."""
    found = [record for unit in units if (record := results.get(unit)) is not None]
    runs = finished_pairs(found, refiners)
    rates = {name: getattr(options, name) for name in RATES} if options.lm is None else {}
    return {
        "program": benchmark.name,
        "lm": {"name": lm, "simulated": options.lm is None},
        "settings": {
            "refiners": refiners,
            "tasks": [task.id for task in benchmark.tasks],
            "seeds": options.seeds,
            "data": benchmark.data,
            "budget_tokens": options.budget_tokens,
            "threads": options.threads,
            "notes": list(benchmark.notes),
            **rates,
        },
        "refiners": figures(runs, refiners),
        "pairs": {"finished": len(runs) // len(refiners), "planned": len(units) // len(refiners)},
    }


def _refiners(wanted: str) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    unknown = [name or "''" for name in names if name not in REFINERS]
    if unknown:
        raise ConfigurationError(f"no refiner is called {', '.join(unknown)}; refiners: {', '.join(REFINERS)}")
    return names


def _model(options: argparse.Namespace) -> tuple[str, Model]:
    """The model's name without seed, and the model that a run asks."""
    if options.lm is not None:
        # Without DSPy's cache: it would give one refiner for nothing what another has paid for, and the same answer to
        # every seed.
        asked = named_lm(options, cache=False, temperature=1.0)
        return str(asked.model), lambda task, seed: asked
    rates = {name: getattr(options, name) for name in RATES}

    def offline(task: Task, seed: int) -> dspy.LM:
        return offline_lm([task.reference] if task.reference else [], **rates, seed=seed, cache=False)

    offline_lm([], **rates)  # so that a rate that is none is told now
    return f"offline/{Rates(**rates).name.rpartition(',seed=')[0]}", offline


def _tell(error: Exception) -> None:
    Console(stderr=True).print(f"error: {error}", style="red", markup=False, highlight=False, soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.compare", description=__doc__)
    add = parser.add_argument
    add("--program", choices=list(PROGRAMS), default="shopping")
    add("--refiners", metavar="A,B,...", default=",".join(REFINERS), help="the first is what the others are paired "
        f"with (default: all: {', '.join(REFINERS)})")  # fmt: skip
    add("--tasks", metavar="N|IDS", help="how many, spread over the benchmark's kinds, or their ids: L1-2,L2-4")
    add("--seeds", type=positive, default=2, metavar="K", help="runs of each refiner on each task (default: 2)")
    add_model_options(parser, "a model for dspy.LM, asked without its cache at temperature 1 (default: the offline "
                      "model, a simulator)")  # fmt: skip
    add("--data", metavar="DIR", help="of shopping and travel: the published layout, or 'hub' to download it (default: "
        "generated)")  # fmt: skip
    add("--threads", type=positive, default=2, metavar="N", help="runs at a time, in each process (default: 2)")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--processes", type=positive, metavar="P", help="run in so many processes of this machine")
    where.add_argument("--dask", metavar="ADDRESS", help="run on the workers of a Dask scheduler: tcp://host:8786")
    add("--slip", type=float, default=0.2, help="offline model: slips per planned step (default: 0.2)")
    add("--heed", type=float, default=0.85, help="offline model: how often it repairs what is named (default: 0.85)")
    add("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step (default: 0.05)")
    add(
        "--judge-error",
        type=float,
        help="offline model: how often it judges wrongly (default: 0; bfcl, agentdojo: 0.1)",
    )
    add("--json", type=writable, metavar="PATH", help="write the figures here, and each finished run beside it as it "
        "ends")  # fmt: skip
    add("--html", type=writable, metavar="PATH", help="write tables and chart here, as one file")
    return parser


if __name__ == "__main__":
    sys.exit(main())
