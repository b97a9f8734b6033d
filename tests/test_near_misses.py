from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError

RESULTS = {"a": [{"id": 7, "name": "Ann", "body": "Hello"}], "b": {"x": "y"}, "5": [1]}
KNOWN = frozenset({*RESULTS, "later"})
LONG = "A sentence of plain prose. " * 10


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        ("join(', ', a[].body)", "functions go without $, and the result of step a is written $a"),
        (" max_by(a, &id).name ", "the result of step a is written $a"),
        ("${b.x}", "join('', ['...', $b.x, '...'])"),
        ("Room ${ b } is free", "join('', ['...', $b, '...'])"),
        ("Dear {{a[0].name}},", "join('', ['...', $a[0].name, '...'])"),
        ("Dear {{ b }},", "join('', ['...', $b, '...'])"),
        ("<a[0].id>", "$a[0].id"),
        ("Dear <a[0].name>,", "$a[0].name"),
        ("Dear {a[0].name},", "$a[0].name"),
        ("<b.x>", "$b.x"),
        ("Dear $a[0].name, hello", "join('', ['Dear ', $a[0].name, ', hello'])"),
        ("$b.x and more", "join('', [$b.x, ' and more'])"),
        ("10 - $a[0].id / 2", '{"calc": "10 - $a[0].id / 2"}'),
        (LONG + "Dear $a[0].name", "$a[0].name"),
        (
            " " * 6000 + "$a[0].name",
            "is no binding in a text of more than 5,000 characters; write $$ for a plain dollar",
        ),
    ],
)
def test_near_misses_are_refused_with_a_remedy(text: str, remedy: str) -> None:
    assert bindings.is_binding(text, KNOWN)
    with pytest.raises(BindingError) as caught:
        bindings.resolve({"deep": [text]}, RESULTS, KNOWN)
    assert remedy in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "pays $5",
        "it costs $5.00, not $5 - a bargain",
        "export PATH=$HOME/bin:${HOME}/x",
        "join us, a[1] friend",
        "join(us, friend)",
        "call sum (a) or f(a), then a[0].id = b.x",
        "Dear {{mustache}} and {{ #each }}",
        "<b>bold</b> <a href='x'>y</a> List<b> <br>",
        "Bob <b.smith@example.org>",
        "if (a < b && b > a) { return {a: b}; }",
        "function(a, b) { return max(a, b); }",
        "print(f'{a.name}')",
        "filter(x > 1)",
        "",
        LONG + "It is $a, or {{a}}, or ${b.x}, or <a[0].id>." + LONG,
    ],
)
def test_ordinary_text_goes_through(text: str) -> None:
    assert not bindings.is_binding(text, KNOWN)
    assert bindings.resolve(text, RESULTS, KNOWN) == text


def test_a_near_miss_counts_only_where_such_a_step_is_and_can_be_quoted() -> None:
    for text in ("join(', ', a[].body)", "Dear {{a[0].name}},", "<a[0].id>", "$'x'", "it's '{{a}}'"):
        assert bindings.resolve(text, {}, {"z"}) == (text[2:-1] if text == "$'x'" else text)
        written = bindings.escape(text)
        assert (bindings.resolve(written, RESULTS, KNOWN), bindings.unescape(written)) == (text, text)
        assert bindings.rename(written, {"a": "z"}) == written
    assert bindings.resolve("$'{{a.b}} costs $$5'", RESULTS, KNOWN) == "{{a.b}} costs $5"


@pytest.mark.parametrize(
    ("text", "renamed"),
    [
        ("join(', ', a[].body)", "join(', ', a_2[].body)"),
        ("Dear {{ a }}, a friend of b", "Dear {{ a_2 }}, a friend of b"),
        ("<a[0].id>", "<a_2[0].id>"),
        ("Dear $a[0].name", "Dear $a_2[0].name"),
    ],
)
def test_a_near_miss_stays_one_where_its_step_is_renamed(text: str, renamed: str) -> None:
    assert bindings.rename(text, {"a": "a_2"}) == renamed
    assert bindings.is_binding(renamed, {"a_2"})


def test_a_call_of_a_misspelt_step_is_no_text_either() -> None:
    with pytest.raises(BindingError, match="no earlier step 'messages' has a result"):
        bindings.resolve("$join(', ', $messages[].body)", RESULTS, KNOWN)


WORDS = (
    "join", "max", "sum", "a", "b", "a[1]", "(a)", "it's", "$6", '"b"', ",", ".", "-", "a.b", "=", "<", ">", "{", "}",
)  # fmt: skip
PROSE = st.lists(st.sampled_from(WORDS))


@given(PROSE.map(" ".join))
def test_prose_of_words_is_never_refused(text: str) -> None:
    assert bindings.resolve(text, RESULTS, KNOWN) == text


@given(st.text(st.characters(exclude_characters="$<{("), max_size=300))
def test_text_without_dollars_and_brackets_is_never_refused(text: str) -> None:
    assert bindings.resolve(text, RESULTS, KNOWN) == text


@pytest.mark.parametrize("text", ["${" * 2500, "<a[" * 1600, "$" * 5000, "join(" * 1000, "{{a" * 1600, "$a." * 10**6])
def test_what_looks_hard_to_read_ends(text: str) -> None:
    began = time.perf_counter()
    bindings.is_binding(text, KNOWN)
    assert time.perf_counter() - began < 2


def test_malformed_says_what_no_results_could_make_good() -> None:
    assert bindings.malformed({"x": "$a[0].id", "y": "pays $5", "z": {"calc": "1 + $a[0].id"}}, KNOWN) is None
    assert bindings.malformed({"x": "Dear {{b.x}}"}, KNOWN) == (
        "in Dear {{b.x}}: to put results into text write join('', ['...', $b.x, '...'])"
    )
    assert bindings.malformed(["$a["], KNOWN) == "not valid JMESPath: $a["
    assert bindings.malformed([{"calc": "1 + {$a[}"}], KNOWN) == "not valid JMESPath: $a["
    assert bindings.malformed([{"calc": "1 +"}], KNOWN) == "the calc 1 +: it is no formula"
