from __future__ import annotations

import time
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pivot_dspy import bindings, calc
from pivot_dspy.bindings import BindingError
from pivot_dspy.calc import CalcPart

RESULTS = {
    "a": [
        {"sender": "X", "amount": 12.0, "date": "2", "price": "$1,234.50"},
        {"sender": "Y", "amount": 3, "date": "3"},
    ],
    "b": [3, 1, 2],
    "one": {"none": None, "zero": 0, "yes": True, "name": "Ann", "comma": "1,234", "id": "007", "huge": 10**400},
}
KNOWN = frozenset({*RESULTS, "later"})


def value_of(formula: str) -> object:
    return bindings.resolve({"deep": [{"calc": formula}]}, RESULTS, KNOWN)["deep"][0]


@pytest.mark.parametrize(
    ("formula", "value"),
    [
        ("10.0 - $a[0].amount / 2", 4.0),
        ("{max_by($a[?sender=='X'], &date).amount} - 12.00 / 2", 6.0),
        ("{$a | [?amount == `3`] | [0].{x: amount}.x} * 2", 6),
        ("0.1 + 0.2", 0.3),
        ("7 / 2 * 2", 7),
        ("6 / 4", 1.5),
        ("-(2 + 3) * 4 // 3", -7),
        ("9 % 4", 1),
        ("sum($b) + sum(1, 2) + sum($b, 4)", 19),
        ("sum($a[].amount)", 15.0),
        ("min($b, 0.5) + max($b)", 3.5),
        ("abs(-$b[0])", 3),
        ("round($a[0].price / 7, 2)", 176.36),
        ("round(0.125, 2)", 0.13),
        ("round(-2.5)", -3.0),
        ("round(1234, -2)", 1200),
        ("$a[0].price", 1234.5),
        ("100000000000000000000 + 1", 100000000000000000001),
    ],
)
def test_what_formulas_give(formula: str, value: int | float) -> None:
    given = value_of(formula)
    assert (given, type(given)) == (value, type(value))


FIRST_OF = "takes numbers, bindings"


@pytest.mark.parametrize(
    ("formula", "message", "reference"),
    [
        ("$later + 1", "no earlier step 'later'", "later"),
        ("$missing + 1", "no earlier step 'missing'", "missing"),
        ("$one.none + 1", r"\$one.none gives nothing", "one"),
        ("$one.name + 1", f"one.name gives the text 'Ann', which is not clearly a number.*{FIRST_OF}", "one"),
        ("$one.comma + 1", r"'1,234', which .* replace\(x, ',', ''\) takes commas out", "one"),
        ("$one.id + 1", "'007', which is not clearly a number", "one"),
        ("$one.yes + 1", "True, which is no number", "one"),
        ("$one.huge + 1", "too large", "one"),
        ("$one + 1", "which is no number", "one"),
        ("$b + 1", r"where \$b = \(3, 1, 2\)\): a list stands where one number is needed", "b"),
        ("1 / $one.zero", r"where \$one.zero = 0\): it divides by zero", "one"),
        ("1 % 0", "divides by zero", None),
        ("2 ** 9", "no formula", None),
        ("1e999999999", "1e999999999 has no place", None),
        ("*".join(["99999999999"] * 9), "too large", None),
        ("round(1, 999999999)", "at most 15|up to 15", None),
        ("round(1, 0.5)", "whole number", None),
        ("abs(1, 2)", "too few or too many", None),
        ("min()", "empty", None),
        ("1,000 + 1", "write 1,000 without commas", None),
        ("a[0].amount + 1", r"a is none of its functions; a step's result is written \$ID", None),
        ("{a[0].amount} + 1", r"reads no step; a step's result is written \$ID", None),
        ("$a[?sender=='X'].amount + 1", "stands in braces", None),
        ("length($b) + 1", "stands in braces", None),
        ("__import__('os')", "__import__ is none of its functions", None),
        ("_0 + 1", "_0 is none of its functions", None),
        ("(1).real", "has no place", None),
        ("max(*$b)", "no formula", "b"),
        ("$$b + 1", "escaped dollar", None),
        ("1, 2", "no formula", None),
        ("max", "no formula", None),
        ("10%", "no formula", None),
        ("", "no formula", None),
        ("(" * 900 + "1" + ")" * 900, "no formula|too deep", None),
        ("-" * 1900 + "1", "no formula|too deep", None),
        ("1+" * 1000 + "1", "longer than 2000", None),
    ],
)
def test_what_cannot_be_computed_says_why(formula: str, message: str, reference: str | None) -> None:
    with pytest.raises(BindingError, match=message) as caught:
        value_of(formula)
    assert caught.value.reference == reference


