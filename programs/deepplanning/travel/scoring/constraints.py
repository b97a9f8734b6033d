"""The hard constraints of a task: the trips, hotel, restaurant, attractions and budget that the gold names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from programs.deepplanning.travel.scoring.costs import own_sum
from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL, TRIP, Activity, read_number
from programs.deepplanning.travel.scoring.submission import Submission

Wish = Mapping[str, Any]

MODES = {
    "flight": ("flight", "airplane", "plane", "飞机"),
    "train": ("train", "railway", "gaotie", "火车", "高铁"),
}
"""The words for a trip's mode, lower-cased."""


def hard_constraints(submission: Submission) -> dict[str, tuple[str, ...]]:
    """Why each constraint of the task fails; nothing where it passes. One of an unknown kind is left out."""
    return {
        name: tuple(check(submission, wish))
        for name, wish in submission.task.hard_constraints.items()
        if (check := _CHECKS.get(name.split("_")[0]))
    }


def _trips(mode: str) -> Callable[[Submission, Wish], Iterator[str]]:
    def check(submission: Submission, wish: Wish) -> Iterator[str]:
        yield from _unsearchable(submission, TRIP)
        numbers = []
        for trip in submission.itinerary.of(TRIP):
            word = trip.details.get("mode", "")
            if not isinstance(word, str):
                yield f"Day {trip.day}: a trip's mode is no text"
            elif word.lower() in MODES[mode]:
                numbers.append(trip.details.get("number", ""))
        for direction in ("outbound", "inbound"):
            number = wish.get(f"{direction}_{mode}_no")
            if number is not None and number not in numbers:
                yield f"No {direction} {mode} {number}"

    return check


def _hotel(submission: Submission, wish: Wish) -> Iterator[str]:
    accommodations = [day.accommodation for day in submission.itinerary.days if day.accommodation]
    if not all(isinstance(accommodation, Mapping) for accommodation in accommodations):
        yield "An accommodation is no object"
    elif wish["hotel_name"] not in [accommodation.get("name", "") for accommodation in accommodations]:
        yield f"No night at {wish['hotel_name']}"


def _restaurant(submission: Submission, wish: Wish) -> Iterator[str]:
    yield from _named(submission, MEAL, [wish["restaurant_name"]])


def _attractions(submission: Submission, wish: Wish) -> Iterator[str]:
    yield from _named(submission, ATTRACTION, wish["attraction_names"])


def _named(submission: Submission, kind: str, names: list[str]) -> Iterator[str]:
    yield from _unsearchable(submission, kind)
    planned = [activity.details.get("name", "") for activity in submission.itinerary.of(kind)]
    yield from (f"No {kind} at {name}" for name in names if name not in planned)


def _budget(submission: Submission, wish: Wish) -> Iterator[str]:
    limit = read_number(wish["max_budget"])
    if not submission.itinerary.days:
        yield "There are no days"
    elif limit is None or not own_sum(submission) <= limit:
        yield f"The plan's prices come to {own_sum(submission):g}, and the budget is {wish['max_budget']}"


def _unsearchable(submission: Submission, kind: str) -> Iterator[str]:
    """What stops the official search of the activities of one kind."""
    itinerary = submission.itinerary
    if not itinerary.searchable:
        yield "daily_plans is no list"
    yield from (f"Day {day.number}: activities is no list" for day in itinerary.days if not day.searchable)
    broken: Iterator[Activity] = (activity for activity in itinerary.of(kind) if not activity.searchable)
    yield from (f"Day {activity.day}: the details of a {kind} are no object" for activity in broken)


_CHECKS: dict[str, Callable[[Submission, Wish], Iterator[str]]] = {
    "flight": _trips("flight"),
    "train": _trips("train"),
    "hotel": _hotel,
    "restaurant": _restaurant,
    "attraction": _attractions,
    "budget": _budget,
}
