"""The rules that any plan must keep, by what they are about, tested on a plan as it stands."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args

from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.scoring.costs import cost_calculation_correctness
from programs.deepplanning.travel.scoring.diversity import diverse_attraction_options, diverse_meal_options
from programs.deepplanning.travel.scoring.durations import reasonable_duration_at_attractions, reasonable_meal_duration
from programs.deepplanning.travel.scoring.opening import (
    attraction_visit_within_opening_hours,
    avoidance_of_closure_days,
    dining_within_service_hours,
)
from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL, PlanShapeError, city, read_itinerary
from programs.deepplanning.travel.scoring.route import (
    closed_loop_route_structure,
    seamless_intercity_transfers,
    valid_trip_duration,
)
from programs.deepplanning.travel.scoring.sandbox import (
    validated_accommodation,
    validated_attractions,
    validated_meals,
    validated_transportation,
)
from programs.deepplanning.travel.scoring.structure import (
    ends_with_accommodation,
    essential_attraction_coverage,
    essential_meal_coverage,
    traceable_accommodation,
)
from programs.deepplanning.travel.scoring.submission import Check, Submission, TaskMeta
from programs.deepplanning.travel.scoring.tables import Tables
from programs.deepplanning.travel.scoring.timing import no_time_overlaps, reasonable_transfer_time
from programs.deepplanning.travel.truth.costs import true_total
from programs.deepplanning.travel.truth.roads import roads_as_listed, roads_between_places
from programs.deepplanning.travel.truth.stays import nights_at_the_hotel, no_place_twice
from programs.deepplanning.travel.truth.timeline import one_timeline
from programs.deepplanning.travel.truth.trips import out_and_back, trips_as_listed

About = Literal["trips", "nights", "meals", "visits", "times", "hours", "lengths", "repeats", "costs"]

RULES: dict[About, tuple[Check, ...]] = {
    "trips": (
        valid_trip_duration, closed_loop_route_structure, seamless_intercity_transfers, validated_transportation,
        trips_as_listed, out_and_back,
    ),
    "nights": (validated_accommodation, traceable_accommodation, ends_with_accommodation, nights_at_the_hotel),
    "meals": (essential_meal_coverage, validated_meals),
    "visits": (essential_attraction_coverage, validated_attractions),
    "times": (no_time_overlaps, one_timeline, reasonable_transfer_time, roads_between_places, roads_as_listed),
    "hours": (attraction_visit_within_opening_hours, dining_within_service_hours, avoidance_of_closure_days),
    "lengths": (reasonable_duration_at_attractions, reasonable_meal_duration),
    "repeats": (diverse_meal_options, diverse_attraction_options, no_place_twice),
    "costs": (cost_calculation_correctness, true_total),
}  # fmt: skip
"""All 21 checks of the benchmark, and beside each what holds of an honest plan that the benchmark does not look at."""
_DAY = re.compile(r"\bDay (\d+)\b")


class Held(NamedTuple):
    """What a plan holds, in the words in which wishes name it."""

    trips: frozenset[tuple[str, str]]
    """Way and number."""
    hotels: frozenset[str]
    meals: frozenset[str]
    visits: frozenset[str]
    plan: Submission | None
    """As the rules see it; None where its shape cannot be read, for the reason in `problem`."""
    problem: str = ""


def read_plan(plan: Any, frame: Frame, tables: Tables) -> Held:
    """What a plan of any shape holds."""
    meta = TaskMeta(
        home=city(frame.origin),
        destination=city(frame.destination),
        departs=frame.depart.isoformat(),
        days=frame.days,
        weekday=frame.weekday(1),
        people=frame.people,
        rooms=frame.rooms,
        hard_constraints={},
    )
    try:
        itinerary = read_itinerary(plan)
    except PlanShapeError as error:
        return Held(frozenset(), frozenset(), frozenset(), frozenset(), None, str(error))
    days = itinerary.days
    ends = [("out", days[0]), ("back", days[-1])] if days else []
    return Held(
        trips=frozenset((way, trip.text("number")) for way, day in ends for trip in day.of("travel_intercity_public")),
        hotels=frozenset(_hotels(days)),
        meals=frozenset(meal.name for meal in itinerary.of(MEAL)),
        visits=frozenset(visit.name for visit in itinerary.of(ATTRACTION)),
        plan=Submission(itinerary, meta, tables),
    )


def broken(about: About, held: Held) -> list[str]:
    """Why a plan breaks the rules about something, one sentence each; empty where it keeps them."""
    if held.plan is None:
        return [held.problem]
    if not held.plan.itinerary.days:
        return ["the plan has no days"]
    return list(dict.fromkeys(reason for check in RULES[about] for reason in check(held.plan)))


def days_of(reason: str, held: Held) -> Iterator[int]:
    """The days that a reason speaks of, by their number or by what stands on them."""
    named = [int(day) for day in _DAY.findall(reason)]
    yield from dict.fromkeys(named)
    if named or held.plan is None:
        return
    for day in held.plan.itinerary.days:
        if any(each.name and each.name in reason for kind in (MEAL, ATTRACTION) for each in day.of(kind)):
            yield day.number


def _hotels(days: Any) -> Iterator[str]:
    for day in days:
        stay = day.accommodation
        if isinstance(stay, dict) and isinstance(stay.get("name"), str):
            yield stay["name"]


ABOUT: tuple[About, ...] = get_args(About)
