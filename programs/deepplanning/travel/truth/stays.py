"""Nights at the hotel that is paid for, and no place twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from programs.deepplanning.travel.scoring.readings import ATTRACTION, HOTEL, MEAL, Day, trimmed
from programs.deepplanning.travel.scoring.submission import Submission


def nights_at_the_hotel(submission: Submission) -> Iterator[str]:
    """Each night is paid for at a hotel, the last stay of the day is there, and no other hotel is used."""
    before = ""
    for day in submission.itinerary.days:
        hotel = _hotel(day)
        night = day in submission.itinerary.nights
        if night and not hotel:
            yield f"Day {day.number}: no hotel is paid for"
        stays = [stay.name for stay in day.of(HOTEL)]
        last = stays[-1] if stays else ""
        if night and last != hotel:
            yield f"Day {day.number} ends at {last or 'no hotel'}, and {hotel or 'none'} is paid for"
        yield from (f"Day {day.number}: a stay at {name}" for name in stays if name not in (before, hotel))
        before = hotel


def _hotel(day: Day) -> str:
    return trimmed(day.accommodation.get("name")) if isinstance(day.accommodation, Mapping) else ""


def no_place_twice(submission: Submission) -> Iterator[str]:
    """No restaurant and no attraction twice, outer spaces or not."""
    for kind in (MEAL, ATTRACTION):
        names = Counter(activity.name for activity in submission.itinerary.of(kind))
        yield from (f"{name} is visited {count} times" for name, count in names.items() if count > 1)
