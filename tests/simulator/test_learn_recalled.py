"""What the offline model takes from a memory: warnings in lessons, notes and examples, and learned requirements."""

from __future__ import annotations

import dspy
import pytest

from pivot_dspy import Demonstration, Entries, Lesson, Pivot, ToolNote, TrajectoryMemory
from pivot_dspy.simulator import offline_lm
from tests.simulator.asking import PLAN, SETTLE, changed, said, within
from tests.simulator.rooms import DAY, REQUEST, REQUIREMENTS, STEPS, Book, Rooms, reference

TASKS = [f"Task {number}: 8 seats on {DAY}." for number in range(120)]
KNOWN = """\
get_user() -> {"name": "Ann", "rooms": {"seats": 8, "kinds": ["a", "b"]}}
list_all() -> [1, 2]
long() -> {"x": 1"""


def model(**rates):
    return offline_lm([reference(task) for task in TASKS], cache=False, **{"slip": 0, **rates})


def told(*entries, **options):
    return TrajectoryMemory(Entries().add(*entries), **options).retrieve("Book a room.", "Rooms").text


BOOKING = Lesson(
    environment="Rooms", trigger="book_room takes a day", mistake="it was written in words", avoid="write the date",
    tools=("book_room",),
)  # fmt: skip
NOTE = ToolNote(environment="Rooms", tool="book_room", error="no such day", meaning="the `day` is a date")
EXAMPLE = Demonstration(environment="Rooms", task="Book a large room.", steps=STEPS[2:])


def learned(draft):
    return Lesson(environment="Rooms", trigger="a room is booked", mistake="x", avoid="y", requirement=draft)


@pytest.mark.parametrize("entry", [BOOKING, NOTE, EXAMPLE], ids=["lesson", "note", "example"])
def test_what_shows_a_tool_with_its_argument_averts_the_habit_there(entry):
    without = said(PLAN, model(systematic=1.0, heed=1.0), TASKS[0]).steps[2]["args"]["day"]
    assert without != DAY
    lm, text = model(systematic=1.0, heed=0.5), told(entry)
    plans = [said(PLAN, lm, task, lessons=text).steps for task in TASKS]
    right = sum(steps[2]["args"]["day"] == DAY for steps in plans)
    assert within(right, len(TASKS), 0.5)
    assert all("a" in changed(steps) for steps in plans)  # list_rooms is another tool


def test_an_example_speaks_for_each_of_its_steps_alone():
    lm = model(systematic=1.0, heed=1.0)
    swapped = Demonstration(
        environment="Rooms",
        task="x",
        steps=[{"id": "a", "tool": "book_room", "args": {}}, {"id": "b", "tool": "list_rooms", "args": {"day": "x"}}],
    )
    steps = said(PLAN, lm, TASKS[0], lessons=told(swapped)).steps
    assert steps[0]["args"]["day"] == DAY != steps[2]["args"]["day"]


@pytest.mark.parametrize(
    ("draft", "written"),
    [
        ({"check": "cheap", "args": {"most": 9}}, {"check": "cheap", "args": {"most": 9}}),
        ({"text": "It is for <name>."}, {"text": "It is for Ann."}),
        (
            {"check": "fits", "args": {"where": [["seats", ">=", "<rooms.seats>"], ["kind", "in", "<rooms.kinds>"]]}},
            {"check": "fits", "args": {"where": [["seats", ">=", 8], ["kind", "in", ["a", "b"]]]}},
        ),
        ({"text": "<get_user.name> and <list_all[1]>"}, {"text": "Ann and 2"}),
        ({"text": "<name=='Ann' && 'Men' || 'Women'>"}, {"text": "Men"}),
        ({"text": "<age>"}, None),
        ({"text": "<x>"}, None),
        ({"text": "<[>"}, None),
    ],
)
def test_a_learned_requirement_is_written_with_its_slots_filled(draft, written):
    for phase in (PLAN, SETTLE):
        found = said(phase, model(heed=1.0), TASKS[0], lessons=told(learned(draft)), known=KNOWN).requirements
        assert found == [*REQUIREMENTS, *([{"id": "L1", **written}] if written else [])]


def test_learned_requirements_are_heeded_at_the_rate():
    lm, text = model(heed=0.7), told(learned({"text": "It is quiet."}))
    found = [said(PLAN, lm, task, lessons=text).requirements for task in TASKS]
    assert within(sum(len(items) == 3 for items in found), len(TASKS), 0.7)


def test_the_requirements_of_an_example_are_not_taken_over():
    example = Demonstration(environment="Rooms", task="x", steps=STEPS, requirements=[{"id": "L1", "text": "Quiet."}])
    assert said(PLAN, model(heed=1.0), TASKS[0], lessons=told(example)).requirements == REQUIREMENTS


def test_a_user_is_not_asked_twice():
    text = told(learned({"text": "It is quiet."}))
    found = said(PLAN, model(heed=1.0), TASKS[0], lessons=text, user_requirements="U1: It is quiet.").requirements
    assert found == REQUIREMENTS


def test_with_a_memory_the_first_plan_is_right_where_the_model_has_habits():
    def run(memory, kind=Pivot):
        module = kind(Book, Rooms, timeout=None)
        module.memory.entries = memory
        with dspy.context(lm=offline_lm([reference()], slip=0, systematic=1.0, heed=1.0, cache=False)):
            return module(request=REQUEST)

    example = Demonstration(environment="Rooms", task="Book a large room.", steps=STEPS)
    bare, learned = run(Entries()), run(Entries().add(example))
    first = [next(event.loss.total for event in one.history if event.kind == "inspect") for one in (bare, learned)]
    assert first[1] < first[0] and learned.verified and learned.retrieved == (example.id,)
    assert "evolve" in bare.ledger.phases and "evolve" not in learned.ledger.phases
