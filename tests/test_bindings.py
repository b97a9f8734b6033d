from __future__ import annotations

import contextlib

import jmespath
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from pivot_dspy import bindings
from pivot_dspy.bindings import BindingError
from pivot_dspy.expressions import FAILURES, TOKEN
from pivot_dspy.readings import double_quoted
from pivot_dspy.text_functions import TextFunctions

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


GOODS = [
    {"id": 1, "name": "Men's Shirt", "brand": "Levi's", "price": "100", "size": 8},
    {"id": 2, "name": "Cap", "brand": "O'Neill", "price": "99", "size": 9},
    {"id": 3, "name": "Dogs' bowl", "brand": "Plain", "price": "1.5", "size": 10, "Cap": "Cap"},
]
SHOP = {"p": GOODS[:2], "q": GOODS, "u": {"x": GOODS}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$p[?name=='Men's Shirt'].id", [1]),
        ("$p[?name=='Men's Shirt' && brand=='Levi's'].id | [0]", 1),
        ("$p[?brand=='O'Neill' || contains(name, 'Men's')].id", [1, 2]),
        ("$q[?name=='Dogs' bowl'] | [0].id", 3),
        ("join('', ['Boot 'Beige'', $p[1].name])", "Boot 'Beige'Cap"),
        ("join(' ', ['the Dogs' bowl of', $p[0].brand])", "the Dogs' bowl of Levi's"),
        ("$p[?brand==`\"Levi's\"`].id", [1]),
        ('$p[?brand=="Levi\'s"].id', [1]),
        ('$p[?name=="Cap"].id', [2]),
        ('$p["Cap"==name].id', None),
        ('$p[?contains(name, "Shirt")].id', [1]),
        ('$p[?name!="Cap"].id', [1]),
        ('join(", ", $p[].name)', "Men's Shirt, Cap"),
        ('join("", ["Dear ", $p[1].brand])', "Dear O'Neill"),
        ('$q[?name=="Cap"].id', []),  # one of them has a field of that name
        ("$max_by(u.x, &size).id", 3),
        ("$max_by($u.x[?brand=='Levi's'], &size).id", 1),
        ("$length(u.x)", 3),
        ("$sum($u.x[].size)", 27),
        ("$join(', ', u.x[?name==brand || brand=='Plain'].name)", "Dogs' bowl"),
        ({"calc": "{$max_by(u.x, &size).size} - 1"}, 9),
        ({"calc": "{$p[?brand=='Levi's'].size | [0]} / 2"}, 4),
    ],
)
def test_a_slip_that_can_be_read_in_one_way_only_is_read_so(text: object, value: object) -> None:
    if value is None:
        with pytest.raises(BindingError):
            bindings.resolve(text, SHOP, {*SHOP})
        return
    assert bindings.resolve(text, SHOP, {*SHOP}) == value
    assert set(bindings.dependencies(text, {*SHOP})) <= {*SHOP}
    assert bindings.dependencies(text, {*SHOP})
    assert bindings.malformed(text, {*SHOP}) is None


def test_whoever_asks_sees_through_a_slip() -> None:
    assert bindings.references("$p[?name=='Men's $1 Shirt' && id==$q[0].id]") == ("p", "q")
    assert bindings.references("$max_by(u.x[?y==z], &y)") == ("u",)
    assert bindings.rename("$max_by(u.x, &u)", {"u": "v"}) == "max_by($v.x, &u)"
    assert bindings.rename("$p[?name=='$p's']", {"p": "v"}) == r"$v[?name=='$p\'s']"
    assert bindings.holds("name=='Men's Shirt'", GOODS[0], {})
    assert bindings.holds("$length(name) > `3`", GOODS[0], {})
    assert bindings.holds('brand=="Levi\'s"', GOODS[0], {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("$p[?price < `100`]", r"text over price ('100'): '<' compares numbers; use to_number(price)"),
        ("$p[?price < '99']", "text over price ('100'): '<' compares numbers; use to_number(price)"),
        ("$p[?price == `100`]", "use to_number(price)"),
        ("$p[?size > '8.5']", "a number is written `8.5`"),
        ("$p[?brand > `8`]", "brand holds text (\"Levi's\")"),
        ("min_by($p, &price).id", "text over price ('100'): min_by orders '100' before '99'; use &to_number(price)"),
        ("sort_by($p, &price)[0].id", "use &to_number(price)"),
        ("max($p[].price)", "use max(map(&to_number(@), list))"),
        ("$p[?name=='Dogs', cats']", "\\'"),
    ],
)
def test_numbers_as_text_and_what_can_be_read_in_two_ways_name_the_remedy(text: str, message: str) -> None:
    with pytest.raises(BindingError) as caught:
        bindings.resolve(text, SHOP, {*SHOP})
    assert message in str(caught.value)


