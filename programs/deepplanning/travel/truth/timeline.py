"""The activities of a plan on one line of time, over all its days."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from programs.deepplanning.travel.scoring.readings import DAY, Activity, Itinerary
from programs.deepplanning.travel.scoring.submission import Submission


@dataclass(frozen=True)
class Timed:
    """An activity with its start and end in minutes from the first midnight."""

    activity: Activity
    start: int
    end: int


def timeline(itinerary: Itinerary) -> Iterator[Timed]:
    """The activities whose time can be read, in the order of the plan; those that a day lists after it has reached
    midnight are of the next day."""
    reached = 0
    for day in itinerary.days:
        midnight = (day.number - 1) * DAY
        for activity in day.activities:
            slot = activity.slot
            if slot is None:
                continue
            start = midnight + slot.start
            if start < reached and reached >= midnight + DAY:
                start += DAY
            end = start + slot.minutes + _lost(activity)
            reached = max(reached, end)
            yield Timed(activity, start, end)


def _lost(activity: Activity) -> int:
    """The minute that the official reading, which takes 24:00 for 23:59, loses at the end of a slot."""
    return 1 if activity.slot_text.split("-")[1].strip().startswith("24:00") else 0


def one_timeline(submission: Submission) -> Iterator[str]:
    """Every activity has a time, and none starts before the one listed before it ends, past midnight neither."""
    for day in submission.itinerary.days:
        for activity in day.activities:
            if activity.slot is None:
                yield f"Day {day.number}: {activity.kind} at {activity.slot_text}: the time cannot be read"
    reached = 0
    for timed in timeline(submission.itinerary):
        if timed.start < reached:
            yield f"Day {timed.activity.day}: {timed.activity.kind} at {timed.activity.slot_text} starts too early"
        reached = max(reached, timed.end)
