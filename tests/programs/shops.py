"""Shops for the tests: generated and real cases, opened as Pivot opens them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import dspy
import pytest

from pivot_dspy import Finding, Requirements, Step, Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import run_sync
from pivot_dspy.requirements import compile_drafts
from programs.deepplanning.environment import Market, Shopping
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import Case

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"
NO_DATA = "no real tasks; set PIVOT_DATA to their folder"


def generated(folders: pytest.TempPathFactory, seed: int, tasks: int) -> Path:
    """A new folder with that many generated tasks."""
    folder = folders.mktemp("shops")
    generate(folder, seed=seed, tasks=tasks)
    return folder


UNREADABLE = "Find products where the lining is quilted."


def make_unreadable(folder: Path, case_id: str) -> None:
    """Gives a task a sentence that no rule reads."""
    level, number = case_id.removeprefix("L").split("-")
    file = folder / f"database_level{level}" / f"case_{number}" / "validation_cases.json"
    written = json.loads(file.read_text(encoding="utf-8"))
    written["meta_info"][0]["sub_query"] = UNREADABLE
    file.write_text(json.dumps(written, ensure_ascii=False), encoding="utf-8")


def task(case: Case) -> dspy.Example:
    return dspy.Example(request=case.query).with_inputs("request")


def opened(case: Case) -> Session:
    return SessionFactory(Market([case]).open).open(task(case))


def settled(session: Session, written: Iterable[Mapping[str, Any]]) -> Requirements:
    """Requirements as a model writes them, compiled; every one by a check."""
    found = Requirements(items=compile_drafts(list(written), session.toolbox))
    assert not found.textual
    return found


def ran(session: Session, steps: Iterable[Step]) -> ExecutedRun:
    """The steps, run in `session` itself."""
    outputs = {name: field.annotation for name, field in Shopping.output_fields.items()}
    run: ExecutedRun = run_sync(execute(Trajectory(steps=tuple(steps)), session, outputs=outputs))
    return run


def buying(products: Iterable[str], coupons: Mapping[str, int] | None = None) -> list[Step]:
    """Steps that fill a cart and look at it."""
    steps = [Step(id=f"a{n}", tool="add_product_to_cart", args={"product_id": name}) for n, name in enumerate(products)]
    for number, (name, count) in enumerate((coupons or {}).items()):
        steps.append(Step(id=f"k{number}", tool="add_coupon_to_cart", args={"coupon_name": name, "quantity": count}))
    return [*steps, Step(id="z", tool="get_cart_info")]


def fetching(products: Iterable[str]) -> Step:
    return Step(id="p", tool="get_product_details", args={"product_ids": list(products)})


def judged(run: ExecutedRun, requirements: Requirements) -> dict[str, Finding]:
    """Findings by requirement."""
    return {finding.requirement: finding for finding in evaluate(requirements, run.execution, run.session)}
