"""The solver against brute force: matching, cheapest selections within a range, coupons, and both together."""

from __future__ import annotations

import itertools
import math
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from programs.deepplanning.coupons import COUPONS, NAMES
from programs.deepplanning.selection import assign, best_coupons, cheapest, cheapest_with_coupons

BRANDS = ["Northvale", "Tidewell", "Oriel"]
prices = st.one_of(
    st.integers(1, 1500).map(float),
    st.sampled_from([199.0, 299.0, 399.9, 549.99]),
    st.integers(1, 150_000).map(lambda fen: fen / 100),
)
pools = st.lists(st.tuples(prices, st.sampled_from(BRANDS)), min_size=1, max_size=7)
wallets = st.dictionaries(st.sampled_from(NAMES), st.integers(0, 2), max_size=4)


def product(index: int, price: float, brand: str = "Oriel") -> dict[str, Any]:
    return {"product_id": str(index), "price": price, "brand": brand}


@st.composite
def shelves(draw: st.DrawFn) -> list[list[dict[str, Any]]]:
    """Candidates of up to four items, drawn from one pool so that items compete for products."""
    pool = [product(index, *drawn) for index, drawn in enumerate(draw(pools))]
    subset = st.lists(st.sampled_from(pool), min_size=1, max_size=4, unique_by=lambda item: item["product_id"])
    return draw(st.lists(subset, min_size=1, max_size=4))


def selections(candidates: list[list[dict[str, Any]]]) -> list[tuple[dict[str, Any], ...]]:
    every = itertools.product(*candidates)
    return [chosen for chosen in every if len({item["product_id"] for item in chosen}) == len(chosen)]


def total(chosen: Any) -> float:
    return round(float(sum(item["price"] for item in chosen)), 2)


@settings(max_examples=300, deadline=None)
@given(shelves(), st.one_of(st.just(0.0), st.floats(0, 4000)), st.one_of(st.just(math.inf), st.floats(0, 800)))
def test_cheapest_is_what_brute_force_finds(candidates: Any, low: float, width: float) -> None:
    within = [chosen for chosen in selections(candidates) if low <= total(chosen) <= low + width]
    found = cheapest(candidates, low, low + width)
    if not within:
        assert found is None
        return
    assert found is not None
    assert all(item in shelf for item, shelf in zip(found, candidates, strict=True))
    assert len({item["product_id"] for item in found}) == len(found)
    assert total(found) == min(total(chosen) for chosen in within)


def test_cheapest_of_nothing() -> None:
    assert cheapest([]) == []
    assert cheapest([], 1.0) is None
    assert cheapest([[product(1, 5.0)], []]) is None
    assert cheapest([[product(1, 5.0)], [product(1, 5.0)]]) is None


def test_six_items_of_thirty_need_no_look_at_every_selection() -> None:
    def shelf(item: int) -> list[dict[str, Any]]:
        return [product(30 * item + i, round(100 + (7919 * (30 * item + i) % 200_003) / 100, 2)) for i in range(30)]

    candidates = [shelf(item) for item in range(6)]
    least = [min(items, key=lambda item: float(item["price"])) for items in candidates]
    assert cheapest(candidates) == least
    for low, high in ((3000.0, 3050.0), (9000.0, 9400.0)):
        found = cheapest(candidates, low, high)
        assert found is not None and all(item in items for item, items in zip(found, candidates, strict=True))
        assert low <= total(found) <= high
    assert cheapest(candidates, 6000.004, 6000.006) is None  # no total lies between two cents


def allowed(used: dict[str, int], products: list[tuple[float, str]], is_vip: bool) -> bool:
    """The rule said another way: all thresholds within the total, same-brand ones dealt to brands that bear them."""
    thresholds = [(name, COUPONS[name].threshold) for name, number in used.items() for _ in range(number)]
    if sum(threshold for _, threshold in thresholds) > round(sum(price for price, _ in products), 2):
        return False
    if not is_vip and any(name.startswith("VIP") for name, _ in thresholds):
        return False
    same = [threshold for name, threshold in thresholds if name.startswith("Same-brand")]
    subtotal = {brand: round(sum(price for price, of in products if of == brand), 2) for brand in BRANDS}
    return any(
        all(sum(t for t, to in zip(same, dealt, strict=True) if to == brand) <= subtotal[brand] for brand in BRANDS)
        for dealt in itertools.product(BRANDS, repeat=len(same))
    )


