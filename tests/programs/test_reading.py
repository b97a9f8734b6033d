"""The reader: sentences it must and must not read, the request over the sub-query, and the real golds."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from programs.deepplanning.conditions import DELIVERY, holds, matching, profile_conditions
from programs.deepplanning.grammar import ReadingError
from programs.deepplanning.loader import load_annotation, load_cases, load_gold
from programs.deepplanning.reading import read
from programs.deepplanning.selection import cheapest, cheapest_with_coupons

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"
UNCHANGED = "e4230498212228ed245493fddd5b028ba1e6e6dc083108af77eacf33123a72a8"
real = pytest.mark.skipif(not SHOPPING.is_dir(), reason="no real tasks; set PIVOT_DATA to their folder")


def one(sub_query: str, query: str = "") -> list[list[Any]]:
    return sorted(map(list, read(query, [sub_query], {}).items[0]), key=lambda condition: str(condition))


@pytest.mark.parametrize(
    ("sub_query", "expected"),
    [
        (
            "Find products where the brand is Harlow Finch, the color is light grey, and the size is 41.",
            [["brand", "==", "Harlow Finch"], ["color", "==", "Light Grey"], ["size", "==", "41"]],
        ),
        (
            "Find women's products in size M with 'Fern-Dry' in the name and more than 1,800 total reviews.",
            [
                ["name", "contains", "Fern-Dry"],
                ["rating.total_reviews", ">", 1800],
                ["size", "==", "M"],
                ["target_demographic", "==", "Women"],
            ],
        ),
        (
            "Find products where the name is 'Oriel Air 'Bubble' Shoes', and 5-star reviews are at least 350.",
            [["name", "==", "Oriel Air 'Bubble' Shoes"], ["rating.distribution.5_star", ">=", 350]],
        ),
        (
            "Find products where the product name contains Men's Drift, Mid, and the 2-star rating count is 16.",
            None,  # a comma in a name without quotes leaves a rest
        ),
        (
            "Find products where the name contains Men's Drift Mid and the 2-star rating distribution is 16 reviews.",
            [["name", "contains", "Men's Drift Mid"], ["rating.distribution.2_star", "==", 16]],
        ),
        (
            "Find products from the brand O'Hara Knit with a stock of no more than 20, suitable for all seasons.",
            [["brand", "==", "O'Hara Knit"], ["stock_quantity", "<=", 20], ["suitable_season", "==", "All Seasons"]],
        ),
        (
            "I am looking for products where there are fewer than five one-star ratings and same-day delivery.",
            [[DELIVERY, "<=", 1], ["rating.distribution.1_star", "<", 5]],
        ),
        (
            "Find products where monthly sales are over 10, total sales exceed 20.5, average score is above 4.5.",
            [["rating.average_score", ">", 4.5], ["sales_volume.monthly", ">", 10], ["sales_volume.total", ">", 20.5]],
        ),
        (
            "Find products for the Men target demographic, with a transport time within 3 days, in the color Grey.",
            [["color", "==", "Grey"], [DELIVERY, "<=", 3], ["target_demographic", "==", "Men"]],
        ),
        (
            "Find products in Light Grey color for the Women demographic with a transport time of 1 day or less.",
            [["color", "==", "Light Grey"], [DELIVERY, "<=", 1], ["target_demographic", "==", "Women"]],
        ),
        (
            "Find products with the name 'Men's Drift 'Mid' Shoes' and a rating above 4.8 stars.",
            [["name", "==", "Men's Drift 'Mid' Shoes"], ["rating.average_score", ">", 4.8]],
        ),
        (
            "Find Oriel brand products named Men's Drift Mid with a 4.5+ star rating, priced between ¥100 and ¥1,200.",
            [
                ["brand", "==", "Oriel"],
                ["name", "==", "Men's Drift Mid"],
                ["price", "<=", 1200],
                ["price", ">=", 100],
                ["rating.average_score", ">=", 4.5],
            ],
        ),
        (
            "Find black women's all-season products in XL, rated 4.5 or higher, delivered in 2 days or less.",
            [
                ["color", "==", "Black"],
                [DELIVERY, "<=", 2],
                ["rating.average_score", ">=", 4.5],
                ["size", "==", "XL"],
                ["suitable_season", "==", "All Seasons"],
                ["target_demographic", "==", "Women"],
            ],
        ),
        (
            "Find slim fit items with a Crew Neck collar, Thin thickness, shipped from Fujian by SF Express.",
            [
                ["collar_type", "==", "Crew Neck"],
                ["shipping_info.origin", "==", "Fujian"],
                ["shipping_info.provider", "==", "SF Express"],
                ["thickness", "==", "Thin"],
                ["version_type", "==", "Slim Fit"],
            ],
        ),
        (
            "Find products where the name contains Drift Mid and size is 42.",
            [["name", "contains", "Drift Mid"], ["size", "==", "42"]],
        ),
    ],
)
def test_sentences(sub_query: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ReadingError):
            one(sub_query)
    else:
        assert one(sub_query) == expected


@pytest.mark.parametrize(
    ("sub_query", "clause"),
    [
        ("Find products where the brand is Oriel and the lining is quilted.", "lining quilted"),
        ("Find products where the color is not Black.", "color not Black"),
        ("Find products where the stock quantity is between 10 and 20 or 30.", "or 30"),
        ("Find products where the transport time is 1 day or 2 days.", "or 2 days"),
        ("Find products with fewer than 10 two-star and 20 three-star reviews.", "20 three-star reviews"),
        ("Find products with more than 400 reviews of at least 4 stars.", "more than 400 reviews"),
        ("Find products with more than 100 total reviews and stock 50.", "stock 50"),
        ("Find products where the material is Cotton.", "material Cotton"),
        ("Find products from Guangdong.", "from Guangdong"),
        ("Find products from Nike Men in size M.", "Men"),
        ("Find products in Blue-Grey.", "Blue-Grey"),
        ("Find products in Royal Blue color.", "Royal"),
        ("Find products with 'Suede' and 'Canvas' in the name.", "'Suede'"),
        ("Find products for Men and for Women.", "target_demographic is said in two ways"),
        ("Find products where the rating is 400.", "at most 5, not 400"),
        ("Find products with more than 4.5 reviews.", "4.5 is no number of reviews"),
        ("Find products where the name is Men's Parka in Black.", "what of \"Men's Parka in Black\" is the name"),
        ("Find products where the name contains Suede and Canvas.", "what of 'Suede and Canvas' is the name"),
        ("Find products that accept the coupon VIP: ¥5 off every ¥10.", "there is no coupon"),
        ("Find products.", "no condition is named"),
    ],
)
def test_a_clause_that_no_rule_reads_is_named(sub_query: str, clause: str) -> None:
    with pytest.raises(ReadingError, match=clause) as error:
        one(sub_query)
    assert sub_query in str(error.value)


def test_the_request_is_preferred_where_it_is_read() -> None:
    said = "Find products where the number of 4-star reviews is greater than 300 and transport time is 3 days."
    assert one(said, "It needs at least 300 four-star reviews and must arrive within 3 days.") == [
        [DELIVERY, "<=", 3],
        ["rating.distribution.4_star", ">=", 300],
    ]
    other = "Find products where the average rating score is greater than 4.8."
    exact = "Find products where the average rating score is 4.8."
    both = read("One of precise 4.8, the other with an average rating above 4.8.", [exact, other], {})
    assert both.items == [[["rating.average_score", "==", 4.8]], [["rating.average_score", ">", 4.8]]]


def test_what_is_said_of_everything_binds_every_item() -> None:
    query = "I'm in a hurry, so everything must have a transport time of less than 2 days. First, ..."
    subs = ["Find products where the brand is Oriel.", "Find products where transport time is less than 1."]
    assert read(query, subs, {}).items == [[["brand", "==", "Oriel"], [DELIVERY, "<", 2]], [[DELIVERY, "<", 1]]]


@pytest.mark.parametrize(
    ("sentence", "budget"),
    [
        ("I'm looking for something that costs somewhere in the range of 3828 to 4214.", (3828, 4214)),
        ("Find me some products where the total price is no less than 3,326 and no more than 3739.5.", (3326, 3739.5)),
        ("I'd like to keep my total spending between ¥1998 and ¥2007. Please help me.", (1998, 2007)),
        ("Please help me find options that fall within a budget of 8316 to 8615.", (8316, 8615)),
        ("My budget is between 1056 and 1458.", (1056, 1458)),
        ("I want to spend at most 900.", (0, 900)),
        ("My budget is 3,000 to 3,500 yuan.", (3000, 3500)),
        ("My budget is 3000-3500, and everything must have a transport time under 3 days.", (3000, 3500)),
        ("One with over 1200 in total sales, and a transport time under 2 days.", None),
    ],
)
def test_budgets(sentence: str, budget: Any) -> None:
    assert read(f"First, I need an item in size 44. {sentence}", [], {}).budget == budget


def test_the_price_of_one_item_is_no_budget() -> None:
    sub_query = "Find products from Oriel with a price under 500 yuan."
    assert read("I need a cap from Oriel that costs less than 500. It must be red.", [sub_query], {}).budget is None


@pytest.mark.parametrize("sentence", ["I want to spend at least 3000.", "My budget is 300, or 400 at a pinch."])
def test_a_budget_that_no_rule_reads_is_named(sentence: str) -> None:
    with pytest.raises(ReadingError, match="budget") as error:
        read(f"First, I need an item in size 44. {sentence}", [], {})
    assert sentence in str(error.value)


def test_coupons_count_where_the_buyer_owns_any() -> None:
    assert read("", [], {"coupons": {"VIP: ¥200 off every ¥1,000": 1}}).coupons
    assert not read("", [], {"coupons": {"VIP: ¥200 off every ¥1,000": 0}}).coupons


@real
def test_the_real_requests_are_read_as_they_always_were() -> None:
    """Rules for further forms change no reading: the digest is of what the rules for just these forms made of them."""
    readings = {}
    for case in load_cases(SHOPPING):
        reading = read(case.query, load_annotation(SHOPPING, case.id).sub_queries, case.user)
        readings[case.id] = [reading.items, reading.budget, reading.coupons]
    written = json.dumps(readings, sort_keys=True, ensure_ascii=False)
    assert hashlib.sha256(written.encode()).hexdigest() == UNCHANGED


@real
def test_the_real_requests_are_read_and_their_golds_meet_what_was_read() -> None:
    items, same = 0, Counter[int]()
    for case in load_cases(SHOPPING):
        gold = load_gold(SHOPPING, case.id)
        reading = read(case.query, load_annotation(SHOPPING, case.id).sub_queries, case.user)
        assert (reading.budget is not None) == (case.level == 2) and reading.coupons == (case.level == 3)
        wheres = [[*item, *profile_conditions(case.user)] for item in reading.items]
        for product, where in zip(gold.products, wheres, strict=True):
            assert holds(product, where, case.user)
            items += 1
        candidates = [matching(case.products, where, case.user) for where in wheres]
        coupons: dict[str, int] = {}
        if case.level == 3:
            bought = cheapest_with_coupons(candidates, case.user["coupons"], case.user["is_vip"])
            found, coupons = (bought.products, bought.coupons) if bought else ((), {})
        else:
            found = tuple(cheapest(candidates, *(reading.budget or (0.0, math.inf))) or ())
        same[case.level] += {p["product_id"] for p in found} == set(gold.product_ids) and coupons == gold.coupons
    assert items == 258
    # Prices tie and a few golds are not the cheapest: see the data's README. At random, 49 of 59 would be the same.
    assert same[1] >= 19 and same[2] >= 17 and same[3] == 8
