"""Itinerary Structure: nights at hotels, and enough meals and attractions for the time there is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from programs.deepplanning.travel.scoring.readings import (
    ATTRACTION,
    DAY,
    HOTEL,
    MEAL,
    ROAD,
    TRIP,
    Day,
    clock_hours,
    clock_parts,
    trimmed,
)
from programs.deepplanning.travel.scoring.submission import Submission

_BETWEEN_MEALS = 120


def traceable_accommodation(submission: Submission) -> Iterator[str]:
    """Each night has a hotel activity and an accommodation, and the last day has no accommodation."""
    for night in submission.itinerary.nights:
        if not any(night.of(HOTEL)):
            yield f"Day {night.number} has no hotel activity"
        if not night.accommodation:
            yield f"Day {night.number} has no accommodation"
    last = submission.itinerary.days[-1]
    if not last.accommodation:
        return
    name = trimmed(last.accommodation.get("name")) if isinstance(last.accommodation, Mapping) else last.accommodation
    if not isinstance(last.accommodation, Mapping) or name not in ("", "-"):
        yield f"Day {last.number} is the last, and has the accommodation {name}"


def ends_with_accommodation(submission: Submission) -> Iterator[str]:
    """Each day but the last ends with a hotel activity."""
    for night in submission.itinerary.nights:
        if not night.activities or night.activities[-1].kind != HOTEL:
            yield f"Day {night.number} does not end at a hotel"


def essential_meal_coverage(submission: Submission) -> Iterator[str]:
    """Two meals on a full day, and on a route day as the hours of departure and arrival allow."""
    for day, current, route in submission.walk():
        meals = _meals(day)
        if route is None:
            yield from _meals_between(day, meals, least=2)
            continue
        departure, arrival = _first_hours(day)
        if route[0] == current != submission.task.home and departure is not None:
            if departure < 9:
                yield from _meals_between(day, meals, most=0)
            elif departure < 15:
                yield from _meals_between(day, meals, most=1)
            else:
                yield from _meals_between(day, meals, least=1)
        if route[1] != submission.task.home and arrival is not None:
            if arrival < 10:
                yield from _meals_between(day, meals, least=2)
            elif arrival < 15:
                yield from _meals_between(day, meals, least=1)
            else:
                yield from _meals_between(day, meals, most=1)


def _meals(day: Day) -> list[tuple[int, int]]:
    """Start and end in minutes of the meals whose times can be read, by start."""
    clocks = [(clock_parts(meal.start_text), clock_parts(meal.end_text)) for meal in day.of(MEAL)]
    return sorted(
        ((start[0] * 60 + start[1], end[0] * 60 + end[1]) for start, end in clocks if start and end),
        key=lambda times: times[0],
    )


def _meals_between(
    day: Day, meals: list[tuple[int, int]], least: int = 0, most: int | None = None
) -> Iterator[str]:
    if len(meals) < least:
        yield f"Day {day.number}: {len(meals)} meals, at least {least} expected"
    if most is not None and len(meals) > most:
        yield f"Day {day.number}: {len(meals)} meals, at most {most} expected"
    # The time between is asked for only where two meals may be.
    if most is None and len(meals) > 1 and (gap := meals[1][0] - meals[0][1]) < _BETWEEN_MEALS:
        yield f"Day {day.number}: {gap} minutes between two meals, at least {_BETWEEN_MEALS} expected"


def _first_hours(day: Day) -> tuple[float | None, float | None]:
    """When the first trip whose start can be read departs, and when the first whose end can be read arrives."""
    departures = (clock_hours(trip.start_text) for trip in day.of(TRIP))
    arrivals = (clock_hours(trip.end_text) for trip in day.of(TRIP))
    return (
        next((hours for hours in departures if hours is not None), None),
        next((hours for hours in arrivals if hours is not None), None),
    )


def essential_attraction_coverage(submission: Submission) -> Iterator[str]:
    """On a full day two attractions or four hours; one on a day that arrives before 12 or leaves after 16."""
    for day, current, route in submission.walk():
        count = sum(1 for _ in day.of(ATTRACTION))
        if route is None:
            hours = _sightseeing_minutes(day) / 60
            if count < 2 and hours < 4:
                yield f"Day {day.number}: {count} attractions in {hours:.1f} hours, 2 or 4 hours expected"
            continue
        departure, arrival = _first_hours(day)
        leaves_late = route[0] == current != submission.task.home and departure is not None and departure > 16
        arrives_early = route[1] != submission.task.home and arrival is not None and arrival < 12
        if count < 1 and (leaves_late or arrives_early):
            yield f"Day {day.number}: no attraction, though there is time for one"


def _sightseeing_minutes(day: Day) -> int:
    """Minutes of visits and of the roads to and from the attractions visited."""
    names = {visit.name for visit in day.of(ATTRACTION)} - {""}
    total = 0
    for activity in day.of(ATTRACTION, ROAD):
        start, end = (clock_hours(text) for text in activity.times)
        counts = activity.kind == ATTRACTION or {activity.text("from"), activity.text("to")} & names
        if start is not None and end is not None and counts:
            hours = end - start if end >= start else end - start + DAY / 60
            # In floating hours and cut, as the official check does: 10:20 to 11:00 gives 39 minutes.
            total += int(min(hours, DAY) * 60)
    return total
