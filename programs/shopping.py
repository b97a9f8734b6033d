"""Refines the shopping tasks of DeepPlanning (arXiv 2601.18137) and scores the carts.

`python -m programs.shopping` needs no key, no network and no data: it generates a small store and a few tasks, and the
offline model plans. `--data DIR` (or `--data hub`) takes the published tasks, `--lm NAME` any model that DSPy reaches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMInvalidRequestError
from rich import box
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from pivot_dspy import Budget, Event, PivotError, PlanningFailed, Refined, Refiner
from pivot_dspy.history import accepted_losses, first_suspect_right
from pivot_dspy.offline import is_simulated, offline_lm
from programs.deepplanning.environment import POLICY, PURCHASE, Market, Shopping, final_cart
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import Case, DataError, hub_directory, load_annotation, load_cases, load_gold
from programs.deepplanning.reference import reference
from programs.deepplanning.scoring import official_pass, official_score, strict_pass
from programs.options import chosen, positive, writable
from programs.refiners import REFINERS


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            directory = _directory(options.data, Path(scratch), options.seed)
            cases = _chosen(load_cases(directory), options.tasks)
            lm = _model(options.lm, directory, cases, options)
            record = run(directory, cases, lm, options, console)
    except (DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    _show(record, console)
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    done = {task["id"] for task in record["tasks"]}
    lost = [case.id for case in cases if case.id not in done]
    if lost:
        console.print(f"No result, for a reason that is logged above: {', '.join(lost)}", style="red")
    return 1 if lost else 0


def run(
    directory: Path, cases: list[Case], lm: dspy.LM, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Refine every case and score it; the record is what `--json` writes.

    Raises:
        DataError, PivotError, LMError: no task can be refined like this, as with a budget that pays for no plan.
    """
    budget = Budget(tokens=options.budget_tokens) if options.budget_tokens else Budget()
    market = Market(cases, policy=PURCHASE if options.no_policy else POLICY)
    refiner = REFINERS[options.refiner](Shopping, market.open, budget=budget)
    refiner.set_lm(lm)
    rows: dict[str, dict[str, Any]] = {}
    stopped: list[Exception] = []
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("refining", total=len(cases))

        def one(case: Case) -> None:
            if stopped:
                return
            try:
                rows[case.id] = _row(refiner, directory, case)
            except (DataError, PivotError, LMError) as error:
                stopped.append(error)
            progress.advance(bar)

        pairs = [(one, dspy.Example(case=case).with_inputs("case")) for case in cases]
        # timeout=0: a straggler must not be started twice, since its tools would run twice.
        dspy.Parallel(num_threads=options.threads, timeout=0, disable_progress_bar=True, max_errors=len(cases) + 1)(
            pairs
        )
    if stopped:
        raise stopped[0]
    tasks = [rows[case.id] for case in cases if case.id in rows]
    settings = {name: value for name, value in vars(options).items() if name not in ("json", "data")}
    settings["data"] = {None: "generated", "hub": "hub"}.get(options.data, "directory")  # no path of this machine
    return {
        "program": "shopping",
        "lm": {"name": lm.model, "simulated": is_simulated(lm)},
        "refiner": options.refiner,
        "settings": settings,
        "tasks": tasks,
        "summary": summary(tasks),
    }


def _row(refiner: Refiner, directory: Path, case: Case) -> dict[str, Any]:
    started = time.perf_counter()
    gold = load_gold(directory, case.id)
    row: dict[str, Any] = {"id": case.id}
    try:
        result: Refined = refiner(request=case.query)
        history, report = result.history, result.ledger
        cart = final_cart(result.execution)
        row |= {"verified": result.verified, "reasons": list(result.verdict.reasons), "exhausted": result.exhausted}
    except PlanningFailed as error:
        if isinstance(error.__cause__, LMInvalidRequestError) and not isinstance(
            error.__cause__, ContextWindowExceededError
        ):
            raise  # a model that is not there plans no other task either
        history, report, cart = (), error.ledger, {"items": [], "used_coupons": []}
        row |= {"verified": False, "reasons": [str(error)], "exhausted": None}
    first = _first_cart(history)
    usage = report.usage
    return row | {
        "official_score": official_score(cart, gold),
        "official_pass": official_pass(cart, gold),
        "strict_pass": strict_pass(cart, gold),
        "first_official_pass": official_pass(first, gold),
        "first_strict_pass": strict_pass(first, gold),
        "losses": accepted_losses(history),
        "lm_calls": usage.lm_calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "tool_calls": usage.tool_calls,
        "tool_calls_reused": usage.tool_calls_reused,
        "seconds": round(time.perf_counter() - started, 3),
        "first_suspect_right": first_suspect_right(history),
        "phases": {
            name: {
                "lm_calls": spent.lm_calls,
                "cache_hits": spent.cache_hits,
                "prompt_tokens": spent.prompt_tokens,
                "completion_tokens": spent.completion_tokens,
                "tool_calls": spent.tool_calls,
            }
            for name, spent in report.phases.items()
        },
    }


def _first_cart(history: Sequence[Event]) -> dict[str, Any]:
    """The cart that the first plan ends with, had nothing been repaired."""
    for event in history:
        if event.kind == "inspect" and event.execution is not None:
            return final_cart(event.execution)
    return {"items": [], "used_coupons": []}


