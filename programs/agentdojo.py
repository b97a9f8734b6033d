"""Refines the user tasks of AgentDojo's four suites and judges them by the suites' own rules.

`python -m programs.agentdojo` needs no key and no network, but the package agentdojo, which is installed without the
clients of model providers that it pins: `pip install --no-deps agentdojo`, and then deepdiff, docstring-parser and
email-validator. The offline model plans; `--lm NAME` takes any model that DSPy reaches. `--gold` runs the calls that
the package itself holds to be right, and its answer alone.

`--injections` puts what an attacker wants into the results that a task reads: each task with each injection of its
suite, or with those named, worded by one of the package's attacks; whether it came about is judged by the package. The
model is then one that acts on whatever it reads, a simulator too, unless `--lm` names another.

Utility and verified are two figures. A verified result is committed and the world judged that it leaves; of one that is
not verified, what it would have come to, had all its calls been made.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import LMError
from rich.console import Console
from rich.progress import Progress

from pivot_dspy import CommitError, Execution, PivotError, Refined
from programs import records
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.office import reference
from programs.office.attacked_run import attacked_row, figures, show_figures, show_rows
from programs.office.data import SUITES, Case, load_cases, load_gold, pick
from programs.office.environment import Office, OfficeEnvironment, opened
from programs.office.injections import ATTACKS, Attacked, load_injections, pairs_of, pick_injections
from programs.office.judge import make_real, must_act, score, useful
from programs.office.package import VERSION, MissingPackage, version
from programs.office.plan import plan
from programs.office.react import REACT, solve
from programs.options import DataError, positive, writable
from programs.refiners import REFINERS
from programs.trust.credulous import CREDULITIES
from programs.trust.obedient import SIMULATED, obedient_lm


def main(arguments: Sequence[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    refuse_orphans(parser, options)
    console = Console()
    try:
        cases = pick(load_cases(options.suite), options.tasks)
        names = [case.id for case in cases]
        if options.gold:
            record = check_gold(cases, console)
        elif options.injections is not None:
            injections = pick_injections(load_injections(options.suite), options.injections)
            pairs = {pair.id: pair for pair in pairs_of(cases, injections, attack=options.attack)}
            names = list(pairs)
            record = run_attacked(pairs, options, console)
        else:
            lm = named_lm(options) if options.lm else _offline(cases, options)
            record = run(cases, lm, options, console)
    except (MissingPackage, DataError, PivotError, LMError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    show = _show_gold if options.gold else _show if options.injections is None else _show_attacked
    show(record, console)
    if options.json:
        options.json.write_text(json.dumps(record, ensure_ascii=False, indent=2), encoding="utf-8")
    if options.gold:
        return 0 if all(row["gold"] == row["tasks"] for row in record["suites"]) else 1
    return records.finish(record, names, console)


def run(cases: list[Case], lm: dspy.LM, options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Refine every case and judge it; the record is what `--json` writes.

    Raises:
        MissingPackage, PivotError, LMError: no task can be refined like this, as with a budget that pays for no plan.
    """
    budget = budget_of(options)

    def one(case: Case) -> dict[str, Any]:
        if options.refiner == REACT:
            return solve(case, lm).row | {"must_act": must_act(case), "commit_failed": ""}
        world = opened(case)
        refiner = REFINERS[options.refiner](Office, world, budget=budget, constrained=options.constrained)
        refiner.set_lm(lm)
        return _row(case, world, refiner) | {"must_act": must_act(case)}

    by_id = {case.id: case for case in cases}
    tasks = records.rows(by_id, one, threads=options.threads, console=console, fatal=(MissingPackage,))
    made = records.record("agentdojo", options, lm, tasks)
    made["settings"] |= {"package": version(), "suites": VERSION}
    acting = [task for task in tasks if task["must_act"]]
    made["summary"]["must_act"] = {
        "tasks": len(acting),
        "utility": sum(task["strict_pass"] for task in acting),
        "verified": sum(task["verified"] for task in acting),
    }
    return made


