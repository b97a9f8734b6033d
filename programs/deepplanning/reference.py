"""What a capable model would write for a shopping request: requirements, a plan, and repairs from what a report shows.

Made by rule from the benchmark's own annotation of the request's words (`reading.py`) for the offline model. The gold
is not looked at, and no product is named that no observation has shown.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from pivot_dspy.prompts.report import FENCE, unmet_in
from pivot_dspy.simulator import Reference
from pivot_dspy.simulator.prompt import steps_in
from programs.deepplanning.conditions import DELIVERY, LISTS, Condition, profile_conditions
from programs.deepplanning.loader import Annotation, Case
from programs.deepplanning.reading import Reading, read

CART_STEP = "z"
_SILENT = frozenset(("request", "tools", "checks", "known"))
"""Sections that say nothing of what has to hold for every product."""
_DAYS = "estimated_delivery_days"


def reference(case: Case, annotation: Annotation, *, policy: bool = True) -> Reference:
    """The reference of a case. Raises ReadingError where a sentence of the annotation cannot be read.

    Args:
        policy: whether the environment states the policy: without it, the buyer's profile is not thought of, but for
            what a prompt says of it, as a lesson may.
    """
    reading = read(case.query, annotation.sub_queries, case.user)
    if policy:
        profile = profile_conditions(case.user)
        steps, serves = plan(reading, profile, case.user)
        wanted = requirements(reading, profile)
        return Reference(match=case.query, requirements=wanted, steps=steps, serves=serves, revise=revise)
    steps, serves = plan(reading, [], case.user)
    return Reference(
        match=case.query,
        requirements=requirements(reading, []),
        steps=steps,
        serves=serves,
        revise=revise,
        told=partial(_told, reading, case.user),
    )


def _told(reading: Reading, user: Mapping[str, Any], sections: Mapping[str, str], untold: Reference) -> Reference:
    """The reference that goes by what a prompt says of every product: what is asked for stays as it was read."""
    said = _of_every_product(sections, profile_conditions(user))
    if not said:
        return untold
    steps, serves = plan(reading, said, user)
    return untold.model_copy(update={"steps": steps, "serves": serves})


def _of_every_product(sections: Mapping[str, str], profile: Sequence[Condition]) -> list[Condition]:
    """Conditions on fields of the buyer's profile that hold of every product, as far as a prompt says so: by a
    requirement in a lesson or a report, or by a plan that goes by them already."""
    texts = {name: text for name, text in sections.items() if name not in _SILENT}
    fields = {str(condition[0]) for text in texts.values() for condition in _required_of_every(text)}
    shown = "\n".join(text for name, text in texts.items() if name != "lessons")  # plans of this task, of no other
    if re.search(r'^(?:s filter_by_size ->|\{"id": "s", "tool": "filter_by_size")', shown, re.MULTILINE):
        fields.add("size")
    chosen = re.findall(r'"(?:min_by\()?\$p\.products\[\?(\w+)', shown)
    if chosen and all(field == "target_demographic" for field in chosen):
        fields.add("target_demographic")
    return [condition for condition in profile if condition[0] in fields]


def _required_of_every(text: str) -> Iterator[Condition]:
    for found in re.finditer(r"\bevery\b[^\n]*?\"where\": (?=\[)", text):
        try:
            conditions, _ = json.JSONDecoder().raw_decode(text, found.end())
        except ValueError:
            continue  # cut short
        yield from (one for one in conditions if isinstance(one, list) and len(one) == 3)


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
    values = {condition[0]: condition[2] for condition in profile}
    steps: list[dict[str, Any]] = []
    serves: dict[str, str] = {}
    if "size" in values:
        steps.append({"id": "s", "tool": "filter_by_size", "args": {"sizes": list(values["size"])}})
        found, key = "s", "filtered_products_ids"
    else:
        steps.append({"id": "s", "tool": "sort_products", "args": {"sort_by": "price", "order": "asc"}})
        found, key = "s", "sorted_product_ids"
    steps.append({"id": "p", "tool": "get_product_details", "args": {"product_ids": f"${found}.{key}"}})
    delivery = any(condition[0] == DELIVERY for where in reading.items for condition in where)
    buyer = values.get("target_demographic")
    suits = f"target_demographic=='{buyer}'" if buyer else None
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
    own = {str(step["id"]) for step in steps[:-2]}  # the last two, cart and submit, end any plan
    if not shown.ids & own:
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
    """The open steps as they are, then what puts right the cart that they fill: products and coupons out and in."""
    amended: list[dict[str, Any]] = [step for step in shown.open_steps if step["tool"] != "submit"]

    def add(kind: str, tool: str, **args: Any) -> None:
        taken = shown.ids | {step["id"] for step in amended}
        number = next(n for n in itertools.count(1) if f"{kind}{n}" not in taken)
        amended.append({"id": f"{kind}{number}", "tool": tool, "args": args})

    if shown.unmet and not (shown.selection or shown.candidates or shown.surplus):
        # Nothing that was fetched serves: look further before anything is changed.
        sizes = next((step["args"]["sizes"] for step in steps if step["tool"] == "filter_by_size"), None)
        if sizes is not None and "look1" not in shown.ids:
            amended.append({"id": "look1", "tool": "filter_by_size", "args": {"sizes": sizes}})
            args = {"product_ids": "$look1.filtered_products_ids"}
            amended.append({"id": "look2", "tool": "get_product_details", "args": args})
        return [*amended, *steps[-2:]]
    wanted = list(shown.selection.values()) or [*(set(shown.cart) - set(shown.surplus)), *shown.candidates.values()]
    for product, count in shown.cart.items():
        left = count if product not in wanted else count - 1
        if left == 1:
            add("d", "delete_product_from_cart", product_id=product)
        elif left:
            add("d", "delete_product_from_cart", product_id=product, quantity=left)
    for product in wanted:
        if product not in shown.cart:
            add("n", "add_product_to_cart", product_id=product)
    if shown.coupons_proposed is not None and shown.coupons_proposed != shown.coupons_used:
        for name, count in shown.coupons_used.items():
            add("x", "delete_coupon_from_cart", coupon_name=name, quantity=count)
        for name, count in shown.coupons_proposed.items():
            add("k", "add_coupon_to_cart", coupon_name=name, quantity=count)
    return [*amended, *steps[-2:]]


class _Shown:
    """What a prompt shows of a run: its steps' ids, the cart, what is unmet, and what the checks propose."""

    def __init__(self, sections: Mapping[str, str]) -> None:
        report = sections.get("report", "")
        lines = report.splitlines()
        self.ids = {step.id for step in steps_in(sections.get("kept", ""))}
        self.open_steps = [{"args": {}, **step.written} for step in steps_in(sections.get("open_steps", ""))]
        self.ids |= {str(step["id"]) for step in self.open_steps}
        self.unmet = unmet_in(report)
        cart = next((line for line in lines if line.startswith(f"{FENCE}Cart: ")), "")
        products, _, rest = cart.removeprefix(f"{FENCE}Cart: ").partition(". Coupons: ")
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
        fitting = {item.id: re.search(r"fetched products that meet it: (\w+) ", item.hint) for item in self.unmet}
        self.candidates = {requirement: product[1] for requirement, product in fitting.items() if product}
        coupons = re.search(r"coupons: (\{.*?\})", report)
        self.coupons_proposed: dict[str, int] | None = json.loads(coupons[1]) if coupons else None
        self.coupons_planned = _coupons_of(self.open_steps)


def _coupon_steps(used: Mapping[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"k{number}",
            "tool": "add_coupon_to_cart",
            "args": {"coupon_name": name} if count == 1 else {"coupon_name": name, "quantity": count},
        }
        for number, (name, count) in enumerate(used.items(), start=1)
    ]


def _coupons_of(steps: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Coupons that steps use, so that a repair of something else does not lose them."""
    args = [step["args"] for step in steps if step["tool"] == "add_coupon_to_cart"]
    return {str(used["coupon_name"]): int(used.get("quantity", 1)) for used in args if "coupon_name" in used}


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
        # Not every product has a list of coupons, and nothing is in what is not there.
        return f"contains({f'({path} || `[]`)' if field in LISTS else path}, {literal})"
    return f"{path} {op} {literal}" if isinstance(value, (int, float)) else f"{path}{op}{literal}"
