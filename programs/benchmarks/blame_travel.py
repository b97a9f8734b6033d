"""How often the first report on a trip, and blame by rule, name the day that was changed for the worse.

Run as `python -m programs.benchmarks.blame_travel [--data DIR] [--language L] [--each N] [--seed N] [--json PATH]`;
without `--data` on a generated city. The valid trips are those of the offline model's reference, whose loss is 0 by the
rules and the wishes; one of its days is put together another way. A mutant counts where it is detected, that is where
its loss is above 0.

- day: what says that a rule or wish is broken names the changed day.
- alone: and no other day, but the one that has the same place in a repeat.
- named: it names the day, or the place that the day has lost. Where only a wish is unmet, the day that comes nearest to
  the place is named.
- blame: the first suspect is the step of the changed day, or in a repeat of the other one.
- mended: where it is the changed day's, that day as it was, put there alone, brings the loss back to 0; kept: and all
  other days of the plan stay as they were in the mutant, byte for byte. One past midnight had changed the next.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console
from rich.table import Column, Table

from pivot_dspy import Requirements, Step, Suspect, Trajectory, loss
from pivot_dspy.blame import ranking
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.lookup_steps import with_lookups
from pivot_dspy.requirements import Finding, compile_drafts
from pivot_dspy.simulator import Reference
from programs import terminal
from programs.benchmarks.travel_mutants import KINDS, Mutant, Mutator
from programs.deepplanning.readable import read_all, warn
from programs.deepplanning.travel.environment import POLICY, standing_rules
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.loader import TravelTask, load_tasks
from programs.deepplanning.travel.trip_plan import Agency, TripPlan
from programs.options import DataError, positive, writable

TARGET = 0.97
_DAY = re.compile(r"\bday (\d+)\b", re.I)
_OUTPUTS = {name: field.annotation for name, field in TripPlan.output_fields.items()}


@dataclass(frozen=True)
class Ran:
    """A trajectory that was run, how its requirements stand, and the plan's days."""

    run: ExecutedRun
    findings: tuple[Finding, ...]
    loss: float
    days: tuple[str, ...]

    @property
    def is_valid(self) -> bool:
        return self.loss <= loss.EPSILON

    @property
    def violated(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == "violated"]

    def days_named(self) -> set[int]:
        """By what says that something is broken."""
        texts = [text for finding in self.violated for text in (finding.evidence, *map(str, finding.about))]
        return {int(number) for text in texts for number in _DAY.findall(text)}

    def lacks(self, place: str | None) -> bool:
        """Whether what says that something is broken names a place."""
        return place is not None and any(re.search(rf"\b{place}\b", finding.evidence) for finding in self.violated)


@dataclass(frozen=True)
class Outcome:
    """What was said of one detected mutant; `mended` and `kept` are None where another step is blamed than the changed
    one."""

    task: str
    mutant: Mutant
    day: bool
    alone: bool
    named: bool
    blame: bool
    mended: bool | None
    kept: bool | None
    first: Suspect | None
    violated: tuple[str, ...]


def measure(tasks: Sequence[TravelTask], *, each: int = 4, seed: int = 0) -> Iterator[Outcome | None]:
    """An outcome for every detected mutant of tasks that the rules read, at most `each` of each kind for each task;
    None for a task whose reference is not valid.

    Raises:
        DataError: no request can be read, or a database is broken.
    """
    agency = Agency(tasks)
    known = read_all(tasks, agency.reference)
    warn(known.unread)
    factory = SessionFactory(agency.open, timeout=None)
    for task in known.cases:
        session = factory.open(dspy.Example(request=task.request).with_inputs("request"))
        try:
            requirements, valid = planned(known.references[task.id], session)
            if not valid.is_valid:
                yield None
                continue
            mutator = Mutator(agency.world(task).atlas, valid.run.execution, random.Random(f"{seed} {task.id}"))
            for mutant in mutator.mutants(each):
                outcome = _outcome(task, mutant, valid, requirements, session)
                if outcome is not None:
                    yield outcome
        finally:
            session.close()


def planned(written: Reference, session: Session) -> tuple[Requirements, Ran]:
    """The requirements of a task, and the trip that the offline model would plan."""
    drafts = compile_drafts(written.requirements, session.toolbox, standing_rules())
    requirements = Requirements(items=(*standing_rules(), *drafts))
    trajectory = Trajectory(steps=tuple(Step(**step) for step in written.steps))
    return requirements, run(with_lookups(trajectory, requirements, session.toolbox), requirements, session)