def test_the_origin_of_each_number_is_kept() -> None:
    assert bindings.calc_parts("10.0 - $a[0].amount / 2 + {max_by($a, &date).amount}", RESULTS) == (
        CalcPart("10.0", 10.0, None),
        CalcPart("$a[0].amount", 12.0, "a"),
        CalcPart("2", 2, None),
        CalcPart("max_by($a, &date).amount", 3, "a"),
    )
    assert bindings.calc_parts("sum($b)", RESULTS) == (CalcPart("$b", (3, 1, 2), "b"),)
    assert bindings.calc_parts("$item.x + 1", {"item": {"x": "$12"}})[0] == CalcPart("$item.x", 12, "item")


@pytest.mark.parametrize(
    ("text", "value"),
    [("12", 12), ("-12.50", -12.5), (" $12 ", 12), ("-$1,234.50", -1234.5), ("12 €", 12), ("1,234,567", 1234567)],
)
def test_texts_that_are_clearly_numbers(text: str, value: int | float) -> None:
    assert (calc.number(text), type(calc.number(text))) == (value, type(value))


@pytest.mark.parametrize(
    "text", ["", "1.234,50", "1,234", "12 3", "1e5", "12%", "0x1", "1_000", "007", "½", "٣", "--1"]
)
def test_texts_that_may_mean_something_else_are_no_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="not clearly a number"):
        calc.number(text)


FORMULAS = st.recursive(
    st.integers(0, 99).map(str) | st.decimals(0, 99, places=2).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({' '.join(parts)})"),
    max_leaves=8,
)


@given(FORMULAS)
def test_arithmetic_is_exact(formula: str) -> None:
    exact = calc._LEXEME.sub(lambda m: f"Fraction('{m[0]}')" if m.lastgroup == "number" else m[0], formula)
    try:
        expected = eval(exact, {"Fraction": Fraction})
    except ZeroDivisionError:
        assume(False)
    assume(abs(expected) < calc.LARGEST)
    assert value_of(formula) == float(expected)


@given(st.decimals(-1000, 1000, places=4), st.integers(0, 3))
def test_rounding_is_that_of_money(amount: Decimal, places: int) -> None:
    with localcontext(Context(prec=28)):  # whatever another test, or a library, has set
        expected = amount.quantize(Decimal(1).scaleb(-places), rounding="ROUND_HALF_UP")
    assert value_of(f"round({amount:f}, {places})") == float(expected)


@given(st.text(alphabet="$ab0123456789.,+-*/%(){}[]'\"` roundmix", max_size=30))
def test_no_formula_raises_anything_but_a_binding_error(formula: str) -> None:
    try:
        assert isinstance(value_of(formula), (int, float, dict))
    except BindingError as error:
        assert str(error)


@pytest.mark.parametrize("formula", ["{" * 2000, "{'" * 1000, "$a" * 1000, "9" * 2000, "[" * 2000, "{$a" + "'" * 1990])
def test_what_looks_hard_to_read_ends(formula: str) -> None:
    began = time.perf_counter()
    with pytest.raises(BindingError):
        value_of(formula)
    assert time.perf_counter() - began < 1


def test_bindings_in_a_calc_are_dependencies_like_any_other() -> None:
    written = {"x": [{"calc": "{max_by($a, &date).amount} - $later + $item.x"}], "y": "$b"}
    assert bindings.strings(written) == ["max_by($a, &date).amount", "$later", "$item.x", "$b"]
    assert bindings.dependencies(written, KNOWN) == ("a", "later", "b")
    assert bindings.dependencies({"calc": "broken $missing.x +"}, KNOWN) == ("missing",)
    assert bindings.map_strings(written, lambda text: bindings.rename(text, {"a": "a_2", "later": "2"})) == {
        "x": [{"calc": "{max_by($a_2, &date).amount} - $2 + $item.x"}],
        "y": "$b",
    }


def test_an_object_that_is_no_calc_is_itself_and_so_is_one_that_is_quoted() -> None:
    for value in ({"calc": 5}, {"calc": "1 + 1", "unit": "m"}, {"calc": ["$$a"]}):
        assert bindings.resolve(bindings.literal(value), RESULTS, KNOWN) == value
    assert bindings.resolve({"calc": "$'it costs $$5'"}, RESULTS, KNOWN) == {"calc": "it costs $5"}
    with pytest.raises(BindingError, match=r"plain text is written \$'...'"):
        bindings.resolve({"calc": "by hand"}, RESULTS, KNOWN)


def test_an_empty_list_is_no_sum_where_it_would_widen_a_tool() -> None:
    written = {"calc": "sum($a[?amount > `99`].amount)"}
    with pytest.raises(BindingError, match="stands in braces"):
        bindings.resolve(written, RESULTS, KNOWN)
    written = {"calc": "sum({$a[?amount > `99`].amount})"}
    assert bindings.resolve(written, RESULTS, KNOWN) == 0
    with pytest.raises(BindingError, match="gives an empty list"):
        bindings.resolve(written, RESULTS, KNOWN, allow_empty=False)
