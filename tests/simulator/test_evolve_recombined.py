"""The offline model joins the trajectories that a prompt shows, at the rate of heed."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from pivot_dspy.phases.base import with_task
from pivot_dspy.phases.recombine import RestructurePool, TransferStrategy
from pivot_dspy.prompts.report import NOT_MET
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import changed, lines, said, within
from tests.simulator.rooms import REQUEST, STEPS, Book, reference

RESTRUCTURE = with_task(RestructurePool, Book, after="known")
A, B, C, SUBMIT = STEPS
WRONG_B = {**B, "tool": "list_floors"}
WRONG_C = {**C, "args": {**C["args"], "day": "2026-03-13"}}
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]
BOTH = f"Trajectory 1:\n{lines([A, WRONG_B, C, SUBMIT])}\n\nTrajectory 2:\n{lines([A, B, WRONG_C, SUBMIT])}"
NOTHING = "Trajectory 1:\n4 of 4 steps ran.\n\nTrajectory 2:\n4 of 4 steps ran."


def model(**options: Any) -> dspy.LM:
    rates = {"slip": 0.0, "heed": 1.0, "relapse": 0.0, **options}
    return offline_lm([reference(task) for task in TASKS], cache=False, **rates)


def joined(lm: dspy.LM, task: str = TASKS[0], signature: Any = RESTRUCTURE, **shown: Any) -> Any:
    return said(signature, lm, task, **{"trajectories": BOTH, "reports": NOTHING, **shown})


@pytest.mark.parametrize("signature", [RESTRUCTURE, with_task(TransferStrategy, Book, after="known")])
def test_right_steps_of_any_trajectory_are_taken(signature: Any) -> None:
    assert joined(model(), signature=signature).steps == STEPS


def test_a_step_that_the_first_lacks_goes_to_its_place() -> None:
    shown = f"Trajectory 1:\n{lines([A, C, SUBMIT])}\n\nTrajectory 2:\n{lines([B, SUBMIT])}"
    assert joined(model(), trajectories=shown).steps == STEPS


def test_each_is_taken_at_the_rate_of_heed_and_broken_at_that_of_relapse() -> None:
    lm = model(heed=0.6)
    got = [changed(joined(lm, task).steps) for task in TASKS]
    assert within(sum("b" not in ids for ids in got), len(TASKS), 0.6) and not any(ids - {"b"} for ids in got)
    lm = model(relapse=0.3)
    got = [changed(joined(lm, task).steps) for task in TASKS]
    assert within(sum(map(len, got)), 3 * len(TASKS), 0.3)


def test_what_is_wrong_in_all_is_mended_where_a_report_names_it() -> None:
    shown = f"Trajectory 1:\n{lines([A, WRONG_B, C, SUBMIT])}\n\nTrajectory 2:\n{lines([A, WRONG_B, WRONG_C, SUBMIT])}"
    assert changed(joined(model(), trajectories=shown).steps) == {"b"}
    unmet = f"{NOTHING}\nR1: booked - {NOT_MET}: booked: []"
    assert joined(model(), trajectories=shown, reports=unmet).steps == STEPS


def test_of_an_unknown_task_the_first_trajectory_is_written_again() -> None:
    assert joined(model(), "Something else.").steps == [A, WRONG_B, C, SUBMIT]