def summary(tasks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means and rates over the rows of a record."""
    if not tasks:
        return {"tasks": 0}
    rates = ("verified", "official_pass", "strict_pass", "first_official_pass", "first_strict_pass")
    means = ("lm_calls", "prompt_tokens", "completion_tokens", "tool_calls", "tool_calls_reused", "seconds")
    tried = [task["first_suspect_right"] for task in tasks if task["first_suspect_right"] is not None]
    solved = sum(task["strict_pass"] for task in tasks)
    tokens = sum(task["prompt_tokens"] + task["completion_tokens"] for task in tasks)
    phases: dict[str, dict[str, float]] = {}
    for task in tasks:
        for name, spent in task["phases"].items():
            total = phases.setdefault(name, dict.fromkeys(spent, 0.0))
            for key, value in spent.items():
                total[key] += value / len(tasks)
    return {
        "tasks": len(tasks),
        **{f"{name}_rate": sum(task[name] for task in tasks) / len(tasks) for name in rates},
        **{f"{name}_per_task": sum(task[name] for task in tasks) / len(tasks) for name in means},
        "tokens_per_solved": tokens / solved if solved else None,
        "first_suspect_right_rate": sum(tried) / len(tried) if tried else None,
        "repaired_tasks": len(tried),
        "phases_per_task": phases,
    }


def _directory(data: str | None, scratch: Path, seed: int) -> Path:
    if data == "hub":
        return hub_directory()
    if data is not None:
        return Path(data)
    generate(scratch, seed=seed)
    return scratch


def _chosen(cases: list[Case], wanted: str | None) -> list[Case]:
    by_id = {case.id: case for case in cases}
    return [by_id[name] for name in chosen(by_id, wanted)]


def _model(name: str | None, directory: Path, cases: list[Case], options: argparse.Namespace) -> dspy.LM:
    if name is not None:
        return dspy.LM(name)
    references = []
    for case in cases:
        try:
            references.append(reference(case, load_annotation(directory, case.id), policy=not options.no_policy))
        except DataError:
            raise
        except ValueError as error:  # a sentence, or a buyer's record, that no rule reads
            raise DataError(
                f"the offline model cannot read task {case.id}: {error}; leave it out by --tasks"
            ) from error
    rates = {"slip": options.slip, "heed": options.heed, "relapse": options.relapse}
    return offline_lm(references, **rates, seed=options.seed, cache=False)  # so that every call is counted


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.shopping", description=__doc__)
    parser.add_argument(
        "--data", metavar="DIR", help="the published layout, or 'hub' to download it (default: generated)"
    )
    parser.add_argument("--tasks", metavar="N|IDS", help="how many tasks, or their ids: L1-2,L2-4 (default: all)")
    parser.add_argument("--lm", metavar="NAME", help="a model for dspy.LM (default: the offline model, a simulator)")
    parser.add_argument("--refiner", choices=sorted(REFINERS), default="pivot")
    parser.add_argument("--seed", type=int, default=0, help="of the offline model and of generated tasks")
    parser.add_argument("--threads", type=positive, default=2, help="tasks at a time")
    parser.add_argument(
        "--budget-tokens", type=positive, metavar="N", help="prompt and completion tokens for each task"
    )
    parser.add_argument("--no-policy", action="store_true", help="do not tell that the buyer's profile binds")
    parser.add_argument("--slip", type=float, default=0.2, help="offline model: slips per planned step")
    parser.add_argument("--heed", type=float, default=0.85, help="offline model: how often it repairs what is named")
    parser.add_argument("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step")
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the record of the run here")
    return parser


def _show(record: dict[str, Any], console: Console) -> None:
    table = Table(title="DeepPlanning shopping", title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 0))
    for name in ("task", "verified", "official", "strict", "loss", "calls", "tokens", "tools", "reused", "s"):
        table.add_column(name, justify="left" if name in ("task", "loss") else "right", no_wrap=True)
    for task in record["tasks"]:
        ends = dict.fromkeys((*task["losses"][:1], *task["losses"][-1:]))
        table.add_row(
            task["id"],
            "yes" if task["verified"] else "no",
            f"{task['official_score']:.2f}",
            "pass" if task["strict_pass"] else "-",
            " > ".join(f"{loss:.2f}" for loss in ends),
            str(task["lm_calls"]),
            str(task["prompt_tokens"] + task["completion_tokens"]),
            str(task["tool_calls"]),
            str(task["tool_calls_reused"]),
            f"{task['seconds']:.1f}",
        )
    console.print(table)
    for task in record["tasks"]:
        if not task["verified"]:
            console.print(f"{task['id']} not verified: {task['reasons'][0][:90]}", markup=False, soft_wrap=True)
    totals = record["summary"]
    if totals["tasks"]:
        tokens = totals["prompt_tokens_per_task"] + totals["completion_tokens_per_task"]
        console.print(
            f"{totals['tasks']} tasks: verified {totals['verified_rate']:.0%}, official "
            f"{totals['official_pass_rate']:.0%}, strict {totals['strict_pass_rate']:.0%} (first plan "
            f"{totals['first_strict_pass_rate']:.0%}); {totals['lm_calls_per_task']:.1f} LM calls, {tokens:.0f} tokens "
            "a task",
            soft_wrap=True,
        )
        for phase, spent in totals["phases_per_task"].items():
            used = spent["prompt_tokens"] + spent["completion_tokens"]
            if spent["lm_calls"]:
                console.print(f"  {phase}: {spent['lm_calls']:.2f} calls, {used:.0f} tokens a task")
    if record["lm"]["simulated"]:
        console.print(f"Model: {record['lm']['name']}", soft_wrap=True)
        console.print("SIMULATED: it slips and repairs at these rates, and says nothing of any real model.")


if __name__ == "__main__":
    sys.exit(main())
