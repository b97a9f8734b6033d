"""Plans a trip by rule, with no model: the offline model's stand-in for what a capable one would plan.

It uses what the environment's tools and checks give: places, trips, roads, what fits each wish, and the arithmetic of
the builder. Every plan that it gives keeps all rules and all wishes.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from programs.deepplanning.travel import rules, wishes
from programs.deepplanning.travel.atlas import Hotel, Trip
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.itinerary import Itinerary
from programs.deepplanning.travel.planner.candidates import hotels, trips, wished_places
from programs.deepplanning.travel.planner.days import DayStops, Search
from programs.deepplanning.travel.planner.needs import needs
from programs.deepplanning.travel.reading import Reading, fits

__all__ = ["PlanningError", "Planned", "plan"]

_SAVINGS = (0.0, 0.3, 1.0, 4.0)
"""How many minutes of road a yuan is worth: none, then more and more where a budget is not kept."""
_TRIPS, _HOTELS = 6, 2
"""Trips of a way, and hotels, that are tried."""
_PLANS = 40
"""Placings of the wished stops that are tried with the same trips and hotel."""


class PlanningError(ValueError):
    """No plan was found that keeps all rules and wishes."""


@dataclass(frozen=True)
class Planned:
    """A plan that keeps all rules and wishes.

    Args:
        days: the stops of each day, `[place, start?, hours?]`.
    """

    out: Trip
    back: Trip
    hotel: Hotel
    days: tuple[DayStops, ...]
    itinerary: Itinerary


def plan(reading: Reading, world: World) -> Planned:
    """A plan for what a request asks for.

    Raises:
        PlanningError: none was found.
    """
    limits = [wish["args"]["max"] for wish in reading.wishes if wish["check"] == "budget"]
    reasons: list[str] = []
    for saving in _SAVINGS if limits else _SAVINGS[:1]:
        for planned in _plans(reading, world, saving):
            if any(wishes.excess(planned.itinerary.total, limit) for limit in limits):
                reasons.append(f"the cheapest found costs {planned.itinerary.total:g}")
                break  # others will hardly be so much cheaper, and those that save more will
            broken = list(_broken(planned, reading, world))
            if not broken:
                return planned
            reasons += broken
    raise PlanningError(f"no plan keeps all rules and wishes: {', '.join(dict.fromkeys(reasons)) or 'no days do'}")


def _plans(reading: Reading, world: World, saving: float) -> Iterator[Planned]:
    atlas, frame = world.atlas, reading.frame
    outs, backs = (trips(reading, way, atlas) for way in ("out", "back"))
    if saving == _SAVINGS[-1]:  # at whatever hour
        outs, backs = (sorted(listed, key=lambda trip: trip["price"]) for listed in (outs, backs))
    wished = wished_places(reading, atlas)
    start = Itinerary.start(atlas, frame)
    for out, back, hotel in itertools.product(outs[:_TRIPS], backs[:_TRIPS], hotels(reading, atlas)[:_HOTELS]):
        empty = start.with_trip("out", out).with_trip("back", back).with_hotel(hotel["id"])
        search = Search(atlas, empty, needs(frame, out, back), saving)
        for days in itertools.islice(search.plans(wished), _PLANS):
            itinerary = empty
            for day, stops in enumerate(days, start=1):
                itinerary = itinerary.with_day(day, stops)
            yield Planned(out, back, hotel, days, itinerary)


def _broken(planned: Planned, reading: Reading, world: World) -> Iterator[str]:
    """Which rules and wishes a plan does not keep, but for a budget."""
    held = rules.read_plan(planned.itinerary.to_plan(world.database.language), reading.frame, world.tables)
    for about in rules.ABOUT:
        yield from rules.broken(about, held)
    of_check: dict[str, frozenset[Any]] = {
        "trip": held.trips, "hotel": held.hotels, "meal": held.meals, "visit": held.visits,
    }  # fmt: skip
    for wish in reading.wishes:
        held_of = of_check.get(wish["check"])
        if held_of is not None and not wishes.satisfied(fits(wish, reading.frame, world.atlas), held_of):
            yield f"wish {wish['id']} is not met"
