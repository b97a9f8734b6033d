"""What a capable model would write for a shopping request: requirements, a plan, and repairs from what a report shows.

Made by rule from the benchmark's own annotation of the request's words (`reading.py`) for the offline model. The gold
is not looked at, and no product is named that no observation has shown.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from pivot_dspy.offline import Reference
from programs.deepplanning.conditions import DELIVERY, Condition, profile_conditions
from programs.deepplanning.loader import Annotation, Case
from programs.deepplanning.reading import Reading, read

CART_STEP = "z"
_DAYS = "estimated_delivery_days"


def reference(case: Case, annotation: Annotation, *, policy: bool = True) -> Reference:
    """The reference of a case. Raises ReadingError where a sentence of the annotation cannot be read.

    Args:
        policy: whether the model was told the policy: without it, the buyer's profile is not thought of.
    """
    reading = read(case.query, annotation.sub_queries, case.user)
    profile = profile_conditions(case.user) if policy else []
    steps, serves = plan(reading, profile, case.user)
    return Reference(
        match=case.query,
        requirements=requirements(reading, profile),
        steps=steps,
        serves=serves,
        revise=revise,
    )


def requirements(reading: Reading, profile: Sequence[Condition]) -> list[dict[str, Any]]:
    """The checks that say what the request and the policy demand, as a model writes them."""
    written: list[dict[str, Any]] = [
        {"id": f"R{number}", "check": "item", "args": {"where": [list(c) for c in where]}}
        for number, where in enumerate(reading.items, start=1)
    ]
    if profile:
        written.append({"id": "E", "check": "every", "args": {"where": [list(c) for c in profile]}})
    best: dict[str, Any] = {}
    if reading.budget is not None:
        low, high = reading.budget
        written.append({"id": "T", "check": "total", "args": {"min": low, "max": high}})
        best["total_between"] = [low, high]
    if reading.coupons:
        best["coupons"] = True
    written.append({"id": "O", "check": "only", "args": {}})
    written.append({"id": "M", "check": "optimal", "args": best})
    return written


def plan(
    reading: Reading, profile: Sequence[Condition], user: Mapping[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The steps, and which requirement each serves: fetch what may suit, then the cheapest match for each item."""
    sizes = list(dict.fromkeys(user["body_profile"]["standard_sizes"].values()))
    buyer = next((condition for condition in profile if condition[0] == "target_demographic"), None)
    steps: list[dict[str, Any]] = []
    serves: dict[str, str] = {}
    if profile:
        steps.append({"id": "s", "tool": "filter_by_size", "args": {"sizes": sizes}})
        found, key = "s", "filtered_products_ids"
    else:
        steps.append({"id": "s", "tool": "sort_products", "args": {"sort_by": "price", "order": "asc"}})
        found, key = "s", "sorted_product_ids"
    steps.append({"id": "p", "tool": "get_product_details", "args": {"product_ids": f"${found}.{key}"}})
    delivery = any(condition[0] == DELIVERY for where in reading.items for condition in where)
    suits = f"target_demographic=='{buyer[2]}'" if buyer else None
    if delivery:
        province = re.sub(r"\W|province", "", str(user["shipping_addresses"]["province"]).lower())
        steps.append(
            {
                "id": "t",
                "tool": "calculate_transport_time",
                "for_each": f"$p.products[?{suits}]" if suits else "$p.products",
                "args": {"product_id": "$item.product_id", "destination_address": province},
            }
        )
    for number, where in enumerate(reading.items, start=1):
        name = chr(ord("a") + number - 1)
        serves[name] = f"R{number}"
        if delivery:
            terms = " && ".join(_term(condition, "item.") for condition in where)
            chosen = f"min_by($t[?{terms}], &item.price).item.product_id"
        else:
            terms = " && ".join([*([suits] if suits else []), *(_term(condition, "") for condition in where)])
            chosen = f"min_by($p.products[?{terms}], &price).product_id"
        steps.append({"id": name, "tool": "add_product_to_cart", "args": {"product_id": chosen}})
    steps.append({"id": CART_STEP, "tool": "get_cart_info", "args": {}})
    steps.append({"id": "submit", "tool": "submit", "args": {"cart": f"${CART_STEP}"}})
    return steps, serves


