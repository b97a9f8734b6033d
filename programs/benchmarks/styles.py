"""The reference plans in another style, to see that blame does not hang on one way of writing plans."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pivot_dspy import Requirements, Step, Trajectory
from programs.deepplanning.conditions import DELIVERY
from programs.deepplanning.reference import _term as term
from programs.deepplanning.shop import RangeKey

_TOOLS = {
    "brand": ("filter_by_brand", "brand_names"), "color": ("filter_by_color", "colors"),
    "size": ("filter_by_size", "sizes"),
}  # fmt: skip
_GENDER = re.compile(r"target_demographic=='(\w+)'")


def chained(trajectory: Trajectory, requirements: Requirements, serves: Mapping[str, str]) -> Trajectory:
    """The same plan with a chain of filter tools for each item, in the place of one expression over all products."""
    everything = " ".join(str(step.content()) for step in trajectory.steps)
    gender = _GENDER.search(everything)
    transport = next((step for step in trajectory.steps if step.for_each), None)
    steps: list[Step] = []
    for step in trajectory.steps:
        if step is transport:
            continue
        if step.id in serves and "$" in str(step.args["product_id"]):
            where = [*requirements[serves[step.id]].args["where"]]
            if gender:
                where.append(["target_demographic", "==", gender[1]])
            steps += _chain(step, where, transport)
        else:
            steps.append(step)
    return Trajectory(steps=tuple(steps))


def _chain(step: Step, where: Sequence[Sequence[Any]], transport: Step | None) -> list[Step]:
    steps: list[Step] = []
    source, rest = "$s.filtered_products_ids", []
    for field, op, value in where:
        if field in _TOOLS and op == "==":
            tool, name = _TOOLS[field]
            args: dict[str, Any] = {name: [value]}
        elif field in get_args(RangeKey):
            tool, args = "filter_by_range", {"condition_key": field, "operator": op, "value": value}
        else:
            rest.append([field, op, value])
            continue
        made = Step(id=f"{step.id}{len(steps) + 1}", tool=tool, args={"product_ids": source, **args})
        steps.append(made)
        source = f"${made.id}.filtered_products_ids"
    details = Step(id=f"{step.id}p", tool="get_product_details", args={"product_ids": source})
    delivery = any(condition[0] == DELIVERY for condition in rest)
    plain = [condition for condition in rest if condition[0] != DELIVERY]
    kept = f"[?{' && '.join(term(condition, '') for condition in plain)}]" if plain else ""
    if not delivery or transport is None:
        chosen = f"min_by(${details.id}.products{kept}, &price).product_id"
        return [*steps, details, step.model_copy(update={"args": {"product_id": chosen}})]
    times = transport.model_copy(update={"id": f"{step.id}t", "for_each": f"${details.id}.products{kept}"})
    days = " && ".join(term(condition, "item.") for condition in rest if condition[0] == DELIVERY)
    chosen = f"min_by(${times.id}[?{days}], &item.price).item.product_id"
    return [*steps, details, times, step.model_copy(update={"args": {"product_id": chosen}})]
