"""What there is to show of a plan: its days as lines with times, places and costs, and the points of each day's way."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from programs.deepplanning.travel.frame import WEEKDAYS
from programs.deepplanning.travel.scoring.readings import (
    ATTRACTION,
    BUFFER,
    HOTEL,
    MEAL,
    ROAD,
    TRIP,
    Activity,
    Day,
    Itinerary,
    PlanShapeError,
    first_price,
    read_itinerary,
    read_number,
)
from programs.deepplanning.travel.scoring.submission import TaskMeta
from programs.deepplanning.travel.scoring.tables import Tables

Kind = Literal["trip", "road", "visit", "meal", "hotel", "wait", "other"]

KINDS: Mapping[str, Kind] = {
    TRIP: "trip", ROAD: "road", ATTRACTION: "visit", MEAL: "meal", HOTEL: "hotel", BUFFER: "wait"
}  # fmt: skip
COSTS = {"trip": "Trips", "hotel": "Hotel", "meal": "Meals", "visit": "Tickets", "road": "Roads"}
"""Kinds of costs, and what they are called."""
_LONGEST = 200
"""Characters of a text of a plan that are shown: a plan may hold anything."""


@dataclass(frozen=True)
class Line:
    """One activity.

    Args:
        what: in a word or two, such as "Lunch" or "Train G12".
        cost: for all people, rooms or cars; None where there is none.
        mark: number of its place on the way of the day; None where it has none.
    """

    time: str
    kind: Kind
    what: str
    where: str
    cost: float | None
    mark: int | None = None


@dataclass(frozen=True)
class Point:
    """A place on the way of a day. A place that one comes back to has several marks."""

    name: str
    kind: Kind
    latitude: float
    longitude: float
    marks: tuple[int, ...]


@dataclass(frozen=True)
class ShownDay:
    """A day with its lines, and the points of its way in the order of their first marks."""

    number: int
    title: str
    city: str
    lines: tuple[Line, ...]
    points: tuple[Point, ...]


@dataclass(frozen=True)
class ShownPlan:
    """A plan to show.

    Args:
        total: what the plan says that it costs; None where it says none.
        costs: what its lines come to, by kind, in the order of `COSTS`.
        problem: why nothing can be shown; empty where something can.
    """

    people: int
    rooms: int
    days: tuple[ShownDay, ...] = ()
    total: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


def shown_plan(plan: Any, gold: Mapping[str, Any], tables: Tables) -> ShownPlan:
    """A plan of any shape as it can be shown.

    Args:
        gold: the task's `meta_info`, for dates and numbers of people and rooms.
    """
    meta = TaskMeta.of(gold)
    if plan is None:
        return ShownPlan(meta.people, meta.rooms, problem="There is no plan.")
    try:
        itinerary = read_itinerary(plan)
    except PlanShapeError as error:
        return ShownPlan(meta.people, meta.rooms, problem=f"The plan cannot be read: {error}.")
    days = tuple(_shown_day(day, itinerary, meta, tables) for day in itinerary.days)
    lines = [line for day in days for line in day.lines]
    costs = {kind: sum(line.cost or 0 for line in lines if line.kind == kind) for kind in COSTS}
    total = read_number(itinerary.summary.get("total_estimated_budget"))
    return ShownPlan(meta.people, meta.rooms, days, total, costs, "" if days else "The plan has no days.")


def _shown_day(day: Day, itinerary: Itinerary, meta: TaskMeta, tables: Tables) -> ShownDay:
    way = _Way(tables)
    here = _hotel_of(itinerary.days[day.number - 2]) if day.number > 1 else ""
    way.begin(here)
    costs = dict(_costs(day, meta))
    lines = []
    for position, activity in enumerate(day.activities):
        what, where = _words(activity)
        following = next((each.origin for each in day.activities[position + 1 :] if each.origin), "")
        if activity.kind == ROAD and (activity.origin, activity.place) == (here, following):
            where = ""  # the lines around it say it
        here = activity.place or here
        mark = way.reach(activity, day.number == 1)
        kind = KINDS.get(activity.kind, "other")
        lines.append(Line(_cut(activity.slot_text), kind, what, where, costs.get(position), mark))
    on = date.fromisoformat(meta.departs) + timedelta(days=day.number - 1)
    title = f"Day {day.number}, {WEEKDAYS[on.weekday()]} {on.day} {on:%B}"
    return ShownDay(day.number, title, _cut(day.city_text), tuple(lines), way.points())


class _Way:
    """The places that a day leads to, numbered as they are reached."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._names: list[tuple[str, Kind]] = []

    def begin(self, hotel: str) -> None:
        if hotel:
            self._names.append((hotel, "hotel"))

    def reach(self, activity: Activity, is_first_day: bool) -> int | None:
        """The mark of the place of an activity. Of a trip that is the end in the city of the day: where one arrives on
        the first, where one leaves on the others."""
        if activity.kind not in (TRIP, ATTRACTION, MEAL, HOTEL):
            return None
        name = activity.text("to" if is_first_day else "from") if activity.kind == TRIP else activity.name
        if self._tables.coordinates(name) is None:
            return None
        if not self._names or self._names[-1][0] != name:
            self._names.append((name, KINDS[activity.kind]))
        return len(self._names)

    def points(self) -> tuple[Point, ...]:
        marks: dict[str, list[int]] = {}
        for mark, (name, _) in enumerate(self._names, start=1):
            marks.setdefault(name, []).append(mark)
        kinds = dict(reversed(self._names))
        return tuple(_points(marks, kinds, self._tables))


