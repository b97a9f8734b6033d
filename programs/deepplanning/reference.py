"""What a capable model would write for a shopping request: requirements, a plan, and repairs from what a report shows.

Made by rule from the benchmark's own annotation of the request's words (`reading.py`) for the offline model. The gold is
not looked at, and no product is named that no observation has shown.
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
        written.append({"id": "C", "check": "coupons_optimal", "args": {}})
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
    report = sections.get("report", "")
    chosen: dict[str, str] = {}
    for line in report.splitlines():
        if "fetched products that meet it:" in line or "without [[" in line:
            continue
        selection = re.search(r"the cheapest selection of the fetched products: (.*?); price ", line)
        if selection:
            chosen = dict(re.findall(r"(R\d+) (\w+) [\d.]+", selection[1]))
    in_cart = next((line for line in report.splitlines() if line.startswith("Cart:")), "")
    revised = []
    for step in steps:
        number = ord(str(step["id"])) - ord("a") + 1 if re.fullmatch(r"[a-m]", str(step["id"])) else 0
        product = chosen.get(f"R{number}")
        if product is not None and product not in in_cart:
            step = {**step, "args": {"product_id": product}}
        revised.append(step)
    coupons = re.search(r"coupons: (\{.*?\})", report)
    used = json.loads(coupons[1]) if coupons else _in_plan(sections)
    for number, (name, count) in enumerate(used.items(), start=1):
        args = {"coupon_name": name} if count == 1 else {"coupon_name": name, "quantity": count}
        revised.insert(-2, {"id": f"k{number}", "tool": "add_coupon_to_cart", "args": args})
    return revised


def _in_plan(sections: Mapping[str, str]) -> dict[str, int]:
    """Coupons that the open steps use, so that a repair of something else does not lose them."""
    found: dict[str, int] = {}
    for line in sections.get("open_steps", "").splitlines():
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
