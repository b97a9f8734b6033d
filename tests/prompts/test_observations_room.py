"""What is shown of results within a budget: what was shown before, what is cut, and what a look gives."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import bindings
from pivot_dspy.prompts.observations import ObservationBudget, render_look
from pivot_dspy.prompts.shown import REPEATED, ShownResults
from pivot_dspy.prompts.truncation import compact_json
from pivot_dspy.prompts.written import CHARACTERS
from pivot_dspy.trajectory import Fault
from tests.prompts.observed import (
    BUDGET,
    body,
    ran,
    repeated,
    results,
    show,
)

# --------------------------------------------------------------------------------------------------------- shown before

FILE = {"id_": "3", "content": "Team Building Activities Plan\n" * 5, "owner": "emma"}


def test_what_was_shown_is_not_shown_again() -> None:
    shown = ShownResults()
    show(ran("c", [FILE, {**FILE, "id_": "4", "content": "other"}]), shown=shown)
    more = {**FILE, "content": FILE["content"] + "Activity 5\n"}
    assert show(ran("e", more, "append_to_file"), shown=shown) == """\
e append_to_file ->
| {"id_": "3", "content": "<all of c[0].content>Activity 5\\n", "owner": "emma"}"""
    assert show(ran("f", more["content"]), shown=shown) == "f look -> as shown of e.content"
    assert show(ran("g", FILE["content"] + "Activity 6"), shown=shown) == """\
