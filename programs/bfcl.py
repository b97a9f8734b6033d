"""Refines the multi-turn tasks of the Berkeley Function Calling Leaderboard and scores them with its own checker.

`python -m programs.bfcl` needs no key and no network, but the package bfcl-eval, which is installed without the
dependencies that it pins: `pip install --no-deps bfcl-eval mpmath`. The offline model plans; `--lm NAME` takes any
model that DSPy reaches. `--gold` runs the benchmark's own calls, whole and without their last.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import LMError
from rich.console import Console
from rich.progress import Progress

from pivot_dspy import Execution, PivotError
from programs import records
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.multi_turn import reference
from programs.multi_turn.checker import score
from programs.multi_turn.data import SETS, Case, Gold, load_cases, load_gold
from programs.multi_turn.environment import Conversation, Conversations
from programs.multi_turn.package import MissingPackage, version
from programs.options import DataError, chosen, positive, writable
from programs.refiners import REFINERS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    console = Console()
    try:
        if options.gold:
            record = check_gold(options.set, options.tasks, console)
            cases: list[Case] = []
        else:
            options.set = options.set or SETS[0]
            cases, gold = _chosen(load_cases(options.set), options.tasks), load_gold(options.set)
            lm = named_lm(options) if options.lm else _offline(cases, gold, options)
            record = run(cases, gold, lm, options, console)
    except (MissingPackage, DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    (_show_gold if options.gold else _show)(record, console)
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    if options.gold:
        return 0 if all(row["gold"] == row["tasks"] and not row["without_last"] for row in record["sets"]) else 1
    return records.finish(record, [case.id for case in cases], console)


def run(
    cases: list[Case], gold: dict[str, Gold], lm: dspy.LM, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Refine every case and score it; the record is what `--json` writes.

    Raises:
        MissingPackage, PivotError, LMError: no task can be refined like this, as with a budget that pays for no plan.
    """
    limits = {"budget": budget_of(options), "constrained": options.constrained}
    refiner = REFINERS[options.refiner](Conversation, Conversations(cases).open, **limits)
    refiner.set_lm(lm)

    def one(case: Case) -> dict[str, Any]:
        def scores(execution: Execution | None) -> tuple[float, bool, bool]:
            official, strict = score(execution, case, gold[case.id])
            return float(official), official, strict

        return records.row(case.id, lambda: refiner(**case.inputs), scores)

    by_id = {case.id: case for case in cases}
    tasks = records.rows(by_id, one, threads=options.threads, console=console, fatal=(MissingPackage,))
    made = records.record("bfcl", options, lm, tasks)
    made["settings"]["package"] = version()
    return made


def check_gold(chosen: str | None, wanted: str | None, console: Console) -> dict[str, Any]:
    """Run the gold calls through the environment and the checker, whole and without the last of each task.

    Args:
        chosen: one of the sets; all of them if None.
        wanted: how many tasks of each set, or their ids; all if None.

    Raises:
        MissingPackage, DataError: there is nothing to run.
    """
    rows = []
    with Progress(console=console, transient=True) as progress:
        for name in [chosen] if chosen else SETS:
            cases, gold = _chosen(load_cases(name), wanted), load_gold(name)
            bar = progress.add_task(name, total=len(cases))
            started = time.perf_counter()
            row: dict[str, Any] = {"set": name, "tasks": len(cases), "gold": 0, "without_last": 0, "failed": []}
            for case in cases:
                whole, short = (
                    score(reference.run(case, reference.plan(case, gold[case.id], without_last=cut)), case,
                          gold[case.id])[1]
                    for cut in (False, True)
                )  # fmt: skip
                row["gold"] += whole
                row["without_last"] += short
                row["failed"] += [case.id] if short or not whole else []
                progress.advance(bar)
            rows.append(row | {"seconds": round(time.perf_counter() - started, 3)})
    return {"program": "bfcl", "settings": {"package": version()}, "sets": rows}


def _chosen(cases: list[Case], wanted: str | None) -> list[Case]:
    by_id = {case.id: case for case in cases}
    return [by_id[name] for name in chosen(by_id, wanted)]


def _offline(cases: list[Case], gold: dict[str, Gold], options: argparse.Namespace) -> dspy.LM:
    return reference.model(
        cases,
        gold,
        slip=options.slip,
        heed=options.heed,
        relapse=options.relapse,
        judge_error=options.judge_error,
        seed=options.seed,
        cache=False,  # so that every call is counted
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.bfcl", description=__doc__)
    parser.add_argument("--set", choices=SETS, help="the tasks to run (default: base; with --gold: all)")
    parser.add_argument("--tasks", metavar="N|IDS", help="how many tasks, or their ids, with commas (default: all)")
    parser.add_argument("--gold", action="store_true", help="check the gold calls instead, whole and without the last")
    add_model_options(parser)
    parser.add_argument("--refiner", choices=sorted(REFINERS), default="pivot")
    parser.add_argument("--seed", type=int, default=0, help="of the offline model")
    parser.add_argument("--threads", type=positive, default=2, help="tasks at a time")
    parser.add_argument("--slip", type=float, default=0.2, help="offline model: slips per planned step")
    parser.add_argument("--heed", type=float, default=0.85, help="offline model: how often it repairs what is named")
    parser.add_argument("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step")
    parser.add_argument(
        "--judge-error", type=float, default=0.1, help="offline model: how often it judges a requirement wrongly"
    )
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the record of the run here")
    return parser


def _show(record: dict[str, Any], console: Console) -> None:
    passed = ("passed", lambda task: "pass" if task["strict_pass"] else "-")
    records.show(record, f"BFCL multi-turn, {record['settings']['set']}", [passed], console)
    console.print("All turns are given at once, unlike on the leaderboard: its figures are others.", soft_wrap=True)
    records.say_simulated(record, console)


def _show_gold(record: dict[str, Any], console: Console) -> None:
    columns = {"set": "set", "tasks": "tasks", "gold": "whole", "without_last": "without the last"}
    summary = "Gold calls: {gold}/{tasks} pass; without the last call of a task: {without_last}/{tasks}"
    records.show_gold("BFCL multi-turn, gold calls that pass", record["sets"], columns, summary, console)


if __name__ == "__main__":
    sys.exit(main())
