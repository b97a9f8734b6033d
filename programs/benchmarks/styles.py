"""The reference plans in another style, to see that blame does not hang on one way of writing plans."""

from __future__ import annotations

import re
from typing import Any, get_args

from pivot_dspy import Step, Trajectory
from programs.deepplanning.shop import RangeKey

STYLES = ("expression", "chain")
_TOOLS = {
    "brand": ("filter_by_brand", "brand_names"), "color": ("filter_by_color", "colors"),
    "size": ("filter_by_size", "sizes"),
}  # fmt: skip
_CHOICE = re.compile(r"min_by\(\$(?P<source>\w+)(?:\.products)?\[\?(?P<terms>.*)\], &.*")
_TEXT = re.compile(r"(?P<field>brand|color|size)=='(?P<value>[^'\\]*)'")
_NUMBER = re.compile(r"(?P<field>[\w.]+) (?P<op>[<>=]+) `(?P<value>[\d.]+)`")


def chained(trajectory: Trajectory) -> Trajectory:
    """The same plan with a chain of filter tools for each item, in the place of one expression over all products."""
    transport = next((step for step in trajectory.steps if step.for_each), None)
    gender = re.search(r"\[\?(.*)\]", transport.for_each or "") if transport else None
    steps: list[Step] = []
    for step in trajectory.steps:
        choice = _CHOICE.fullmatch(str(step.args.get("product_id", "")))
        if choice:
            steps += _chain(step, [*choice["terms"].split(" && "), *([gender[1]] if gender else [])], transport)
        elif step is not transport:
            steps.append(step)
    return Trajectory(steps=tuple(steps))


def _chain(step: Step, terms: list[str], transport: Step | None) -> list[Step]:
    steps: list[Step] = []
    source = "$s.filtered_products_ids"
    kept: list[str] = []
    for term in dict.fromkeys(term.removeprefix("item.").replace("(item.", "(") for term in terms):
        call = _call(term)
        if call is None:
            kept.append(term)
            continue
        tool, args = call
        made = Step(id=f"{step.id}{len(steps) + 1}", tool=tool, args={"product_ids": source, **args})
        steps.append(made)
        source = f"${made.id}.filtered_products_ids"
    details = Step(id=f"{step.id}p", tool="get_product_details", args={"product_ids": source})
    days = [term for term in kept if term.startswith("result.")]
    plain = [term for term in kept if term not in days]
    products = f"${details.id}.products" + (f"[?{' && '.join(plain)}]" if plain else "")
    if not days or transport is None:
        chosen = f"min_by({products}, &price).product_id"
        return [*steps, details, step.model_copy(update={"args": {"product_id": chosen}})]
    times = transport.model_copy(update={"id": f"{step.id}t", "for_each": products})
    chosen = f"min_by(${times.id}[?{' && '.join(days)}], &item.price).item.product_id"
    return [*steps, details, times, step.model_copy(update={"args": {"product_id": chosen}})]


def _call(term: str) -> tuple[str, dict[str, Any]] | None:
    """The filter tool and arguments that say the same as a term of an expression, if there is one."""
    text, number = _TEXT.fullmatch(term), _NUMBER.fullmatch(term)
    if text:
        tool, name = _TOOLS[text["field"]]
        return tool, {name: [text["value"]]}
    if number and number["field"] in get_args(RangeKey):
        value = float(number["value"])
        args = {"condition_key": number["field"], "operator": number["op"]}
        return "filter_by_range", {**args, "value": int(value) if value == int(value) else value}
    return None
