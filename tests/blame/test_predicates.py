"""Facts: their relations are sound, and requirements, arguments and expressions give the same ones."""

from __future__ import annotations

import json
import operator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Requirement, Step
from pivot_dspy.blame.extraction import of_expression, predicates_of
from pivot_dspy.blame.predicates import Order, Predicate, Relation, make, of_requirement, relation, same_field, words

HOLDS = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
    "in": lambda value, several: value in several, "contains": lambda value, part: part in value,
}  # fmt: skip
FIELDS = st.sampled_from(["price", "rating.stars", "sales.total", "color"])
NUMBERS = st.integers(0, 6)
TEXTS = st.text("ab", max_size=3)


def facts(values: st.SearchStrategy[object], ops: tuple[str, ...]) -> st.SearchStrategy[Predicate]:
    plain = st.builds(lambda op, value: make(("x",), op, value), st.sampled_from(ops), values)
    several = st.builds(lambda found: make(("x",), "in", found), st.lists(values, min_size=1, max_size=3))
    return st.one_of(plain, several)


def meets(value: object, fact: Predicate) -> bool:
    return bool(HOLDS[fact.op](value, fact.value))


def agree(mine: Predicate, wanted: Predicate, domain: list[object]) -> None:
    allowed = [value for value in domain if meets(value, mine)]
    asked = [value for value in domain if meets(value, wanted)]
    found = relation(mine, wanted)
    if found in (Relation.SAME, Relation.TIGHTER):
        assert set(allowed) <= set(asked)
    if found is Relation.SAME:
        assert allowed == asked
    if found is Relation.LOOSER and mine.op != "contains":
        assert set(allowed) & set(asked) or not asked
    if found is Relation.CONTRADICTS and "contains" not in (mine.op, wanted.op):
        assert not set(allowed) & set(asked)


@given(facts(NUMBERS, ("==", "!=", "<", "<=", ">", ">=")), facts(NUMBERS, ("==", "!=", "<", "<=", ">", ">=")))
def test_relation_of_numbers_is_sound(mine: Predicate, wanted: Predicate) -> None:
    agree(mine, wanted, [value / 2 for value in range(-2, 16)])


@given(facts(TEXTS, ("==", "!=", "contains")), facts(TEXTS, ("==", "!=", "contains")))
def test_relation_of_texts_is_sound(mine: Predicate, wanted: Predicate) -> None:
    letters = ["", "a", "b"]
    agree(mine, wanted, sorted({x + y + z + w for x in letters for y in letters for z in letters for w in letters}))


@given(facts(NUMBERS, tuple(HOLDS)[:6]))
def test_a_fact_is_the_same_as_itself(fact: Predicate) -> None:
    assert relation(fact, fact) is Relation.SAME


@given(FIELDS, st.sampled_from(["==", "!=", "<", "<=", ">", ">="]), st.one_of(NUMBERS, st.text("abc", min_size=1)))
def test_a_requirement_and_an_expression_say_the_same(field: str, op: str, value: object) -> None:
    asked = of_requirement(Requirement(id="R", check="item", args={"where": [[field, op, value]]}))
    literal = f"`{json.dumps(value)}`"
    for text in (f"$a.rows[?{field} {op} {literal}].id", f"min_by($a[?other && {field} {op} {literal}], &price)"):
        assert [relation(fact, asked[0]) for fact in of_expression(text).predicates] == [Relation.SAME]
        assert same_field(of_expression(text).predicates[0], asked[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$a[?size=='L' || size=='M']", [(("size",), "in", frozenset({"l", "m"}))]),
        ("$a[?contains(name, 'Trail')]", [(("name",), "contains", "trail")]),
        ("$a[?contains(['L', 'M'], size)]", []),  # a list of raw strings is no literal
        ("$a[?contains(`[\"L\", \"M\"]`, size)]", [(("size",), "in", frozenset({"l", "m"}))]),
        ("$a[?!(color=='Red')]", [(("color",), "!=", "red")]),
        ("$a[?`4` < stars]", [(("stars",), ">", 4.0)]),
        ("$a[?price < limit]", []),
        ("$a[?rating.distribution.\"1_star\" < `9`]", [(("rating", "distribution", "1_star"), "<", 9.0)]),
        ("$a[?size=='L'][0:2].id", [(("size",), "==", "l")]),  # a slice holds numbers, not nodes
        ("not ( valid", []),
    ],
)
def test_expressions(text: str, expected: list[tuple[object, ...]]) -> None:
    assert [fact[:3] for fact in of_expression(text).predicates] == expected


