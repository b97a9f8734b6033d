"""The stops of a day as they are asked for: a visit or a meal, when at the earliest, and how long."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.clock import DAY, read_clock

_FORM = "a stop is [place, start?, hours?], such as ['A5', null, 1.5] or ['R25', '18:00']"
_MEAL_HOURS = 1.0
_VISIT_HOURS = 0.5
"""The length of a visit to what has no minimum."""
_MOST_HOURS = 24.0


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop.

    Args:
        id: of the place; the same for `name` and `price` (of one person).
        opens: minutes at which the place opens; with `closes` None where it is never closed.
        closes: before `opens` where the place closes after midnight.
        closed_on: weekdays, 1 is Monday.
        start: minutes before which it may not begin; None leaves it to the way there and the opening hours.
        minutes: how long it lasts.
    """

    id: str
    name: str
    kind: Literal["attraction", "meal"]
    price: float
    opens: int | None
    closes: int | None
    closed_on: tuple[int, ...]
    start: int | None
    minutes: int

    def fit(self, earliest: int) -> tuple[int, bool]:
        """The first start from `earliest` on at which the place is open, and whether it stays open to the end.

        Where no start does, the stop begins as soon as one can come in, or at `earliest` where that is never.
        """
        if self.opens is None or self.closes is None:
            return earliest, True
        spans = [(self.opens, self.closes)]
        if self.closes < self.opens:
            spans = [(0, self.closes), (self.opens, DAY + self.closes)]
        starts = [(max(earliest, opens), closes) for opens, closes in spans]
        for start, closes in starts:
            if start + self.minutes <= closes:
                return start, True
        return next((start for start, closes in starts if start < closes), earliest), False


def read_stops(atlas: Atlas, given: Sequence[Sequence[Any]]) -> tuple[Stop, ...]:
    """Stops in the form in which a plan writes them.

    Raises:
        ValueError: one is in another form, its place is unknown, or it is no place for a stop.
    """
    if not isinstance(given, (list, tuple)):
        raise ValueError(f"{given!r} is no list of stops: {_FORM}")
    return tuple(_read_stop(atlas, stop) for stop in given)


def _read_stop(atlas: Atlas, given: Sequence[Any]) -> Stop:
    if not isinstance(given, (list, tuple)) or not 1 <= len(given) <= 3:
        raise ValueError(f"{given!r}: {_FORM}")
    place, start, hours = (*given, None, None)[:3]
    if not isinstance(place, str):
        raise ValueError(f"{given!r}: the place must be an id or an exact name; {_FORM}")
    begins = None if start is None else read_clock(start) if isinstance(start, str) else DAY
    if begins == DAY or (start is not None and begins is None):
        raise ValueError(f"{place}: start {start!r} must be 'HH:MM', 00:00 to 23:59, or null; {_FORM}")
    if hours is not None and (type(hours) not in (int, float) or not 0 < hours <= _MOST_HOURS):
        raise ValueError(f"{place}: hours {hours!r} must be a number above 0, at most {_MOST_HOURS:g}; {_FORM}")
    return _stop(atlas, place, begins, hours)


def _stop(atlas: Atlas, place: str, start: int | None, hours: float | None) -> Stop:
    key = _id(atlas, place)
    if attraction := atlas.attractions.get(key):
        return Stop(
            id=key,
            name=attraction["name"],
            kind="attraction",
            price=attraction["ticket"],
            opens=read_clock(attraction["open"]),
            closes=read_clock(attraction["close"]),
            closed_on=tuple(attraction["closed"]),
            start=start,
            minutes=_minutes(hours or attraction["min_hours"] or _VISIT_HOURS),
        )
    restaurant = atlas.restaurants[key]
    return Stop(
        id=key,
        name=restaurant["name"],
        kind="meal",
        price=restaurant["price"],
        opens=read_clock(restaurant["open"]),
        closes=read_clock(restaurant["close"]),
        closed_on=(),
        start=start,
        minutes=_minutes(hours or _MEAL_HOURS),
    )


def _id(atlas: Atlas, place: str) -> str:
    """The id of an attraction or a restaurant, from that or from its name; some names are of one of each."""
    text = place.strip()
    if text in atlas.attractions or text in atlas.restaurants:
        return text
    named = [key for key, attraction in atlas.attractions.items() if attraction["name"] == text]
    named += [key for key, restaurant in atlas.restaurants.items() if restaurant["name"] == text]
    if len(named) == 1:
        return named[0]
    if named:
        raise ValueError(f"{place!r} is the name of {' and '.join(named)} (A: attraction, R: restaurant): write the id")
    try:
        record = atlas.find(place)
    except LookupError as error:
        raise ValueError(str(error)) from error
    what = "the way to the hotel is" if record["id"] in atlas.hotels else "trips and the ways to them are"
    raise ValueError(
        f"{place} ({record['name']}) is no attraction and no restaurant: leave it out of the stops, {what} put in "
        "by the builder"
    )


def _minutes(hours: float) -> int:
    """Whole minutes, none too few; what floats add to a whole number is no minute."""
    return math.ceil(round(hours * 60, 6))