g look ->
| <all of c[0].content>Activity 6"""
    assert show(ran("h", {"file of": FILE}), shown=shown) == 'h look ->\n| {"file of": "<all of c[0]>"}'
    assert show(ran("e", more), shown=shown) == "e look -> as shown before"


@given(results, st.lists(st.sampled_from(["[0]", "[1]", "a", "b"]), max_size=3))
def test_the_place_of_what_was_shown_is_an_expression_for_it(around: Any, path: list[str]) -> None:
    value: Any = {"long": "y" * REPEATED}
    for part in reversed(path):
        value = [around] * int(part[1]) + [value] if part[0] == "[" else {"other": around, part: value}
    shown = ShownResults()
    show(ran("s", value), shown=shown)
    place = shown.place_of("y" * REPEATED)
    assert place is None or bindings.evaluate(f"${place}", {"s": value}) == "y" * REPEATED


def test_a_step_that_gives_something_else_now_stands_for_that_only() -> None:
    shown = ShownResults()
    show(ran("a", "x" * 100), shown=shown)
    assert show(ran("a", "x" * 100 + "y"), shown=shown) == f"a look ->\n| {'x' * 100}y"
    assert show(ran("b", "x" * 100), shown=shown) == f"b look ->\n| {'x' * 100}"
    assert show(ran("c", "x" * 101), ran("d", "x" * 100), shown=shown).splitlines() == [
        "c look ->", "| <all of b>x", "d look -> as shown of b",
    ]  # fmt: skip


def test_within_one_turn_too_but_only_where_asked_for() -> None:
    pairs = ran("a", "x" * 100), ran("b", "x" * 100)
    assert show(*pairs, shown=ShownResults()).endswith("b look -> as shown of a")
    assert show(*pairs).count("x" * 100) == 2


def test_what_was_cut_counts_as_unseen() -> None:
    shown = ShownResults()
    rows = [{"id": n, "text": f"{n:03}" * 40} for n in range(100)]
    show(ran("a", rows), ran("b", {"text": "z" * 9000}), ran("c", "w" * 9000), shown=shown)
    assert shown.without(rows[5]) == "<all of a[5]>"
    assert shown.without(rows[99]) == rows[99]
    assert shown.without("z" * 9000) == "z" * 9000 and shown.without("w" * 9000) == "w" * 9000


def test_a_call_that_failed_is_said_though_the_rest_was_shown() -> None:
    fault = Fault(kind="timeout", message="1 of 2 calls failed")
    shown, pair = ShownResults(), repeated("b", ("x", "y" * 100), fault=fault)
    show(pair, shown=shown)
    assert show(pair, shown=shown) == "b read -> as shown before\n| FAILED timeout\n| | 1 of 2 calls failed"
    assert shown.without(["y" * 100]) == ["<all of b[0].result>"]


@given(st.lists(results, min_size=1, max_size=4))
def test_a_second_showing_is_shorter_where_there_was_much_to_show(shown_values: list[Any]) -> None:
    pairs = [ran(f"s{n}", value) for n, value in enumerate(shown_values)]
    shown = ShownResults()
    first, second = (show(*pairs, shown=shown) for _ in range(2))
    assert len(second) <= len(first) <= len(show(*pairs))
    if any(len(value if isinstance(value, str) else compact_json(value)) >= REPEATED for value in shown_values):
        assert len(second) < len(show(*pairs))


# --------------------------------------------------------------------------------------------------------------- budget

NOTICE = 200
"""Characters beside the budget that telling what is missing may take, for each result."""


@given(st.lists(st.tuples(results, st.integers(1, 400)), max_size=5), st.integers(20, 300), st.integers(20, 900))
def test_the_budget_holds(shown: list[tuple[Any, int]], result: int, turn: int) -> None:
    budget = ObservationBudget(result=result, turn=turn)
    pairs = [ran(f"s{n}", [value] * times) for n, (value, times) in enumerate(shown)]
    pairs += [repeated("r", *((value, value) for value, times in shown for _ in range(times)))]
    text = show(*pairs, budget=budget)
    assert len(text) <= CHARACTERS * turn + NOTICE * len(pairs)
    for pair in pairs:
        assert len(show(pair, budget=budget)) <= CHARACTERS * min(result, turn) + NOTICE
    assert show(*pairs, budget=budget) == text


def test_results_share_a_turn_fairly() -> None:
    pairs = [ran("a", "x" * 100), *(ran(name, "y" * 5000) for name in "bcdef")]
    lines = show(*pairs, budget=ObservationBudget(result=2000, turn=2025)).splitlines()
    assert lines[1] == f"| {'x' * 100}"
    assert [line for line in lines if "not shown" in line] == ["| … 3,484 of 5,000 characters are not shown"] * 5


def deep(depth: int, key: str | None) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


ROWS = [{"id": n, "name": f"n{n}", "text": "x" * 900} for n in range(10_000)]


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("x" * 5_000_000, "| … 4,992,083 of 5,000,000 characters are not shown"),
        ("\n" * 10_000_000, "of 10,000,000 characters are not shown"),
        ("\x00\u2028" * 5_000_000, "of 10,000,000 characters are not shown"),
        ("iVBORw0KGgo" * 900_000, "of 9,900,000 characters are not shown"),
        ({"a": "\x00" * 5_000_000, "b": 1}, ' characters)", "b": 1}'),
        (deep(1000, None), '"… (+1, nested deeper)"]'),
        (deep(1000, "k"), '"… (+1, nested deeper)"}'),
        ([{"a": deep(1000, "k")}] * 2, "nested deeper"),
        (ROWS, 'of 10,000 records are not shown: {"look": "$a['),
        ([*range(1_000_000)], 'of 1,000,000 elements are not shown: {"look": "$a['),
        ({f"k{n}": n for n in range(50_000)}, '"…": "+49,3'),
        ({"k" * 1_000_000: 1, "b": 2}, '… (+999,834 characters)": 1, "b": 2}'),
        ([{"id": n, "text": "z" * 1_000_000} for n in range(3)], ' characters)"}'),
        ([["x" * 100_000] * 100, *range(9999)], "more)"),
    ],
)
def test_whatever_a_result_is_the_budget_holds_and_what_is_missing_is_said(value: Any, said: str) -> None:
    text = show(ran("a", value))
    assert said in text and len(text) <= CHARACTERS * BUDGET.result + NOTICE
    for inner in (value, ROWS):
        pair = repeated("b", *((inner, value) for _ in range(20)))
        assert len(show(ran("a", value), pair, shown=ShownResults())) <= CHARACTERS * BUDGET.turn + 2 * NOTICE


def test_the_rest_can_be_asked_for() -> None:
    *_, notice = body(ROWS)
    expression = json.loads(notice.partition(": ")[2])["look"]
    rest = bindings.resolve(expression, {"a": ROWS}, ["a"])
    assert notice.startswith(f"… {len(rest):,} of 10,000 records are not shown") and rest == ROWS[-len(rest) :]
    *_, notice = render_look(expression, rest, "", BUDGET).splitlines()
    further = json.loads(notice.partition(": ")[2])["look"]
    assert ROWS[-1] == bindings.resolve(further, {"a": ROWS}, ["a"])[-1]


def test_long_records_are_cut_inside_before_others_are_left_out() -> None:
    head, *rows = body([{"id": n, "text": "z" * 1_000_000} for n in range(3)])
    assert head == "3 records"
    assert [json.loads(row)["id"] for row in rows] == [0, 1, 2]
    assert all(2600 < len(row) < 2700 and row.endswith(' characters)"}') for row in rows)


# ----------------------------------------------------------------------------------------------------------------- look


@pytest.mark.parametrize(
    ("value", "problem", "shown"),
    [
        (["Ritz"], "", ' ->\n| ["Ritz"]'),
        (0, "", " ->\n| 0"),
        (False, "", " ->\n| false"),
        (None, "", " -> FAILED: selects nothing"),
        ([], "", " -> FAILED: selects nothing"),
        ({}, "", " -> FAILED: selects nothing"),
        (None, "Bad token:\n  ^", " -> FAILED: Bad token: ^"),
    ],
)
def test_a_look_shows_what_it_selects_or_says_why_not(value: Any, problem: str, shown: str) -> None:
    assert render_look("$a[?x > `1`]", value, problem, BUDGET) == f"look $a[?x > `1`]{shown}"


def test_a_look_has_the_budget_of_a_result() -> None:
    text = render_look("$a" * 1000, ROWS, "", ObservationBudget(result=500))
    assert len(text) < 4 * 500 + 400 + NOTICE + len("$a" * 1000)
    assert len(render_look("$a", None, "x" * 9000, BUDGET)) < 500


def _work(value: Any) -> int:
    """Function calls that it takes to show `value` once more, of which nothing more is seen than before."""
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    show(ran("a", value))
    sys.setprofile(count)
    try:
        show(ran("a", value))
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize(
    "of_length",
    [
        lambda count: [{"id": number, "kind": "room", "tags": ["a"]} for number in range(count)],
        lambda count: [number * 7 for number in range(count)],
        lambda count: [f"line {number} ".ljust(90, ".") for number in range(count)],
        lambda count: {f"key {number}": f"value {number} ".ljust(90, ".") for number in range(count)},
        lambda count: {"data": {"rows": [{"id": number} for number in range(count)]}},
        lambda count: "words of a line\n" * count,
        lambda count: [{"id": number, "text": "x" * 5 * count} for number in range(40)],
    ],
)
def test_the_work_goes_with_what_is_shown_and_not_with_what_was_read(of_length: Callable[[int], Any]) -> None:
    large = of_length(60_000)
    assert _work(large) < 1.5 * _work(of_length(3_000)) + 500
    tracemalloc.start()
    show(ran("a", large))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000
