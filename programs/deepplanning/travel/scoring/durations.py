"""Duration Rationality: visits and meals are neither too short nor too long."""

from __future__ import annotations

from collections.abc import Iterator

from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL, read_number
from programs.deepplanning.travel.scoring.submission import Submission

_MEAL_MINUTES = (30, 150)


def reasonable_duration_at_attractions(submission: Submission) -> Iterator[str]:
    """Visits last as long as the table recommends."""
    for visit in submission.itinerary.of(ATTRACTION):
        row = submission.tables.attractions.get(visit.name)
        if row is None:
            continue
        least, most = read_number(row["min_visit_hours"]), read_number(row["max_visit_hours"])
        if visit.slot is None or least is None or most is None:
            yield f"Day {visit.day}: {visit.name} at {visit.slot_text}: a duration cannot be read"
        elif not least <= (hours := visit.slot.minutes / 60) <= most:
            yield f"Day {visit.day}: {hours:.2f} hours at {visit.name}, between {least:g} and {most:g} expected"


def reasonable_meal_duration(submission: Submission) -> Iterator[str]:
    """Meals last 30 to 150 minutes."""
    least, most = _MEAL_MINUTES
    for meal in submission.itinerary.of(MEAL):
        if meal.name and meal.slot is None:
            yield f"Day {meal.day}: {meal.name} at {meal.slot_text}: the time cannot be read"
        elif meal.name and meal.slot and not least <= meal.slot.minutes <= most:
            yield f"Day {meal.day}: {meal.slot.minutes} minutes at {meal.name}, between {least} and {most} expected"
