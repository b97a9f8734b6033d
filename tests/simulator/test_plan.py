"""Plans and requirements: exact without noise, wrong at the published rates with it, the same for the same seed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.simulator import Reference, offline_lm
from pivot_dspy.simulator.slips import Dice, Surroundings, habit, situations, spoil
from tests.simulator.asking import ADAPTERS, AUDIT, PLAN, SETTLE, TOOLS, changed, said, within
from tests.simulator.rooms import REQUEST, REQUIREMENTS, STEPS, reference

TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]
TRIES = len(TASKS) * 3  # the submit never slips


def model(**options: Any) -> dspy.LM:
    return offline_lm([reference(task) for task in TASKS], cache=False, **options)


def plans(lm: dspy.LM, **shown: Any) -> list[Any]:
    return [said(PLAN, lm, task, **shown) for task in TASKS]


@pytest.mark.parametrize("adapter", ADAPTERS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), sampled=st.booleans())
def test_without_slips_the_reference_is_written(adapter: Any, seed: int, sampled: bool) -> None:
    lm = offline_lm([reference()], slip=0, seed=seed, cache=False)
    with dspy.context(adapter=adapter()):
        got = said(PLAN, lm, REQUEST, config={"temperature": 1.0} if sampled else None)
    assert got.steps == STEPS and got.requirements == REQUIREMENTS


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), slip=st.floats(0, 1))
def test_the_same_seed_answers_alike(seed: int, slip: float) -> None:
    first, second = (offline_lm([reference()], slip=slip, seed=seed, cache=False) for _ in range(2))
    assert said(PLAN, first, REQUEST).toDict() == said(PLAN, second, REQUEST).toDict()
    assert said(PLAN, first, REQUEST).toDict() == said(PLAN, second, REQUEST).toDict()  # and does so again


def test_sampled_candidates_differ_and_greedy_ones_do_not() -> None:
    lm, again = (offline_lm([reference()], slip=0.5, cache=False) for _ in range(2))

    def sampled(model: dspy.LM) -> list[str]:
        configs = [{"temperature": 1.0, "rollout_id": number} for number in range(1, 9)]
        return [json.dumps(said(PLAN, model, REQUEST, config=config).steps) for config in configs]

    greedy = {json.dumps(said(PLAN, lm, REQUEST).steps) for _ in range(5)}
    assert len(greedy) == 1 and len(set(sampled(lm))) > 3
    assert sampled(lm) == sampled(lm) == sampled(again)


@pytest.mark.parametrize("slip", [0.05, 0.3])
def test_slips_and_forgotten_requirements_come_at_their_rates(slip: float) -> None:
    got = plans(model(slip=slip))
    assert within(sum(len(changed(one.steps)) for one in got), TRIES, slip)
    assert within(sum(2 - len(one.requirements) for one in got), len(TASKS) * 2, slip / 4)
    assert all(one.steps[-1] == STEPS[-1] for one in got)
    by_step = Counter(step_id for one in got for step_id in changed(one.steps))
    assert all(within(by_step[step_id], len(TASKS), slip) for step_id in "abc")


def test_a_model_that_slips_more_slips_wherever_a_better_one_does() -> None:
    few, many = plans(model(slip=0.1)), plans(model(slip=0.4))
    assert all(changed(one.steps) <= changed(two.steps) for one, two in zip(few, many, strict=True))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(STEPS[:3]), st.integers(0, 10**6))
def test_a_slip_changes_one_thing_of_a_step_and_never_the_reference(step: dict[str, Any], seed: int) -> None:
    before = json.dumps(step)
    broken = spoil(step, Surroundings(STEPS, TOOLS), Dice(str(seed)), "x")
    assert json.dumps(step) == before
    if broken is not None:
        parts = [("tool",), ("for_each",), *(("args", name) for name in step["args"])]
        assert broken["id"] == step["id"] and broken.keys() == step.keys()
        assert sum(_at(broken, *part) != _at(step, *part) for part in parts) == 1


def test_every_kind_of_slip_occurs() -> None:
    around = Surroundings(STEPS, TOOLS)
    broken = [spoil(STEPS[1], around, Dice(str(seed)), "x") for seed in range(300)]
    texts = [json.dumps(step) for step in broken]
    assert None in broken
    for piece in ("list_floors", "projector == 'ye", "floor >= ", "room_id-", "`9`"):
        assert any(piece in text for text in texts), piece
    swapped = [spoil(STEPS[2], around, Dice(str(seed)), "x") for seed in range(100)]
    assert any(step and step["args"]["room_id"].startswith("min_by($a") for step in swapped)


def test_slips_reach_into_nested_lists() -> None:
    stops: list[list[Any]] = [["A1", "09:30", 2], ["R7", "12:00"], ["A4"]]
    day = {"id": "d", "tool": "day", "args": {"day": 2, "stops": stops}}
    other = {"id": "e", "tool": "day", "args": {"day": 3, "stops": [["R8", "18:00"], ["A5"]]}}
    broken = [spoil(day, Surroundings([day, other], TOOLS), Dice(str(seed)), "x") for seed in range(400)]
    written = [step["args"]["stops"] for step in broken if step and step["tool"] == "day"]
    assert all(stops[:place] + stops[place + 1 :] in written for place in range(3))  # one of them forgotten
    whole = [row for row in written if len(row) == 3]
    assert ["A1", "09:30", 3] in [row[0] for row in whole] and ["R8", "12:00"] in [row[1] for row in whole]
    assert day["args"]["stops"] == [["A1", "09:30", 2], ["R7", "12:00"], ["A4"]]
    flat = {"id": "f", "tool": "filter", "args": {"sizes": ["S", "M"]}}  # a list of mere values keeps its length
    slips = [spoil(flat, Surroundings([flat], TOOLS), Dice(str(seed)), "x") for seed in range(200)]
    assert {len(step["args"]["sizes"]) for step in slips if step} == {2}


def test_what_fits_a_requirement_is_within_reach_of_a_plan() -> None:
    wished = {"id": "R1", "check": "cheapest", "args": {}}
    bound: list[dict[str, Any]] = [
        {"id": "l", "tool": "list_rooms", "args": {"day": "2026-03-12"}},
        {"id": "a", "tool": "book_room", "args": {"room_id": "$R1[0].id", "day": "2026-03-12"}},
        {"id": "submit", "tool": "submit", "args": {"room": "$a.room_id"}},
    ]
    known = Reference(match=REQUEST, requirements=[wished], steps=bound)
    assert said(PLAN, offline_lm([known], slip=0, cache=False), REQUEST).steps == bound
    unsaid = Reference(match=REQUEST, steps=bound)
    assert said(PLAN, offline_lm([unsaid], slip=0, cache=False), REQUEST).steps == bound[:1]


def test_habits_are_the_same_in_every_task_and_grow_with_their_share() -> None:
    errors = {}
    for share in (0.3, 0.7, 1.0):
        written = [json.dumps(one.steps) for one in plans(model(slip=0, systematic=share, seed=3))]
        assert len(set(written)) == 1
        errors[share] = changed(json.loads(written[0]))
    assert errors[0.3] <= errors[0.7] <= errors[1.0] == {"a", "b", "c"}


def test_a_habit_names_the_situation_that_it_shows_in() -> None:
    around = Surroundings(STEPS, TOOLS)
    for step in STEPS[:3]:
        for name in situations(step, around.ids):
            wrong = habit(step, name, around, Dice("habits", "0"))
            assert wrong != step and habit(step, name, around, Dice("habits", "0")) == wrong
    assert situations(STEPS[1], around.ids) == ["day", "seats", "projector"]


def test_a_lesson_that_names_tool_and_field_averts_a_habit() -> None:
    lesson = "- quote: compare seats and projector as they are spelt,\n  and day as well\n- list_rooms takes day"
    got = plans(model(slip=0, systematic=1.0, heed=1.0), lessons=lesson)
    assert {frozenset(changed(one.steps)) for one in got} == {frozenset("c")}
    elsewhere = "- quote: mind what it costs\n- book_room: mind the seats and the projector of the room"
    assert "b" in changed(said(PLAN, model(slip=0, systematic=1.0, heed=1.0), TASKS[0], lessons=elsewhere).steps)
    half = plans(model(slip=0, systematic=1.0, heed=0.5), lessons="- book_room takes day as text and the room by price")
    assert within(sum("c" not in changed(one.steps) for one in half), len(TASKS), 0.25)


def test_an_unknown_task_gets_an_empty_submit() -> None:
    got = said(PLAN, model(), "Something else.")
    assert (got.requirements, got.steps) == ([], [{"id": "submit", "tool": "submit", "args": {}}])


def test_another_tasks_request_in_the_lessons_does_not_mislead() -> None:
    task = "Task 1: 8 seats on 12 March 2026."
    other = reference("A longer task 2.", steps=STEPS[:1], serves={})
    lm = offline_lm([reference(task), other], slip=0, cache=False)
    assert said(PLAN, lm, task, lessons="For 'A longer task 2.' it was booked twice.").steps == STEPS


def test_given_requirements_are_not_repeated() -> None:
    given = 'U1: booked {"seats": 8, "day": "2026-03-12", "projector": "yes"}'
    assert said(PLAN, model(slip=0), TASKS[0], user_requirements=given).requirements == REQUIREMENTS[1:]


def test_requirements_are_settled_and_audited_at_their_rates() -> None:
    lm = model(slip=1.0, heed=0.6)
    settled = [said(SETTLE, lm, task, policy="Book one room only.").requirements for task in TASKS]
    assert within(sum(2 - len(one) for one in settled), len(TASKS) * 2, 0.25)
    lacking = 'R1: booked {"seats": 8, "day": "2026-03-12", "projector": "yes"}'
    found = [said(AUDIT, lm, task, requirements=lacking).changes for task in TASKS]
    assert {change["id"] for changes in found for change in changes} == {"R2"}
    assert all(change["reason"] for changes in found for change in changes)
    assert within(sum(map(len, found)), len(TASKS), 0.6)


def _at(step: Any, *path: str) -> Any:
    for key in path:
        step = step.get(key, {})
    return step
