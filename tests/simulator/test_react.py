"""The offline model in the loop of `dspy.ReAct`: the reference one call at a time, from what the prompt shows."""

from __future__ import annotations

import json
from typing import Any

import dspy
import pytest

from pivot_dspy import ReAct
from pivot_dspy.simulator import offline_lm
from pivot_dspy.simulator.react import still_open
from tests.simulator.asking import ADAPTERS, within
from tests.simulator.rooms import DAY, REQUEST, STEPS, Book, Rooms, reference

A, B, C, SUBMIT = STEPS
SEEN: list[dict[str, Any]] = [
    {"id": "r2", "seats": 8, "projector": "no", "floor": 1},
    {"id": "r3", "seats": 10, "projector": "yes", "floor": 2},
    {"id": "r4", "seats": 20, "projector": "yes", "floor": 3},
]
TASKS = [f"Task {number:04d}: {REQUEST}" for number in range(150)]


def model(**options: Any) -> dspy.LM:
    rates = {"slip": 0.0, "heed": 1.0, **options}
    return offline_lm([reference(task) for task in TASKS], cache=False, **rates)


def tools() -> list[dspy.Tool]:
    names = [name for name in dir(Rooms) if name in ("list_rooms", "list_floors", "quote", "book_room")]
    return [dspy.Tool(print, name=name, desc=name, args={}, arg_types={}) for name in names]


def turn(lm: dspy.LM, task: str, *past: tuple[str, str, dict[str, Any], Any]) -> tuple[str, str, dict[str, Any]]:
    """What the loop does next after `past`: thoughts, tools, arguments and observations."""
    agent = dspy.ReAct(Book, tools())
    shown: dict[str, Any] = {}
    for number, parts in enumerate(past):
        names = (f"thought_{number}", f"tool_name_{number}", f"tool_args_{number}", f"observation_{number}")
        shown.update(zip(names, parts, strict=True))
    with dspy.context(lm=lm):
        said = agent.react(request=task, trajectory=agent._format_trajectory(shown))
    return said.next_thought, said.next_tool_name, said.next_tool_args


LISTED = ("Step a: list_rooms.", "list_rooms", {"day": DAY}, SEEN)
QUOTES = [
    (f"Step b ({number} of 2): quote.", "quote", {"room_id": f"r{number + 2}", "day": DAY},
     {"room_id": f"r{number + 2}", "price": price})
    for number, price in ((1, 100.0), (2, 200.0))
]  # fmt: skip


def as_json(*past: Any) -> list[Any]:
    """Observations as the refiner gives them."""
    return [(*parts[:3], parts[3] if isinstance(parts[3], str) else json.dumps(parts[3])) for parts in past]


@pytest.mark.parametrize("adapter", ADAPTERS)
def test_the_next_call_is_the_first_that_no_thought_tells_of(adapter: Any) -> None:
    lm = model()
    with dspy.context(adapter=adapter()):
        assert turn(lm, TASKS[0]) == ("Step a: list_rooms.", "list_rooms", {"day": DAY})
        first = turn(lm, TASKS[0], *as_json(LISTED))
        assert first == ("Step b (1 of 2): quote.", "quote", {"room_id": "r3", "day": DAY})
        done = as_json(LISTED, *QUOTES)
        assert turn(lm, TASKS[0], *done) == ("Step c: book_room.", "book_room", {"room_id": "r3", "day": DAY})
        booked = ("Step c: book_room.", "book_room", {"room_id": "r3", "day": DAY}, {"room_id": "r3", "day": DAY})
        assert turn(lm, TASKS[0], *as_json(LISTED, *QUOTES, booked))[1] == "finish"


def test_an_unknown_task_is_finished_at_once() -> None:
    assert turn(model(), "Sing a song.")[1:] == ("finish", {})


def test_a_call_that_failed_is_made_again_as_it_should_be_at_the_rate_of_heed() -> None:
    failed = ("Step a: list_floors.", "list_floors", {"day": DAY}, "Execution error in list_floors: no")
    lm = model(heed=0.6)
    again = [turn(lm, task, failed)[:2] == ("Step a again: list_rooms.", "list_rooms") for task in TASKS]
    # Where it is not seen at once, it may be seen at the next step, which wants the result.
    assert within(sum(again), len(TASKS), 0.6 + 0.4 * 0.6)


def test_a_call_that_was_right_and_failed_is_not_repeated() -> None:
    failed = ("Step a: list_rooms.", "list_rooms", {"day": DAY}, "Execution error in list_rooms: down")
    thought, name, _ = turn(model(), TASKS[0], failed)
    assert name == "finish" and thought.startswith("Without step b. Without step c. ")


def test_a_step_that_lacks_a_result_sends_the_model_back_to_where_it_should_come_from() -> None:
    other = ("Step a: list_floors.", "list_floors", {"day": DAY}, "[1, 2]")
    assert turn(model(), TASKS[0], other)[:2] == ("Step a again: list_rooms.", "list_rooms")
    assert turn(model(heed=0.0), TASKS[0], other)[1] == "finish"


def test_each_call_slips_at_the_rate_of_slip() -> None:
    lm = model(slip=0.3)
    wrong = [turn(lm, task, *as_json(LISTED)) for task in TASKS]
    right = ("quote", {"room_id": "r3", "day": DAY})
    assert within(sum(said[1:] != right for said in wrong), len(TASKS), 0.3)


def test_what_is_left_out_stays_left_out() -> None:
    lm = model(slip=1.0)
    dropped = next(said for task in TASKS if (said := turn(lm, task))[0].startswith("Without step a. "))
    past = (*dropped, "null")
    assert "Step a:" not in turn(model(heed=0.0), TASKS[0], past)[0]


def test_the_loop_in_an_environment_and_its_extraction() -> None:
    lm = offline_lm([reference()], slip=0.0, cache=False)
    with dspy.context(lm=lm):
        result = ReAct(Book, Rooms, timeout=None)(request=REQUEST)
    assert result.verified and result.room == "r3" and result.message == "Booked r3."
    assert [step.tool for step in result.trajectory.steps] == ["list_rooms", "quote", "quote", "book_room", "submit"]


ITEMS = [
    {"id": "x", "price": 3, "new": True},
    {"id": "y", "price": 1, "new": True},
    {"id": "z", "price": 2, "new": False},
]
CHEAPEST = "min_by($t[?item.new && result.days < `3`], &item.price).item.id"


def test_only_elements_that_a_choice_still_depends_on_are_looked_up() -> None:
    def opened(texts: list[str], done: dict[int, Any]) -> list[int]:
        return list(still_open(texts, "t", ITEMS, done))

    assert opened([CHEAPEST], {}) == [1]  # the cheapest new one first
    assert opened([CHEAPEST], {1: {"days": 1}}) == []  # it fits: nothing else matters
    assert opened([CHEAPEST], {1: {"days": 9}}) == [0]  # it does not: the next, and never the one that is not new
    assert opened([CHEAPEST], {1: {"days": 9}, 0: None}) == []
    assert opened(["max_by($t[?result.days < `3`], &item.price).item.id"], {}) == [0]
    assert opened(["min_by($t, &result.days)"], {}) == [0, 1, 2] == opened([], {}) == opened(["min_by($t["], {})
