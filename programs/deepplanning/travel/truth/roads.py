"""Roads against the matrix: between any two places that follow each other, with their minutes, metres and cost."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from programs.deepplanning.travel.database import Road
from programs.deepplanning.travel.scoring.readings import ATTRACTION, HOTEL, MEAL, ROAD, TRIP, Activity, read_number
from programs.deepplanning.travel.scoring.submission import Submission
from programs.deepplanning.travel.scoring.tables import same_price

_MINUTES_OFF = 5
_DURATION = re.compile(r"\s*(?:(\d+)\s*(?:h|hours?|小时)\s*)?(?:(\d+(?:\.\d+)?)\s*(?:min|minutes?|分钟)?)?\s*")
_DISTANCE = re.compile(r"\s*(\d+(?:\.(\d+))?)\s*(km|m|公里|千米|米)?\s*")


def roads_between_places(submission: Submission) -> Iterator[str]:
    """Whoever follows the plan is always where the next activity begins; nights do not move anyone."""
    current = ""
    for activity in submission.itinerary.of(ROAD, TRIP, HOTEL, ATTRACTION, MEAL):
        if current and activity.origin != current:
            yield f"Day {activity.day}: {activity.kind} at {activity.origin or 'no place'}, and no road from {current}"
        current = activity.place


def roads_as_listed(submission: Submission) -> Iterator[str]:
    """Each road is one of the matrix and takes its minutes, within 5, its distance and its cost.

    Of a place of the database that is not in its table of coordinates, nothing can be compared."""
    tables = submission.tables
    for leg in submission.itinerary.of(ROAD):
        where = f"Day {leg.day}: {leg.origin} - {leg.place}"
        unknown = [place for place in (leg.origin, leg.place) if tables.coordinates(place) is None]
        strange = [place for place in unknown if not tables.is_place(place)]
        road = tables.road(leg.origin, leg.place)
        if strange:
            yield f"{where}: no place {' or '.join(strange)}"
        elif road is not None:
            yield from (f"{where}: {fault}" for fault in _faults(leg, road))
        elif not unknown:
            yield f"{where}: no such road"


def _faults(leg: Activity, road: Road) -> Iterator[str]:
    minutes, stated = road.duration_in_minutes, leg.details.get("duration")
    if leg.slot is None or abs(leg.slot.minutes - minutes) > _MINUTES_OFF:
        yield f"{minutes} minutes do not go into {leg.slot_text}"
    if abs((_stated_minutes(stated) or math.inf) - minutes) > _MINUTES_OFF:
        yield f"{minutes} minutes, not {stated}"
    if not _same_distance(leg.details.get("distance"), road.distance_in_meters):
        yield f"{road.distance_in_meters} metres, not {leg.details.get('distance')}"
    if not same_price(read_number(leg.cost), str(road.cost)):
        yield f"the cost is {road.cost}, not {leg.cost}"


def _stated_minutes(value: object) -> float | None:
    """
    >>> _stated_minutes("12min"), _stated_minutes("1h 5min"), _stated_minutes(7), _stated_minutes("soon")
    (12.0, 65.0, 7.0, None)
    """
    parts = _DURATION.fullmatch(str(value))
    if parts is None or not any(parts.groups()):
        return None
    return int(parts[1] or 0) * 60 + float(parts[2] or 0)


def _same_distance(value: object, metres: int) -> bool:
    """Whether a stated distance is that of the road, rounded to the digits that are stated.

    >>> _same_distance("8.3km", 8278), _same_distance("28km", 28260), _same_distance("8.2km", 8278)
    (True, True, False)
    >>> _same_distance("450 m", 450), _same_distance(0.45, 450), _same_distance(None, 450)
    (True, True, False)
    """
    parts = _DISTANCE.fullmatch(str(value))
    if parts is None:
        return False
    unit = 1 if parts[3] in ("m", "米") else 1000
    half_of_last_digit = unit * 0.5 * 0.1 ** len(parts[2] or "")
    return abs(float(parts[1]) * unit - metres) <= half_of_last_digit + 1e-6
