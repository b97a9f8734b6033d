"""What holds of every itinerary, whatever days are asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from programs.deepplanning.travel.clock import DAY
from programs.deepplanning.travel.itinerary import Itinerary
from programs.deepplanning.travel.plan_form import plan_of
from programs.deepplanning.travel.slots import Move, Night, Ride, Slot, Visit
from programs.deepplanning.travel.strict import strict_score
from tests.programs.travel.made_trip import BACK, FRAME, GOLD, OUT, atlas, database

TIMES = st.builds("{:02}:{:02}".format, st.integers(0, 23), st.sampled_from([0, 1, 15, 30, 59]))
HOURS = st.none() | st.sampled_from([0.01, 0.3, 0.5, 1, 1.8, 2.5, 7, 24])
STOP = st.tuples(st.sampled_from([*atlas().attractions, *atlas().restaurants]), st.none() | TIMES, HOURS)
DAYS = st.lists(st.lists(STOP, max_size=5), min_size=FRAME.days, max_size=FRAME.days)

ANSWERED = (
    "valid_trip_duration", "closed_loop_route_structure", "validated_accommodation", "validated_attractions",
    "validated_meals", "validated_transportation", "traceable_accommodation", "ends_with_accommodation",
    "no_time_overlaps", "reasonable_transfer_time", "cost_calculation_correctness",
)  # fmt: skip
"""Official checks that the builder answers for, whatever the stops; the route only where a trip has no changes."""
STRICT = ("one_timeline", "out_and_back", "roads_between_places", "nights_at_the_hotel", "true_total")


@st.composite
def itineraries(draw: st.DrawFn) -> Itinerary:
    trip = Itinerary.start(atlas(), FRAME).with_trip("out", draw(st.sampled_from(OUT)))
    trip = trip.with_trip("back", draw(st.sampled_from(BACK))).with_hotel(draw(st.sampled_from(["H1", "H2"])))
    for day, stops in enumerate(draw(DAYS), start=1):
        trip = trip.with_day(day, stops)
    return trip


def asked(trip: Itinerary) -> list[list[str]]:
    return [[stop.id for stop in day] for day in trip.stops]


def missed(trip: Itinerary) -> bool:
    """Whether a trip is missed, or a day takes more than one."""
    texts = ("is missed", "the change from", "the hotel is reached")
    longest = max(day.slots[-1].end - day.slots[0].start for day in trip.days if day.slots)
    return longest > DAY or any(note.problem and any(text in note.text for text in texts) for note in trip.notes)


@given(itineraries())
def test_all_stops_are_placed_in_their_order_as_long_as_asked_and_not_before(trip: Itinerary) -> None:
    visits = [[slot for slot in day.slots if isinstance(slot, Visit)] for day in trip.days]
    assert [[slot.stop.id for slot in day] for day in visits] == asked(trip)
    for slot in (slot for day in visits for slot in day):
        assert slot.minutes == slot.stop.minutes
        assert slot.stop.start is None or slot.start >= slot.stop.start


@given(itineraries())
def test_each_slot_begins_where_and_when_the_one_before_it_ends(trip: Itinerary) -> None:
    for day in trip.days:
        for before, slot in zip(day.slots, day.slots[1:], strict=False):
            late = isinstance(slot, Ride) and before.end > slot.start
            assert before.end == slot.start or (late and missed(trip))
        here = None
        for slot in day.slots:
            begin, end = _ends(slot)
            assert None in (begin, here) or begin == here
            here = end or here


def _ends(slot: Slot) -> tuple[str | None, str | None]:
    match slot:
        case Move():
            return slot.origin.name, slot.destination.name
        case Ride():
            return slot.origin, slot.destination
        case Visit():
            return slot.stop.name, slot.stop.name
        case Night():
            return slot.hotel["name"], slot.hotel["name"]
        case _:
            return None, None


@given(itineraries())
def test_roads_are_those_of_the_matrix(trip: Itinerary) -> None:
    for slot in (slot for day in trip.days for slot in day.slots):
        if isinstance(slot, Move):
            known = atlas().road(slot.origin.name, slot.destination.name)
            assert slot.road == known and (known is None or slot.minutes == known.duration_in_minutes)


@given(itineraries())
def test_nights_trips_and_the_text_of_each_day(trip: Itinerary) -> None:
    for day, placed in enumerate(trip.days, start=1):
        nights = [slot for slot in placed.slots if isinstance(slot, Night)]
        assert nights == list(placed.slots[-1:]) if day < FRAME.days else not nights
        assert all(stop in trip.render_day(day) for stop in asked(trip)[day - 1])
    legs = [slot.number for day in trip.days for slot in day.slots if isinstance(slot, Ride)]
    assert trip.out and trip.back and "/".join(legs) == f"{trip.out['number']}/{trip.back['number']}"


@given(itineraries())
def test_the_total_is_the_sum_of_what_the_plan_lists(trip: Itinerary) -> None:
    plan = json.loads(json.dumps(trip.to_plan()))
    summary: Mapping[str, Any] = plan["budget_summary"]
    total = sum(FRAME.rooms * day["accommodation"]["price_per_night"] for day in plan["daily_plans"][:-1])
    for day in plan["daily_plans"]:
        fares = [act["details"]["cost"] for act in day["activities"] if act["type"] == "travel_intercity_public"]
        costs = dict.fromkeys(("meal", "attraction", "travel_city"), 0.0)
        for act in day["activities"]:
            if act["type"] in costs:
                costs[act["type"]] += act["details"].get("cost", 0)
        total += FRAME.people * (sum(fares[:1]) + costs["meal"] + costs["attraction"])
        total += FRAME.cars * costs["travel_city"]
    assert abs(summary["total_estimated_budget"] - total) < 0.01
    kinds = ("transportation", "accommodation", "meals", "attractions_and_tickets", "other")
    assert abs(summary["total_estimated_budget"] - sum(summary[kind] for kind in kinds)) < 0.01


@given(itineraries())
def test_the_official_and_the_strict_checks_hold_unless_a_trip_is_missed(trip: Itinerary) -> None:
    score = strict_score(trip.to_plan(), GOLD, database())
    checks = {**score.official.checks, **score.checks}
    if not missed(trip):
        assert not {name: score.reasons[name] for name in (*ANSWERED, *STRICT) if not checks[name]}
        trips = [way for way in (trip.out, trip.back) if way]
        if all(way["direct"] and way["arr_day"] < 2 for way in trips):  # a time slot has no form for more than a day
            assert checks["seamless_intercity_transfers"] and checks["trips_as_listed"]


@given(itineraries(), st.integers(1, FRAME.days), st.lists(STOP, max_size=3))
def test_a_day_is_all_that_a_new_day_changes(trip: Itinerary, day: int, stops: list[Any]) -> None:
    again = trip.with_day(day, stops).with_day(day, [])
    once = trip.with_day(day, [])
    assert [again.placed(n) for n in range(1, FRAME.days + 1)] == [once.placed(n) for n in range(1, FRAME.days + 1)]
    before = [trip.placed(n) for n in range(1, day)]
    assert [once.placed(n) for n in range(1, day)] == before


@given(itineraries(), st.sampled_from(["en", "zh"]))
def test_a_plan_has_every_day_and_slot_in_both_languages(trip: Itinerary, language: Any) -> None:
    plan = plan_of(FRAME, trip.hotel, [day.slots for day in trip.days], trip.costs, language)
    assert [len(day["activities"]) for day in plan["daily_plans"]] == [len(day.slots) for day in trip.days]
