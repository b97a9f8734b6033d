"""The reader on made sentences: a condition is read in every form, and one that is negated, or holds more than is read,
is never read as if it were plain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.deepplanning.conditions import DELIVERY
from programs.deepplanning.coupons import NAMES
from programs.deepplanning.grammar import ReadingError
from programs.deepplanning.reading import read
from programs.deepplanning.vocabulary import (
    COLLARS,
    COLORS,
    DEMOGRAPHICS,
    ELASTICITIES,
    FITS,
    ORIGINS,
    PROVIDERS,
    SEASONS,
    THICKNESSES,
)

Clause = tuple[str, list[Any]]
"""A piece of a sentence, and the condition that it says."""
Made = tuple[list[str], list[list[Any]]]
"""Pieces of a sentence, and their conditions."""

COMPARISONS = {
    ">": ("more than", "greater than", "higher than", "over", "above", "exceeding"),
    ">=": ("at least", "no less than", "not less than", "no fewer than", "a minimum of", "greater than or equal to"),
    "<": ("less than", "fewer than", "lower than", "under", "below"),
    "<=": ("at most", "no more than", "not more than", "up to", "within", "not exceeding", "a maximum of"),
    "==": ("exactly",),
}
BOUNDS = {
    ">=": ("or more", "or higher", "or above", "and above", "or greater"),
    "<=": ("or less", "or fewer", "or lower", "or below", "and under"),
}
# Each field's names, units, and what its number may count.
QUANTITIES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    "rating.average_score": (
        ("rating", "average rating", "average score", "average rating score", "rating average score", "user rating"),
        ("", " stars", " out of 5"),
        ("stars",),
    ),
    "rating.total_reviews": (
        ("total reviews", "number of reviews", "total number of reviews", "total review count", "review count"),
        ("",),
        ("total reviews", "reviews", "ratings", "customer reviews", "reviews in total"),
    ),
    "sales_volume.monthly": (("monthly sales", "monthly sales volume"), ("", " units"), ("monthly sales",)),
    "sales_volume.total": (("total sales", "total sales volume"), ("", " units"), ("total sales",)),
    "stock_quantity": (
        ("stock", "stock quantity", "quantity", "stock_quantity"), ("", " units"), ("units in stock", "in stock"),
    ),
    DELIVERY: (
        ("transport time", "delivery time", "shipping time"), ("", " days", " day"), ("days of transport time", "days"),
    ),
    "price": (("price",), ("", " yuan"), ("yuan",)),
}  # fmt: skip
for _stars, _word in enumerate(("one", "two", "three", "four", "five"), start=1):
    _told = (f"{_stars}-star", f"{_word}-star", f"{_stars} star")
    QUANTITIES[f"rating.distribution.{_stars}_star"] = (
        tuple(f"{told} {noun}" for told in _told for noun in ("reviews", "rating count", "rating distribution"))
        + tuple(f"number of {told} reviews" for told in _told),
        ("",),
        tuple(f"{told} {noun}" for told in _told for noun in ("reviews", "ratings")),
    )
# Each field's names, values, words before a value that has no noun, and whether a value may stand before "products".
ATTRIBUTES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], bool]] = {
    "brand": (
        ("brand",),
        ("Nike", "The North Face", "Levi's", "Arc'teryx", "Under Armour", "Li-Ning", "Harlow Finch", "O'Hara Knit"),
        ("from", "by"),
        False,
    ),
    "color": (("color", "colour"), COLORS, ("in", "in the color"), True),
    "size": (("size",), ("XS", "S", "M", "L", "XL", "XXL", "36", "38.5", "44"), ("in size", "in a size"), False),
    "suitable_season": (("suitable season", "season"), SEASONS, ("for", "suitable for", "for the"), True),
    "target_demographic": (
        ("target demographic", "demographic"), DEMOGRAPHICS, ("for", "for the", "designed for"), True
    ),
    "thickness": (("thickness",), THICKNESSES, (), False),
    "elasticity": (("elasticity",), ELASTICITIES, (), True),
    "version_type": (("fit", "version type", "fit type"), FITS, (), False),
    "collar_type": (("collar type", "collar"), COLLARS, (), True),
    "shipping_info.provider": (("shipping provider", "carrier"), PROVIDERS, ("shipped by", "via"), False),
    "shipping_info.origin": (("origin", "shipping origin"), ORIGINS, ("shipped from", "ships from"), False),
}  # fmt: skip
NAMED = {
    "==": (
        "the name is {}", "the product name is {}", "with the name {}", "with the product name {}", "named {}",
        "called {}", "titled {}", "name {}", "a name of {}", "the name is exactly {}",
    ),
    "contains": (
        "the name contains {}", "the product name includes {}", "a name that contains {}", "a name containing {}",
        "names that contain {}", "with {} in the name", "contain {} in the name", "has {} in its name",
    ),
}  # fmt: skip
PRODUCTS = (
    "Men's Drift Mid", "Oriel Air 'Bubble' Shoes", "Kids' Sparkle & Play Hoodie", "Wide-Leg Trousers 2.0", "RS-X",
    "Women's 'Off The Wall' Tee", "Youth '96 Retro Jacket", "Straight 501® Shorts, Purple Wash",
)  # fmt: skip


@st.composite
def quantities(draw: st.DrawFn, field: str) -> Clause:
    nouns, units, counted = QUANTITIES[field]
    symbol = draw(st.sampled_from([*COMPARISONS]))
    if field == "rating.average_score":
        value: float = draw(st.sampled_from([4, 4.5, 4.8, 3.9]))
    elif field == DELIVERY:
        value = draw(st.integers(1, 12))
    else:
        value = draw(st.integers(0, 20_000))
    number = draw(st.sampled_from([f"{value:,}", f"{value}"]))
    noun, unit = draw(st.sampled_from(nouns)), draw(st.sampled_from(units))
    article = draw(st.sampled_from(["", "the ", "a "]))
    said = [
        f"{article}{noun} {link}{words} {number}{unit}"
        for words in COMPARISONS[symbol] for link in ("", "is ", "of ", "that is ", "must be ")
    ]  # fmt: skip
    if symbol != "==" or field != "rating.average_score":
        said += [f"{words} {number} {what}" for words in COMPARISONS[symbol] for what in counted]
    if symbol == "==":
        said += [f"{article}{noun} {link} {number}{unit}" for link in ("is", "of", "that is")]
    for bound in BOUNDS.get(symbol, ()):
        said += [f"{article}{noun} {link} {number}{unit} {bound}" for link in ("is", "of")]
        said += [f"with {number} {what} {bound}" for what in counted if what in ("stars", "days")]
    return draw(st.sampled_from(said)), [field, symbol, value]


@st.composite
def attributes(draw: st.DrawFn, field: str) -> Clause:
    nouns, values, leads, adjective = ATTRIBUTES[field]
    value, noun = draw(st.sampled_from(values)), draw(st.sampled_from(nouns))
    written = [value]
    if field in ("color", "suitable_season", "target_demographic", "elasticity"):
        written += [value.lower(), value.upper()]
    if field == "color":
        written += [value.replace("Grey", "Gray"), value.replace(" ", "-").lower()]
    if value == "Spring/Autumn":
        written += ["Spring and Autumn", "spring or autumn", "Spring & Autumn", "Spring/Fall"]
    if value == "All Seasons":
        written += ["all-season", "All-Seasons"]
    it = draw(st.sampled_from(written))
    quote = draw(st.sampled_from(["'", '"'])) if "'" not in it else '"'
    said = [f"the {noun} is {it}", f"{noun} {it}", f"{noun}: {it}", f"a {noun} of {it}", f"the {noun} {it}"]
    said += [f"the {noun.capitalize()} is {it}", f"the {noun} is {quote}{it}{quote}"]
    said += [f"with the {it} {noun}", f"in {it} {noun}"] if field != "brand" else [f"of the {it} brand"]
    said += [f"{lead} {it}" for lead in leads]
    if adjective:
        said += [f"any {it} products", f"any {it} items"]
    if field == "target_demographic" and value in ("Men", "Women"):
        said += [f"{it}'s products", f"{it}'s items"]
    return draw(st.sampled_from(said)), [field, "==", value]


@st.composite
def names(draw: st.DrawFn) -> Clause:
    name = draw(st.sampled_from(PRODUCTS))
    quoted = draw(st.sampled_from([f"'{name}'", f'"{name}"', f"‘{name}’", f"“{name}”"]))
    symbol = draw(st.sampled_from([*NAMED]))
    return draw(st.sampled_from(NAMED[symbol])).format(quoted), ["name", symbol, name]


@st.composite
def coupons(draw: st.DrawFn) -> Clause:
    name = draw(st.sampled_from(NAMES))
    said = ("the applicable coupons include {}", "eligible for the '{}' coupon", "with the coupon '{}'")
    return draw(st.sampled_from(said)).format(name), ["applicable_coupons", "contains", name]


@st.composite
def sentences(draw: st.DrawFn, named: bool = True) -> Made:
    """Clauses on different fields; `named`: also on the name."""
    known = [*QUANTITIES, *ATTRIBUTES, "coupon", *["name"] * named]
    fields = draw(st.lists(st.sampled_from(known), min_size=1, max_size=5, unique=True))
    made = {"name": names(), "coupon": coupons()}
    clauses = [
        draw(made[field] if field in made else quantities(field) if field in QUANTITIES else attributes(field))
        for field in fields
    ]
    return [clause for clause, _ in clauses], [condition for _, condition in clauses]


OPENERS = ("Find products where", "I am looking for products", "Find me items with", "Please find a product that has")


def sentence(clauses: Sequence[str], opener: str = OPENERS[0], last: str = ", and ") -> str:
    return f"{opener} {', '.join(clauses[:-1])}{last if len(clauses) > 1 else ''}{clauses[-1]}."


def conditions(text: str) -> list[list[Any]]:
    return in_order(read("", [text], {}).items[0])


def in_order(found: Sequence[Sequence[Any]]) -> list[list[Any]]:
    return sorted(map(list, found), key=str)


@settings(max_examples=200, deadline=None)
@given(sentences(), st.sampled_from(OPENERS), st.sampled_from([", and ", ", "]))
def test_what_is_said_is_read_in_every_form(made: Made, opener: str, last: str) -> None:
    clauses, said = made
    assert conditions(sentence(clauses, opener, last)) == in_order(said)


NEGATED = {">": "<=", "<": ">="}


@settings(max_examples=200, deadline=None)
@given(st.data(), sentences(named=False), st.sampled_from(["quilted", "about", "or", "2", "between", "lined"]))
def test_no_word_is_passed_over(data: st.DataObject, made: Made, word: str) -> None:
    clauses, _ = made
    with pytest.raises(ReadingError):
        conditions(sentence(inserted(data, clauses, word)))


@settings(max_examples=200, deadline=None)
@given(st.data(), sentences(named=False), st.sampled_from(["not", "no", "without", "except", "isn't", "excluding"]))
def test_what_is_denied_is_not_read_as_if_it_were_said(data: st.DataObject, made: Made, word: str) -> None:
    clauses, said = made
    changed = sentence(inserted(data, clauses, word))
    try:
        found = conditions(changed)
    except ReadingError:
        return
    (other,) = [condition for condition in found if condition not in said]
    (field, symbol, value) = next(condition for condition in said if condition not in found)
    assert word in ("not", "no") and other == [field, NEGATED[symbol], value]


@settings(max_examples=200, deadline=None)
@given(sentences(), st.sampled_from([" and ", " ", "; ", " but ", " with ", " that has "]))
def test_other_joints_lead_to_no_other_reading(made: Made, joint: str) -> None:
    clauses, said = made
    try:
        found = conditions(f"Find products where {joint.join(clauses)}.")
    except ReadingError:
        return
    assert found == in_order(said)


@given(attributes("color") | attributes("brand") | attributes("size"), st.sampled_from(["or", "and"]))
def test_one_of_two_values_is_not_taken_for_both(made: Clause, joint: str) -> None:
    clause, (field, _, value) = made
    other = next(term for term in ATTRIBUTES[field][1] if term != value)
    with pytest.raises(ReadingError):
        conditions(f"Find products where {clause} {joint} {other}.")


def inserted(data: st.DataObject, clauses: Sequence[str], word: str) -> list[str]:
    """The clauses with one word more."""
    place = data.draw(st.integers(0, len(clauses) - 1))
    words = clauses[place].split(" ")
    at = data.draw(st.integers(0, len(words)))
    return [*clauses[:place], " ".join([*words[:at], word, *words[at:]]), *clauses[place + 1 :]]
