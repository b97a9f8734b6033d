"""How often blame by rule finds a fault that was put into the gold of AgentDojo's tasks, where nothing can be checked.

Run as `python -m programs.benchmarks.blame_office [--tasks N|IDS] [--half H] [--each N] [--words] [--quotes]
[--json PATH]`. There is one requirement for each changing call of the gold, and one on the answer. Each names its call
as a model would that has read the request and nothing else: with the values that stand there, and `?` for the others.
With `--words` it says in words alone all that the gold has. A call that was not made is told by rule; what else is
unmet, by a judge that knows the gold, which with `--quotes` also shows the call that comes nearest. Held calls wait, as
they do in a refiner. Rules may be worked out on the tasks of even place (`tuned`) and tried on the
others (`held-out`). A mutant counts where it is detected, that is where the suite's own utility of it is 0. Found is

- a changed call, where the first suspect is that step, and does not say that another is missing before it;
- what was dropped, where the first suspect says that a step is missing, at a place where putting the dropped ones back
  gives utility 1 again.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from pivot_dspy import Requirements, Suspect, Trajectory
from pivot_dspy.blame import ranking
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.requirements import compile_drafts
from programs.benchmarks.office_mutants import KINDS, Mutant, mutants
from programs.office.data import Case, initial_world, load_cases, load_gold, pick
from programs.office.environment import opened
from programs.office.judge import OUTPUTS, make_real, useful
from programs.office.oracle import judge
from programs.office.package import MissingPackage
from programs.office.plan import plan
from programs.office.wanted import wanted, wanted_calls
from programs.options import DataError, positive, writable

HALVES = {"all": slice(None), "tuned": slice(0, None, 2), "held-out": slice(1, None, 2)}
TARGET_EXACT, TARGET_COUNT = 0.75, 300


@dataclass(frozen=True)
class Outcome:
    """What blame said of one detected mutant; `milliseconds` is the time that it took."""

    case: str
    mutant: Mutant
    exact: bool
    first: Suspect | None
    unmet: tuple[str, ...]
    milliseconds: float


def measure(
    cases: Sequence[Case], *, each: int = 4, words: bool = False, quotes: bool = False
) -> Iterator[Outcome]:
    """An outcome for every detected mutant. Raises MissingPackage."""
    for case in cases:
        for mutant in mutants(plan(load_gold(case)), initial_world(case), each):
            outcome = _outcome(case, mutant, words, quotes)
            if outcome is not None:
                yield outcome


def _outcome(case: Case, mutant: Mutant, words: bool, quotes: bool) -> Outcome | None:
    made = make_real(case, mutant.trajectory)
    answer = made.execution.outputs.get("answer")
    if useful(case, answer, made.environment):
        return None
    gold, environment = load_gold(case), opened(case)
    drafts = [item.draft for item in wanted(gold)] if words else wanted_calls(gold, case.request)
    requirements = Requirements(items=compile_drafts(drafts, environment.toolbox))
    session = SessionFactory(environment, timeout=None).open(None)
    try:
        execution = run_sync(execute(mutant.trajectory, session, outputs=OUTPUTS)).execution
        judged = judge(gold, made.environment.calls, answer, quotes=quotes)
        ruled = evaluate(requirements, execution, session)
        findings = [ours if ours.status == "violated" else theirs for ours, theirs in zip(ruled, judged, strict=True)]
    finally:
        session.family.close()
    started = time.perf_counter()
    suspects = ranking.rank(
        execution, requirements, findings, environment.toolbox, task=case.request, known=environment.policy
    )
    milliseconds = (time.perf_counter() - started) * 1000
    first = suspects[0] if suspects else None
    unmet = tuple(finding.requirement for finding in findings if not finding.holds)
    return Outcome(case.id, mutant, first is not None and is_exact(case, mutant, first), first, unmet, milliseconds)


def is_exact(case: Case, mutant: Mutant, first: Suspect) -> bool:
    """Whether the first suspect is the fault, as said above."""
    if not mutant.missing:
        return first.step == mutant.step and first.kind != "missing_step"
    return first.kind == "missing_step" and _mends(case, mutant, first.position)


def _mends(case: Case, mutant: Mutant, position: int) -> bool:
    """Whether the task is done where the missing steps stand before `position`."""
    steps = mutant.trajectory.steps
    if position >= len(steps):
        return False  # after the answer nothing is done any more
    whole = make_real(case, Trajectory(steps=(*steps[:position], *mutant.missing, *steps[position:])))
    return useful(case, whole.execution.outputs.get("answer"), whole.environment)


def figures(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Counts and shares by kind, and in all."""
    rows = {}
    for kind in (*KINDS, "all"):
        chosen = [outcome for outcome in outcomes if kind in (outcome.mutant.kind, "all")]
        rows[kind] = {
            "detected": len(chosen),
            "exact": sum(outcome.exact for outcome in chosen) / (len(chosen) or 1),
            "median ms": sorted(outcome.milliseconds for outcome in chosen)[len(chosen) // 2] if chosen else 0.0,
        }
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.blame_office", description=about)
    parser.add_argument("--tasks", metavar="N|IDS", help="how many, or which: 'workspace:2,9;travel:3' (default: all)")
    parser.add_argument("--half", choices=list(HALVES), default="all")
    parser.add_argument("--each", type=positive, default=4, help="other values in the place of one argument")
    parser.add_argument("--words", action="store_true", help="requirements in words alone, with all that is asked")
    parser.add_argument("--quotes", action="store_true", help="let the judge quote the nearest call")
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the figures and every miss here")
    options = parser.parse_args(arguments)
    try:
        cases = pick(load_cases(), options.tasks)[HALVES[options.half]]
        outcomes = list(measure(cases, each=options.each, words=options.words, quotes=options.quotes))
    except (MissingPackage, DataError) as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    rows = figures(outcomes)
    table = Table("kind", "detected", "exact", "median ms")
    for kind, row in rows.items():
        table.add_row(kind, f"{row['detected']:.0f}", f"{row['exact']:.1%}", f"{row['median ms']:.2f}")
    Console().print(table)
    if options.json:
        misses = [_miss(outcome) for outcome in outcomes if not outcome.exact]
        written = {"figures": rows, "misses": misses}
        options.json.write_text(json.dumps(written, ensure_ascii=False, indent=1), encoding="utf-8")
    whole = rows["all"]
    return 0 if whole["exact"] >= TARGET_EXACT and whole["detected"] >= TARGET_COUNT else 1


def _miss(outcome: Outcome) -> dict[str, Any]:
    first = outcome.first
    return {
        "case": outcome.case, "kind": outcome.mutant.kind, "change": outcome.mutant.change,
        "position": outcome.mutant.position, "unmet": outcome.unmet,
        "first": None if first is None else first.model_dump(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
