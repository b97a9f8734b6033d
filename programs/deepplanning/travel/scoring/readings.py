"""How the benchmark's evaluator reads a plan: its days, activities, time slots, routes, cities and numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

DAY = 24 * 60
TRIP, ROAD, ATTRACTION, MEAL, HOTEL, BUFFER = (
    "travel_intercity_public", "travel_city", "attraction", "meal", "hotel", "buffer",
)  # fmt: skip
_TEXTS = {MEAL: ("name",), ATTRACTION: ("name",), HOTEL: ("name",), TRIP: ("from", "to"), ROAD: ("from", "to")}
"""Details that must be texts where they are given at all."""
_ENDLESS = 100
"""Characters from which on a text is no time of day: its numbers could not be shown."""


class PlanShapeError(ValueError):
    """The plan is of a shape that stops the official evaluator, which then counts the task as failed."""


@dataclass(frozen=True)
class Slot:
    """A span of time in minutes from the day's midnight; the end is never before the start, and may pass midnight."""

    start: int
    end: int

    @property
    def minutes(self) -> int:
        return self.end - self.start

    @property
    def past_midnight(self) -> bool:
        return self.end >= DAY


@dataclass(frozen=True)
class Activity:
    """One line of a day. `own_times` are start_time and end_time, which go before the slot in the coverage checks."""

    day: int
    kind: str
    details: Mapping[str, Any]
    slot_text: Any
    own_times: tuple[Any, Any]
    searchable: bool
    """Whether the search of the hard constraints survives the details: an object, or left out."""

    @property
    def slot(self) -> Slot | None:
        return read_slot(self.slot_text) if isinstance(self.slot_text, str) else None

    @property
    def cost(self) -> Any:
        return self.details.get("cost")

    def text(self, key: str) -> str:
        """A detail without outer spaces; empty where there is none."""
        return trimmed(self.details.get(key))

    @property
    def name(self) -> str:
        return self.text("name")

    @property
    def place(self) -> str:
        """Where it happens, for what comes after it: of a trip or a road its end."""
        return self.text("to" if self.kind in (TRIP, ROAD) else "name")

    @property
    def origin(self) -> str:
        """Where it happens, for what comes before it: of a trip or a road its start."""
        return self.text("from" if self.kind in (TRIP, ROAD) else "name")

    @property
    def start_text(self) -> Any:
        return self.own_times[0] or self._slot_texts[0]

    @property
    def end_text(self) -> Any:
        return self.own_times[1] or self._slot_texts[1]

    @property
    def times(self) -> tuple[Any, Any]:
        """Both own times, or those of the slot."""
        return self.own_times if all(self.own_times) else self._slot_texts

    @property
    def _slot_texts(self) -> tuple[str, str]:
        parts = self.slot_text.split("-") if isinstance(self.slot_text, str) else []
        return (parts[0], parts[1]) if len(parts) > 1 else ("", "")


@dataclass(frozen=True)
class Day:
    """A day of the plan, the first is number 1. `searchable` is as that of an activity."""

    number: int
    city_text: str | None
    accommodation: Any
    activities: tuple[Activity, ...]
    searchable: bool

    def of(self, *kinds: str) -> Iterator[Activity]:
        return (activity for activity in self.activities if activity.kind in kinds)

    @property
    def route(self) -> tuple[str, str] | None:
        return read_route(self.city_text)


@dataclass(frozen=True)
class Itinerary:
    """A plan as the evaluator reads it. The search of the hard constraints survives `searchable` days only."""

    days: tuple[Day, ...]
    summary: Mapping[str, Any]
    searchable: bool

    @property
    def nights(self) -> tuple[Day, ...]:
        """The days that end at a hotel: all but the last."""
        return self.days[:-1]

    def of(self, *kinds: str) -> Iterator[Activity]:
        return (activity for day in self.days for activity in day.of(*kinds))


def read_itinerary(plan: Any) -> Itinerary:
    """The days and activities of a plan.

    Raises:
        PlanShapeError: a list stands where an object belongs, or the like; the message says where.
    """
    if not isinstance(plan, Mapping):
        raise PlanShapeError("the plan is no object")
    summary = plan.get("budget_summary") or {}
    if not isinstance(summary, Mapping):
        raise PlanShapeError("budget_summary is no object")
    days = plan.get("daily_plans") or []
    if not isinstance(days, (list, tuple)):
        raise PlanShapeError("daily_plans is no list")
    return Itinerary(
        days=tuple(_day(number, day) for number, day in enumerate(days, start=1)),
        summary=summary,
        searchable=isinstance(plan.get("daily_plans", []), Iterable),
    )


