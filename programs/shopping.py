"""Refines the shopping tasks of DeepPlanning (arXiv 2601.18137) and scores the carts.

`python -m programs.shopping` needs no key, no network and no data: it generates a small store and a few tasks, and the
offline model plans. `--data DIR` (or `--data hub`) takes the published tasks, `--lm NAME` any model that DSPy reaches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError
from rich.console import Console

from pivot_dspy import Execution, PivotError
from pivot_dspy.simulator import offline_lm
from programs import records
from programs.deepplanning.environment import POLICY, PURCHASE, Market, Shopping, final_cart
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import Case, hub_directory, load_cases, load_gold
from programs.deepplanning.readable import Readable, readable, remark, warn
from programs.deepplanning.scoring import official_pass, official_score, strict_pass
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.options import DataError, chosen, positive, writable
from programs.refiners import REFINERS


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    console = Console()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            directory = _directory(options.data, Path(scratch), options.seed)
            cases = _chosen(load_cases(directory), options.tasks)
            known = Readable(tuple(cases))
            if options.lm is None:
                known = readable(directory, cases, policy=not options.no_policy)
            warn(known.unread)
            lm = named_lm(options) if options.lm is not None else _offline(known, options)
            record = run(directory, list(known.cases), lm, options, console)
            record["unread"] = dict(known.unread)
            record["summary"]["unread"] = len(known.unread)
    except (DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    _show(record, console)
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    return records.finish(record, [case.id for case in known.cases], console)


def run(
    directory: Path, cases: list[Case], lm: dspy.LM, options: argparse.Namespace, console: Console
) -> dict[str, Any]:
    """Refine every case and score it; the record is what `--json` writes.

    Raises:
        DataError, PivotError, LMError: no task can be refined like this, as with a budget that pays for no plan.
    """
    budget = budget_of(options)
    market = Market(cases, policy=PURCHASE if options.no_policy else POLICY)
    refiner = REFINERS[options.refiner](Shopping, market.open, budget=budget, constrained=options.constrained)
    refiner.set_lm(lm)

    def one(case: Case) -> dict[str, Any]:
        gold = load_gold(directory, case.id)

        def score(execution: Execution | None) -> tuple[float, bool, bool]:
            cart = final_cart(execution) if execution is not None else {"items": [], "used_coupons": []}
            return official_score(cart, gold), official_pass(cart, gold), strict_pass(cart, gold)

        return records.row(case.id, lambda: refiner(request=case.query), score)

    by_id = {case.id: case for case in cases}
    tasks = records.rows(by_id, one, threads=options.threads, console=console, fatal=(DataError,))
    made = records.record("shopping", options, lm, tasks)
    made["settings"]["data"] = {None: "generated", "hub": "hub"}.get(options.data, "directory")  # no path of a machine
    return made


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


def _offline(known: Readable, options: argparse.Namespace) -> dspy.LM:
    rates = {"slip": options.slip, "heed": options.heed, "relapse": options.relapse}
    # Without the cache, so that every call is counted.
    return offline_lm(known.references.values(), **rates, seed=options.seed, cache=False)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.shopping", description=__doc__)
    parser.add_argument(
        "--data", metavar="DIR", help="the published layout, or 'hub' to download it (default: generated)"
    )
    parser.add_argument("--tasks", metavar="N|IDS", help="how many tasks, or their ids: L1-2,L2-4 (default: all)")
    add_model_options(parser)
    parser.add_argument("--refiner", choices=sorted(REFINERS), default="pivot")
    parser.add_argument("--seed", type=int, default=0, help="of the offline model and of generated tasks")
    parser.add_argument("--threads", type=positive, default=2, help="tasks at a time")
    parser.add_argument("--no-policy", action="store_true", help="do not tell that the buyer's profile binds")
    parser.add_argument("--slip", type=float, default=0.2, help="offline model: slips per planned step")
    parser.add_argument("--heed", type=float, default=0.85, help="offline model: how often it repairs what is named")
    parser.add_argument("--relapse", type=float, default=0.05, help="offline model: how often a rewrite breaks a step")
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the record of the run here")
    return parser


def _show(record: dict[str, Any], console: Console) -> None:
    scores = [
        ("official", lambda task: f"{task['official_score']:.2f}"),
        ("strict", lambda task: "pass" if task["strict_pass"] else "-"),
    ]
    records.show(record, "DeepPlanning shopping", scores, console)
    if record["unread"]:
        console.print(remark(record["unread"]), markup=False, soft_wrap=True)
    if record["lm"]["simulated"]:
        console.print(f"Model: {record['lm']['name']}", soft_wrap=True)
        console.print("SIMULATED: it slips and repairs at these rates, and says nothing of any real model.")


if __name__ == "__main__":
    sys.exit(main())
