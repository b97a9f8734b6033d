"""Refines recorded travel plans of a real model: each text is parsed by rule, becomes a trajectory, and Pivot goes on.

`python -m programs.benchmarks.recorded_travel --data DIR [--runs FILE] [--limit N] [--seed N] [--json PATH]`. The plans
are those of a real model, in the published text form; the model that repairs them is the offline one, a simulator. The
first step of a trajectory, which says where, when and for how many, is read from the request, as no run states it. The
simulator goes by plans of its own, so that what is kept of a recorded plan is little: the figures tell that such a log
can be taken up and what comes of it, not how a real model would mend it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pivot_dspy import Pivot, Step, Trajectory
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.simulator import Reference, offline_lm
from programs.deepplanning.readable import read_all, warn
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import standing_rules
from programs.deepplanning.travel.loader import load_gold, load_tasks, read_lines
from programs.deepplanning.travel.plan_text import ParsedPlan, parse_plan
from programs.deepplanning.travel.strict import StrictScore, strict_score
from programs.deepplanning.travel.trip_plan import Agency, TripPlan, final_plan
from programs.options import DataError, positive, writable

FIELDS = ("language", "id", "model", "plan_text")


@dataclass(frozen=True)
class Recorded:
    """A recorded run: whose it is, its plan as far as a rule reads it, and what the benchmark gave for the plan that
    another model had read from the same text; None where that is not recorded."""

    task: str
    language: Language
    model: str
    parsed: ParsedPlan
    composite: float | None


def recorded_plans(file: Path) -> Iterator[Recorded]:
    """The runs of a file. Raises DataError where the file or a run is broken."""
    for place, run in read_lines(file):
        if missing := [name for name in FIELDS if name not in run]:
            raise DataError(f"{place}: no {', '.join(missing)}; expected an object with {', '.join(FIELDS)}")
        if run["language"] not in ("en", "zh") or not isinstance(run["plan_text"], str):
            raise DataError(f"{place}: expected language en or zh, and plan_text to be a text")
        yield Recorded(
            task=f"{run['language']}-{run['id']}",
            language=run["language"],
            model=run["model"],
            parsed=parse_plan(run["plan_text"]),
            composite=run.get("composite"),
        )


def trajectory(start: Mapping[str, Any], plan: Mapping[str, Any]) -> Trajectory:
    """A plan that was written, as if a planner had proposed it and then stopped: it is not submitted, as in a log.

    Args:
        start: arguments of the first step.
    """
    return Trajectory(
        steps=(
            Step(id="start", tool="start", args=dict(start)),
            Step(id="plan", tool="propose", args={"plan": dict(plan)}),
        )
    )


def refine(directory: Path, runs: Sequence[Recorded], seed: int, console: Console) -> list[dict[str, Any]]:
    """One row for each run whose request the offline model can read: its scores before and after.

    Raises:
        DataError: the directory lacks the task of a run, or holds a broken one.
    """
    languages = {run.language for run in runs}
    tasks = {task.id: task for name in languages for task in load_tasks(directory, language=name)}
    gold = {name: meta for language in languages for name, meta in load_gold(directory, language=language).items()}
    if unknown := sorted({run.task for run in runs} - tasks.keys()):
        raise DataError(f"{directory}: no task for the runs of {', '.join(unknown)}")
    wanted = [tasks[name] for name in dict.fromkeys(run.task for run in runs)]
    agency = Agency(wanted, "json")
    known = read_all(wanted, agency.reference)
    warn(known.unread)
    pivot = Pivot(TripPlan, agency.open, requirements=standing_rules())
    pivot.set_lm(offline_lm(known.references.values(), seed=seed, cache=False))
    rows = []
    for run in track(runs, "refining", console=console, transient=True):
        if run.task in known.unread:
            continue
        task = tasks[run.task]
        given = trajectory(_start(known.references[run.task]), run.parsed.plan)
        result = pivot(request=task.request, trajectory=given)
        before = strict_score(run.parsed.plan, gold[run.task], task.database)
        after = strict_score(final_plan(result.execution), gold[run.task], task.database)
        rows.append(
            {
                "id": run.task,
                "model": run.model,
                "parsed_share": run.parsed.share,
                "recorded_composite": run.composite,
                "before": _figures(before),
                "after": _figures(after),
                "verified": result.verified,
                "losses": accepted_losses(result.history),
                "lm_calls": result.ledger.usage.lm_calls,
                "tokens": result.ledger.usage.total_tokens,
            }
        )
    return rows


def _start(known: Reference) -> Mapping[str, Any]:
    """How a capable model would begin."""
    args: Mapping[str, Any] = next(step["args"] for step in known.steps if step["tool"] == "start")
    return args


def _figures(score: StrictScore) -> dict[str, float]:
    official = score.official
    return {
        "commonsense": official.commonsense, "personalized": official.personalized, "composite": official.composite,
        "case": official.case_accuracy, "strict": float(score.passed),
    }  # fmt: skip


def summary(runs: Sequence[Recorded], rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts and means; scores are of the runs that were refined."""
    count = len(rows) or 1
    scores = {
        f"{name}_{when}": sum(row[when][name] for row in rows) / count
        for name in ("commonsense", "personalized", "composite", "case", "strict")
        for when in ("before", "after")
    }
    return {
        "runs": len(runs),
        "texts_read_whole": sum(run.parsed.share == 1.0 for run in runs),
        "activities_read": sum(run.parsed.share for run in runs) / (len(runs) or 1),
        "refined": len(rows),
        "scored_as_recorded": sum(row["before"]["composite"] == row["recorded_composite"] for row in rows),
        **scores,
        "better": sum(row["after"]["composite"] > row["before"]["composite"] for row in rows),
        "worse": sum(row["after"]["composite"] < row["before"]["composite"] for row in rows),
        "verified": sum(row["verified"] for row in rows),
        "loss_fell": sum(row["losses"][-1] < row["losses"][0] for row in rows),
        "loss_rose": sum(any(b > a for a, b in zip(row["losses"], row["losses"][1:], strict=False)) for row in rows),
        "lm_calls_per_run": sum(row["lm_calls"] for row in rows) / count,
        "tokens_per_run": sum(row["tokens"] for row in rows) / count,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.recorded_travel", description=about)
    parser.add_argument("--data", required=True, type=Path, metavar="DIR")
    parser.add_argument("--runs", type=Path, metavar="FILE", help="default: recorded_runs.jsonl.gz in DIR")
    parser.add_argument("--limit", type=positive, metavar="N", help="only the first N runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        file = options.runs or options.data / "recorded_runs.jsonl.gz"
        runs = list(islice(recorded_plans(file), options.limit))
        with dspy.context(disable_history=True):
            rows = refine(options.data, runs, options.seed, console)
    except DataError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    figures = summary(runs, rows)
    table = Table(title="Recorded plans, refined (model: simulated)", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)
    if options.json:
        record = {"lm": {"simulated": True}, "seed": options.seed, "summary": figures, "runs": rows}
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