def _day(number: int, day: Any) -> Day:
    if not isinstance(day, Mapping):
        raise PlanShapeError(f"day {number} is no object")
    city = day.get("current_city", "")
    if not (city is None or isinstance(city, str)):
        raise PlanShapeError(f"day {number}: current_city is no text")
    accommodation = day.get("accommodation")
    if isinstance(accommodation, Mapping):
        _text(accommodation, "name", f"day {number}: the accommodation")
    activities = day.get("activities") or []
    if not isinstance(activities, (list, tuple)):
        raise PlanShapeError(f"day {number}: activities is no list")
    return Day(
        number=number,
        city_text=city,
        accommodation=accommodation,
        activities=tuple(_activity(number, place, activity) for place, activity in enumerate(activities, start=1)),
        searchable=isinstance(day.get("activities", []), Iterable),
    )


def _activity(day: int, place: int, activity: Any) -> Activity:
    where = f"day {day}, activity {place}"
    if not isinstance(activity, Mapping):
        raise PlanShapeError(f"{where} is no object")
    kind, given, slot = activity.get("type", ""), activity.get("details", {}), activity.get("time_slot")
    details = given or {}
    if not isinstance(kind, str):
        raise PlanShapeError(f"{where}: the type is no text")
    if not isinstance(details, Mapping):
        raise PlanShapeError(f"{where}: the details are no object")
    if slot and isinstance(slot, (int, float)):
        raise PlanShapeError(f"{where}: the time slot is a number")
    for key in _TEXTS.get(kind, ()):
        _text(details, key, f"{where}: the {kind}")
    if kind == TRIP and not math.isfinite(read_number(details.get("cost")) or 0):
        raise PlanShapeError(f"{where}: the fare is not finite")
    own_times = (activity.get("start_time"), activity.get("end_time"))
    return Activity(day, kind, details, slot, own_times, isinstance(given, Mapping))


def _text(details: Mapping[str, Any], key: str, where: str) -> None:
    value = details.get(key)
    if value and not isinstance(value, str):
        raise PlanShapeError(f"{where} has a {key!r} that is no text")


def trimmed(value: Any) -> str:
    """A text without outer spaces; empty where it is none."""
    return value.strip() if isinstance(value, str) else ""


@lru_cache(maxsize=4096)
def read_slot(text: str) -> Slot | None:
    """The span of a slot's text; None where it cannot be read.

    >>> read_slot("9:30 - 11:00 (slow)"), read_slot("23:00-01:00"), read_slot("20:00-24:00"), read_slot("9-10")
    (Slot(start=570, end=660), Slot(start=1380, end=1500), Slot(start=1200, end=1439), None)
    """
    parts = re.match(r"\s*(\d{1,2}:\d{2})\s*-\s*(\d{1,2}:\d{2})", text)
    if parts is None:
        return None
    start, end = time_of_day(parts[1]), time_of_day(parts[2])
    if start is None or end is None:
        return None
    return Slot(start, end if end >= start else end + DAY)


@lru_cache(maxsize=4096)
def time_of_day(text: str) -> int | None:
    """Minutes since midnight; 24:00 is read as 23:59."""
    if text.strip() == "24:00":
        return DAY - 1
    try:
        time = datetime.strptime(text.strip(), "%H:%M")
    except ValueError:
        return None
    return time.hour * 60 + time.minute


def clock_parts(text: Any) -> tuple[int, int] | None:
    """Hours and minutes of a text such as "24:00", within no limits."""
    parts = text.split(":") if isinstance(text, str) and len(text) < _ENDLESS else []
    if len(parts) != 2:
        return None
    try:
        return int(parts[0]), int(parts[1])
    except ValueError:
        return None


def clock_hours(text: Any) -> float | None:
    """The same in hours."""
    parts = clock_parts(text)
    try:
        return None if parts is None else parts[0] + parts[1] / 60.0
    except OverflowError:
        return None


def read_route(text: str | None) -> tuple[str, str] | None:
    """The two cities of a day's "from A to B".

    >>> read_route("from Hefei to Nanjing (2 days), by train"), read_route("Nanjing"), read_route("From A to B")
    (('Hefei', 'Nanjing (2 days)'), None, None)
    """
    match = re.search(r"from\s+(.+?)\s+to\s+([^,]+)", text or "")
    if match is None or not (match[1].strip() and match[2].strip()):
        return None
    return match[1].strip(), match[2].strip()


def city(text: str | None) -> str:
    """A city's name without brackets, what is in them, and outer spaces."""
    return re.sub(r"[（(].*?[)）]", "", text or "").strip()


def read_number(value: Any) -> float | None:
    """What `float` makes of a value; None where it cannot."""
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def first_price(accommodation: Mapping[str, Any], *keys: str) -> Any:
    """The first value under these keys that is not empty; None where all are."""
    return next((accommodation[key] for key in keys if accommodation.get(key)), None)
