"""Confidences of tokens, groups, steps and traces, against values worked out by hand."""

import itertools
import json
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.confidence import (
    Confidence,
    group_confidences,
    lowest,
    read_stated,
    step_confidences,
    token_confidences,
)

values = st.floats(0, 50)


def token(text, *logprobs):
    return {"token": text, "top_logprobs": [{"token": "x", "logprob": one} for one in logprobs]}


def clear(text, confidences):
    """`text` in tokens of one character, each of its confidence."""
    return [token(sign, -value, -value) for sign, value in zip(text, confidences, strict=True)]


def test_a_token_by_hand():
    # (0.1 + 2.3 + 3.6) / 3 = 2; of its two likeliest, (0.1 + 2.3) / 2 = 1.2
    said = [token("a", -0.1, -3.6, -2.3), token("b", -1.0, -1.0)]
    assert token_confidences(said) == pytest.approx([2.0, 1.0])
    assert token_confidences(said, top_k=2) == pytest.approx([1.2, 1.0])


def test_a_clear_choice_has_more_confidence_than_an_even_one():
    clearly, evenly = token("a", -0.01, -9.0, -9.0), token("a", -1.1, -1.1, -1.1)
    assert token_confidences([clearly])[0] > token_confidences([evenly])[0]


def test_what_has_next_to_no_probability_counts_as_minus_100():
    assert token_confidences([token("a", 0.0, -9999.0), token("a", 0.0, float("-inf"))]) == [50.0, 50.0]


@pytest.mark.parametrize("alternatives", [(), (-0.1,)])
def test_without_alternatives_nothing_is_known(alternatives):
    with pytest.raises(ValueError, match=r"token 1 has \d alternatives; at least 2"):
        token_confidences([token("a", -1.0, -1.0), token("b", *alternatives)])


def test_groups_by_hand():
    assert group_confidences([4.0, 2.0, 3.0, 7.0], 2) == [3.0, 2.5, 5.0]
    assert group_confidences([4.0, 2.0, 3.0], 8) == [3.0]  # all of them, where they do not fill the window
    assert group_confidences([], 8) == []


@given(st.lists(values, min_size=1, max_size=30), st.integers(1, 12))
def test_groups_are_the_means_of_the_windows(tokens, window):
    size = min(window, len(tokens))
    expected = [statistics.fmean(tokens[start : start + size]) for start in range(len(tokens) - size + 1)]
    assert group_confidences(tokens, window) == pytest.approx(expected, abs=1e-9)
    assert min(tokens) - 1e-9 <= min(group_confidences(tokens, window)) <= max(tokens) + 1e-9


def test_steps_by_hand():
    first, second = {"id": "a"}, {"id": "b"}
    text = f"[{json.dumps(first)},{json.dumps(second)}]"  # [{"id": "a"},{"id": "b"}]: steps at 1..11 and 13..23
    low = [9.0] * len(text)
    low[14:18] = [1.0] * 4
    tokens = clear(text, low)
    # Windows of 4 that end in the first step hold 9s only; one that ends in the second holds its four 1s.
    assert step_confidences([first, second], tokens, window=4) == [9.0, 1.0]
    # A window of 20 is first full at token 19, in the second step: 16 times 9 and 4 times 1, over 20. The first step
    # has the mean of its own tokens.
    assert step_confidences([first, second], tokens, window=20) == pytest.approx([9.0, 7.4])


def test_a_step_that_is_not_in_the_text_gets_the_lowest_group_of_the_answer():
    tokens = clear('{"id": "a"}', [5.0] * 9 + [2.0] * 2)
    assert step_confidences([{"id": "b"}, "keep"], tokens, window=2) == [2.0, 2.0]
    with pytest.raises(ValueError, match="no tokens"):
        step_confidences([{"id": "a"}], [])


arguments = st.dictionaries(st.text(), st.text(), max_size=2)
objects = st.fixed_dictionaries({"id": st.sampled_from("abc"), "args": arguments})


@given(st.lists(objects, max_size=5), st.integers(1, 9), st.integers(1, 40), st.data())
def test_a_step_has_the_least_of_the_windows_that_end_in_it(steps, size, window, data):
    text = f"Steps: {json.dumps(steps)} done"
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    confidences = data.draw(st.lists(values, min_size=len(pieces), max_size=len(pieces)))
    tokens = [token(piece, -one, -one) for piece, one in zip(pieces, confidences, strict=True)]
    found = step_confidences(steps, tokens, window=window)
    place = 0
    for step, confidence in zip(steps, found, strict=True):
        start = text.index(json.dumps(step), place)
        place = start + len(json.dumps(step))
        ends = [n for n in range(len(pieces)) if start < min((n + 1) * size, len(text)) <= place and n + 1 >= window]
        least = [statistics.fmean(confidences[n + 1 - window : n + 1]) for n in ends]
        if least:
            assert confidence == pytest.approx(min(least), abs=1e-6)


def test_what_a_model_states():
    read = [read_stated(said) for said in (0.25, "0.25", 0, 1, 1.5, -0.1, "high", None, True, [0.5], float("nan"))]
    assert read == [*(Confidence(value=value) for value in (0.25, 0.25, 0, 1)), *[None] * 7]


def test_the_lowest():
    rated = [None, Confidence(value=0.4), Confidence(value=0.2), None]
    assert all(lowest(order) == Confidence(value=0.2) for order in itertools.permutations(rated))
    assert lowest([None, None]) is None and lowest([]) is None
