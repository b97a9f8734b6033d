"""Sandbox Compliance: hotels, attractions, restaurants and trips are in the database, at its prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from programs.deepplanning.travel.database import Row
from programs.deepplanning.travel.scoring.readings import (
    ATTRACTION,
    HOTEL,
    MEAL,
    TRIP,
    Activity,
    first_price,
    read_number,
    trimmed,
)
from programs.deepplanning.travel.scoring.submission import Submission
from programs.deepplanning.travel.scoring.tables import rounded, same_price


def validated_accommodation(submission: Submission) -> Iterator[str]:
    """Hotels are known, and those of the accommodation have the table's price."""
    itinerary, hotels = submission.itinerary, submission.tables.hotels
    for day in itinerary.days:
        if not isinstance(day.accommodation, Mapping):
            continue
        name = trimmed(day.accommodation.get("name"))
        if not name or (name == "-" and day is itinerary.days[-1]):
            continue
        price = first_price(day.accommodation, "price", "cost", "price_per_night")
        if name not in hotels:
            yield f"Day {day.number}: no hotel {name}"
        elif not same_price(price, hotels[name]["price"]):
            yield f"Day {day.number}: {name} costs {hotels[name]['price']}, not {price}"
    for night in itinerary.nights:
        for stay in night.of(HOTEL):
            if stay.name and stay.name not in hotels:
                yield f"Day {night.number}: no hotel {stay.name}"


def validated_attractions(submission: Submission) -> Iterator[str]:
    """Attractions are known, and cost what the table says."""
    for visit in submission.itinerary.of(ATTRACTION):
        yield from _listed(visit, submission.tables.attractions, "ticket_price")


def validated_meals(submission: Submission) -> Iterator[str]:
    """Restaurants are known, and cost what the table says."""
    for meal in submission.itinerary.of(MEAL):
        yield from _listed(meal, submission.tables.restaurants, "price_per_person")


def _listed(activity: Activity, table: Mapping[str, Row], column: str) -> Iterator[str]:
    row = table.get(activity.name)
    if row is None:
        yield f"Day {activity.day}: no {activity.kind} place {activity.name or 'without a name'}"
    elif not same_price(activity.cost, row[column]):
        yield f"Day {activity.day}: {activity.name} costs {row[column]}, not {activity.cost}"


def validated_transportation(submission: Submission) -> Iterator[str]:
    """Each trip has a number of the table, and the fare of any of its rows."""
    for trip in submission.itinerary.of(TRIP):
        if missing := [key for key in ("number", "from", "to", "cost") if trip.details.get(key) in (None, "")]:
            yield f"Day {trip.day}: a trip without {', '.join(missing)}"
            continue
        number = str(trip.details["number"]).strip()
        rows = next((table[number] for table in submission.tables.trips.values() if number in table), None)
        if rows is None:
            yield f"Day {trip.day}: no flight or train {number}"
            continue
        fares = [fare for row in rows if (fare := read_number(row["price"])) is not None]
        given = read_number(trip.cost)
        if given is not None and fares and rounded(given) not in map(rounded, fares):
            listed = ", ".join(f"{fare:g}" for fare in sorted(set(fares)))
            yield f"Day {trip.day}: {number} costs {listed}, not {given:g}"