def most_off(products: list[tuple[float, str]], owned: dict[str, int], is_vip: bool) -> float:
    every = itertools.product(*(range(number + 1) for number in owned.values()))
    combinations = (dict(zip(owned, numbers, strict=True)) for numbers in every)
    return max(
        sum(COUPONS[name].discount * number for name, number in used.items())
        for used in combinations
        if allowed(used, products, is_vip)
    )


@settings(max_examples=200, deadline=None)
@given(pools, wallets, st.booleans())
def test_best_coupons_are_what_brute_force_finds(products: Any, owned: dict[str, int], is_vip: bool) -> None:
    used, saved = best_coupons(products, owned, is_vip)
    assert saved == sum(COUPONS[name].discount * number for name, number in used.items())
    assert saved == most_off(products, owned, is_vip)
    assert allowed(used, products, is_vip)
    assert all(0 < number <= owned[name] for name, number in used.items())


@settings(max_examples=150, deadline=None)
@given(shelves(), wallets, st.booleans())
def test_cheapest_with_coupons_is_what_brute_force_finds(candidates: Any, owned: dict[str, int], is_vip: bool) -> None:
    every = selections(candidates)
    found = cheapest_with_coupons(candidates, owned, is_vip)
    if not every:
        assert found is None
        return
    assert found is not None

    def price(chosen: Any) -> float:
        return round(total(chosen) - most_off([(p["price"], p["brand"]) for p in chosen], owned, is_vip), 2)

    assert found.price == price(found.products) == min(price(chosen) for chosen in every)
    assert all(item in shelf for item, shelf in zip(found.products, candidates, strict=True))


def test_a_dearer_product_is_taken_where_it_reaches_a_coupon() -> None:
    owned = {NAMES[0]: 1}
    found = cheapest_with_coupons([[product(1, 290.0), product(2, 305.0)]], owned, False)
    assert found is not None
    assert (found.products[0]["product_id"], found.coupons, found.price) == ("2", owned, 275.0)


def test_same_brand_coupons_need_one_brand_and_unknown_coupons_count_for_nothing() -> None:
    owned = {"Same-brand: ¥25 off every ¥200": 2, "Same-brand: ¥5 off every ¥1": 9}
    assert best_coupons([(150.0, "Oriel"), (150.0, "Tidewell")], owned, True) == ({}, 0)
    assert best_coupons([(250.0, "Oriel"), (250.0, "Tidewell")], owned, True)[1] == 50
    assert best_coupons([(399.0, "Oriel"), (150.0, "Tidewell")], owned, True)[1] == 25


USER = {"shipping_addresses": {"province": "Guangdong"}}


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 6), max_size=5), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=5))
def test_assign_serves_as_many_items_as_can_be(prices: list[int], spans: list[tuple[int, int]]) -> None:
    cart = [product(index, float(price)) for index, price in enumerate(prices)]
    wheres = [[["price", ">=", low], ["price", "<=", high]] for low, high in spans]
    places = assign(cart, wheres, USER)
    taken = [place for place in places if place is not None]
    assert len(places) == len(wheres) and len(set(taken)) == len(taken)
    assert all(
        low <= prices[place] <= high for place, (low, high) in zip(places, spans, strict=True) if place is not None
    )
    options = [[None, *(i for i, p in enumerate(prices) if low <= p <= high)] for low, high in spans]
    served = ([index for index in choice if index is not None] for choice in itertools.product(*options))
    assert len(taken) == max(len(choice) for choice in served if len(set(choice)) == len(choice))
