"""How often blame by rule finds a fault that was put into a correct trajectory, over the DeepPlanning shopping tasks.

Run as `python -m programs.benchmarks.blame --data DIR [--each N] [--seed N] [--style S] [--half H] [--json PATH]`. The
correct trajectories are the references of the shopping program, repaired by its own rules until their loss is 0, in two
styles of writing. The rules were worked out on the tasks of even place (`tuned`); the others are `held-out`. A mutant
counts where it is detected, that is where its loss is above 0. What counts as found:

- exact: the first suspect is the changed step itself, and does not say that a step is missing before it. For a dropped
  step: the first suspect says that a step is missing, and either stands where the step stood or names its id. For a
  dropped submit: it says that the submit is missing.
- in the slice: exact, or the changed step is one that the first suspect's step depends on. For a dropped step: exact,
  or a step is said to be missing for the requirement that the dropped one served, at another place.
- by rule: what rules write by themselves, kept where it makes things better, brings the loss back to 0.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dspy
from rich.console import Console
from rich.table import Table

from pivot_dspy import Requirements, Step, Suspect, Trajectory, loss
from pivot_dspy.blame import ranking
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.prompts.observations import ObservationBudget
from pivot_dspy.prompts.report import render_report
from pivot_dspy.prompts.steps import render_steps
from pivot_dspy.requirements import Finding, compile_drafts
from programs.benchmarks.mutants import KINDS, Mutant, Mutator
from programs.benchmarks.styles import STYLES, chained
from programs.deepplanning.environment import POLICY, Market, Shopping
from programs.deepplanning.grammar import ReadingError
from programs.deepplanning.loader import Case, load_annotation, load_cases
from programs.deepplanning.readable import readable, remark, warn
from programs.deepplanning.reference import reference
from programs.options import DataError, positive, writable

ROUNDS = 4
HALVES = ("all", "tuned", "held-out")
TARGET_EXACT, TARGET_SLICE, TARGET_COUNT = 0.90, 0.97, 600


@dataclass(frozen=True)
class Subject:
    """A case with requirements that hold for its trajectory, and which requirement each step serves; `draft` is the
    trajectory as it was before any repair."""

    case: Case
    requirements: Requirements
    draft: Trajectory
    trajectory: Trajectory
    serves: Mapping[str, Sequence[str]]
    known: str


@dataclass(frozen=True)
class Outcome:
    """What blame said of one detected mutant; `milliseconds` is the time that it took."""

    case: str
    mutant: Mutant
    exact: bool
    in_slice: bool
    first: Suspect | None
    violated: tuple[str, ...]
    milliseconds: float
    mended: bool
    """Whether repairs by rule alone meet all requirements again."""


class Replay:
    """Runs trajectories in the shops of many cases."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.session_factory = SessionFactory(Market(cases).open, timeout=None)
        self._outputs = {name: field.annotation for name, field in Shopping.output_fields.items()}

    def open(self, case: Case) -> Session:
        return self.session_factory.open(dspy.Example(request=case.query).with_inputs("request"))

    def run(
        self, trajectory: Trajectory, requirements: Requirements, session: Session
    ) -> tuple[ExecutedRun, tuple[Finding, ...], float]:
        """The run, the findings and the total loss of a trajectory in a fork of `session`."""
        run = run_sync(execute(trajectory, session.fork(), outputs=self._outputs))
        findings = evaluate(requirements, run.execution, run.session)
        return run, findings, loss.measure(run.execution, requirements, findings).total

    def subject(self, case: Case, data: Path, session: Session, style: str) -> Subject | None:
        """The case with its verified reference; None where the case cannot be read, or where no plan of the reference
        meets the requirements."""
        try:
            written = reference(case, load_annotation(data, case.id))
        except ReadingError:
            return None
        requirements = Requirements(items=compile_drafts(written.requirements, session.toolbox))
        steps = list(written.steps)
        draft = trajectory = Trajectory(steps=tuple(Step(**step) for step in steps))
        run, findings, total = self.run(trajectory, requirements, session)
        for _ in range(ROUNDS):
            if total <= loss.EPSILON or written.revise is None:
                break
            sections = {
                "report": render_report(run.execution, requirements, findings),
                "open_steps": render_steps(
                    run.execution, run.execution.trajectory.ids, run.session.environment, ObservationBudget()
                ),
            }
            # A revision says anew which coupons to use.
            steps = written.revise(sections, [step for step in steps if step["tool"] != "add_coupon_to_cart"])
            trajectory = Trajectory(steps=tuple(Step(**step) for step in steps))
            run, findings, total = self.run(trajectory, requirements, session)
        if style == "chain":
            trajectory = chained(trajectory)
            *_, total = self.run(trajectory, requirements, session)
        if total > loss.EPSILON:
            return None
        known = f"{POLICY}\n{json.dumps(case.user, ensure_ascii=False)}"
        serves = {step.id: written.requirements_of(step.id) for step in trajectory.steps}
        return Subject(case, requirements, draft, trajectory, serves, known)


