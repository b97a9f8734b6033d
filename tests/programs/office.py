"""AgentDojo's user tasks for the tests, which are skipped where the package agentdojo is not installed."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import pytest

from pivot_dspy import Step, Trajectory
from programs.office.data import Case, load_cases, load_gold
from programs.office.judge import make_real, useful
from programs.office.package import INSTALL
from programs.office.plan import plan

NEEDED = ("agentdojo", "deepdiff", "docstring_parser", "email_validator")
NO_PACKAGE = f"agentdojo is not installed: {INSTALL}"

AGENTDOJO = pytest.mark.skipif(not all(map(importlib.util.find_spec, NEEDED)), reason=NO_PACKAGE)


def need_package() -> None:
    """Skip the calling module where the package is missing."""
    for name in NEEDED:
        pytest.importorskip(name, reason=NO_PACKAGE)


@cache
def tasks() -> dict[str, Case]:
    """All tasks by id."""
    return {case.id: case for case in load_cases()}


def gold_plan(task_id: str) -> Trajectory:
    return plan(load_gold(tasks()[task_id]))


def with_steps(trajectory: Trajectory, *steps: tuple[str, dict[str, Any]]) -> Trajectory:
    """The trajectory with these calls before it."""
    first = tuple(Step(id=f"x{number}", tool=tool, args=args) for number, (tool, args) in enumerate(steps))
    return Trajectory(steps=(*first, *trajectory.steps))


def utility(task_id: str, trajectory: Trajectory) -> bool:
    """The suite's utility of a trajectory, with all its calls made."""
    made = make_real(tasks()[task_id], trajectory)
    return useful(tasks()[task_id], made.execution.outputs.get("answer"), made.environment)