@pytest.mark.parametrize(
    ("text", "order"),
    [
        ("min_by($a, &price).id", ("price", "min")),
        ("max_by($a[?x], &item.price).id", ("item.price", "max")),
        ("sort_by($a.rows[*], &price)[0].id", ("price", "min")),
        ("sort_by($a.rows[*], &price)[-1].id", ("price", "max")),
        ("reverse(sort_by($a.rows, &price))[0].id", ("price", "max")),
    ],
)
def test_orders(text: str, order: tuple[str, str]) -> None:
    assert of_expression(text).orders == (Order(tuple(order[0].split(".")), order[1]),)


def test_what_an_expression_reads() -> None:
    said = of_expression("min_by($t.rows[?item.price < `5`], &item.price).item.id")
    assert said.reads == (("t", "rows"),)


def test_a_calc_reads_and_selects_as_its_bindings_do() -> None:
    calc = {"calc": "{max_by($a[?sender=='X'], &date).amount} - $b.x / 2"}
    said = predicates_of(Step(id="s", tool="t", args={"amount": calc}), {"a", "b", "s"})
    assert said.reads == (("a",), ("b", "x"))
    assert [str(predicate) for predicate in said.predicates] == ['sender == "X"']
    assert said.orders == (Order(("date",), "max"),)
    assert predicates_of(Step(id="s", tool="t", args={"calc": "a text"}), {"a"}).predicates[0].field == "calc"


def test_arguments_say_facts() -> None:
    step = Step(
        id="f", tool="search",
        args={
            "brand_names": ["Nike"], "condition_key": "rating.stars", "operator": ">", "value": 4, "max_price": 90,
            "rows": "$a.rows[?color=='Red']", "sort_by": "price", "order": "asc", "query": "a long text of many words",
        },
    )  # fmt: skip
    said = predicates_of(step, {"a", "f"})
    assert {fact[:3] for fact in said.predicates} == {
        (("brand_names",), "==", "nike"), (("rating", "stars"), ">", 4.0), (("price",), "<=", 90.0),
        (("color",), "==", "red"),
    }  # fmt: skip
    assert said.orders == (Order(("price",), "min"),)


@pytest.mark.parametrize(
    ("mine", "wanted", "alike"),
    [
        ("brand_names", "brand", True),
        ("sizes", "size", True),
        ("brandNames", "brand", True),
        ("result.estimated_delivery_days", "delivery_days", True),
        ("名前", "名前", True),
        ("coupon_name", "name", False),
        ("rating.total_reviews", "sales_volume.total", False),
        ("rating.distribution.2_star", "rating.distribution.4_star", False),
    ],
)
def test_fields_are_matched_by_their_words(mine: str, wanted: str, alike: bool) -> None:
    one, other = (Predicate(tuple(path.split(".")), "==", 1.0) for path in (mine, wanted))
    assert same_field(one, other) is alike
    assert same_field(other, one) is alike


@given(st.text(max_size=30))
def test_words_of_any_text(text: str) -> None:
    assert all(word == word.lower() for word in words((text,)))


@given(st.recursive(st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4)),
                    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=4), inner)),
                    max_leaves=12))
def test_any_arguments_can_be_read(value: object) -> None:
    of_requirement(Requirement(id="R", check="c", args={"where": value}))
    predicates_of(Step(id="s", tool="t", args={"x": value}), {"s"})


@pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
@given(st.text("$ab.[]?'`=<>()&|@*{}, \"1", max_size=40))
def test_any_text_can_be_read(text: str) -> None:
    of_expression(text)
    predicates_of(Step(id="a", tool="t", args={"x": text}, for_each=text), {"a", "b"})


def test_a_value_that_only_the_check_knows_agrees_with_anything() -> None:
    wanted = make(("size",), "==", "$user.size")
    assert wanted is not None
    assert relation(Predicate(("size",), "==", "l", "L"), wanted) is Relation.SAME
