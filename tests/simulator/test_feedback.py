"""Critiques and reflections name what the prompt shows, at the rate of heed; plans heed reflections likewise."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.phases.base import with_task
from pivot_dspy.phases.critique import CritiqueTrajectory
from pivot_dspy.phases.reflect import ReflectOnTrial
from pivot_dspy.phases.rewrite import RewriteWhole
from pivot_dspy.prompts.report import FAILED, NOT_JUDGED_YET, NOT_MET
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import PLAN, changed, lines, said, within
from tests.simulator.rooms import REQUEST, STEPS, Book, reference

CRITIQUE = with_task(CritiqueTrajectory, Book, after="known")
REFLECT = with_task(ReflectOnTrial, Book)
WHOLE = with_task(RewriteWhole, Book, after="known")
A, B, C, SUBMIT = STEPS
WRONG_B = {**B, "tool": "list_floors"}
UNMET = (
    f'2 of 4 steps ran.\nR1: booked {{"seats": 8}} - {NOT_MET}: booked: []\n  r3 meets it\n'
    f"R2: cheapest - {NOT_JUDGED_YET}"
)
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]


def model(**options: Any) -> dspy.LM:
    rates = {"slip": 0.0, "heed": 1.0, "relapse": 0.0, **options}
    return offline_lm([reference(task, serves={"c": "R1"}) for task in TASKS], cache=False, **rates)


def test_a_critique_names_what_failed_what_is_unmet_and_the_first_cause() -> None:
    shown = {"open_steps": lines([A, WRONG_B, C], {"c": f"{FAILED} unresolved_binding: it gives nothing"})}
    faults = said(CRITIQUE, model(), TASKS[0], report=UNMET, **shown).faults
    assert faults == [
        f"Step c: {FAILED} unresolved_binding: it gives nothing",
        f"R1: {NOT_MET}: booked: []",
        "Nothing is submitted; end with step submit.",
        "Step b does not do what is asked; write it again.",
    ]


def test_where_the_prompt_shows_nothing_wrong_nothing_is_criticised() -> None:
    shown = {"open_steps": lines([A, WRONG_B, C, SUBMIT]), "report": "4 of 4 steps ran."}
    assert said(CRITIQUE, model(), TASKS[0], **shown).faults == []
    assert said(REFLECT, model(), TASKS[0], **shown).reflection == "Nothing stands out."


def test_each_fault_is_named_at_the_rate_of_heed() -> None:
    shown = {"open_steps": lines([A, B, C, SUBMIT], {"b": f"{FAILED} tool_error: no"}), "report": UNMET}
    lm = model(heed=0.6)
    got = [said(CRITIQUE, lm, task, **shown).faults for task in TASKS]
    for start in ("Step b:", "R1:"):
        assert within(sum(any(fault.startswith(start) for fault in faults) for faults in got), len(TASKS), 0.6)


def test_a_reflection_takes_the_hint_along() -> None:
    shown = {"open_steps": lines(STEPS), "report": UNMET}
    assert said(REFLECT, model(), TASKS[0], **shown).reflection == f"R1: {NOT_MET}: booked: []\n  r3 meets it"


def test_a_whole_rewrite_mends_what_the_critique_names_and_may_break_the_rest() -> None:
    shown = {"open_steps": lines([A, WRONG_B, C, SUBMIT]), "report": "4 of 4 steps ran."}
    told = {**shown, "critique": "- Step b does not do what is asked; write it again."}
    assert said(WHOLE, model(), TASKS[0], **told).steps == STEPS
    assert said(WHOLE, model(), TASKS[0], **shown, critique="- It is too long.").steps == [A, WRONG_B, C, SUBMIT]
    lm = model(relapse=0.2)
    broken = [changed(said(WHOLE, lm, task, **told).steps) for task in TASKS]
    assert within(sum(len(ids) for ids in broken), 2 * len(TASKS), 0.2) and not any("b" in ids for ids in broken)


def test_of_earlier_versions_the_critiques_count_and_the_steps_do_not() -> None:
    shown = {"open_steps": lines([A, WRONG_B, C, SUBMIT]), "report": "", "critique": "- It is too long."}
    before = f"Version 1:\n{lines([A, B, C, SUBMIT])}\nCritique:\n- It is too short."
    assert said(WHOLE, model(), TASKS[0], **shown, earlier_versions=before).steps == [A, WRONG_B, C, SUBMIT]
    named = before.replace("It is too short.", "Step b quotes nothing.")
    assert said(WHOLE, model(), TASKS[0], **shown, earlier_versions=named).steps == STEPS


def test_a_plan_heeds_reflections_on_the_steps_that_they_name() -> None:
    told = f"- Trial 1:\nStep b: {FAILED} tool_error: no\nR1: {NOT_MET}: booked: []"
    for heed in (1.0, 0.5):
        lm = model(slip=0.5, heed=heed)
        got = [changed(said(PLAN, lm, task, lessons=told).steps) for task in TASKS]
        for name, rate in (("a", 0.5), ("b", 0.5 * (1 - heed)), ("c", 0.5 * (1 - heed))):
            assert within(sum(name in ids for ids in got), len(TASKS), rate), (heed, name)


def test_lessons_of_other_tasks_are_no_reflections() -> None:
    told = "- Step b: quote the rooms that fit"
    lm = model(slip=0.5)
    got = [changed(said(PLAN, lm, task, lessons=told).steps) for task in TASKS]
    assert within(sum("b" in ids for ids in got), len(TASKS), 0.5)


def _cheaper(sections: Any, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Takes the room that the latest evidence names."""
    if "take r4" in sections.get("report", "").partition("take r3")[0]:
        steps[2] = {**steps[2], "args": {**steps[2]["args"], "room_id": "r4"}}
    return steps


def test_what_the_latest_reflection_shows_is_concluded_from() -> None:
    known = [reference(task, revise=_cheaper) for task in TASKS]
    latest = f"- Trial 1:\nR2: {NOT_MET}: dear\n  take r3\n- Trial 2:\nR2: {NOT_MET}: dear\n  take r4"
    lm = offline_lm(known, slip=0.0, heed=0.7, cache=False)
    rooms = [said(PLAN, lm, task, lessons=latest).steps[2]["args"]["room_id"] for task in TASKS]
    assert within(rooms.count("r4"), len(TASKS), 0.7)
    earlier = "- Trial 1:\ntake r4\n- Trial 2:\ntake r3"
    assert said(PLAN, lm, TASKS[0], lessons=earlier).steps == STEPS
