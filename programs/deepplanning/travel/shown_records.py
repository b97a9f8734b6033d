"""What a planner is told of the records that tools and checks return: the fields that it can choose by."""

from __future__ import annotations

from typing import Any

from typing_extensions import NotRequired, TypedDict

from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.records import Mode, Restaurant

Trip = TypedDict(
    "Trip",
    {
        "number": str, "mode": Mode, "from": str, "to": str, "dep": str, "arr": str, "minutes": int, "seat_class": str,
        "seats": int, "price": float, "airline": NotRequired[str], "manufacturer": NotRequired[str],
        "train_type": NotRequired[str], "way": NotRequired[Way],
    },
)  # fmt: skip
"""A direct trip; of one that fits a wish, its way too."""


class Attraction(TypedDict):
    """An attraction; `closed`: weekdays, Monday is 1."""

    id: str
    name: str
    type: str
    rating: float
    open: str
    close: str
    closed: list[int]
    min_hours: float
    max_hours: float
    ticket: float


class Around(TypedDict):
    """The restaurants near a place."""

    near: str
    restaurants: list[Restaurant]


class Day(TypedDict):
    """A day as it was placed, under the name by which broken rules name it, such as `day 2`."""

    day: str
    line: str
    notes: list[str]


class Plan(TypedDict):
    """What the evaluator reads; any other result of a tool is no plan."""

    daily_plans: list[dict[str, Any]]
    budget_summary: dict[str, Any]
