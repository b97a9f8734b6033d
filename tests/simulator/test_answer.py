"""The offline model states a confidence in each step where it is asked to, more in right steps than in wrong ones."""

from __future__ import annotations

from statistics import fmean
from typing import Any

import dspy
import pytest

from pivot_dspy.prompts.report import FAILED
from pivot_dspy.refiners.confidence_gate import STATED_FORM
from pivot_dspy.simulator import offline_lm
from pivot_dspy.simulator.answer import RIGHT, WRONG
from tests.simulator.asking import ADAPTERS, EVOLVE, PLAN, lines, said
from tests.simulator.rooms import REQUEST, STEPS, reference

A, B, C, SUBMIT = STEPS
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(80)]


def asking(signature: Any) -> Any:
    return signature.with_instructions(f"{signature.instructions}\n{STATED_FORM}")


def model(**options: Any) -> dspy.LM:
    return offline_lm([reference(task) for task in TASKS], cache=False, **options)


def stated(signature: Any, slip: float, **shown: Any) -> list[float]:
    lm = model(slip=slip, heed=1.0, relapse=0.0)
    steps = [step for task in TASKS for step in said(signature, lm, task, **shown).steps]
    return [step["confidence"] for step in steps if step.get("tool") not in (None, "submit")]


def test_right_steps_are_stated_in_their_range_and_wrong_ones_in_theirs() -> None:
    right, wrong = stated(asking(PLAN), 0.0), stated(asking(PLAN), 1.0)
    for found, (low, high) in ((right, RIGHT), (wrong, WRONG)):
        assert low <= min(found) < low + 0.05 and high - 0.05 < max(found) <= high
        assert fmean(found) == pytest.approx((low + high) / 2, abs=0.03)


def test_a_rewrite_states_it_of_what_it_writes_out_and_not_of_what_it_keeps() -> None:
    shown = {"open_steps": lines([{**B, "tool": "list_floors"}, C, SUBMIT], {"b": f"{FAILED} tool_error: no"})}
    steps = said(asking(EVOLVE), model(heed=1.0, relapse=0.0), TASKS[0], kept="a list_rooms -> 3", **shown).steps
    assert steps[0]["id"] == "b" and RIGHT[0] <= steps[0]["confidence"] <= RIGHT[1]
    assert steps[1:] == [{"keep": ["c", "submit"]}]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_nothing_else_changes_and_who_does_not_ask_is_told_nothing(adapter: Any) -> None:
    with dspy.context(adapter=adapter()):
        plain = said(PLAN, model(slip=0.0), TASKS[0]).steps
        asked = said(asking(PLAN), model(slip=0.0), TASKS[0]).steps
    assert plain == [A, B, C, SUBMIT]
    assert [{key: value for key, value in step.items() if key != "confidence"} for step in asked] == plain


def test_a_task_that_it_does_not_know_is_not_sure_of_anything() -> None:
    steps = said(asking(PLAN), offline_lm([], cache=False), f"{REQUEST} Now.").steps
    assert len(steps) == 1 and WRONG[0] <= steps[0]["confidence"] <= WRONG[1]