def run(trajectory: Trajectory, requirements: Requirements, session: Session) -> Ran:
    """A trajectory in a fork of `session`."""
    ran = run_sync(execute(trajectory, session.fork(), outputs=_OUTPUTS))
    findings = evaluate(requirements, ran.execution, ran.session)
    total = loss.measure(ran.execution, requirements, findings).total
    environment: Any = ran.session.environment
    days = environment.plan()["daily_plans"]
    return Ran(ran, findings, total, tuple(json.dumps(day, ensure_ascii=False) for day in days))


def _outcome(
    task: TravelTask, mutant: Mutant, valid: Ran, requirements: Requirements, session: Session
) -> Outcome | None:
    ran = run(mutant.trajectory, requirements, session)
    if ran.is_valid:
        return None
    suspects = ranking.rank(
        ran.run.execution, requirements, ran.findings, session.toolbox, task=task.request, known=POLICY
    )
    first = suspects[0] if suspects else None
    blamed = first is not None and first.step in (mutant.step, mutant.twin or mutant.step)
    mended = kept = None
    if first is not None and first.step == mutant.step:
        repaired = run(_with_day_of(mutant, valid), requirements, session)
        mended = repaired.is_valid
        others = [at for at in range(len(ran.days)) if at != mutant.day - 1]
        kept = mended and all(repaired.days[at] == ran.days[at] for at in others)
    days = ran.days_named()
    return Outcome(
        task=task.id,
        mutant=mutant,
        day=mutant.day in days,
        alone=mutant.day in days and len(days) <= (1 if mutant.twin is None else 2),
        named=mutant.day in days or ran.lacks(mutant.lost),
        blame=blamed,
        mended=mended,
        kept=kept,
        first=first,
        violated=tuple(finding.requirement for finding in ran.violated),
    )


def _with_day_of(mutant: Mutant, valid: Ran) -> Trajectory:
    """The mutant with the changed day as it was."""
    before = {step.id: step for step in valid.run.execution.trajectory.steps}
    steps = mutant.trajectory.steps
    return Trajectory(steps=tuple(before[step.id] if step.id == mutant.step else step for step in steps))


def figures(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Counts and shares by kind, and in all; those of repairs are of the mutants that were repaired."""
    rows = {}
    for kind in (*KINDS, "all"):
        chosen = [outcome for outcome in outcomes if kind in (outcome.mutant.kind, "all")]
        repaired = [outcome for outcome in chosen if outcome.mended is not None]
        rows[kind] = {
            "detected": len(chosen),
            **{name: _share(chosen, name) for name in ("day", "alone", "named", "blame")},
            **{name: _share(repaired, name) for name in ("mended", "kept")},
        }
    return rows


def _share(outcomes: Sequence[Outcome], name: str) -> float:
    return sum(bool(getattr(outcome, name)) for outcome in outcomes) / (len(outcomes) or 1)


def main(arguments: Sequence[str] | None = None) -> int:
    about = __doc__.split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.blame_travel", description=about)
    parser.add_argument("--data", type=Path, metavar="DIR", help="the published layout (default: generated)")
    parser.add_argument("--language", choices=("en", "zh"), default="en", help="of the tasks")
    parser.add_argument("--each", type=positive, default=4, help="mutants of each kind for each task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=writable, metavar="PATH", help="write the figures and every miss here")
    options = parser.parse_args(arguments)
    console = terminal.console()
    try:
        with tempfile.TemporaryDirectory() as scratch:
            if options.data is None:
                generate(scratch, seed=options.seed)
            tasks = load_tasks(options.data or scratch, language=options.language)
            outcomes = list(measure(tasks, each=options.each, seed=options.seed))
    except DataError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    detected = [outcome for outcome in outcomes if outcome is not None]
    rows = figures(detected)
    shares_of = ("day", "alone", "named", "blame", "mended", "kept")
    table = Table(Column("changed day", no_wrap=True), "detected", *shares_of)
    for kind, row in rows.items():
        shares = (f"{row[name]:.1%}" for name in shares_of)
        table.add_row(kind, f"{row['detected']:.0f}", *shares)
    console.print(table)
    if invalid := len(outcomes) - len(detected):
        console.print(f"{invalid} references are not valid by themselves, and left out.")
    if options.json:
        misses = [_miss(outcome) for outcome in detected if not (outcome.named and outcome.blame)]
        written = {"figures": rows, "invalid": invalid, "misses": misses}
        options.json.write_text(json.dumps(written, ensure_ascii=False, indent=1), encoding="utf-8")
    return 0 if all(rows["all"][name] >= TARGET for name in ("day", "blame", "kept")) else 1


def _miss(outcome: Outcome) -> dict[str, Any]:
    first = outcome.first
    return {
        "task": outcome.task, "kind": outcome.mutant.kind, "change": outcome.mutant.change,
        "violated": outcome.violated, "day": outcome.day,
        "first": None if first is None else first.model_dump(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
