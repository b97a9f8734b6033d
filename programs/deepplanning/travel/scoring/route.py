"""Route Consistency: as many days as asked, a closed loop, and no city reached without a trip."""

from __future__ import annotations

from collections.abc import Iterator

from programs.deepplanning.travel.scoring.readings import TRIP, Day, city
from programs.deepplanning.travel.scoring.submission import Submission


def valid_trip_duration(submission: Submission) -> Iterator[str]:
    """As many days as the task asks for."""
    planned, wanted = len(submission.itinerary.days), submission.task.days
    if planned != wanted:
        yield f"{planned} days, and {wanted} are asked for"


def closed_loop_route_structure(submission: Submission) -> Iterator[str]:
    """Where the first day is a route it starts at home, and where the last day is one it ends there."""
    days, home = submission.itinerary.days, submission.task.home
    if days[0].route and (start := city(days[0].route[0])) != home:
        yield f"Day 1 starts at {start}, not at {home}"
    if days[-1].route and (end := city(days[-1].route[1])) != home:
        yield f"Day {days[-1].number} ends at {end}, not at {home}"


def seamless_intercity_transfers(submission: Submission) -> Iterator[str]:
    """Each day begins where the one before it ended, and each route day has one trip between its two cities."""
    for day, current, route in submission.walk():
        if route is None:
            place = city(day.city_text)
            if place != current:
                yield f"Day {day.number} is at {place or 'no city'}, and no trip leads there from {current}"
            continue
        start, end = route
        if start != current:
            yield f"Day {day.number} leaves {start}, and the plan is at {current}"
        if not any(_leads(submission, trip_from, trip_to, start, end) for trip_from, trip_to in _stations(day)):
            trips = ", ".join(f"{trip_from} - {trip_to}" for trip_from, trip_to in _stations(day))
            yield f"Day {day.number} has no trip from {start} to {end} (trips: {trips or 'none'})"


def _stations(day: Day) -> list[tuple[str, str]]:
    return [(trip.text("from"), trip.text("to")) for trip in day.of(TRIP)]


def _leads(submission: Submission, trip_from: str, trip_to: str, start: str, end: str) -> bool:
    cities = submission.tables.city_of(trip_from), submission.tables.city_of(trip_to)
    return all(cities) and cities == (start, end)
