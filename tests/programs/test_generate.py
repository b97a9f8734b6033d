"""Synthetic tasks: read by the reader, their golds the single best, the same for a seed, each level its own trap."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from programs.deepplanning.conditions import holds, matching, profile_conditions
from programs.deepplanning.coupons import COUPONS
from programs.deepplanning.generate import BRANDS, generate
from programs.deepplanning.loader import Case, load_annotation, load_cases, load_gold
from programs.deepplanning.reading import read
from programs.deepplanning.scoring import strict_pass
from programs.deepplanning.selection import cheapest, cheapest_with_coupons
from programs.deepplanning.shop import Shop


@pytest.fixture(scope="module", params=[0, 7])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("synthetic")
    generate(directory, seed=request.param, tasks=24)
    return directory


def solved(case: Case, folder: Path, profile: bool = True, budget: bool = True) -> tuple[list[Any], dict[str, int]]:
    reading = read(case.query, load_annotation(folder, case.id).sub_queries, case.user)
    policy = profile_conditions(case.user) if profile else []
    candidates = [matching(case.products, [*item, *policy], case.user) for item in reading.items]
    if reading.coupons:
        bought = cheapest_with_coupons(candidates, case.user["coupons"], case.user["is_vip"])
        return (list(bought.products), bought.coupons) if bought else ([], {})
    span = reading.budget if budget and reading.budget else (0.0, math.inf)
    return cheapest(candidates, *span) or [], {}


def ids(products: Any) -> set[str]:
    return {product["product_id"] for product in products}


def test_what_is_read_from_a_request_leads_to_its_gold(folder: Path) -> None:
    cases = load_cases(folder)
    assert [sum(case.level == level for case in cases) for level in (1, 2, 3)] == [8, 8, 8]
    for case in cases:
        gold = load_gold(folder, case.id)
        reading = read(case.query, load_annotation(folder, case.id).sub_queries, case.user)
        assert len(case.products) == 60 and {product["brand"] for product in case.products} <= set(BRANDS)
        assert all(holds(p, item, case.user) for p, item in zip(gold.products, reading.items, strict=True))
        found, coupons = solved(case, folder)
        assert ids(found) == set(gold.product_ids) and coupons == gold.coupons


def test_the_gold_can_be_bought_with_the_tools(folder: Path) -> None:
    for case in load_cases(folder):
        gold = load_gold(folder, case.id)
        shop = Shop.of(case)
        for product_id in gold.product_ids:
            assert "error" not in shop.add_product_to_cart(product_id)
        for name, number in gold.coupons.items():
            assert "error" not in shop.add_coupon_to_cart(name, number)
        assert strict_pass(shop.cart, gold)


def test_each_level_has_its_trap(folder: Path) -> None:
    for case in load_cases(folder):
        gold = load_gold(folder, case.id)
        assert (ids(solved(case, folder, profile=False)[0]) == set(gold.product_ids)) == (case.number % 2 == 0)
        if case.level == 2:
            cheaper, _ = solved(case, folder, budget=False)
            assert sum(p["price"] for p in cheaper) < sum(p["price"] for p in gold.products)
        assert bool(gold.coupons) == (case.level == 3) and set(gold.coupons) <= set(COUPONS)
    dearer = 0
    for case in load_cases(folder):
        if case.level == 3:
            wheres = read(case.query, load_annotation(folder, case.id).sub_queries, case.user).items
            policy = profile_conditions(case.user)
            plain = cheapest([matching(case.products, [*where, *policy], case.user) for where in wheres])
            dearer += plain is not None and ids(plain) != set(load_gold(folder, case.id).product_ids)
    assert dearer >= 4  # of 8: the cheapest products are not the answer where a coupon is just out of reach


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        generate(tmp_path / name, seed=seed)
    written = {
        name: {p.relative_to(tmp_path / name).as_posix(): p.read_bytes() for p in (tmp_path / name).rglob("*.json*")}
        for name in "abc"
    }
    assert written["a"] == written["b"] and written["a"].keys() == written["c"].keys()
    assert written["a"] != written["c"]
    assert len(written["a"]) == 24  # six tasks of four files


def test_no_tasks_and_a_wrong_number(tmp_path: Path) -> None:
    generate(tmp_path, tasks=0)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match="tasks is -1"):
        generate(tmp_path, tasks=-1)
