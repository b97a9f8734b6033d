"""Business Hours: attractions and restaurants are open when they are visited."""

from __future__ import annotations

from collections.abc import Iterator

from programs.deepplanning.travel.scoring.readings import ATTRACTION, DAY, MEAL, Slot, time_of_day
from programs.deepplanning.travel.scoring.submission import Submission

_ALWAYS = ("Open 24 Hours", "全天开放")
_WEEKDAYS = (
    ("monday", "周一"), ("tuesday", "周二"), ("wednesday", "周三"), ("thursday", "周四"), ("friday", "周五"),
    ("saturday", "周六"), ("sunday", "周日"),
)  # fmt: skip


def attraction_visit_within_opening_hours(submission: Submission) -> Iterator[str]:
    """Visits lie within the opening hours; what cannot be read fails."""
    for visit in submission.itinerary.of(ATTRACTION):
        row = submission.tables.attractions.get(visit.name)
        if row is None or all(row[column].strip() in _ALWAYS for column in ("opening_time", "closing_time")):
            continue
        opening, closing = time_of_day(row["opening_time"]), time_of_day(row["closing_time"])
        if visit.slot is None or opening is None or closing is None:
            yield f"Day {visit.day}: {visit.name} at {visit.slot_text}: a time cannot be read"
        elif not _within(visit.slot, opening, closing):
            yield (
                f"Day {visit.day}: {visit.name} at {visit.slot_text} is open {row['opening_time']} to "
                f"{row['closing_time']}"
            )


def dining_within_service_hours(submission: Submission) -> Iterator[str]:
    """Meals lie within the restaurant's hours where these can be read."""
    for meal in submission.itinerary.of(MEAL):
        row = submission.tables.restaurants.get(meal.name)
        if row is None:
            continue
        opening, closing = time_of_day(row["opening_time"]), time_of_day(row["closing_time"])
        if meal.slot is None:
            yield f"Day {meal.day}: {meal.name} at {meal.slot_text}: the time cannot be read"
        elif opening is not None and closing is not None and not _within(meal.slot, opening, closing):
            yield (
                f"Day {meal.day}: {meal.name} at {meal.slot_text} is open {row['opening_time']} to "
                f"{row['closing_time']}"
            )


def avoidance_of_closure_days(submission: Submission) -> Iterator[str]:
    """No attraction is visited on a weekday on which it is closed."""
    if not submission.task.weekday:
        return
    for visit in submission.itinerary.of(ATTRACTION):
        row = submission.tables.attractions.get(visit.name)
        weekday = _WEEKDAYS[(int(submission.task.weekday) + visit.day - 2) % 7]
        if row and any(word.strip().lower() in weekday for word in row["closing_dates"].split(",")):
            yield f"Day {visit.day}: {visit.name} is closed on {weekday[0].capitalize()}"


def _within(slot: Slot, opening: int, closing: int) -> bool:
    start, end = slot.start, slot.end % DAY
    if slot.past_midnight or opening <= closing:
        overnight = opening > closing
        return slot.past_midnight == overnight and start >= opening and end <= closing
    return min(start, end) >= opening or max(start, end) <= closing
