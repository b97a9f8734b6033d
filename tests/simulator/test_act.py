"""Steps written one at a time: the reference's order, slips as in a plan, and mending by later steps."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.phases.act import NextStep
from pivot_dspy.phases.base import with_task
from pivot_dspy.prompts.report import FAILED, NOT_MET, NOT_RUN
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import ADAPTERS, lines, said, within
from tests.simulator.rooms import REQUEST, STEPS, Book, reference

ACT = with_task(NextStep, Book, after="known")
A, B, C, SUBMIT = STEPS
WRONG_A = {**A, "args": {"day": "2026-03-13"}}
UNMET = f'3 of 3 steps ran.\nR1: booked {{"seats": 8}} - {NOT_MET}: booked: []'
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]


def model(**options: Any) -> dspy.LM:
    changes = {"revise": options.pop("revise")} if "revise" in options else {}
    rates = {"slip": 0.0, "heed": 1.0, **options}
    return offline_lm([reference(task, serves={"c": "R1"}, **changes) for task in TASKS], cache=False, **rates)


def step_after(steps: list[dict[str, Any]], lm: Any = None, task: str = TASKS[0], **shown: Any) -> dict[str, Any]:
    outcomes = shown.pop("outcomes", {})
    told: dict[str, Any] = said(ACT, lm or model(), task, steps_so_far=lines(steps, outcomes), **shown).step
    return told


def test_without_slips_the_reference_is_written_step_by_step() -> None:
    for adapter in ADAPTERS:
        with dspy.context(adapter=adapter()):
            done: list[dict[str, Any]] = []
            for _ in STEPS:
                done.append(step_after(done))
            assert done == STEPS


def test_a_step_slips_at_the_rate_of_a_plan_and_one_left_out_comes_later() -> None:
    lm = model(slip=0.3)
    got = [step_after([A], lm, task) for task in TASKS]
    assert within(sum(step != B for step in got), len(TASKS), 0.3)
    skipped = [step for step in got if step["id"] != "b"]
    assert skipped and all(step["id"] in ("c", "submit") for step in skipped)
    assert step_after([A, C])["id"] == "b"


def test_samples_differ_and_the_first_is_repeated() -> None:
    lm = model(slip=0.5)
    hot = {"temperature": 1.0}
    drawn = [said(ACT, lm, TASKS[0], config={**hot, "rollout_id": n}, steps_so_far=lines([A])).step for n in range(20)]
    assert len({str(step) for step in drawn}) > 2
    assert step_after([A], lm) == step_after([A], lm)


def test_a_step_that_went_wrong_is_done_again_with_those_that_read_it() -> None:
    failed = {"a": f"{FAILED} tool_error: no", "b": f"{NOT_RUN}: it needs a step that failed"}
    again = step_after([WRONG_A, B], outcomes=failed)
    assert again == {**A, "id": "a_2"}
    b_again = step_after([WRONG_A, B, again], outcomes=failed)
    assert b_again["id"] == "b_2" and b_again["for_each"].startswith("$a_2[?")
    last = step_after([WRONG_A, B, again, b_again], outcomes=failed)
    assert last["id"] == "c" and "min_by($b_2" in last["args"]["room_id"]


def test_what_the_prompt_does_not_show_to_be_wrong_stays() -> None:
    assert step_after([WRONG_A]) == B
    wrong_c = {**C, "args": {**C["args"], "room_id": "$b[0].item.id"}}
    assert step_after([A, B, wrong_c]) == SUBMIT
    assert step_after([A, B, wrong_c], report=UNMET) == {**C, "id": "c_2"}


def test_mending_happens_at_the_rate_of_heed() -> None:
    failed = {"a": f"{FAILED} tool_error: no"}
    lm = model(heed=0.6)
    got = [step_after([WRONG_A, B], lm, task, outcomes=failed)["id"] for task in TASKS]
    assert within(got.count("a_2"), len(TASKS), 0.6)


def test_lessons_avert_slips_of_the_steps_that_they_name() -> None:
    told = f"- Trial 1:\nStep b: {FAILED} tool_error: no"
    for heed in (1.0, 0.5):
        lm = model(slip=0.5, heed=heed)
        got = [step_after([A], lm, task, lessons=told) for task in TASKS]
        assert within(sum(step != B for step in got), len(TASKS), 0.5 * (1 - heed))


def _undo(sections: Any, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Cancels what a run by somebody else has booked; what its own plan has booked it would write again."""
    if '"id": "a"' in sections["open_steps"] or NOT_MET not in sections.get("report", ""):
        return steps
    return [{"id": "d1", "tool": "cancel", "args": {}}, *steps]


def test_in_the_end_what_is_left_wrong_is_put_right_once() -> None:
    lm = model(revise=_undo)
    unmet = f"R2: cheapest {{}} - {NOT_MET}: booked twice"
    first = step_after([A, B, C], lm, report=unmet)
    assert first == {"id": "d1", "tool": "cancel", "args": {}}
    assert step_after([A, B, C, first], lm, report=unmet) == SUBMIT
    assert step_after([A, B], lm, report=unmet) != first


def _ask_first(sections: Any, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    wanted = "needs the key" in sections["open_steps"]
    return [{"id": "k", "tool": "get_key", "args": {}}, *steps] if wanted else steps


def test_what_is_concluded_is_done_and_what_failed_for_want_of_it_is_done_again() -> None:
    lm = model(revise=_ask_first)
    refused = {"a": f"{FAILED} tool_error: it needs the key"}
    key = step_after([A], lm, outcomes=refused)
    assert key["tool"] == "get_key"
    assert step_after([A, key], lm, outcomes=refused) == {**A, "id": "a_2"}


def test_of_an_unknown_task_it_submits_nothing() -> None:
    step = said(ACT, offline_lm([], cache=False), "Something else.", steps_so_far="none yet").step
    assert step == {"id": "submit", "tool": "submit", "args": {}}
