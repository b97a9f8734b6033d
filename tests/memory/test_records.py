"""Entries and the immutable collection of them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy import Demonstration, Entries, Lesson, ToolNote, from_functions
from pivot_dspy.memory.records import environment_name, task_text
from tests.memory.entries import ENTRIES, EXAMPLE, ONE, SIZES, STEPS, UNKNOWN, collections, demonstrations, lessons
from tests.stores import Store

OFTEN = settings(max_examples=20, deadline=None)


@OFTEN
@given(entries=collections)
def test_the_json_form_gives_the_same_entries_again(entries):
    again = Entries.model_validate_json(entries.model_dump_json())
    assert again == entries and [entry.id for entry in again] == [entry.id for entry in entries]


@OFTEN
@given(entry=demonstrations | lessons)
def test_an_id_is_short_and_depends_on_the_content_alone(entry):
    fields = entry.model_dump()
    bare = type(entry)(**{**fields, "id": ""})
    assert bare.id == entry.id and len(entry.id) == 8
    other = type(entry)(**{**fields, "id": "", "environment": "Elsewhere"})
    assert other.id != entry.id


@OFTEN
@given(one=collections, two=collections)
def test_no_two_entries_of_a_collection_say_the_same(one, two):
    merged = Entries().add(*one, *two)
    assert not any(a.near(b) for a, b in itertools.combinations(merged, 2))
    assert merged.add(*two) == merged == merged.add(*merged)
    assert {entry.id for entry in merged} <= {entry.id for entry in (*one, *two)}
    assert Entries().add(*one) == one


@OFTEN
@given(entries=collections, data=st.data())
def test_dropping_touches_what_it_names(entries, data):
    every = [entry.id for entry in entries]
    dropped = data.draw(st.lists(st.sampled_from(every))) if every else []
    assert [entry.id for entry in entries.without(dropped)] == [name for name in every if name not in dropped]


def test_near_duplicates_are_one():
    same_steps = EXAMPLE.model_copy(update={"id": "x", "task": "Buy a hat."})
    same_words = SIZES.model_copy(update={"id": "y", "mistake": "It was written small."})
    assert ENTRIES.add(same_steps, same_words) == ENTRIES


@pytest.mark.parametrize(
    "entry",
    [
        SIZES.model_copy(update={"id": "", "tools": ("add",)}),
        SIZES.model_copy(update={"id": "", "environment": "Calendar"}),
        SIZES.model_copy(update={"id": "", "trigger": "`find` takes a `color`"}),
        ONE.model_copy(update={"id": "", "requirement": {"check": "only", "args": {"count": 2}}}),
        EXAMPLE.model_copy(update={"id": "", "steps": (*STEPS[:3], STEPS[2], STEPS[3])}),
        UNKNOWN.model_copy(update={"id": "", "tool": "find"}),
    ],
)
def test_what_differs_in_a_name_is_another(entry):
    assert len(ENTRIES.add(type(entry)(**entry.model_dump()))) == 5


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        (Demonstration, {"task": "x", "steps": []}, "at least 1 item"),
        (Demonstration, {"task": "x", "steps": [{"id": "a"}]}, 'a step needs "id" and "tool"'),
        (Demonstration, {"task": " ", "steps": STEPS}, "it is empty"),
        (Lesson, {"trigger": "x", "mistake": "y", "avoid": "z", "requirement": {"id": "R"}}, "a requirement needs"),
        (Lesson, {"trigger": "x", "mistake": "y", "avoid": "z", "by": "chance"}, "'rule', 'model' or 'person'"),
        (ToolNote, {"tool": "x", "error": "y", "meaning": "z", "why": "?"}, "Extra inputs"),
    ],
)
def test_what_is_no_entry_is_refused(kind, fields, said):
    with pytest.raises(ValidationError, match=said):
        kind(environment="Store", **fields)


def test_two_entries_of_one_id_are_refused():
    with pytest.raises(ValidationError, match="two entries have the id 'a'"):
        Entries(notes=tuple(UNKNOWN.model_copy(update={"id": "a", "tool": tool}) for tool in ("x", "y")))


def test_what_is_passed_is_copied():
    steps = [{"id": "a", "tool": "find", "args": {"size": "L"}}]
    entry = Demonstration(environment="Store", task="x", steps=steps)
    steps[0]["args"]["size"] = "M"
    assert entry.steps[0]["args"] == {"size": "L"}


def test_the_name_of_an_environment_is_that_of_its_class_or_of_its_tools():
    def double(number: int) -> int:
        return 2 * number

    def half(number: int) -> int:
        return number // 2

    made = [environment_name(from_functions(tools, effects="read")) for tools in ([double, half], [half, double])]
    assert environment_name(Store()) == "Store" and made[0] == made[1] and made[0].startswith("tools-")
    assert environment_name(from_functions([half], effects="read")) != made[0]


def test_the_text_of_a_task_is_its_inputs():
    assert task_text({"request": "Buy it.", "count": 2, "nothing": None}) == "Buy it.\n2"
