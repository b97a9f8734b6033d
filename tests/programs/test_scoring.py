"""The official and the strict score on the real golds, and on small carts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from programs.deepplanning.loader import Case, Gold, load_cases, load_gold
from programs.deepplanning.scoring import official_pass, official_score, strict_pass

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
SHOPPING = DATA / "deepplanning_shopping"
real = pytest.mark.skipif(not SHOPPING.is_dir(), reason="no real tasks; set PIVOT_DATA to their folder")

GOLD = Gold(({"product_id": "a"}, {"product_id": "b"}), {"VIP: ¥200 off every ¥1,000": 1})


def cart(products: Any, coupons: dict[str, int], quantity: int = 1) -> dict[str, Any]:
    return {
        "items": [{"product_id": product["product_id"], "quantity": quantity} for product in products],
        "used_coupons": [{"coupon_name": name, "quantity": number} for name, number in coupons.items()],
    }


@pytest.fixture(scope="module")
def tasks() -> list[tuple[Case, Gold]]:
    return [(case, load_gold(SHOPPING, case.id)) for case in load_cases(SHOPPING)]


@real
def test_the_real_golds_pass_and_lesser_carts_do_not(tasks: list[tuple[Case, Gold]]) -> None:
    assert len(tasks) == 59
    for case, gold in tasks:
        best = cart(gold.products, gold.coupons)
        assert official_score(best, gold) == 1.0 and official_pass(best, gold) and strict_pass(best, gold)
        for dropped in range(len(gold.products)):
            less = cart(gold.products[:dropped] + gold.products[dropped + 1 :], gold.coupons)
            assert official_score(less, gold) < 1.0 and not official_pass(less, gold) and not strict_pass(less, gold)
        everything = cart(case.products, gold.coupons)
        assert official_pass(everything, gold) and not strict_pass(everything, gold)


@pytest.mark.parametrize(
    ("changed", "score", "strict"),
    [
        (cart(GOLD.products, GOLD.coupons), 1.0, True),
        (cart(GOLD.products, GOLD.coupons, quantity=2), 1.0, False),
        (cart((*GOLD.products, {"product_id": "c"}), GOLD.coupons), 1.0, False),
        (cart(GOLD.products, {**GOLD.coupons, "Cross-store: ¥30 off every ¥300": 1}), 1.0, False),
        (cart(GOLD.products, {"VIP: ¥200 off every ¥1,000": 2}), 2 / 3, False),
        (cart(GOLD.products[:1], {}), 1 / 3, False),
        (cart((), {}), 0.0, False),
    ],
)
def test_what_counts(changed: dict[str, Any], score: float, strict: bool) -> None:
    assert official_score(changed, GOLD) == pytest.approx(score)
    assert official_pass(changed, GOLD) is (score == 1.0)
    assert strict_pass(changed, GOLD) is strict


def test_an_empty_gold_is_never_passed() -> None:
    nothing = Gold((), {})
    assert official_score(cart((), {}), nothing) == 0.0
    assert not official_pass(cart((), {}), nothing) and not strict_pass(cart((), {}), nothing)
