from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("calc"), inner, max_size=3),
    max_leaves=8,
)
ROOMS = [
    {"name": "Blue", "seats": 4, "price": 9.5, "tags": []},
    {"name": "Red $5", "seats": 9, "price": 12.0, "tags": ["big"]},
]
RESULTS = {"a": {"rooms": ROOMS}, "b": [3, 1, 2], "nothing": None}
KNOWN = frozenset(RESULTS) | {"later"}


@UNHURRIED
@given(JSON, st.sets(st.sampled_from(["a", "b", "item", "5"])))
@example("it's $a and '$b'", {"a", "b"})
@example("\\'$a$$$b\\", {"a", "b"})
@example(["join(', ', a[].b)", "{{a.b}} $a", "$'{{a}}'", "'{{a}}'"], {"a", "b"})
@example([{"calc": "1 + $a"}, {"calc": "$'1'"}, {"calc": ""}], {"a", "b"})
def test_literals_resolve_to_themselves(value: object, known: set[str]) -> None:
    written = bindings.literal(value)
    assert bindings.resolve(written, {}, known) == value
    assert bindings.dependencies(written, known) == ()


@UNHURRIED
@given(st.text(alphabet="$ab.[]()'\"`&| \\0*?:,@{}=<>!x", max_size=40))
@example("$b[::0]")
@example("$a." + "(" * 5000)
@example("sort_by($b, &x)")
def test_no_text_raises_anything_but_a_binding_error(text: str) -> None:
    with contextlib.suppress(BindingError):
        bindings.resolve(text, RESULTS, KNOWN)
    with contextlib.suppress(BindingError):
        bindings.holds(text, ROOMS, RESULTS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$b", [3, 1, 2]),
        ("$b[0]", 3),
        ("min_by($a.rooms, &price).name", "Blue"),
        ("$a.rooms[?seats > `4`].name | [0]", "Red $5"),
        ("$a.rooms[?name == 'Red $5'] | [0].seats", 9),
        ("[$b[0], $a.rooms[0].seats]", [3, 4]),
        ("join(' ', ['from', $a.rooms[0].name])", "from Blue"),
        ("plain", "plain"),
        ("costs $5", "costs $5"),
        ("costs $$5 or $$a", "costs $5 or $a"),
    ],
)
def test_what_texts_give(text: str, value: object) -> None:
    assert bindings.resolve(text, RESULTS, KNOWN) == value


@pytest.mark.parametrize(
    ("text", "message", "reference"),
    [
        ("$later.x", "no earlier step 'later'", "later"),
        ("$missing.x", "no earlier step 'missing'", "missing"),
        ("$a.hotels", "gives nothing", "a"),
        ("$nothing", "gives nothing", "nothing"),
        ("the room $a is free", "to build text use join", None),
        ("max_by($b, &x)", "not a valid JMESPath", None),
    ],
)
def test_what_cannot_be_resolved_says_why(text: str, message: str, reference: str | None) -> None:
    with pytest.raises(BindingError, match=message) as caught:
        bindings.resolve({"deep": [text]}, RESULTS, KNOWN)
    assert caught.value.reference == reference


def test_an_empty_list_is_refused_where_it_would_widen_a_tool_however_deep() -> None:
    written = {"filter": {"ids": "$a.rooms[?seats > `99`].name"}}
    assert bindings.resolve(written, RESULTS, KNOWN) == {"filter": {"ids": []}}
    with pytest.raises(BindingError, match="an empty list"):
        bindings.resolve(written, RESULTS, KNOWN, allow_empty=False)
    assert bindings.resolve({"ids": []}, RESULTS, KNOWN, allow_empty=False) == {"ids": []}  # written so on purpose


def test_references_leave_out_literals_and_dependencies_leave_out_the_item() -> None:
    assert bindings.references("max_by($b[?name=='$c' && x==`\"$d\"`], &\"$e\").id") == ("b",)
    assert bindings.dependencies({"x": "$item.id", "y": ["$b", {"z": "$a"}], "money": "$5"}, KNOWN) == ("b", "a")


@pytest.mark.parametrize("length", [2_000, 1_000_000])
def test_a_long_text_full_of_dollars_and_quotes_is_itself(length: int) -> None:
    text = "$a" + '\\"' * length  # whatever takes the square of its length would not end
    assert bindings.resolve(bindings.escape(text), RESULTS, KNOWN) == text
