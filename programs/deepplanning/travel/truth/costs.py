"""The total against the database: all trips, nights, meals, tickets and cars at its prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL, ROAD, Activity, read_number, trimmed
from programs.deepplanning.travel.scoring.submission import Submission
from programs.deepplanning.travel.truth.trips import bookings

_TOLERANCE = 0.01
_ROUNDING = 1.0


def true_sum(submission: Submission) -> float:
    """What the plan costs at the prices of the database; what is not in it counts as the plan has it."""
    task, tables, itinerary = submission.task, submission.tables, submission.itinerary
    fares = sum(
        _amount(booking.journey.fare) if booking.journey else _amount(booking.trips[0].activity.cost)
        for booking in bookings(submission)
    )
    nights = 0.0
    for night in itinerary.nights:
        name = trimmed(night.accommodation.get("name")) if isinstance(night.accommodation, Mapping) else ""
        nights += _amount(tables.hotels[name]["price"]) if name in tables.hotels else 0.0
    meals = sum(_listed(meal, tables.restaurants, "price_per_person") for meal in itinerary.of(MEAL))
    tickets = sum(_listed(visit, tables.attractions, "ticket_price") for visit in itinerary.of(ATTRACTION))
    roads = 0.0
    for leg in itinerary.of(ROAD):
        road = tables.road(leg.origin, leg.place)
        roads += _amount(leg.cost if road is None else road.cost)
    return (fares + meals + tickets) * task.people + nights * task.rooms + roads * task.cars


def _listed(activity: Activity, table: Mapping[str, Mapping[str, str]], column: str) -> float:
    return _amount(table[activity.name][column] if activity.name in table else activity.cost)


def _amount(value: object) -> float:
    return read_number(value) or 0.0


def true_total(submission: Submission) -> Iterator[str]:
    """The total is the true sum, within 1% or what rounding may add."""
    total, expected = read_number(submission.itinerary.summary.get("total_estimated_budget")), true_sum(submission)
    if total is None or not abs(total - expected) <= max(_ROUNDING, _TOLERANCE * expected):
        yield f"The total is {total}, and the plan costs {expected:g}"


def true_budget(submission: Submission) -> Iterator[str]:
    """The true sum stays within the budget, where there is one."""
    for wish in submission.task.hard_constraints.values():
        limit = read_number(wish.get("max_budget"))
        if limit is not None and true_sum(submission) > limit:
            yield f"The plan costs {true_sum(submission):g}, and the budget is {limit:g}"
