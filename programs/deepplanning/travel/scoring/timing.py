"""Time Feasibility: no overlaps, and between two places the time that the road takes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

from programs.deepplanning.travel.scoring.readings import (
    ATTRACTION,
    BUFFER,
    DAY,
    HOTEL,
    MEAL,
    TRIP,
    Activity,
    Day,
    Slot,
)
from programs.deepplanning.travel.scoring.submission import Submission

_MIDNIGHT_JUMP = 12 * 60
"""An anchor that starts so much before the end of the one before it is taken to be after midnight."""


def no_time_overlaps(submission: Submission) -> Iterator[str]:
    """No activity of a day starts before the one before it, by the clock, has ended."""
    for day in submission.itinerary.days:
        timed = sorted(_timed(day.activities), key=lambda pair: pair[0].start)
        for (slot, earlier), (later_slot, later) in pairwise(timed):
            if later_slot.start < slot.end:
                yield (
                    f"Day {day.number}: {earlier.kind} at {earlier.slot_text} and {later.kind} at {later.slot_text} "
                    "overlap"
                )


def reasonable_transfer_time(submission: Submission) -> Iterator[str]:
    """Between two anchors, buffers not counted, lies about the time of the road between their places."""
    for day in submission.itinerary.days:
        anchors = _timed(day.of(HOTEL, ATTRACTION, MEAL, TRIP))
        for (slot, earlier), (later_slot, later) in pairwise(anchors):
            gap = _gap(day, slot, later_slot)
            origin, destination = earlier.place, later.origin
            road = submission.tables.road(origin, destination)
            if gap is None or road is None or origin == destination:
                continue
            least, most = allowed_minutes(road.duration_in_minutes)
            if not least <= gap <= most:
                yield (
                    f"Day {day.number}: {gap} minutes without buffers from {origin} to {destination}, and the road "
                    f"takes {road.duration_in_minutes}: between {least} and {most} expected"
                )


def allowed_minutes(minutes: int) -> tuple[int, int]:
    """Five minutes less or more than the road takes, or as far as the nearest tens."""
    return min(max(0, minutes - 5), minutes // 10 * 10), max(minutes + 5, math.ceil(minutes / 10) * 10)


def _timed(activities: Iterable[Activity]) -> Iterator[tuple[Slot, Activity]]:
    return ((activity.slot, activity) for activity in activities if activity.slot)


def _gap(day: Day, earlier: Slot, later: Slot) -> int | None:
    """Minutes between two anchors without the buffers wholly in between; None where they overlap."""
    start = later.start
    if earlier.end - start > _MIDNIGHT_JUMP:
        start += DAY
    if start < earlier.end:
        return None
    gap = start - earlier.end
    for activity in day.activities:
        buffer = activity.slot if activity.kind.strip() == BUFFER else None
        if buffer is None:
            continue
        shift = DAY if buffer.start < earlier.end else 0
        if earlier.end <= buffer.start + shift and buffer.end + shift <= start:
            gap -= buffer.minutes
    return gap