def test_what_reads_text_as_numbers_follows_the_remedy_that_an_error_names() -> None:
    money = {"m": [{"price": "$1,100.50"}, {"price": "$99.00"}]}
    with pytest.raises(BindingError) as caught:
        bindings.resolve("min_by($m, &price).price", money, {"m"})
    key = str(caught.value).rpartition("use ")[2]
    assert bindings.resolve(f"min_by($m, {key}).price", money, {"m"}) == "$99.00"


_ATOMS = st.sampled_from(["$p", "$q", "name", "size", "id", "'Cap'", "`9`", "[0]", '"brand"', "@", "$u.x", "'it\\'s'"])
_EXPRESSIONS = st.recursive(
    _ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map("{0[0]}[?{0[1]}]".format),
        st.tuples(inner, st.sampled_from(["==", "!=", "<", ">=", "&&", "||", " | "]), inner).map("".join),
        st.tuples(inner, inner).map("{0[0]}[].{0[1]}".format),
        st.tuples(st.sampled_from(["length", "sort", "keys", "to_string", "max", "not_null"]), inner).map(
            "{0[0]}({0[1]})".format
        ),
        st.tuples(st.sampled_from(["min_by", "sort_by"]), inner, inner).map("{0[0]}({0[1]}, &{0[2]})".format),
        st.tuples(inner, inner).map("contains({0[0]}, {0[1]})".format),
    ),
    max_leaves=6,
)


@UNHURRIED
@given(_EXPRESSIONS)
def test_what_jmespath_reads_keeps_its_value(text: str) -> None:
    plain = jmespath.Options(custom_functions=TextFunctions())
    assume(len(list(filter(None, TOKEN.findall(text)))) < 2)  # inside a filter, jmespath knows no steps
    try:
        value = jmespath.search(TOKEN.sub(lambda m: f'"{m[1]}"' if m[1] else m[0], text), SHOP, plain)
    except FAILURES:
        return
    try:
        assert bindings.evaluate(text, SHOP) == value
    except BindingError as error:
        assert "text" in str(error)  # numbers as text: the one thing that is refused
    except AssertionError:
        if not double_quoted(text):  # what is no field is text
            raise


# -- steps inside filters


ROWS = [{"id": n, "price": price, "b": {"id": 2}} for n, price in ((1, 10), (2, 20), (3, 30))]
IN_FILTERS = {
    "$b[?id != $a.id].id": [1, 3],
    "$b[?!contains($c[].result.id, id)].id": [2],
    "$b[?price > min($b[].price)].id": [2, 3],
    "min_by($b[?id != $a.id && price > `10`], &price).id": 3,
    "$b[?b.id == id].id": [2],  # without a dollar it is a field, whatever the steps are called
    "sort_by($b, &abs(to_number($a.id)))[].id": [1, 2, 3],
}


@pytest.mark.parametrize("text", IN_FILTERS)
def test_a_step_may_be_named_inside_a_filter(text: str) -> None:
    results = {"a": {"id": 2}, "b": ROWS, "c": [{"result": {"id": 1}}, {"result": {"id": 3}}]}
    assert bindings.resolve(text, results, results) == IN_FILTERS[text]
    assert set(bindings.references(text)) <= set(results)


def test_a_field_whose_name_begins_with_a_dollar_is_a_field() -> None:
    assert bindings.resolve('$a[?"$x" == `1` && id != $b].id', {"a": [{"$x": 1, "id": 5}], "b": 1}, ["a", "b"]) == [5]
