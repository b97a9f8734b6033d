"""Refines recorded runs that failed: an existing agent's log becomes a trajectory, and Pivot goes on from there.

`python -m programs.benchmarks.recorded --data DIR [--runs FILE] [--limit N] [--seed N] [--json PATH]`. The recorded
runs are those of real models; the model that repairs them is the offline one, a simulator.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console
from rich.progress import track
from rich.table import Table

from pivot_dspy import Pivot, Trajectory
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.simulator import offline_lm
from programs.benchmarks.replay import read_runs
from programs.deepplanning.environment import Market, Shopping, final_cart
from programs.deepplanning.loader import load_cases, load_gold
from programs.deepplanning.readable import readable, warn
from programs.deepplanning.recorded import messages
from programs.deepplanning.scoring import official_score, strict_pass
from programs.options import DataError, writable

FIELDS = ("level", "case", "model", "calls", "final_cart", "matched", "expected")


def failed_runs(file: Path) -> Iterator[dict[str, Any]]:
    """The recorded runs whose cart lacks something of the gold. Raises DataError where the file or a run is broken."""
    for line, run in read_runs(file):
        try:
            known = {name: run[name] for name in FIELDS}
            messages(known)
            failed = run["matched"] < run["expected"]
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{file}, line {line}: {type(error).__name__}: {error}; expected an object with {', '.join(FIELDS)}"
            ) from error
        if failed:
            yield known


def refine(directory: Path, runs: Sequence[dict[str, Any]], seed: int, console: Console) -> list[dict[str, Any]]:
    """One row for each run: whether its log executes to its own cart, and its scores before and after. Runs of a case
    that the offline model cannot read are left out, with a warning.

    Raises:
        DataError: the directory lacks the case of a run, or holds a broken one.
    """
    wanted = {(run["level"], run["case"]) for run in runs}
    cases = {key: case for case in load_cases(directory) if (key := (case.level, case.number)) in wanted}
    if len(cases) < len(wanted):
        raise DataError(f"{directory}: no case for the runs of (level, case) {sorted(wanted - cases.keys())}")
    known = readable(directory, cases.values())
    warn(known.unread)
    pivot = Pivot(Shopping, Market(known.cases).open)
    pivot.set_lm(offline_lm(known.references.values(), seed=seed, cache=False))
    rows = []
    for run in track(runs, "refining", console=console, transient=True):
        case = cases[run["level"], run["case"]]
        if case.id in known.unread:
            continue
        gold = load_gold(directory, case.id)
        result = pivot(request=case.query, trajectory=Trajectory.from_messages(messages(run)))
        first = next(event.execution for event in result.history if event.kind == "inspect")
        final = final_cart(result.execution)
        rows.append(
            {
                "id": case.id,
                "model": run["model"],
                "same_cart": final_cart(first) == run["final_cart"],
                "before": official_score(run["final_cart"], gold),
                "after": official_score(final, gold),
                "strict_before": strict_pass(run["final_cart"], gold),
                "strict_after": strict_pass(final, gold),
                "verified": result.verified,
                "losses": accepted_losses(result.history),
                "lm_calls": result.ledger.usage.lm_calls,
                "tokens": result.ledger.usage.total_tokens,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.recorded", description=__doc__)
    parser.add_argument("--data", required=True, metavar="DIR")
    parser.add_argument("--runs", metavar="FILE", help="default: recorded_runs.jsonl.gz in DIR")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N failed runs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=writable, metavar="PATH")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        if options.limit is not None and options.limit < 1:
            raise DataError("--limit takes a count of at least 1")
        file = Path(options.runs or Path(options.data) / "recorded_runs.jsonl.gz")
        failed = list(islice(failed_runs(file), options.limit))
        with dspy.context(disable_history=True):
            rows = refine(Path(options.data), failed, options.seed, console)
    except DataError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    if not rows:
        console.print("no recorded run failed")
        return 0
    figures = {**summary(rows), "left_out": len(failed) - len(rows)}
    table = Table(title="Recorded runs that failed, refined (model: simulated)", title_justify="left")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:.3f}" if isinstance(value, float) else str(value))
    console.print(table)
    if options.json:
        record = {"lm": {"simulated": True}, "seed": options.seed, "summary": figures, "runs": rows}
        options.json.write_text(json.dumps(record, indent=2), encoding="utf-8")
    return 0


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    count = len(rows)
    return {
        "failed_runs": count,
        "log_executes_to_its_cart": sum(row["same_cart"] for row in rows),
        "official_score_before": sum(row["before"] for row in rows) / count,
        "official_score_after": sum(row["after"] for row in rows) / count,
        "better": sum(row["after"] > row["before"] for row in rows),
        "worse": sum(row["after"] < row["before"] for row in rows),
        "strict_pass_after": sum(row["strict_after"] for row in rows),
        "verified": sum(row["verified"] for row in rows),
        "loss_fell": sum(row["losses"][-1] < row["losses"][0] for row in rows),
        "loss_rose": sum(any(b > a for a, b in zip(row["losses"], row["losses"][1:], strict=False)) for row in rows),
        "lm_calls_per_run": sum(row["lm_calls"] for row in rows) / count,
        "tokens_per_run": sum(row["tokens"] for row in rows) / count,
    }


if __name__ == "__main__":
    sys.exit(main())
