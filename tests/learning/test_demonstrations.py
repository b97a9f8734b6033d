"""Demonstrations: verified only, and nothing in them that belongs to their task alone."""

from __future__ import annotations

import json

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.learning.demonstrations import demonstrate
from tests.learning.depot import Depot, bound, part, refined, said, task
from tests.scripted import step, submit
from tests.simulator.rooms import REQUEST, Book, Rooms, reference

IDS = st.from_regex(r"\A[A-Z]{2,4}-?[0-9]{3,5}\Z")
NAMES = st.from_regex(r"\A[A-Z][a-z]{4,8}(?: [A-Z][a-z]{3,6})?\Z")
REQUEST_FORMS = ("Reserve the cheapest {kind}, please.", "I need a '{kind}' today; the cheapest will do.")


@st.composite
def depots(draw):
    """A depot with marked ids, kinds and sites, its request, and all marks."""
    ids = draw(st.lists(IDS, min_size=3, max_size=5, unique_by=str.casefold))
    kind, site, team = draw(st.lists(NAMES, min_size=3, max_size=3, unique_by=str.casefold))
    parts = [part(name, kind, site, team, price=100.0 + place) for place, name in enumerate(ids)]
    request = draw(st.sampled_from(REQUEST_FORMS)).format(kind=kind)
    return parts, kind, request, [*ids, kind, site, team]


def written_out(parts, kind):
    """A plan in which every id that a result gave was copied by hand, as an agent's own loop copies them."""
    ids = [one["id"] for one in parts]
    return [
        step("a", "find", kind=kind),
        step("b", "details", ids=ids),
        step("c", "reserve", part_id=ids[0]),
        submit(part=ids[0], message=f"Reserved {ids[0]} of {parts[0]['site']}."),
    ]


@settings(max_examples=25, deadline=None)
@given(depots(), st.booleans())
def test_nothing_marked_remains(drawn, by_hand):
    parts, kind, request, marks = drawn
    steps = written_out(parts, kind) if by_hand else bound(kind)
    result = refined(lambda: Depot(parts, {"team": parts[0]["team"]}), request, kind, steps)
    assert result.verified, result.verdict
    gold = {"part": parts[0]["id"], "secret": "GOLD-9917"}
    found = demonstrate(result, task(request, expected=gold), "Depot")
    assert found is not None
    text = said(found)
    assert not [mark for mark in [*marks, "GOLD-9917"] if mark.casefold() in text.casefold()], text
    assert [one["tool"] for one in found.steps] == ["find", "details", "reserve", "submit"]
    assert found.steps[0]["args"] == {"kind": "<kind>"} and "<kind>" in found.task
    assert found.requirements[0]["args"] == {"where": [["kind", "==", "<kind>"]]}
    if by_hand:
        assert found.steps[1]["args"] == {"ids": ["<ids>"]}
        assert found.steps[2]["args"] == {"part_id": "<ids>"}
    else:
        assert found.steps[2]["args"] == {"part_id": "min_by($b, &price).id"}


def test_only_what_was_verified_is_kept():
    parts = [part("AX-100", "Bolt"), part("AX-200", "Bolt")]
    steps = [*bound("Bolt")[:2], step("c", "reserve", part_id="$b[0].id"), step("d", "reserve", part_id="$b[1].id")]
    result = refined(lambda: Depot(parts, {}), "Reserve a Bolt.", "Bolt", [*steps, submit(part="x", message="y")])
    assert not result.verified and demonstrate(result, task("Reserve a Bolt."), "Depot") is None


def test_where_most_choices_were_written_out_the_general_beginning_is_kept():
    parts = [part(f"AX-{n}00", "Bolt", price=float(n)) for n in range(1, 5)]
    copied = [step(f"c{n}", "reserve", part_id=f"AX-{n}00") for n in range(1, 4)]
    steps = [*bound("Bolt")[:2], *copied, submit(part="$c1.part", message="Reserved three.")]
    result = refined(lambda: Depot(parts, {}), "Reserve three Bolt.", "Bolt", steps, number=3)
    assert result.verified
    found = demonstrate(result, task("Reserve three Bolt."), "Depot")
    assert found.partial and [one["id"] for one in found.steps] == ["a", "b"]


def test_words_of_the_tools_stay():
    parts = [part("AX-100", "Bolt"), part("AX-200", "Bolt")]
    steps = bound("Bolt")
    steps[2]["args"]["priority"] = "high"
    result = refined(lambda: Depot(parts, {}), "Reserve the Bolt of least price.", "Bolt", steps)
    found = demonstrate(result, task("Reserve the Bolt of least price."), "Depot")
    assert found.steps[2]["args"] == {"part_id": "min_by($b, &price).id", "priority": "high"}
    assert found.task == "Reserve the <kind> of least price."


@settings(max_examples=50, deadline=None)
@given(st.lists(st.one_of(IDS, NAMES, st.integers(2, 10**400)), min_size=1, max_size=4, unique_by=str))
def test_a_value_has_one_slot_wherever_it_stands(values):
    slots = Delexicalizer(task(f"Take {' and '.join(map(str, values))}."))
    first = [slots.value("item", value) for value in values]
    assert first == [slots.value("other", value) for value in values] == ["<item>"] * len(values)
    assert slots.text(f"Take {values[0]}.") == "Take <item>."


def test_a_number_has_one_slot_with_and_without_commas():
    slots = Delexicalizer(task("Over 1,000 pieces, for 5.0 or 12.50, in three days."))
    args = {"pieces": 1000, "least": "5.0", "price": 12.5, "days": 3}
    assert slots.value("order", args) == {name: f"<{name}>" for name in args}
    written = slots.text("Over 1,000 pieces, for 5.0 or 12.50, not 7, nor 8.")
    assert written == "Over <pieces> pieces, for <least> or <number>, not <number>, nor <number>."


def test_an_example_must_say_what_its_inputs_are():
    result = refined(lambda: Depot([part("AX-100", "Bolt")], {}), "Reserve a Bolt.", "Bolt", bound("Bolt"))
    with pytest.raises(ValueError, match="with_inputs"):
        demonstrate(result, dspy.Example(request="Reserve a Bolt."), "Depot")


def test_a_run_of_the_offline_model_in_rooms():
    from pivot_dspy import Pivot
    from pivot_dspy.simulator import offline_lm

    pivot = Pivot(Book, Rooms)
    pivot.set_lm(offline_lm([reference()], slip=0.0, cache=False))
    result = pivot(request=REQUEST)
    found = demonstrate(result, task(REQUEST, room="r3"), "Rooms")
    assert found.task == "Book the cheapest room with a projector for <seats> people on <number> March <number>."
    assert [one.get("for_each") for one in found.steps][1] == "$a[?seats >= `<seats>` && projector == 'yes']"
    assert "2026" not in said(found) and '"r3"' not in json.dumps(found.steps)
