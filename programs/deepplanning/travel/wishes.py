"""The wishes of a travel request: which trips, hotels, meals and visits fit what it says, the best first."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal

from programs.deepplanning.travel.atlas import Atlas, Attraction, Hotel, Mode, Restaurant, Trip, seats_for
from programs.deepplanning.travel.conditions import (
    FLAG,
    NUMBER,
    NUMBERS,
    TEXT,
    TEXTS,
    TIME,
    Best,
    Condition,
    Kind,
    R,
    Record,
    Vocabulary,
)
from programs.deepplanning.travel.frame import Frame

Way = Literal["out", "back"]


class WishedTrip(Trip):
    """A trip, and which way it goes."""

    way: Way


TRIP_FIELDS: Mapping[str, Kind] = {
    "number": TEXT, "mode": TEXT, "direct": FLAG, "from": TEXT, "to": TEXT, "date": TEXT, "dep": TIME,
    "arr": TIME, "arr_day": NUMBER, "minutes": NUMBER, "seat_class": TEXT, "seats": NUMBER,
    "price": NUMBER, "airline": TEXT, "manufacturer": TEXT, "aircraft": TEXT, "train_type": TEXT,
}  # fmt: skip
HOTEL_FIELDS: Mapping[str, Kind] = {
    "id": TEXT, "name": TEXT, "star": NUMBER, "brand": TEXT, "price": NUMBER, "score": NUMBER,
    "renovated": NUMBER, "services": TEXTS,
}  # fmt: skip
ATTRACTION_FIELDS: Mapping[str, Kind] = {
    "id": TEXT, "name": TEXT, "type": TEXT, "rating": NUMBER, "open": TIME, "close": TIME,
    "closed": NUMBERS, "min_hours": NUMBER, "max_hours": NUMBER, "ticket": NUMBER,
}  # fmt: skip
RESTAURANT_FIELDS: Mapping[str, Kind] = {
    "id": TEXT, "name": TEXT, "price": NUMBER, "cuisine": TEXTS, "open": TIME, "close": TIME,
    "rating": NUMBER, "tags": TEXTS,
}  # fmt: skip
ROAD_FIELDS: Mapping[str, Kind] = {"metres": NUMBER, "minutes": NUMBER}
"""Fields of a restaurant that is looked for near a place."""


@dataclass(frozen=True)
class Choice(Generic[R]):
    """So many of these records are wanted, and nothing that was said prefers one of them to another."""

    count: int
    among: tuple[R, ...]


@dataclass(frozen=True)
class Fitting(Generic[R]):
    """What fits a wish.

    Args:
        records: all that fit, best first. Of visits only those that are wanted, and those tied with the last of them.
        choices: what a plan has to hold; none where nothing fits.
    """

    records: list[R]
    choices: tuple[Choice[R], ...]

    @property
    def tied(self) -> int:
        """How many are equally good for a place that only some of them can have. It is 1 where what was said singles
        out what is wanted, and 0 where nothing fits: all other numbers hint at a wish that was misread."""
        if not self.choices:
            return 0
        return max([len(choice.among) for choice in self.choices if choice.count < len(choice.among)], default=1)


def trip(
    atlas: Atlas,
    frame: Frame,
    way: Literal["out", "back", "both"],
    mode: Mode | None = None,
    where: Sequence[Condition] = (),
    best: Best | None = None,
) -> Fitting[WishedTrip]:
    """Direct trips with seats for all travellers; of both ways first those out, then those back.

    Raises:
        ValueError: the wish is malformed; the message names what there is to say.
    """
    if way not in ("out", "back", "both"):
        raise ValueError(f"way {way!r} is none of 'out', 'back', 'both'")
    if mode not in (None, "train", "flight"):
        raise ValueError(f"mode {mode!r} is neither 'train' nor 'flight'")
    given: dict[Way, list[Trip]] = {
        "out": atlas.trips(frame.origin, frame.destination, frame.depart.isoformat()),
        "back": atlas.trips(frame.destination, frame.origin, frame.return_.isoformat()),
    }
    known = [leg for trips in given.values() for trip in trips for leg in (trip, *trip.get("legs", ()))]
    vocabulary = Vocabulary("trip", TRIP_FIELDS, known)
    ways: tuple[Way, ...] = ("out", "back") if way == "both" else (way,)
    fittings = [
        _one(vocabulary, _seated(given[way], way, mode, frame.people), where, best, lambda trip: trip["price"])
        for way in ways
    ]
    trips = [trip for fitting in fittings for trip in fitting.records]
    choices = tuple(choice for fitting in fittings for choice in fitting.choices)
    return Fitting(trips, choices if len(choices) == len(ways) else ())


def _seated(trips: list[Trip], way: Way, mode: Mode | None, people: int) -> list[WishedTrip]:
    return [
        {**trip, "way": way}
        for trip in trips
        if trip["direct"] and mode in (None, trip["mode"]) and seats_for(trip, people)
    ]


def hotel(atlas: Atlas, where: Sequence[Condition] = (), best: Best | None = None) -> Fitting[Hotel]:
    """One hotel. Raises ValueError as `trip` does."""
    hotels = list(atlas.hotels.values())
    vocabulary = Vocabulary("hotel", HOTEL_FIELDS, hotels)
    return _one(vocabulary, hotels, where, best, lambda hotel: (hotel["price"], -(hotel["score"] or 0)))


def meal(
    atlas: Atlas, near: str | None = None, where: Sequence[Condition] = (), best: Best | None = None
) -> Fitting[Restaurant]:
    """One meal; near a place at a restaurant that the table lists under it, with the values that it has there.

    Raises:
        ValueError: as `trip` does.
        LookupError: there is no such place; the message names the nearest names.
    """
    everywhere = list(atlas.restaurants.values())
    listed = everywhere if near is None else atlas.restaurants_of(near)
    fields = RESTAURANT_FIELDS if near is None else {**RESTAURANT_FIELDS, **ROAD_FIELDS}
    vocabulary = Vocabulary("restaurant", fields, [*everywhere, *listed])
    return _one(vocabulary, listed, where, best, _rating)


def visit(
    atlas: Atlas, where: Sequence[Condition] = (), best: Best | None = None, top: int | None = None
) -> Fitting[Attraction]:
    """All attractions that fit; with `best` the best one or, with `top`, so many. Raises ValueError as `trip` does."""
    if top is not None and (type(top) is not int or top < 1 or best is None):
        raise ValueError(f"top {top!r} must be a whole number above 0, and needs best to say in which order")
    attractions = list(atlas.attractions.values())
    vocabulary = Vocabulary("attraction", ATTRACTION_FIELDS, attractions)
    order = _unordered if best is None else vocabulary.order(best)
    fit = sorted(sorted(vocabulary.matching(attractions, where), key=_rating), key=order)
    if not fit:
        return Fitting([], ())
    count = len(fit) if best is None else min(top or 1, len(fit))
    last = order(fit[count - 1])
    sure = tuple(attraction for attraction in fit if order(attraction) < last)
    level = tuple(attraction for attraction in fit if order(attraction) == last)
    return Fitting([*sure, *level], (Choice(len(sure), sure), Choice(count - len(sure), level)))


def excess(total: float, limit: float) -> float:
    """By how much a total is over a budget.

    Raises:
        ValueError: the budget is no number above 0.
    """
    if isinstance(limit, bool) or not isinstance(limit, (int, float)) or limit <= 0:
        raise ValueError(f"a budget must be a number above 0, not {limit!r}")
    return max(0, total - limit)


def missing(fitting: Fitting[R], held: Collection[str | tuple[str, str]]) -> list[R]:
    """What a plan lacks of a wish: the records of which it has too few.

    Args:
        held: names of the plan's hotel, of its meals or of its visits, whichever the wish is about; of trips the way
            and the number, such as ("out", "G1").
    """
    return [
        record
        for choice in fitting.choices
        if sum(_held_as(record) in held for record in choice.among) < choice.count
        for record in choice.among
        if _held_as(record) not in held
    ]


def satisfied(fitting: Fitting[R], held: Collection[str | tuple[str, str]]) -> bool:
    """Whether a plan holds what a wish asks for; never where nothing fits it. The arguments are those of `missing`."""
    return bool(fitting.choices) and not missing(fitting, held)


def _one(
    vocabulary: Vocabulary,
    records: Sequence[R],
    where: Sequence[Condition],
    best: Best | None,
    policy: Callable[[R], Any],
) -> Fitting[R]:
    """One of those that fit; among equally good ones the policy's choice comes first."""
    order = _unordered if best is None else vocabulary.order(best)
    fit = sorted(sorted(vocabulary.matching(records, where), key=policy), key=order)
    if not fit:
        return Fitting([], ())
    level: dict[Hashable, R] = {}
    for record in fit:
        if order(record) == order(fit[0]):
            level.setdefault(_held_as(record), record)  # a train has a row for each of its stops in a city
    return Fitting(fit, (Choice(1, tuple(level.values())),))


def _unordered(record: Record) -> float:
    return 0


def _rating(place: Attraction | Restaurant) -> float:
    return -(place["rating"] or 0)


def _held_as(record: Record) -> str | tuple[str, str]:
    """How a plan's content names a record."""
    return (record["way"], record["number"]) if "way" in record else record["name"]
