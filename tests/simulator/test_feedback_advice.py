"""The offline model under `dspy.Refine`: advice names what the prompt shows, and the next plan heeds it."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest
from dspy.predict.refine import OfferFeedback

from pivot_dspy import DspyRefine
from pivot_dspy.phases.base import with_task
from pivot_dspy.phases.plan import PlanTrajectory
from pivot_dspy.prompts.report import FAILED, NOT_MET, NOT_RUN
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import ADAPTERS, TOOLS, changed, within
from tests.simulator.rooms import REQUEST, REQUIREMENTS, STEPS, Book, Rooms, reference

HINTED = with_task(PlanTrajectory, Book, after="user_requirements").append("hint_", dspy.InputField(), str)
WRONG = [STEPS[0], {**STEPS[1], "tool": "list_floors"}, *STEPS[2:]]
TASKS = [f'Task {number:04d}, "quoted":\n{REQUEST}' for number in range(150)]


def model(**options: Any) -> dspy.LM:
    rates = {"slip": 0.0, "heed": 1.0, "relapse": 0.0, **options}
    return offline_lm([reference(task) for task in TASKS], cache=False, **rates)


def advised(lm: dspy.LM, task: str, outcomes: list[str], report: list[str], steps: list[Any] = WRONG) -> Any:
    """The advice on an attempt, shown as `dspy.Refine` shows it."""
    calls = [{"module_name": "plan.predict", "inputs": {"request": task}, "outputs": {"steps": steps}}]
    shown = {
        "program_inputs": {"request": task}, "program_trajectory": calls, "reward_value": 0.5, "target_threshold": 1.0,
        "program_outputs": {"outcomes": outcomes, "report": report, "loss": 0.5}, "module_names": ["plan.predict"],
    }  # fmt: skip
    others = dict.fromkeys(("program_code", "modules_defn", "reward_code"), "x")
    with dspy.context(lm=lm, warn_on_type_mismatch=False):
        return dspy.Predict(OfferFeedback)(**{name: json.dumps(value) for name, value in shown.items()}, **others)


UNMET = ["2 of 4 steps ran.", f'R1: booked {{"seats": 8}} - {NOT_MET}: booked: []', "  r3 meets it"]
OUTCOMES = [
    "a list_rooms -> 4 rooms", f"b list_floors -> {FAILED} bad_arguments: room_id: unknown", f"c x -> {NOT_RUN}",
]  # fmt: skip


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_advice_says_what_a_reflection_on_the_run_would_say(adapter: Any) -> None:
    with dspy.context(adapter=adapter()):
        said = advised(model(), TASKS[0], OUTCOMES, UNMET)
    assert said.advice == {
        "plan.predict": f"Step b: {FAILED} bad_arguments: room_id: unknown\nR1: {NOT_MET}: booked: []\n  r3 meets it\n"
        "Step b does not do what is asked; write it again."
    }


def test_without_anything_that_is_wrong_nothing_is_to_blame() -> None:
    fine = ["a x -> ok", "b x -> ok", "c x -> ok", "submit submit -> submitted"]
    assert advised(model(), TASKS[0], fine, ["4 of 4 steps ran."], STEPS).advice == {"plan.predict": "N/A"}


def test_what_cannot_be_read_is_no_fault() -> None:
    with dspy.context(lm=model(), warn_on_type_mismatch=False):
        texts = dict.fromkeys(OfferFeedback.input_fields, "no JSON")
        assert dspy.Predict(OfferFeedback)(**texts).advice == {}


def test_each_fault_is_named_at_the_rate_of_heed() -> None:
    lm = model(heed=0.6)
    texts = [advised(lm, task, OUTCOMES, UNMET).advice["plan.predict"] for task in TASKS]
    assert within(sum(f"Step b: {FAILED}" in text for text in texts), len(TASKS), 0.6)
    assert within(sum(f"R1: {NOT_MET}" in text for text in texts), len(TASKS), 0.6)


def slips(lm: dspy.LM, hint: str) -> int:
    """How often a hinted plan has the second step wrong."""
    count = 0
    with dspy.context(lm=lm, warn_on_type_mismatch=False):
        for task in TASKS:
            shown = dict.fromkeys(HINTED.input_fields, "")
            steps = dspy.Predict(HINTED)(**{**shown, "tools": TOOLS, "request": task, "hint_": hint}).steps
            count += "b" in changed(steps)
    return count


def test_a_hint_averts_the_slips_of_the_steps_that_it_names() -> None:
    assert within(slips(model(slip=0.5, heed=0.8), f"Step b: {FAILED} bad_arguments"), len(TASKS), 0.5 * 0.2)
    assert within(slips(model(slip=0.5, heed=0.8), f"Step c: {FAILED} bad_arguments"), len(TASKS), 0.5)
    assert within(slips(model(slip=0.5, heed=0.8), "N/A"), len(TASKS), 0.5)


def test_a_hint_that_names_an_unmet_requirement_averts_slips_of_what_serves_it() -> None:
    assert REQUIREMENTS[0]["id"] == "R1"
    assert slips(model(slip=0.5), f"R1: {NOT_MET}: booked: []") == 0


def test_dspy_refine_repairs_what_it_is_told_of() -> None:
    verified = dict.fromkeys((0.0, 1.0), 0)
    for heed in verified:
        for seed in range(25):
            lm = offline_lm([reference()], slip=0.8, heed=heed, seed=seed, cache=False)
            with dspy.context(lm=lm):
                verified[heed] += DspyRefine(Book, Rooms, timeout=None)(request=REQUEST).verified
    assert verified[1.0] > verified[0.0] + 5
