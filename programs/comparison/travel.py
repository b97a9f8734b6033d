"""DeepPlanning's travel domain among the benchmarks of a comparison."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pivot_dspy import Execution
from pivot_dspy.simulator import Reference
from programs.comparison.benchmarks import GENERATED, Benchmark, Measure, Score, Task, fingerprint
from programs.deepplanning.readable import Readable, read_all, remark
from programs.deepplanning.travel.environment import standing_rules
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.hub import hub_directory
from programs.deepplanning.travel.loader import TravelTask, load_gold, load_tasks
from programs.deepplanning.travel.scoring.official import official_score
from programs.deepplanning.travel.strict import strict_score
from programs.deepplanning.travel.trip_plan import Agency, Form, TripPlan, final_plan
from programs.options import chosen

MEASURES = ("commonsense", "composite")


def travel(wanted: str | None, data: str | None, offline: bool, form: Form) -> Benchmark:
    """The English tasks; official success is case accuracy. The arguments are those of `load`.

    Raises:
        DataError: there is no such task, the data cannot be read, or the offline model can read none of the requests.
    """
    if data is not None:
        folder = hub_directory() if data == "hub" else Path(data)
        return _benchmark(folder, wanted, offline, form, "hub" if data == "hub" else "directory")
    count = int(wanted) if wanted and wanted.isdecimal() else GENERATED
    with tempfile.TemporaryDirectory() as scratch:
        generate(scratch, tasks=max(count, GENERATED) * 3 // 2 + 1)  # every third is in Chinese
        return _benchmark(Path(scratch), wanted, offline, form, "generated")


def _benchmark(folder: Path, wanted: str | None, offline: bool, form: Form, data: str) -> Benchmark:
    by_id = {task.id: task for task in load_tasks(folder)}
    picked = [by_id[name] for name in chosen(by_id, wanted)]
    agency = Agency(picked, form)
    known = read_all(picked, agency.reference) if offline else Readable(tuple(picked))
    gold = load_gold(folder)
    tasks = tuple(_task(folder, task, gold[task.id], agency, known.references.get(task.id)) for task in known.cases)
    about = f"Official success is case accuracy; strict: and the plan is true to the database. Form: {form}."
    notes = [about, *([remark(known.unread)] if known.unread else [])]
    return Benchmark(
        name="travel" if form == "builder" else f"travel-{form}",
        signature=TripPlan,
        tasks=tasks,
        data=data,
        notes=tuple(notes),
        requirements=tuple(standing_rules()),
        unread=known.unread,
    )


def _task(folder: Path, task: TravelTask, gold: Mapping[str, Any], agency: Agency, known: Reference | None) -> Task:
    agency.world(task)  # read now, since a generated folder is gone after loading
    return Task(
        id=task.id,
        inputs={"request": task.request},
        environment=agency.open,
        score=_score(task, gold),
        fingerprint=fingerprint(
            task.request, dict(gold), _digest(folder / f"database_{task.language}" / f"id_{task.number}"),
            known and known.fingerprint,
        ),
        reference=known,
        measure=_measure(task, gold),
    )  # fmt: skip


def _score(task: TravelTask, gold: Mapping[str, Any]) -> Score:
    def score(execution: Execution) -> tuple[bool, bool]:
        scored = strict_score(final_plan(execution), gold, task.database)
        return scored.official.case_accuracy == 1.0, scored.passed

    return score


def _measure(task: TravelTask, gold: Mapping[str, Any]) -> Measure:
    def measure(execution: Execution | None) -> dict[str, float]:
        score = official_score(final_plan(execution), gold, task.database)
        return {name: getattr(score, name) for name in MEASURES}

    return measure


def _digest(folder: Path) -> str:
    """Changes with any file of a task's database."""
    digest = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            digest.update(file.relative_to(folder).as_posix().encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]