def first_plans(data: Path, half: str = HALVES[0]) -> Iterator[tuple[str, int, Suspect]]:
    """For each first plan that falls short though nothing was put into it: the case, the position of the first step
    that the rule-made repair changes, and the first suspect.

    Raises:
        DataError: `data` holds no cases, or a broken one.
    """
    cases = _half(data, half)
    replay = Replay(cases)
    for case in cases:
        session = replay.open(case)
        subject = replay.subject(case, data, session, STYLES[0])
        if subject is not None and subject.draft.id != subject.trajectory.id:
            run, findings, _ = replay.run(subject.draft, subject.requirements, session)
            suspects = _suspects(run, findings, subject, session)
            yield case.id, subject.draft.common_prefix(subject.trajectory), suspects[0]
        session.close()


def measure(
    data: Path, *, each: int = 4, seed: int = 0, style: str = STYLES[0], half: str = HALVES[0]
) -> Iterator[Outcome]:
    """An outcome for every detected mutant, at most `each` of each kind for each case.

    Raises:
        DataError: `data` holds no cases, or a broken one.
    """
    cases = _half(data, half)
    replay = Replay(cases)
    for case in cases:
        session = replay.open(case)
        subject = replay.subject(case, data, session, style)
        if subject is not None:
            mutator = Mutator(case, session.toolbox, subject.trajectory, random.Random(f"{seed} {case.id}"))
            for mutant in mutator.mutants(each):
                outcome = _outcome(replay, subject, mutant, session)
                if outcome is not None:
                    yield outcome
        session.close()


def _half(data: Path, half: str) -> list[Case]:
    cases = load_cases(data)
    return {"all": cases, "tuned": cases[::2], "held-out": cases[1::2]}[half]


def _suspects(run: ExecutedRun, findings: Sequence[Finding], subject: Subject, session: Session) -> tuple[Suspect, ...]:
    return ranking.rank(
        run.execution, subject.requirements, findings, session.toolbox, task=subject.case.query, known=subject.known
    )


def _outcome(replay: Replay, subject: Subject, mutant: Mutant, session: Session) -> Outcome | None:
    run, findings, total = replay.run(mutant.trajectory, subject.requirements, session)
    if total <= loss.EPSILON:
        return None
    started = time.perf_counter()
    suspects = _suspects(run, findings, subject, session)
    milliseconds = (time.perf_counter() - started) * 1000
    first = suspects[0] if suspects else None
    exact = first is not None and is_exact(mutant, first)
    near = first is not None and is_near(mutant, first, subject.serves)
    if not exact and not near and first is not None and first.step is not None and mutant.kind != "dropped step":
        near = mutant.step in ranking.slice_of(run.execution, [first.step], session.toolbox)
    violated = tuple(finding.requirement for finding in findings if finding.status == "violated")
    mended = _mended(replay, subject, run, findings, total, session)
    return Outcome(subject.case.id, mutant, exact, exact or near, first, violated, milliseconds, mended)


def _mended(
    replay: Replay, subject: Subject, run: ExecutedRun, findings: Sequence[Finding], total: float, session: Session
) -> bool:
    """Whether what rules write by themselves, where it makes things better, brings the loss to 0."""
    refuted: set[tuple[str | None, str]] = set()
    for _ in range(ROUNDS):
        gradient = ranking.gradient(
            run.execution, subject.requirements, findings, session.toolbox, task=subject.case.query,
            known=subject.known, refuted=refuted,
        )  # fmt: skip
        if gradient is None or gradient.patch is None:
            return False
        child = run.execution.trajectory.replace_from(gradient.locus, gradient.patch, operator="patch")
        after, next_findings, rest = replay.run(child, subject.requirements, session)
        if rest <= loss.EPSILON:
            return True
        if rest < total:
            run, findings, total = after, next_findings, rest
        else:
            refuted.add(gradient.key)
    return False


