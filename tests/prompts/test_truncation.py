"""Text and JSON that are cut stay within their length and say how much is left out; JSON stays JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.prompts.truncation import (
    CUT_ROOM,
    MAX_DEPTH,
    escape_controls,
    fair_cap,
    fit,
    json_length,
    json_line,
    json_within,
    longest_start,
    truncate,
)

texts = st.text(max_size=300)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(texts, inner, max_size=6),
    max_leaves=30,
)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@given(st.text(max_size=500), st.integers(24, 600))
def test_what_is_cut_keeps_its_beginning_and_its_cap(text, cap):
    short = truncate(text, cap)
    assert len(short) <= cap
    assert short == text if len(text) <= cap else short.startswith(text[: cap - 24])


def test_it_tells_how_much_is_left_out():
    assert truncate("x" * 300, 100) == "x" * 76 + "… (+224 characters)"


@given(st.lists(st.integers(0, 1000), max_size=20), st.integers(1, 5000))
def test_the_room_is_shared_fairly(lengths, cap):
    level = fair_cap(lengths, cap)
    used = sum(min(length, level) for length in lengths)
    assert used <= max(cap, 24 * len(lengths))
    if lengths and level < max(lengths):
        assert used > cap - len(lengths)  # no room is left unused


@given(texts)
def test_what_is_escaped_is_one_line_of_utf_8(text):
    written = escape_controls(text)
    assert len(f"a{written}".splitlines()) == 1
    assert written.encode().decode() == written
    assert json.loads(json_line(text)) == text


@given(values, st.integers(0, 500))
def test_the_length_is_that_of_the_json_or_above_the_limit(value, limit):
    assert json_length(value, 10**9) == len(json_line(value))
    assert (json_length(value, limit) <= limit) == (len(json_line(value)) <= limit)


@given(values, st.integers(0, 500))
def test_json_that_is_cut_is_json_within_its_length(value, cap):
    written = json_within(value, cap)
    assert len(written) <= max(cap, CUT_ROOM)
    if len(json_line(value)) <= cap:
        assert json.loads(written) == value
    elif len(json_line(value)) > CUT_ROOM:
        assert "… (+" in written or '"…": "+' in written
    json.loads(written)


def test_what_is_cut_says_how_much():
    assert json_within("x" * 100, 50) == f'"{"x" * 16}… (+84 characters)"'
    assert json_within([7] * 100, 50) == '[7, 7, 7, 7, 7, "… (+95 more)"]'
    wide = json_within({f"k{n:04}": n for n in range(50_000)}, 100)
    assert wide == '{"k0000": 0, "k0001": 1, "k0002": 2, "k0003": 3, "k0004": 4, "…": "+49,995 more"}'
    assert json_within({"k" * 900: 1, "b": "x" * 99}, 300).startswith(f'{{"{"k" * 166}… (+734 characters)": 1')


def test_depth_is_capped_and_said():
    assert json_within(nested(MAX_DEPTH), 1000) == "[" * MAX_DEPTH + "]" * MAX_DEPTH
    deep = json_within(nested(5000), 1000)
    assert deep == "[" * MAX_DEPTH + '"… (+1, nested deeper)"' + "]" * MAX_DEPTH
    assert json_length(nested(5000), 10**9) > 10**9


@given(st.text(max_size=50), st.integers(-3, 80))
def test_the_longest_start_is_the_longest_that_fits(text, cap):
    count = longest_start(text, cap, json_line)
    fitting = [length for length in range(1, len(text) + 1) if len(json_line(text[:length])) <= cap]
    assert count == max(fitting, default=0)


def test_long_parts_are_cut_before_others_are_left_out():
    def cut(lengths: list[int], room: int) -> list[int]:
        return [len(part) for part in fit(len(lengths), lengths, lambda n, cap: "x" * min(lengths[n], cap), room, 10)]

    assert cut([10, 500, 20], 200) == [10, 170, 20]
    assert cut([10] * 30, 200) == [10] * 19  # and room to say so
    assert cut([100] * 5, 210) == [50] * 4
    assert cut([], 200) == []


def test_only_so_many_parts_are_measured_as_may_fit():
    def lengths():
        for _ in range(21):
            yield 10
        raise AssertionError("one more")

    assert len(fit(10**9, lengths(), lambda n, cap: "x" * 10, 200, 10)) == 19


def test_a_deep_tree_takes_no_longer_than_what_is_shown_of_it():
    tree: Any = "leaf"
    for _ in range(MAX_DEPTH - 1):
        tree = {"left": tree, "right": tree}  # 2 ** 49 leaves
    assert len(json_within(tree, 8000)) <= 8000


def test_a_long_text_is_cut_before_what_stands_beside_it() -> None:
    record = {"id": "25", "content": "x" * 600, "shared_with": {"ann@example.org": "rw", "bob@example.org": "r"}}
    shown = json.loads(json_within(record, 160))
    assert shown["shared_with"] == record["shared_with"] and shown["content"].endswith(" characters)")
    assert len(json_within(record, 160)) <= 160
