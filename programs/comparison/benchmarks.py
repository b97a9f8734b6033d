"""The benchmarks that refiners are compared on: tasks, their environment, and how what came of one is scored."""

from __future__ import annotations

import hashlib
import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import dspy

from pivot_dspy import Execution, Requirement
from pivot_dspy.environment.factory import EnvironmentLike, SessionFactory
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.requirements import Requirements, compile_drafts
from pivot_dspy.simulator import Reference
from programs import meeting_room
from programs.deepplanning.environment import Market, Shopping, final_cart
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import Case, Gold, hub_directory, load_cases, load_gold
from programs.deepplanning.readable import Readable, readable, remark
from programs.deepplanning.scoring import official_pass, strict_pass
from programs.options import DataError, chosen

GENERATED = 6
"""Tasks in the generated store, unless more are asked for."""

Score = Callable[[Execution], tuple[bool, bool]]
"""Whether what an execution came to is a success: by the benchmark's official rule, and by a strict one."""

Measure = Callable[[Execution | None], dict[str, float]]
"""What else is measured of an execution, by name; of None, what there is where there is none."""


@dataclass(frozen=True)
class Task:
    """One task: what a refiner is made for and called with, how its result is scored, what the offline model knows.

    Attributes:
        fingerprint: changes with all that the task consists of, its gold included.
        reference: of the offline model; None where a real model is asked.
        measure: None where success is all that counts.
    """

    id: str
    inputs: Mapping[str, Any]
    environment: EnvironmentLike = field(repr=False)
    score: Score = field(repr=False)
    fingerprint: str
    reference: Reference | None = field(default=None, repr=False)
    measure: Measure | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Benchmark:
    """Tasks of one kind.

    Attributes:
        data: where they are from, in a word.
        judge_error: of the offline model, unless another is asked for: more than 0 where requirements are judged.
        notes: what has to be known beside the figures.
        requirements: what every refiner is given beside the request.
        unread: why tasks that were wanted are left out, by id: the offline model cannot read them.
    """

    name: str
    signature: type[dspy.Signature]
    tasks: tuple[Task, ...]
    data: str
    judge_error: float = 0.0
    notes: tuple[str, ...] = ()
    requirements: tuple[Requirement, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def load(program: str, wanted: str | None, data: str | None, *, offline: bool) -> Benchmark:
    """The benchmark of that name with the wanted tasks.

    Args:
        wanted: how many tasks, spread evenly over the benchmark's kinds, or their ids with commas between; None for
            all.
        data: where the tasks are, in the program's own terms; None for its default.
        offline: whether the offline model plans, which needs references.

    Raises:
        DataError: no such program or task, or the data cannot be read.
    """
    if program not in PROGRAMS:
        raise DataError(f"no program is called {program}; programs: {', '.join(PROGRAMS)}")
    return PROGRAMS[program](wanted, data, offline)


def fingerprint(*parts: Any) -> str:
    """Sixteen hexadecimal digits that change with any of the JSON values."""
    text = json.dumps(parts, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


# ----------------------------------------------------------------------------------------------------------- shopping


def _shopping(wanted: str | None, data: str | None, offline: bool) -> Benchmark:
    if data is not None:
        folder = hub_directory() if data == "hub" else Path(data)
        return _shops(folder, wanted, offline, "hub" if data == "hub" else "directory")
    count = int(wanted) if wanted and wanted.isdecimal() else GENERATED
    with tempfile.TemporaryDirectory() as scratch:
        generate(scratch, tasks=max(count, GENERATED))
        return _shops(Path(scratch), wanted, offline, "generated")


def _shops(folder: Path, wanted: str | None, offline: bool, data: str) -> Benchmark:
    cases = {case.id: case for case in load_cases(folder)}
    wished = [cases[name] for name in chosen(cases, wanted, kind=lambda name: name.partition("-")[0])]
    known = readable(folder, wished) if offline else Readable(tuple(wished))
    market = Market(known.cases)
    tasks = tuple(_shop(folder, case, market, known.references.get(case.id)) for case in known.cases)
    notes = (remark(known.unread),) if known.unread else ()
    return Benchmark("shopping", Shopping, tasks, data, notes=notes, unread=known.unread)


def _shop(folder: Path, case: Case, market: Market, known: Reference | None) -> Task:
    gold = load_gold(folder, case.id)
    return Task(
        id=case.id,
        inputs={"request": case.query},
        environment=market.open,
        score=_cart_score(gold),
        fingerprint=fingerprint(
            case.query, case.products, case.user, case.cart, gold.products, gold.coupons, known and known.fingerprint
        ),
        reference=known,
    )


def _cart_score(gold: Gold) -> Score:
    def score(execution: Execution) -> tuple[bool, bool]:
        cart = final_cart(execution)
        return official_pass(cart, gold), strict_pass(cart, gold)

    return score


# ------------------------------------------------------------------------------------------------------- meeting room


def _meeting_room(wanted: str | None, data: str | None, offline: bool) -> Benchmark:
    if data is not None:
        raise DataError("meeting_room brings its one task along; leave --data out")
    known = meeting_room.reference()
    task = Task(
        id="launch-plan",
        inputs={"request": meeting_room.REQUEST},
        environment=meeting_room.Workspace,
        score=_meeting_score,
        fingerprint=fingerprint(meeting_room.REQUEST, known.fingerprint),
        reference=known if offline else None,
    )
    chosen([task.id], wanted)
    return Benchmark("meeting_room", meeting_room.BookMeeting, (task,), "own")


def _meeting_score(execution: Execution) -> tuple[bool, bool]:
    """Whether the meeting is as the request asks, by the task's own requirements and not by those that a model wrote;
    strictly, whether also nothing else was booked and a confirmation was given. The trajectory is run once more."""
    outputs = {name: found.annotation for name, found in meeting_room.BookMeeting.output_fields.items()}
    session = SessionFactory(meeting_room.Workspace).open(None)
    try:
        drafts = compile_drafts(list(meeting_room.reference().requirements), session.toolbox)
        run: ExecutedRun = run_sync(execute(execution.trajectory, session, outputs=outputs))
        office: Any = run.session.environment
        official = all(item.holds for item in evaluate(Requirements(items=drafts), run.execution, run.session))
        booked = len(office.bookings) - len(meeting_room.Workspace().bookings)
    finally:
        session.family.close()
    return official, official and booked == 1 and bool(execution.outputs.get("confirmation"))


# --------------------------------------------------------------------------------------------------------------- bfcl


def _bfcl(wanted: str | None, data: str | None, offline: bool) -> Benchmark:
    from programs.multi_turn.checker import score
    from programs.multi_turn.data import SETS, load_cases, load_gold
    from programs.multi_turn.environment import Conversation, Conversations
    from programs.multi_turn.package import MissingPackage, version
    from programs.multi_turn.reference import reference

    if data is not None:
        raise DataError("bfcl takes its tasks from the package bfcl-eval; leave --data out")

    def task(case: Any, gold: Any) -> Task:
        known = reference(case, gold) if offline else None
        return Task(
            id=case.id,
            inputs=case.inputs,
            environment=Conversations([case]).open,  # of its own: tasks of several sets have the same conversation
            score=lambda execution: score(execution, case, gold),
            fingerprint=fingerprint(version(), case.id, gold, known and known.fingerprint),
            reference=known,
        )

    try:
        cases = [{case.id: case for case in load_cases(name)} for name in SETS]
        gold = {name: calls for kind in SETS for name, calls in load_gold(kind).items()}
        known = {name: case for kind in cases for name, case in kind.items()}
        tasks = tuple(task(known[name], gold[name]) for name in chosen(_mixed(list(map(list, cases))), wanted))
    except MissingPackage as error:
        raise DataError(str(error)) from error
    notes = ["All turns are given at once, unlike on the leaderboard: its figures are others."]
    if offline:
        notes.append("The offline model plans the gold calls with slips, and its judge compares with what they give.")
    return Benchmark("bfcl", Conversation, tasks, "bfcl-eval", judge_error=0.1, notes=tuple(notes))


def _mixed(sets: Sequence[Sequence[str]]) -> list[str]:
    """All ids, the sets in turn. The sets hold variants of the same scenarios, in the order of their subjects: so each
    id is far from the one before, and no scenario comes again before all have come.

    >>> _mixed([["a0", "a1", "a2"], ["b0", "b1", "b2"]])
    ['a0', 'b2', 'a1', 'b0', 'a2', 'b1']
    """
    size = min(map(len, sets))
    stride = next(step for step in range(round(size * 0.618), size + 2) if math.gcd(step, size) == 1)
    mixed = [sets[(turn + lap) % len(sets)][turn * stride % size] for lap in range(len(sets)) for turn in range(size)]
    return [*mixed, *(name for names in sets for name in names[size:])]


# ---------------------------------------------------------------------------------------------------------- agentdojo


def _agentdojo(wanted: str | None, data: str | None, offline: bool) -> Benchmark:
    from programs.office.data import load_cases, load_gold, pick
    from programs.office.environment import Office, opened
    from programs.office.judge import score
    from programs.office.package import VERSION, MissingPackage, version
    from programs.office.reference import reference

    if data is not None:
        raise DataError("agentdojo takes its tasks from the package agentdojo; leave --data out")

    def task(case: Any) -> Task:
        known = reference(case) if offline else None
        return Task(
            id=case.id,
            inputs=case.inputs,
            environment=lambda: opened(case),
            score=lambda execution: score(execution, case),
            fingerprint=fingerprint(version(), VERSION, case.id, load_gold(case), known and known.fingerprint),
            reference=known,
        )

    try:
        tasks = tuple(task(case) for case in pick(load_cases(), wanted))
    except MissingPackage as error:
        raise DataError(str(error)) from error
    notes = ["User tasks without injections, judged by the suites' own rules as if all their calls had been made."]
    if offline:
        notes.append("The offline model plans the gold calls with slips, and its judge compares with what they give.")
    return Benchmark("agentdojo", Office, tasks, "agentdojo", judge_error=0.1, notes=tuple(notes))


# ------------------------------------------------------------------------------------------------------------- travel


def _travel(form: Literal["builder", "json"]) -> Callable[[str | None, str | None, bool], Benchmark]:
    def loaded(wanted: str | None, data: str | None, offline: bool) -> Benchmark:
        from programs.comparison.travel import travel

        return travel(wanted, data, offline, form)

    return loaded


PROGRAMS: dict[str, Callable[[str | None, str | None, bool], Benchmark]] = {
    "shopping": _shopping,
    "bfcl": _bfcl,
    "agentdojo": _agentdojo,
    "meeting_room": _meeting_room,
    "travel": _travel("builder"),
    "travel-json": _travel("json"),
}
