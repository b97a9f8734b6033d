"""What the offline model may write: what its prompt tells, in whatever form, and nothing else."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import bindings
from pivot_dspy.simulator.knowledge import Shown, guessed, literals, shown_by, unknown
from pivot_dspy.simulator.slips import Dice

words = st.text(st.characters(categories=("Ll", "Lu")), min_size=4, max_size=12)
numbers = st.integers(0, 10**6) | st.integers(0, 10**6).map(lambda cents: cents / 100)
values = words | numbers | st.emails() | st.dates().map(str)
steps = st.builds(
    lambda args: {"id": "a", "tool": "pay", "args": args}, st.dictionaries(words, values, min_size=1, max_size=4)
)


@given(steps, st.booleans())
def test_what_stands_in_a_result_is_known_and_what_does_not_is_not(step: dict[str, Any], fenced: bool) -> None:
    meant = bindings.resolve(step["args"], {}, frozenset())  # $$ in a step is the $ of a result
    lines = [json.dumps(value, ensure_ascii=False) for value in meant.values()]
    result = "\n".join(f"| {line}" if fenced else line for line in lines)
    assert unknown(step, Shown(result), ()) == []
    missing = unknown(step, Shown(""), ())
    assert missing == literals(step, ()) and [it.value for it in missing] == [*step["args"].values()]


@given(steps, st.text())
def test_more_text_never_takes_knowledge_away(step: dict[str, Any], text: str) -> None:
    first = json.dumps(next(iter(step["args"].values())))
    told = {it.path for it in literals(step, ())} - {it.path for it in unknown(step, Shown(first), ())}
    assert told.isdisjoint(it.path for it in unknown(step, Shown(f"{first}\n\n{text}"), ()))


@given(numbers, numbers)
def test_a_sum_and_a_difference_are_worked_out(one: float, other: float) -> None:
    shown = Shown(f"There are {one:.2f} and {other:,.2f}.")
    assert shown.tells(round(one + other, 2)) and shown.tells(round(abs(one - other), 2))


@given(
    st.dates(min_value=date(1000, 1, 1)),
    st.sampled_from(["%d %B %Y", "%B %d, %Y", "%b %d", "%Y/%m/%d", "the %dth of %B"]),
)
def test_a_date_is_known_by_any_of_its_forms(day: date, form: str) -> None:
    assert Shown(f"It is on {day.strftime(form)}, they say.").tells(day.isoformat())


@pytest.mark.parametrize(
    ("shown", "value", "known"),
    [
        ("to Ann Lee", "ann lee", True),
        ("Annabel", "Ann", False),
        ("12", "12", True),
        ("5 and 7", "12", False),  # an id is no sum
        ("5 and 7", 12, True),
        ("5 and 7", True, True),
        ("the 3rd of May, for 5 hours from 8 am", "2024-05-03 13:00", True),
        ("the 3rd of May, for 4 hours from 8 am", "2024-05-03 13:00", False),
        ("the 3rd of May", "2024-06-03", False),
        ("on May 3rd, 2024", "2023-05-03", False),
        ("from May 10th to 13th", "2024-05-13", True),
        ('{"body": "first\\nsecond"}', "first second", True),
        ("Dinner at {name}\n| Le Baratin", "Dinner at Le Baratin", True),
        ("Dinner at {name}", "Dinner at Le Baratin", False),
        ("the score of Mia", "Dear David, the score that Mia gave you is 4.", False),
        ("the score that Mia gave: 4; David", "Dear David, the score that Mia gave you is 4.", True),
        ("write to ann@x.org", "Her address is ann@x.org.", True),
        ("write to Ann", "Her address is ann@x.org.", False),
        ("a packing list", "Swimwear, sunscreen, sandals, camera, passport, tickets, hiking gear", False),
        ("", "Done.", False),
        ("", "It is done.", True),
        ("costs $5", "$$5", True),
    ],
)
def test_what_counts_as_told(shown: str, value: Any, known: bool) -> None:
    assert Shown(shown).tells(value) is known


def test_an_answer_is_put_together_and_numbered() -> None:
    shown = Shown("ids: 0, 4, 17")
    assert shown.tells("1. 0 4 2. 17", answer=True) and shown.tells("Done.", answer=True)
    assert not shown.tells("1. 0 5", answer=True) and not shown.tells("Ann", answer=True)


def test_in_a_binding_only_what_is_compared_must_be_told() -> None:
    step = {
        "id": "b",
        "tool": "send",
        "args": {"to": "$a[?age > `30` && city=='Rome'].name", "x": "join(', ', $a[].id)"},
    }
    assert [it.value for it in unknown(step, Shown("those in Rome"), {"a"})] == [30]
    made_up = guessed(step, Shown("those in Rome"), {"a"}, Dice("x"))
    assert made_up["args"]["x"] == step["args"]["x"] and "city=='Rome'" in made_up["args"]["to"]
    assert unknown(step, Shown("over 30, in Rome"), {"a"}) == [] != unknown(made_up, Shown("in Rome"), {"a"})


def test_what_is_worked_out_is_known_with_what_it_comes_from() -> None:
    assert shown_by("48 a day", (("336", (48,)),)).tells("336")
    assert not shown_by("60 each", (("336", (48,)),)).tells("336")
    assert shown_by("to Los Angeles", (("LAX", ()),)).tells("LAX")
