"""How a final cart is scored against the gold: the benchmark's own score, and a strict one beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from programs.deepplanning.loader import Gold


def official_score(cart: Mapping[str, Any], gold: Gold) -> float:
    """Gold products in the cart plus gold coupons in their right number, over their total, in [0, 1]; as the benchmark
    does, it overlooks extras and quantities of products. A gold without anything scores 0."""
    matched, expected = _counts(cart, gold)
    return matched / expected if expected else 0.0


def official_pass(cart: Mapping[str, Any], gold: Gold) -> bool:
    """Whether the official score is 1."""
    matched, expected = _counts(cart, gold)
    return 0 < matched == expected


def strict_pass(cart: Mapping[str, Any], gold: Gold) -> bool:
    """Whether the official score is 1 and the cart holds nothing else: no other products, one of each, no other
    coupons."""
    items, used = cart["items"], cart["used_coupons"]
    return (
        official_pass(cart, gold)
        and len(items) == len(set(gold.product_ids))
        and all(item["quantity"] == 1 for item in items)
        and len(used) == len(gold.coupons)
    )


def _counts(cart: Mapping[str, Any], gold: Gold) -> tuple[int, int]:
    present = {item["product_id"] for item in cart["items"]}
    used = {coupon["coupon_name"]: coupon["quantity"] for coupon in cart["used_coupons"]}
    products = set(gold.product_ids)
    coupons = sum(used.get(name) == number for name, number in gold.coupons.items())
    return len(products & present) + coupons, len(products) + len(gold.coupons)
