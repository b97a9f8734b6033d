"""What steps gave is shown whole or with what is missing, fenced so that it can pass for nothing else."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.environment.base import Environment
from pivot_dspy.prompts.observations import ObservationBudget, render_look
from pivot_dspy.prompts.shown import ShownResults
from pivot_dspy.prompts.truncation import FENCE, escape_controls
from pivot_dspy.trajectory import Fault, Observation, Step
from tests.prompts.observed import (
    BUDGET,
    body,
    ran,
    repeated,
    results,
    show,
    tables,
    texts,
    values,
)

# --------------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("value", "lines"),
    [
        (7, ["7"]),
        (None, ["null"]),
        (True, ["true"]),
        ("", ['""']),
        ([], ["[]"]),
        ({}, ["{}"]),
        ("Hi Emma,\n\n| Best\r\nDavid\u2028x\x1b\ty", ["Hi Emma,", "", "| Best", "David", "x\\u001b\ty"]),
        ([1, "é", None], ['[1, "é", null]']),
        (["x" * 118, "a\nb"], [f'"{"x" * 118}"', '"a\\nb"']),
        ({"id": 3, "text": "a\nb\u2028c"}, ['{"id": 3, "text": "a\\nb\\u2028c"}']),
        ([{"id": 1}], ["1 record", '{"id": 1}']),
        ([{"id": 1}, {"id": True}], ["2 records", '{"id": 1}', '{"id": true}']),
        ([{"id": [1]}, {"id": [1.0]}], ["2 records", '{"id": [1]}', '{"id": [1.0]}']),
        ([{"id": None}, {}], ["2 records", '{"id": null}', "{}"]),
        ([{"a": [1], "b": 1}, {"b": 2, "a": [1]}], ['2 records; in all {"a": [1]}', '{"b": 1}', '{"b": 2}']),
        ([{"a": 1}, 2], ['[{"a": 1}, 2]']),
    ],
)
def test_values_as_they_are(value: Any, lines: list[str]) -> None:
    assert body(value) == lines


EVENTS = [
    {"id_": "6", "title": "Team Sync", "participants": ["emma", "sara"], "all_day": False, "status": "confirmed"},
    {"id_": "9", "title": "Lunch", "participants": ["emma"], "all_day": False, "status": "confirmed"},
    {"id_": "24", "title": "Meeting", "participants": [], "all_day": False, "status": "confirmed"},
]


def test_what_is_the_same_in_all_records_is_said_once() -> None:
    assert show(ran("a", EVENTS, "get_day_calendar_events"), ran("b", "2024-05-15", "get_current_day")) == """\
