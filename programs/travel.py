"""Refines the travel tasks of DeepPlanning (arXiv 2601.18137), scores the plans and shows them as people read trips.

`python -m programs.travel` needs no key, no network and no data: it generates a small city and a few tasks, and the
offline model plans. `--data DIR` (or `--data hub`) takes the published tasks, `--lm NAME` any model that DSPy reaches.
`--form builder` has the model choose where, when and in which order, and a builder writes the plan; `--form json` has
it write the plan out; `--form published` is the benchmark's own kind of agent, as a baseline, and needs `--lm`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError
from dspy.utils.usage_tracker import UsageTracker
from rich.console import Console

from pivot_dspy import Execution, PivotError, Refined
from pivot_dspy.simulator import offline_lm
from programs import records, terminal
from programs.deepplanning.readable import Readable, read_all, remark, warn
from programs.deepplanning.travel.environment import standing_rules
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.hub import hub_directory
from programs.deepplanning.travel.loader import TravelTask, load_gold, load_tasks
from programs.deepplanning.travel.published_agent import solve
from programs.deepplanning.travel.showing.outcome import ShownTrip, shown_trip
from programs.deepplanning.travel.showing.page import page
from programs.deepplanning.travel.showing.terminal import show_trip
from programs.deepplanning.travel.strict import StrictScore, strict_score
from programs.deepplanning.travel.trip_plan import FORMS, Agency, TripPlan, final_plan
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.options import DataError, chosen, positive, writable
from programs.refiners import REFINERS

PUBLISHED = "published"
"""The form of the benchmark's own kind of agent, which is no refiner."""
GENERATED = 9
"""Tasks that are generated, every third in Chinese."""
AVERAGED = ("commonsense", "personalized", "composite")
"""Scores that the summary has the averages of, beside the rates."""
_UNVERIFIED = "the published kind of agent verifies nothing"