def _points(marks: Mapping[str, list[int]], kinds: Mapping[str, Kind], tables: Tables) -> Iterator[Point]:
    for name, numbers in marks.items():
        latitude, longitude = map(float, (tables.coordinates(name) or "nan,nan").split(","))
        if math.isfinite(latitude) and math.isfinite(longitude):
            yield Point(_cut(name), kinds[name], latitude, longitude, tuple(numbers))


def _hotel_of(day: Day) -> str:
    """Where a day ends."""
    hotels = [activity.name for activity in day.of(HOTEL)]
    return hotels[-1] if hotels else ""


def _words(activity: Activity) -> tuple[str, str]:
    """What is done, and where."""
    between = f"{activity.text('from')} → {activity.text('to')}"
    match activity.kind:
        case "travel_intercity_public":
            return _cut(f"{activity.text('mode').capitalize()} {activity.text('number')}"), _cut(between)
        case "travel_city":
            parts = [f"{activity.details[key]}" for key in ("distance", "duration") if activity.details.get(key)]
            return _cut(", ".join(["Walk" if activity.cost == 0 else "Road", *parts])), _cut(between)
        case "meal":
            return _cut(activity.text("meal_type") or "Meal"), _cut(activity.name)
        case "attraction":
            return "Visit", _cut(activity.name)
        case "hotel":
            return _cut(activity.text("activity") or "Hotel"), _cut(activity.name)
        case "buffer":
            return "Wait", _cut(activity.text("description"))
        case kind:
            return _cut(kind or "?"), _cut(activity.name)


def _costs(day: Day, meta: TaskMeta) -> Iterator[tuple[int, float | None]]:
    """What each activity costs all, as the benchmark adds it up: a night is paid at the last hotel line of its day, and
    of the trips of a day the first."""
    kinds = [activity.kind for activity in day.activities]
    counts = {TRIP: meta.people, MEAL: meta.people, ATTRACTION: meta.people, ROAD: meta.cars}
    for position, activity in enumerate(day.activities):
        if activity.kind == HOTEL:
            stay = day.accommodation if HOTEL not in kinds[position + 1 :] else None
            price = first_price(stay, "price", "price_per_night", "cost") if isinstance(stay, Mapping) else None
            yield position, _times(price, meta.rooms)
        elif activity.kind in counts and not (activity.kind == TRIP and TRIP in kinds[:position]):
            yield position, _times(activity.cost, counts[activity.kind])


def _times(price: Any, count: int) -> float | None:
    number = read_number(price)
    return None if number is None or not math.isfinite(number) else round(number * count, 2)


def _cut(text: Any) -> str:
    """A text of a plan in one line, and not too long."""
    line = " ".join(f"{'' if text is None else text}".split())
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}…"


def amount(value: float | None) -> str:
    """Yuan as they are shown.

    >>> amount(1234.5), amount(80.0), amount(None)
    ('1,234.5', '80', '')
    """
    return "" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")