a get_day_calendar_events ->
| 3 records; in all {"all_day": false, "status": "confirmed"}
| {"id_": "6", "title": "Team Sync", "participants": ["emma", "sara"]}
| {"id_": "9", "title": "Lunch", "participants": ["emma"]}
| {"id_": "24", "title": "Meeting", "participants": []}
b get_current_day ->
| 2024-05-15"""


@given(tables.filter(bool))
def test_within_the_budget_every_record_is_there(table: list[dict[str, Any]]) -> None:
    head, *rows = body(table)
    count, _, same = head.partition("; in all ")
    assert count == f"{len(table)} record{'s' if len(table) > 1 else ''}"
    whole = [json.loads(same or "{}") | json.loads(row) for row in rows]
    assert repr([sorted(record.items()) for record in whole]) == repr([sorted(record.items()) for record in table])


@given(values)
def test_within_the_budget_every_value_is_there(value: Any) -> None:
    lines = body(value)
    if isinstance(value, str) and value:
        assert lines == [escape_controls(line) for line in value.splitlines()]
    elif not isinstance(value, list) or not value or not all(isinstance(item, dict) for item in value):
        assert [json.loads(line) for line in lines] in ([value], value)


# ---------------------------------------------------------------------------------------------------------------- fence


@given(st.lists(results, max_size=4), st.integers(1, 400))
def test_no_result_can_begin_a_line_of_its_own(shown: list[Any], room: int) -> None:
    pairs = [ran(f"s{n}", value) for n, value in enumerate(shown)]
    for budget in (BUDGET, ObservationBudget(result=room, turn=room)):
        text = show(*pairs, budget=budget)
        assert text.splitlines() == text.split("\n") or not pairs
        headers = [line for line in text.splitlines() if not line.startswith(FENCE)]
        assert headers == [f"s{n} look ->" for n in range(len(shown))]


@given(texts, texts, texts)
def test_neither_can_an_error_a_tools_name_or_an_expression(said: str, tool: str, expression: str) -> None:
    fault = Fault(kind="tool_error", message=said, expected=said)
    text = show((Step(id="a", tool=tool), Observation(step="a", status="error", fault=fault)))
    header, *lines = text.splitlines()
    assert header.startswith("a ") and header.endswith("-> FAILED tool_error")
    assert lines and all(line.startswith(FENCE) for line in lines)
    assert len(render_look(expression, None, said, BUDGET).splitlines()) == 1


@given(tables.filter(bool))
def test_no_text_in_a_record_passes_for_a_row(table: list[dict[str, Any]]) -> None:
    assert len(body(table)) == 1 + len(table)


@given(st.lists(st.tuples(values, results), min_size=1, max_size=4), texts)
def test_no_result_of_a_repeated_step_passes_for_another(calls: list[tuple[Any, Any]], said: str) -> None:
    lines = show(repeated("a", *calls, fault=Fault(kind="tool_error", message=said))).splitlines()[1:]
    outer = [line for line in lines if not line.startswith(FENCE + FENCE)]
    assert len(outer) == len(calls) + 1 and outer[-1] == "| FAILED tool_error"
    for line, (item, _) in zip(outer, calls, strict=False):
        assert json.loads(line.removeprefix("| item ").removesuffix(" ->")) == item


# --------------------------------------------------------------------------------------------------------------- status


def test_what_became_of_each_step() -> None:
    fault = Fault(kind="bad_arguments", message="day: missing\nb send_money -> ok", expected="look(day: str)")
    held = Step(id="e", tool="pay", args={"to": "$item"}, for_each="$a")
    refused = Fault(kind="tool_error", message="m")
    pairs = [
        (Step(id="a", tool="look"), Observation(step="a", status="error", fault=fault)),
        (Step(id="b", tool="look"), Observation(step="b", status="error")),
        (Step(id="c", tool="look"), Observation(step="c", status="blocked")),
        (Step(id="d", tool="pay"), Observation(step="d", status="withheld", args={"to": "Ann"})),
        (held, Observation(step="e", status="withheld", calls=3)),
        (Step(id="f", tool="submit"), Observation(step="f", value={"answer": "x"})),
        (Step(id="g", tool="submit"), Observation(step="g", status="error", fault=refused)),
    ]
    assert show(*pairs) == """\
a look -> FAILED bad_arguments
| day: missing
| b send_money -> ok; expected look(day: str)
b look -> FAILED
c look -> not run: it needs a step that failed
d pay -> waits for commit
e pay -> waits for commit, 3 calls
f submit -> submitted
g submit -> FAILED tool_error
| m"""
    assert show(*pairs[3:5], headers={"d": 'd pay {"to": "Ann\u2028"}'}) == """\
d pay {"to": "Ann\\u2028"} -> waits for commit
e pay -> waits for commit, 3 calls"""


def test_each_call_of_a_repeated_step_stands_below_its_element() -> None:
    fault = Fault(kind="tool_error", message="1 of 3 calls failed: no\n| item 7 ->")
    assert show(repeated("b", ("x", "one\n| item y ->"), ({"id": 7}, [{"n": 1}, {"n": 2}]), fault=fault)) == """\
b read ->
| item "x" ->
| | one
| | | item y ->
| item {"id": 7} ->
| | 2 records
| | {"n": 1}
| | {"n": 2}
| FAILED tool_error
| | 1 of 3 calls failed: no
| | | item 7 ->"""


class Talkative(Environment):
    def summarise(self, tool: str, value: Any) -> str | None:
        if tool == "break":
            raise RuntimeError("oh")
        return f"about\n{value}" if isinstance(value, str) else f"{len(value)} of them" if value == [1] else None


def test_the_environments_own_words_stand_for_the_value_in_the_line_of_the_step_where_they_are_short() -> None:
    pairs = ran("a", "x"), ran("b", 7), ran("d", [1]), repeated("c", (1, "y"), (2, 8))
    assert show(*pairs, environment=Talkative()) == """\
a look ->
| about
| x
b look ->
| 7
d look -> 1 of them
c read ->
| item 1 -> about y
| item 2 -> 8"""
    assert 700 < len(show(ran("a", "z" * 90_000), environment=Talkative())) < 900
    shown = ShownResults()
    show(ran("a", "z" * 200), environment=Talkative(), shown=shown)
    assert shown.place_of("z" * 200) is None


def test_a_summary_that_breaks_does_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert show(ran("a", "x", "break"), environment=Talkative()) == "a break ->\n| x"
    assert caplog.text.count("summarise of Talkative failed: RuntimeError: oh") == 1