Gold = Mapping[str, Mapping[str, Any]]


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    if options.form == PUBLISHED and (options.lm is None or options.refiner or options.budget_tokens):
        parser.error("--form published is a plain loop of a real model: it needs --lm, and takes no refiner or budget")
    options.refiner = PUBLISHED if options.form == PUBLISHED else options.refiner or "pivot"
    console = terminal.console()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            directory = _directory(options, Path(scratch))
            tasks = _chosen(load_tasks(directory, language=options.language), options.tasks)
            agency = Agency(tasks, "json" if options.form == "json" else "builder")
            known = read_all(tasks, agency.reference) if options.lm is None else Readable(tuple(tasks))
            warn(known.unread)
            lm = named_lm(options) if options.lm is not None else _offline(known, options)
            gold = load_gold(directory, language=options.language)
            record, trips = run(known.cases, agency, gold, lm, options, console)
            record["unread"] = dict(known.unread)
            record["summary"]["unread"] = len(known.unread)
    except (DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    _show(record, trips, options, console)
    if options.json:
        written = json.dumps(record, ensure_ascii=False, indent=2, default=str)
        options.json.write_text(written, encoding="utf-8")
    if options.page:
        options.page.write_text(page(trips, _averages(record), _title(record), _remarks(record)), encoding="utf-8")
    return records.finish(record, [task.id for task in known.cases], console)


def run(
    tasks: Sequence[TravelTask],
    agency: Agency,
    gold: Gold,
    lm: dspy.LM,
    options: argparse.Namespace,
    console: Console,
) -> tuple[dict[str, Any], list[ShownTrip]]:
    """Refine every task and score it: the record, which is what `--json` writes, and what there is to show.

    Raises:
        DataError, PivotError, LMError: no task can be refined like this, as with a budget that pays for no plan.
    """
    trips: dict[str, ShownTrip] = {}
    solve_task = _by_agent(lm) if options.form == PUBLISHED else _by_refiner(agency, lm, options)

    def scored(task: TravelTask) -> dict[str, Any]:
        plan, row, result = solve_task(task, gold[task.id])
        score = strict_score(plan, gold[task.id], task.database)
        row |= {name: getattr(score.official, name) for name in AVERAGED} | {"plan": plan}
        trips[task.id] = shown_trip(
            task, gold[task.id], agency.world(task).tables, plan=plan, score=score, result=result, row=row
        )
        return row

    by_id = {task.id: task for task in tasks}
    rows = records.rows(by_id, scored, threads=options.threads, console=console, fatal=(DataError,))
    made = records.record("travel", options, lm, rows)
    made["settings"]["data"] = {None: "generated", "hub": "hub"}.get(options.data, "directory")  # no path of a machine
    if rows:
        made["summary"] |= {name: sum(row[name] for row in rows) / len(rows) for name in AVERAGED}
    return made, [trips[row["id"]] for row in rows]


Solved = tuple[Any, dict[str, Any], Refined | None]
"""A task's plan, its row, and what a refiner returned."""


def _by_refiner(
    agency: Agency, lm: dspy.LM, options: argparse.Namespace
) -> Callable[[TravelTask, Mapping[str, Any]], Solved]:
    """How a refiner solves one task."""
    limits = {"budget": budget_of(options), "constrained": options.constrained}
    refiner = REFINERS[options.refiner](TripPlan, agency.open, **limits, requirements=standing_rules())
    refiner.set_lm(lm)

    def solve_task(task: TravelTask, gold: Mapping[str, Any]) -> Solved:
        results: list[Refined] = []

        def refine() -> Refined:
            results.append(refiner(request=task.request))
            return results[-1]

        def score(execution: Execution | None) -> tuple[float, bool, bool]:
            return _triple(strict_score(final_plan(execution), gold, task.database))

        row = records.row(task.id, refine, score)
        result = results[0] if results else None
        return final_plan(result.execution if result else None), row, result

    return solve_task


def _by_agent(lm: dspy.LM) -> Callable[[TravelTask, Mapping[str, Any]], Solved]:
    """How the published kind of agent solves one task."""

    def solve_task(task: TravelTask, gold: Mapping[str, Any]) -> Solved:
        tracker = UsageTracker()
        started = time.perf_counter()
        with dspy.context(lm=lm, usage_tracker=tracker):
            handed = solve(task)
        seconds = time.perf_counter() - started
        plan = None if handed.parsed is None else handed.parsed.plan
        row = records.plain_row(
            task.id, tracker, score=_triple(strict_score(plan, gold, task.database)), tool_calls=handed.tool_calls,
            seconds=seconds, why=handed.problem or _UNVERIFIED,
        )  # fmt: skip
        parsed_share = None if handed.parsed is None else handed.parsed.share
        return plan, row | {"parsed_share": parsed_share}, None

    return solve_task


def _triple(score: StrictScore) -> tuple[float, bool, bool]:
    return score.official.composite, score.official.case_accuracy == 1.0, score.passed


def _directory(options: argparse.Namespace, scratch: Path) -> Path:
    if options.data == "hub":
        return hub_directory(options.language)
    if options.data is not None:
        return Path(options.data)
    generate(scratch, seed=options.seed, tasks=GENERATED)
    return scratch


def _chosen(tasks: list[TravelTask], wanted: str | None) -> list[TravelTask]:
    by_id = {task.id: task for task in tasks}
    return [by_id[name] for name in chosen(by_id, wanted)]


def _offline(known: Readable[TravelTask], options: argparse.Namespace) -> dspy.LM:
    rates = {"slip": options.slip, "heed": options.heed, "relapse": options.relapse}
    # Without the cache, so that every call is counted.
    return offline_lm(known.references.values(), **rates, seed=options.seed, cache=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.travel", description=__doc__)
    add = parser.add_argument
    add("--data", metavar="DIR", help="the published layout, or 'hub' to download it (default: generated)")
    add("--language", choices=("en", "zh"), default="en", help="of the tasks")
    add("--tasks", metavar="N|IDS", help="how many tasks, or their ids: en-12,en-14 (default: all)")
    add("--form", choices=(*FORMS, PUBLISHED), default="builder", help="how the model writes a plan")
    add_model_options(parser)
    add("--refiner", choices=sorted(REFINERS), help="(default: pivot)")
    add("--seed", type=int, default=0, help="of the offline model and of generated tasks")
    add("--threads", type=positive, default=2, help="tasks at a time")
    add("--slip", type=float, default=0.2, help="offline model: slips per planned step")
    add("--heed", type=float, default=0.85, help="offline model: how often it repairs what is named")
    add("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step")
    add("--show", action="store_true", help="print every trip, day by day (one alone is printed anyway)")
    add("--json", type=writable, metavar="PATH", help="write the record of the run, with the plans, here")
    add("--page", type=writable, metavar="PATH", help="write the trips here, as one HTML file")
    return parser


def _show(record: dict[str, Any], trips: Sequence[ShownTrip], options: argparse.Namespace, console: Console) -> None:
    if options.show or len(trips) == 1:
        for trip in trips:
            show_trip(trip, console)
            console.print()
    columns: list[records.Column] = [
        ("common", lambda task: f"{task['commonsense']:.2f}"),
        ("personal", lambda task: f"{task['personalized']:.0f}"),
        ("composite", lambda task: f"{task['composite']:.2f}"),
        ("case", lambda task: "pass" if task["official_pass"] else "-"),
        ("strict", lambda task: "pass" if task["strict_pass"] else "-"),
    ]
    records.show(record, _title(record), columns, console, established=False)  # a trip that is shown tells it
    averages = " · ".join(f"{name} {record['summary'].get(name, 0):.3f}" for name in AVERAGED)
    console.print(f"Averages: {averages} (official is case accuracy)", soft_wrap=True)
    for text in _remarks(record):
        console.print(text, soft_wrap=True, markup=False)


def _title(record: dict[str, Any]) -> str:
    settings = record["settings"]
    return f"DeepPlanning travel ({settings['data']}, {settings['language']}, {settings['form']} form)"


def _remarks(record: dict[str, Any]) -> list[str]:
    model = f"Model: {record['lm']['name']}; refiner: {record['refiner']}"
    simulated = "SIMULATED: it slips and repairs at these rates, and says nothing of any real model."
    left_out = [remark(record["unread"])] if record["unread"] else []
    return [*left_out, model, *([simulated] if record["lm"]["simulated"] else [])]


def _averages(record: dict[str, Any]) -> dict[str, float]:
    """Under the names of the rows' figures."""
    summary = record["summary"]
    if not summary["tasks"]:
        return {}
    rates = {name: summary[f"{name}_rate"] for name in ("official_pass", "strict_pass")}
    means = {name: summary[f"{name}_per_task"] for name in ("lm_calls", "prompt_tokens", "completion_tokens")}
    return {name: summary[name] for name in AVERAGED} | rates | means


if __name__ == "__main__":
    sys.exit(main())
