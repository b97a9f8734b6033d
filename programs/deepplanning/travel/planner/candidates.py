"""What a plan may choose from: trips and hotels, the likely ones first, and the places that the wishes name."""

from __future__ import annotations

from statistics import mean
from typing import Any

from programs.deepplanning.travel.atlas import Atlas, Hotel, Trip
from programs.deepplanning.travel.clock import DAY, read_clock
from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.reading import Reading, fits
from programs.deepplanning.travel.wishes import Fitting

_DECENT: dict[Way, tuple[int, int]] = {"out": (6 * 60, 17 * 60), "back": (11 * 60, DAY)}
"""Trips that leave and arrive between these minutes leave time for the city, and for sleep."""


def trips(reading: Reading, way: Way, atlas: Atlas) -> list[Trip]:
    """The trips of a way that fit all that is wished of it: decent ones first, of these the cheapest."""
    wished = [wish for wish in reading.wishes if wish["check"] == "trip" and wish["args"]["way"] in (way, "both")]
    fitting = [
        {trip["number"] for trip in _chosen(fits(wish, reading.frame, atlas)) if trip["way"] == way}
        for wish in wished or [{"check": "trip", "args": {"way": way}}]
    ]
    numbers = set.intersection(*fitting)
    cheapest: dict[str, Trip] = {}  # a train has a row for each of its stops in a city; the builder takes the cheapest
    for trip in fits({"check": "trip", "args": {"way": way}}, reading.frame, atlas).records:
        if trip["number"] in numbers:
            cheapest.setdefault(trip["number"], trip)
    return sorted(cheapest.values(), key=lambda trip: _effort(trip, way))


def _effort(trip: Trip, way: Way) -> tuple[int, float]:
    """Hours that a trip lies outside the decent time, and its fare."""
    leaves, arrives = read_clock(trip["dep"]) or 0, (read_clock(trip["arr"]) or 0) + DAY * trip["arr_day"]
    earliest, latest = _DECENT[way]
    outside = max(0, earliest - leaves) + max(0, arrives - latest)
    return -(-outside // 60), trip["price"]


def hotels(reading: Reading, atlas: Atlas) -> list[Hotel]:
    """The hotels that fit what is wished, as the policy prefers them; without a wish those from which the nights and
    the roads to the sights cost least."""
    frame = reading.frame

    def night(hotel: Hotel) -> float:
        roads = [atlas.road(hotel["id"], place) for place in atlas.attractions]
        return hotel["price"] * frame.rooms + 2 * frame.cars * mean([road.cost for road in roads if road] or [0])

    wished = [_chosen(fits(wish, frame, atlas)) for wish in reading.wishes if wish["check"] == "hotel"]
    return wished[0] if wished else sorted(atlas.hotels.values(), key=night)


def wished_places(reading: Reading, atlas: Atlas) -> list[tuple[str, ...]]:
    """For each stop that the wishes ask for, the ids of the places that will do, the best first."""
    single: dict[tuple[str, ...], None] = {}
    tied: list[tuple[str, ...]] = []
    for wish in reading.wishes:
        if wish["check"] in ("visit", "meal"):
            for choice in fits(wish, reading.frame, atlas).choices:
                ids = tuple(place["id"] for place in choice.among)
                if choice.count == len(ids):
                    single |= {(key,): None for key in ids}
                else:
                    tied += [ids] * choice.count
    return [*single, *tied]


def _chosen(fitting: Fitting[Any]) -> list[Any]:
    return [record for choice in fitting.choices for record in choice.among]
