"""Conditions on products: each operator, the buyer's record as a value, delivery days, and malformed ones."""

from __future__ import annotations

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.deepplanning.conditions import (
    FORMS,
    LISTS,
    NUMBERS,
    TEXTS,
    delivery_days,
    failing,
    holds,
    matching,
    profile_conditions,
    value_of,
)

PRODUCT: dict[str, Any] = {
    "product_id": "p1",
    "name": "Men's Ember Ridge Zip Hoodie",
    "price": 199.9,
    "brand": "Northvale",
    "color": "Navy Blue",
    "size": "42",
    "stock_quantity": 80,
    "suitable_season": "Winter",
    "target_demographic": "Men",
    "applicable_coupons": ["VIP: ¥200 off every ¥1,000"],
    "rating": {"average_score": 4.8, "total_reviews": 96, "distribution": {"5_star": 90, "1_star": 0}},
    "shipping_info": {"origin": "Guangdong", "provider": "YTO Express"},
}
USER: dict[str, Any] = {
    "demographics": {"gender": "Male"},
    "body_profile": {"standard_sizes": {"tops": "L", "bottoms": "L", "shoes": "42"}},
    "shipping_addresses": {"province": "Guangdong"},
}


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (["brand", "==", "Northvale"], True),
        (["brand", "==", "northvale"], False),
        (["brand", "!=", "Tidewell"], True),
        (["name", "contains", "ember RIDGE"], True),
        (["name", "contains", "Ridge Ember"], False),
        (["color", "in", ["Black", "Navy Blue"]], True),
        (["size", "in", "$user.body_profile.standard_sizes"], True),
        (["size", "==", "$user.body_profile.standard_sizes.tops"], False),
        (["size", "in", ["$user.body_profile.standard_sizes.shoes"]], True),
        (["stock_quantity", ">", 80], False),
        (["stock_quantity", ">=", 80], True),
        (["stock_quantity", "in", [79, 80]], True),
        (["rating.average_score", "==", 4.8], True),
        (["rating.distribution.1_star", "<", 1], True),
        (["rating.distribution.2_star", "<", 1], False),  # the product has no such number
        (["applicable_coupons", "contains", "VIP: ¥200 off every ¥1,000"], True),
        (["review_summary", "contains", "Great color"], False),
        (["delivery_days", "<=", 2], True),
        (["delivery_days", "<", 2], False),
        (("delivery_days", "==", 2), True),
    ],
)
def test_each_operator(condition: Any, expected: bool) -> None:
    assert holds(PRODUCT, [condition], USER) is expected
    assert failing(PRODUCT, [condition], USER) == ([] if expected else [condition])
    assert matching([PRODUCT], [condition], USER) == ([PRODUCT] if expected else [])


@pytest.mark.parametrize(
    "condition",
    [
        "brand == Nike",
        ["brand", "=="],
        ["colour", "==", "Black"],
        ["rating", ">", 4],
        ["brand", ">", "A"],
        ["brand", "=", "Nike"],
        ["size", "==", 42],
        ["price", "<", "100"],
        ["price", "<", True],
        ["price", "contains", 1],
        ["color", "in", "Black"],
        ["color", "in", ["Black", 1]],
        ["applicable_coupons", "==", "VIP: ¥200 off every ¥1,000"],
        ["size", "==", "$user.body_profile.standard_sizes"],
        ["size", "==", "$user.body_profile.hat"],
        [["size"], "==", "M"],
        None,
    ],
)
def test_a_malformed_condition_raises_and_names_the_accepted_forms(condition: Any) -> None:
    for check in (holds, failing):
        with pytest.raises(ValueError, match="Accepted forms") as error:
            check(PRODUCT, [condition], USER)
        assert FORMS in str(error.value)
    with pytest.raises(ValueError, match="Accepted forms"):
        matching([], [condition], USER)  # also where there is nothing to test


@given(st.sampled_from(["==", "!=", ">", ">=", "<", "<="]), st.integers(0, 200))
def test_numbers_compare_as_python_does(symbol: str, value: int) -> None:
    names = {"==": "eq", "!=": "ne", ">": "gt", ">=": "ge", "<": "lt", "<=": "le"}
    assert holds(PRODUCT, [["stock_quantity", symbol, value]], USER) is getattr(operator, names[symbol])(80, value)


@given(st.lists(st.tuples(st.sampled_from(["brand", "color", "size"]), st.just("=="), st.sampled_from(["42", "x"]))))
def test_holds_matching_and_failing_agree(conditions: list[Any]) -> None:
    missed = failing(PRODUCT, conditions, USER)
    assert holds(PRODUCT, conditions, USER) is (not missed)
    assert all(not holds(PRODUCT, [condition], USER) for condition in missed)


def test_the_profile_binds_gender_and_sizes() -> None:
    assert profile_conditions(USER) == [["target_demographic", "==", "Men"], ["size", "in", ["L", "42"]]]
    assert holds(PRODUCT, profile_conditions(USER), USER)
    assert not holds({**PRODUCT, "target_demographic": "Unisex"}, profile_conditions(USER), USER)
    with pytest.raises(ValueError, match="gender"):
        profile_conditions({**USER, "demographics": {}})


def test_delivery_days_need_two_known_provinces() -> None:
    assert delivery_days(PRODUCT, USER) == value_of(PRODUCT, "delivery_days", USER) == 2
    assert delivery_days(PRODUCT, {}) is None
    assert not holds(PRODUCT, [["delivery_days", "<", 99]], {})


def test_no_field_is_named_twice() -> None:
    fields = [*NUMBERS, *TEXTS, *LISTS]
    assert len(fields) == len(set(fields))