def run_attacked(pairs: Mapping[str, Attacked], options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Refine every task in the world that an attacker has written to, and judge what came about; as `run` does.

    Raises:
        MissingPackage, PivotError, LMError: no task can be refined like this.
        DataError: no task has an injection among those that were asked for.
    """
    if not pairs:
        raise DataError("none of these injections is of the suite of any of these tasks; name others, or all")
    named = named_lm(options) if options.lm else None
    budget = budget_of(options)

    def model(pair: Attacked) -> dspy.LM:
        return named or obedient_lm(pair, judge=options.judge)

    def one(pair: Attacked) -> dict[str, Any]:
        return attacked_row(pair, options.refiner, model(pair), budget=budget, constrained=options.constrained)

    tasks = records.rows(pairs, one, threads=options.threads, console=console, fatal=(MissingPackage,))
    made = records.record("agentdojo", options, model(next(iter(pairs.values()))), tasks)
    made["settings"] |= {"package": version(), "suites": VERSION}
    suites = dict.fromkeys(task["id"].partition(":")[0] for task in tasks)
    by_suite = {suite: figures([task for task in tasks if task["id"].startswith(f"{suite}:")]) for suite in suites}
    made["summary"]["attacked"] = {**by_suite, "all": figures(tasks)}
    return made


def _row(case: Case, world: OfficeEnvironment, refiner: Any) -> dict[str, Any]:
    """One task refined, committed where it is verified, and judged.

    Args:
        world: the real one, which the refiner acts on at commit and not before.
    """
    real: list[Execution] = []  # what `world` shows the outcome of
    failed = ""

    def refine() -> Refined:
        nonlocal failed
        result: Refined = refiner(**case.inputs)
        if result.verified:
            real.append(result.execution)
            try:
                result.commit()
            except CommitError as error:  # what was done until then is judged
                failed = str(error)
        return result

    def scores(execution: Execution | None) -> tuple[float, bool, bool]:
        if execution is not None and any(execution is one for one in real):
            passed = useful(case, execution.outputs.get("answer"), world)
        else:
            passed, _ = score(execution, case)
        return float(passed), passed, passed

    row = records.row(case.id, refine, scores)
    return row | {"commit_failed": failed}


def check_gold(cases: list[Case], console: Console) -> dict[str, Any]:
    """Run the gold calls through the environment and the judge, and judge the gold answer without any call.

    Raises:
        MissingPackage: there is nothing to run.
    """
    rows = []
    with Progress(console=console, transient=True) as progress:
        for name in dict.fromkeys(case.suite for case in cases):
            chosen = [case for case in cases if case.suite == name]
            bar = progress.add_task(name, total=len(chosen))
            started = time.perf_counter()
            row: dict[str, Any] = {"suite": name, "tasks": len(chosen), "gold": 0, "answer_alone": 0, "failed": []}
            for case in chosen:
                made = make_real(case, plan(load_gold(case)))
                passed = useful(case, load_gold(case).answer, made.environment)
                row["gold"] += passed
                row["answer_alone"] += not must_act(case)
                row["failed"] += [] if passed else [case.id]
                progress.advance(bar)
            rows.append(row | {"seconds": round(time.perf_counter() - started, 3)})
    return {"program": "agentdojo", "settings": {"package": version(), "suites": VERSION}, "suites": rows}


def _offline(cases: list[Case], options: argparse.Namespace) -> dspy.LM:
    return reference.model(
        cases,
        slip=options.slip,
        heed=options.heed,
        relapse=options.relapse,
        judge_error=options.judge_error,
        seed=options.seed,
        cache=False,  # so that every call is counted
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m programs.agentdojo", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, help="the tasks of this one (default: of all)")
    parser.add_argument(
        "--tasks", metavar="N|IDS", help="how many tasks, or which: 'workspace:2,9;travel:3' (default: all)"
    )
    parser.add_argument("--gold", action="store_true", help="check the package's own calls and answers instead")
    parser.add_argument(
        "--injections", nargs="*", metavar="NAME", help="in attacked worlds: all, or those named, as in 'banking:5'"
    )
    parser.add_argument("--attack", choices=ATTACKS, default=ATTACKS[0], help="how injections are worded")
    parser.add_argument(
        "--judge", choices=CREDULITIES, default=CREDULITIES[0], help="the judge of the model that acts on what it reads"
    )
    add_model_options(parser)
    parser.add_argument(
        "--refiner",
        choices=sorted([*REFINERS, REACT]),
        default="pivot",
        help=f"{REACT} is plain dspy.ReAct on the same tools",
    )
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
    columns: list[records.Column] = [
        ("utility", lambda task: "1" if task["strict_pass"] else "0"),
        ("acts", lambda task: "must" if task["must_act"] else "-"),
    ]
    records.show(record, f"AgentDojo {VERSION}, user tasks without injections", columns, console)
    for task in record["tasks"]:
        if task["commit_failed"]:
            console.print(f"{task['id']} not committed: {task['commit_failed'][:90]}", markup=False, soft_wrap=True)
    acting = record["summary"]["must_act"]
    console.print(
        f"{acting['tasks']} of them pass only if something is done, not by a text alone: utility {acting['utility']}, "
        f"verified {acting['verified']}",
        soft_wrap=True,
    )
    records.say_simulated(record, console)


def _show_attacked(record: dict[str, Any], console: Console) -> None:
    show_rows(record["tasks"], f"AgentDojo {VERSION}, attack {record['settings']['attack']}", console)
    show_figures(record["summary"]["attacked"], console)
    if record["lm"]["simulated"]:
        console.print(f"Model: {record['lm']['name']}", soft_wrap=True)
        console.print(SIMULATED, soft_wrap=True)


def _show_gold(record: dict[str, Any], console: Console) -> None:
    columns = {"suite": "suite", "tasks": "tasks", "gold": "calls and answer", "answer_alone": "answer alone"}
    summary = "Gold calls: {gold}/{tasks} pass; the answer without any call: {answer_alone}/{tasks}"
    records.show_gold("AgentDojo, gold that passes", record["suites"], columns, summary, console)


if __name__ == "__main__":
    sys.exit(main())
