"""What a cart came to against the expected one: a metric with feedback in general facts, for training tasks.

The feedback goes to a model that looks for lessons, so it names no expected product, brand or price: of what is
expected it tells only how it relates to the buyer's record and to what was bought.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import dspy

from pivot_dspy import Execution
from pivot_dspy.metric import Scored
from programs.deepplanning.conditions import TEXTS, Condition, Record, holds
from programs.deepplanning.environment import final_cart
from programs.deepplanning.loader import Case, Gold
from programs.deepplanning.scoring import strict_pass

_COMPARED = tuple(name for name in TEXTS if name not in ("product_id", "name"))
_FACTS = ("brand", "color", "size", "target_demographic")


class Facts:
    """The products of a case by id and the buyer's record: what the words of the feedback are made from."""

    def __init__(self, case: Case) -> None:
        self.products = {product["product_id"]: product for product in case.products}
        self.user = case.user

    def __deepcopy__(self, memo: dict[int, Any]) -> Facts:
        return self


@dataclass(frozen=True)
class Expected:
    """The expected outcome of a case, beside the request in a training example; printing it tells no gold."""

    case: str
    gold: Gold = field(repr=False)
    facts: Facts = field(repr=False, compare=False)


def training_task(case: Case, gold: Gold) -> dspy.Example:
    """A case as an example for `compile`: its one input is the request, and `cart_metric` reads `expected`."""
    return dspy.Example(request=case.query, expected=Expected(case.id, gold, Facts(case))).with_inputs("request")


def cart_metric(
    gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
) -> dspy.Prediction:
    """Score 1 where the cart is the expected one, with no extras and one of each, else 0; and what it lacks in words.

    Args:
        gold: a `training_task`.
        pred: what a refiner returned, or any prediction with a `cart`; nothing at all counts as an empty cart.

    Raises:
        ValueError: the example is no training task.
    """
    expected = gold.get("expected") if isinstance(gold, dspy.Example) else None
    if not isinstance(expected, Expected):
        raise ValueError("cart_metric scores examples that programs.deepplanning.outcome.training_task makes")
    cart = _cart(pred)
    if strict_pass(cart, expected.gold):
        return Scored(score=1.0, feedback="The cart is the expected one.")
    return Scored(score=0.0, feedback="\n".join(_said(cart, expected)))


def _cart(pred: Any) -> Mapping[str, Any]:
    """The cart as the run left it, or as submitted where there is no run; empty where there is neither."""
    execution = getattr(pred, "execution", None)
    cart = final_cart(execution) if isinstance(execution, Execution) else getattr(pred, "cart", None)
    whole = isinstance(cart, Mapping) and all(isinstance(cart.get(key), list) for key in ("items", "used_coupons"))
    return cart if whole and cart is not None else {"items": [], "used_coupons": []}


def _said(cart: Mapping[str, Any], expected: Expected) -> Iterator[str]:
    known, user = expected.facts.products, expected.facts.user
    quantities = {item["product_id"]: item["quantity"] for item in cart["items"]}
    bought = [known[name] for name in quantities if name in known]
    wanted = [known.get(product["product_id"], product) for product in expected.gold.products]
    missing = [product for product in wanted if product["product_id"] not in quantities]
    surplus = [product for product in bought if product not in wanted]
    yield (
        f"Not the expected cart: of {len(wanted)} products expected it holds {len(wanted) - len(missing)}, and "
        f"{len(surplus)} that are not expected."
    )
    if missing and surplus:
        yield f"The expected ones in their place cost {_compared(_price(missing), _price(surplus))} in all."
    for product in missing:
        facts = " and ".join(words for words, _ in _relations([product], user))
        yield f"Missing: a product of which {facts}." if facts else "Missing: a product."
    for product in surplus:
        yield f"Not expected: a product with {', '.join(f'{name} {product.get(name)}' for name in _FACTS)}."
    if several := [name for name, count in quantities.items() if count != 1]:
        yield f"{len(several)} of the products in the cart {'have' if len(several) > 1 else 'has'} a quantity above 1."
    if not surplus and not missing or expected.gold.coupons:
        used = {coupon["coupon_name"]: coupon["quantity"] for coupon in cart["used_coupons"]}
        if used != expected.gold.coupons:
            yield f"The coupons are not the expected ones: {sum(used.values())} used."
    lacking = [
        (words, condition)
        for words, condition in _relations(wanted, user)
        if surplus and not all(holds(product, [condition], user) for product in surplus)
    ]
    if lacking:
        yield "Holds of every expected product, and not of all in the cart ($user is the buyer's record):"
        for words, condition in lacking:
            yield f"- {words}: {json.dumps(condition)}"


def _relations(products: Sequence[Record], user: Record) -> Iterator[tuple[str, Condition]]:
    """In words and as conditions, how fields of all the products relate to the buyer's record."""
    for path, among in _told(user, ()):
        name = path[-1].replace("_", " ")
        for compared in _COMPARED:
            condition: Condition = [compared, "in" if among else "==", f"$user.{'.'.join(path)}"]
            if products and all(holds(product, [condition], user) for product in products):
                yield f"{compared} is {'one of ' * among}the buyer's {name}", condition


def _told(record: Record, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Paths of the texts in a record; where all of a part are texts, the path of that part, and true."""
    for key, value in record.items():
        if isinstance(value, str):
            yield (*path, key), False
        elif isinstance(value, Mapping) and value and all(isinstance(item, str) for item in value.values()):
            yield (*path, key), True
        elif isinstance(value, Mapping):
            yield from _told(value, (*path, key))


def _price(products: Sequence[Record]) -> float:
    return float(round(sum(product["price"] for product in products), 2))


def _compared(one: float, other: float) -> str:
    return "more" if one > other else "less" if one < other else "the same"