def revise(sections: Mapping[str, str], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plan with what the report proposes: a selection that meets the whole, candidates, coupons to use."""
    shown = _Shown(sections)
    if not shown.ids & {str(step["id"]) for step in steps}:
        return _amend(shown, steps)  # somebody else's trajectory: its cart is put right
    revised = []
    for step in steps:
        number = ord(str(step["id"])) - ord("a") + 1 if re.fullmatch(r"[a-m]", str(step["id"])) else 0
        product = shown.selection.get(f"R{number}")
        if product is not None and product not in shown.cart:
            step = {**step, "args": {"product_id": product}}
        revised.append(step)
    used = shown.coupons_proposed if shown.coupons_proposed is not None else shown.coupons_planned
    revised[-2:-2] = _coupon_steps(used)
    return revised


def _amend(shown: _Shown, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What puts a cart right that other steps have filled: products and coupons out and in, then the answer."""
    if not shown.selection and shown.unmet and "p" not in shown.ids | {"s"}:
        fetching = [step for step in steps if step["id"] in ("s", "p")]
        if not shown.candidates and not shown.surplus:
            return [*fetching, *steps[-2:]]
    wanted = list(shown.selection.values()) or [*(set(shown.cart) - set(shown.surplus)), *shown.candidates.values()]
    out = [product for product in shown.cart if product not in wanted]
    into = [product for product in wanted if product not in shown.cart]
    amended: list[dict[str, Any]] = []
    for number, (product, count) in enumerate(((product, shown.cart[product]) for product in out), start=1):
        args = {"product_id": product} if count == 1 else {"product_id": product, "quantity": count}
        amended.append({"id": f"d{number}", "tool": "delete_product_from_cart", "args": args})
    for number, (product, count) in enumerate(shown.several.items(), start=len(out) + 1):
        if product not in out:
            args = {"product_id": product, "quantity": count - 1}
            amended.append({"id": f"d{number}", "tool": "delete_product_from_cart", "args": args})
    for number, product in enumerate(into, start=1):
        amended.append({"id": f"n{number}", "tool": "add_product_to_cart", "args": {"product_id": product}})
    if shown.coupons_proposed is not None and shown.coupons_proposed != shown.coupons_used:
        for number, (name, count) in enumerate(shown.coupons_used.items(), start=1):
            args = {"coupon_name": name, "quantity": count}
            amended.append({"id": f"x{number}", "tool": "delete_coupon_from_cart", "args": args})
        amended += _coupon_steps(shown.coupons_proposed)
    return [*amended, *steps[-2:]]


class _Shown:
    """What a prompt shows of a run: its steps' ids, the cart, what is unmet, and what the checks propose."""

    def __init__(self, sections: Mapping[str, str]) -> None:
        report = sections.get("report", "")
        lines = report.splitlines()
        self.ids = set(re.findall(r"^(\w+) \S+ -> ", sections.get("kept", ""), re.MULTILINE))
        self.ids |= set(re.findall(r'^\{"id": "(\w+)"', sections.get("open_steps", ""), re.MULTILINE))
        self.unmet = [line for line in lines if "NOT MET" in line]
        cart = next((line for line in lines if line.startswith("Cart: ")), "")
        products, _, rest = cart.removeprefix("Cart: ").partition(". Coupons: ")
        self.several = {name: int(count) for name, count in re.findall(r"(\w+) has quantity (\d+)", report)}
        self.cart = {
            found[1]: self.several.get(found[1], 1)
            for part in products.split("; ")
            if (found := re.match(r"(\w+) .*\[", part))
        }
        self.coupons_used = {
            name: int(count) for name, count in re.findall(r"([^,.]+?: ¥[\d,]+ off every ¥[\d,]+) ×(\d+)", rest)
        }
        self.surplus = re.findall(r"(\w+) [^;]*?\[[^\]]*\] [\d.]+ (?:serves no item|fails \[\[)", report)
        proposal = re.search(r"the cheapest selection of the fetched products: (.*?); price ", report)
        self.selection: dict[str, str] = dict(re.findall(r"(R\d+) (\w+) [\d.]+", proposal[1])) if proposal else {}
        self.candidates: dict[str, str] = {}
        for line, hint in zip(lines, lines[1:], strict=False):
            fitting = re.search(r"fetched products that meet it: (\w+) ", hint)
            if fitting and "NOT MET" in line:
                self.candidates[line.split(":", 1)[0]] = fitting[1]
        coupons = re.search(r"coupons: (\{.*?\})", report)
        self.coupons_proposed: dict[str, int] | None = json.loads(coupons[1]) if coupons else None
        self.coupons_planned = _coupons_in(sections.get("open_steps", ""))


def _coupon_steps(used: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"k{number}",
            "tool": "add_coupon_to_cart",
            "args": {"coupon_name": name} if count == 1 else {"coupon_name": name, "quantity": count},
        }
        for number, (name, count) in enumerate(used.items(), start=1)
    ]


def _coupons_in(open_steps: str) -> dict[str, int]:
    """Coupons that the open steps use, so that a repair of something else does not lose them."""
    found: dict[str, int] = {}
    for line in open_steps.splitlines():
        if '"add_coupon_to_cart"' in line:
            try:
                args = json.loads(line.rsplit(" -> ", 1)[0])["args"]
                found[str(args["coupon_name"])] = int(args.get("quantity", 1))
            except (ValueError, KeyError, TypeError):
                continue  # a broken coupon step is not one to go by
    return found


def _term(condition: Condition, prefix: str) -> str:
    """A condition as a JMESPath comparison on an element."""
    field, op, value = condition
    if field == DELIVERY:
        return f"result.{_DAYS} {op} `{value}`"
    path = prefix + ".".join(f'"{part}"' if part[0].isdigit() else part for part in field.split("."))
    literal = (
        f"`{json.dumps(value)}`" if isinstance(value, (int, float)) else "'" + str(value).replace("'", "\\'") + "'"
    )
    if op == "contains":
        return f"contains({path}, {literal})"
    return f"{path} {op} {literal}" if isinstance(value, (int, float)) else f"{path}{op}{literal}"