def is_exact(mutant: Mutant, first: Suspect) -> bool:
    """Whether the first suspect is the fault, as said above."""
    if mutant.kind != "dropped step":
        return first.step == mutant.step and first.kind != "missing_step"
    if mutant.trajectory.submit is None:
        return first.kind == "missing_submit"
    named = f"${mutant.step} " in f"{first.diagnosis} "
    return first.kind == "missing_step" and (first.position == mutant.position or named)


def is_near(mutant: Mutant, first: Suspect, serves: Mapping[str, Sequence[str]]) -> bool:
    """Whether a dropped step is missed for what it served, though at another place."""
    dropped = mutant.kind == "dropped step" and first.kind == "missing_step"
    return dropped and not set(serves.get(mutant.step, ())).isdisjoint(first.requirements)


def figures(outcomes: Sequence[Outcome]) -> dict[str, dict[str, float]]:
    """Counts and shares by kind, and in all."""
    rows = {}
    for kind in (*KINDS, "all"):
        chosen = [outcome for outcome in outcomes if kind in (outcome.mutant.kind, "all")]
        count = len(chosen) or 1
        rows[kind] = {
            "detected": len(chosen),
            "exact": sum(outcome.exact for outcome in chosen) / count,
            "in slice": sum(outcome.in_slice for outcome in chosen) / count,
            "mended": sum(outcome.mended for outcome in chosen) / count,
            "median ms": sorted(outcome.milliseconds for outcome in chosen)[len(chosen) // 2] if chosen else 0.0,
        }
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.benchmarks.blame", description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with database_level{1,2,3}")
    parser.add_argument("--each", type=positive, default=4, help="mutants of each kind for each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--style", choices=STYLES, default=STYLES[0])
    parser.add_argument("--half", choices=HALVES, default=HALVES[0])
    parser.add_argument("--json", type=writable, help="write the figures and every miss here")
    options = parser.parse_args(arguments)
    console = Console()
    try:
        unread = readable(options.data, _half(options.data, options.half)).unread
        warn(unread)
        drafts = list(first_plans(options.data, options.half))
        drawn = {"each": options.each, "seed": options.seed, "style": options.style, "half": options.half}
        outcomes = list(measure(options.data, **drawn))
    except DataError as error:
        Console(stderr=True).print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        return 2
    rows = figures(outcomes)
    table = Table("kind", "detected", "exact", "or in slice", "by rule", "ms")
    for kind, row in rows.items():
        shares = (f"{row[share]:.1%}" for share in ("exact", "in slice", "mended"))
        table.add_row(kind, f"{row['detected']:.0f}", *shares, f"{row['median ms']:.2f}")
    console.print(table)
    if unread:
        console.print(remark(unread), soft_wrap=True)
    right = sum(suspect.position == needed for _, needed, suspect in drafts)
    early = sum(suspect.position <= needed for _, needed, suspect in drafts)
    console.print(
        f"{len(drafts)} first plans fall short by themselves: blame falls on the first step that the repair changes in "
        f"{right}, on it or an earlier one in {early}."
    )
    if options.json:
        misses = [_miss(outcome) for outcome in outcomes if not outcome.exact]
        written = {"figures": rows, "first plans": [len(drafts), right, early], "misses": misses}
        options.json.write_text(json.dumps(written, ensure_ascii=False, indent=1), encoding="utf-8")
    whole = rows["all"]
    passed = whole["exact"] >= TARGET_EXACT and whole["in slice"] >= TARGET_SLICE and whole["detected"] >= TARGET_COUNT
    return 0 if passed else 1


def _miss(outcome: Outcome) -> dict[str, Any]:
    first = outcome.first
    return {
        "case": outcome.case, "kind": outcome.mutant.kind, "change": outcome.mutant.change,
        "position": outcome.mutant.position, "in_slice": outcome.in_slice, "violated": outcome.violated,
        "first": None if first is None else first.model_dump(),
    }  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
