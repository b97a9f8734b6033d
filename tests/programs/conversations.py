"""Multi-turn tasks for the tests, which the package bfcl-eval holds: they are skipped where it is not installed."""

from __future__ import annotations

from functools import cache
from typing import Any

import dspy
import pytest

from pivot_dspy import Execution, Step, Trajectory
from programs.multi_turn.data import SETS, Case, Gold, load_cases, load_gold
from programs.multi_turn.environment import ConversationEnvironment, Conversations
from programs.multi_turn.package import INSTALL
from programs.multi_turn.reference import run

NO_PACKAGE = f"bfcl-eval is not installed: {INSTALL}"


def need_package() -> None:
    """Skip the calling module where the package is missing."""
    for name in ("bfcl_eval", "mpmath"):
        pytest.importorskip(name, reason=NO_PACKAGE)


@cache
def tasks(name: str) -> dict[str, tuple[Case, Gold]]:
    """The tasks of a set with their gold, by id."""
    gold = load_gold(name)
    return {case.id: (case, gold[case.id]) for case in load_cases(name)}


def task(task_id: str) -> tuple[Case, Gold]:
    name = task_id.removeprefix("multi_turn_").rsplit("_", 1)[0]
    assert name in SETS
    return tasks(name)[task_id]


def opened(case: Case) -> ConversationEnvironment:
    """A fresh environment of the task."""
    made = Conversations([case]).open(dspy.Example(**case.inputs).with_inputs(*case.inputs))
    assert isinstance(made, ConversationEnvironment)
    return made


def ran(case: Case, *steps: tuple[str, dict[str, Any]]) -> Execution:
    """The execution of steps called a, b, c and so on."""
    named = [Step(id=chr(ord("a") + n), tool=tool, **given) for n, (tool, given) in enumerate(steps)]
    return run(case, Trajectory(steps=tuple(named)))
