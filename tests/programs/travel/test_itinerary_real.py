"""Itineraries in the real cities: published plans laid anew, and random days, both before the benchmark's checks."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date
from functools import cache
from typing import Any

import pytest

from programs.deepplanning.travel.atlas import Atlas, Trip, seats_for
from programs.deepplanning.travel.clock import read_clock
from programs.deepplanning.travel.database import Language, TravelDatabase
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.itinerary import Itinerary
from programs.deepplanning.travel.loader import load_gold, read_lines
from programs.deepplanning.travel.strict import strict_score
from tests.programs.travel.cities import NO_DATA, TRAVEL
from tests.programs.travel.test_itinerary_properties import ANSWERED, STRICT, missed

pytestmark = pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)

TASKS: list[tuple[Language, int]] = [("en", 22), ("en", 50), ("en", 68), ("en", 84), ("zh", 24), ("zh", 46)]
"""Train and flight, stations without coordinates, a name of two places, a meal before the flight, two of Chinese."""


@cache
def gold(language: Language) -> dict[str, dict[str, Any]]:
    return load_gold(TRAVEL, language=language)


@cache
def city(language: Language, number: int) -> tuple[TravelDatabase, Atlas]:
    database = TravelDatabase.read(TRAVEL / f"database_{language}" / f"id_{number}", language)
    return database, Atlas(database)


def started(atlas: Atlas, meta: Mapping[str, Any]) -> Itinerary:
    dates = date.fromisoformat(meta["depart_date"]), date.fromisoformat(meta["return_date"])
    return Itinerary.start(
        atlas, Frame(meta["org"], meta["dest"][0], *dates, people=meta["people_number"], rooms=meta["room_number"])
    )


def trips(start: Itinerary) -> tuple[list[Trip], list[Trip]]:
    frame, atlas = start.frame, start.atlas
    return (
        atlas.trips(frame.origin, frame.destination, frame.depart.isoformat()),
        atlas.trips(frame.destination, frame.origin, frame.return_.isoformat()),
    )


def laid_anew(start: Itinerary, plan: Mapping[str, Any]) -> Itinerary:
    """The choices of a plan in the evaluator's form: what the builder does by itself is left out."""
    days, atlas = plan["daily_plans"], start.atlas
    trip = start.with_hotel(days[0]["accommodation"]["name"])
    for number, day in enumerate(days, start=1):
        stops = []
        for act in day["activities"]:
            name, kind = act["details"].get("name"), act["type"]
            if kind in ("attraction", "meal"):
                table: Mapping[str, Any] = atlas.attractions if kind == "attraction" else atlas.restaurants
                begin, end = (read_clock(time) or 0 for time in act["time_slot"].split("-"))
                key = next(key for key, record in table.items() if record["name"] == name)
                stops.append([key, act["time_slot"][:5], (end - begin) / 60])
            elif kind == "travel_intercity_public":
                fits = [ride for ride in trips(start)[number > 1] if ride["number"] == act["details"]["number"]]
                trip = trip.with_trip("out" if number == 1 else "back", fits[0])
        trip = trip.with_day(number, stops)
    return trip


@pytest.mark.parametrize(("language", "number"), TASKS)
def test_a_plan_that_passes_still_does_when_it_is_laid_anew(language: Language, number: int) -> None:
    database, atlas = city(language, number)
    meta = gold(language)[f"{language}-{number}"]
    judged = [record for _, record in read_lines(TRAVEL / "judged_plans.jsonl.gz")]
    (plan,) = (
        record["plan"] for record in judged
        if (record["language"], record["id"], record["source"]) == (language, number, "planner")
    )  # fmt: skip
    score = strict_score(laid_anew(started(atlas, meta), plan).to_plan(language), meta, database)
    assert score.passed, score.reasons


def random_itineraries(start: Itinerary, rng: random.Random, count: int) -> Iterator[Itinerary]:
    """Two places or none a day, each with a restaurant beside it, by trips that leave some time in the city."""
    atlas = start.atlas
    ways = [[ride for ride in way if ride["direct"] and seats_for(ride, start.frame.people)] for way in trips(start)]
    out = [ride for ride in ways[0] if ride["arr"] < "19:00"] or ways[0]
    back = [ride for ride in ways[1] if ride["dep"] > "13:00"] or ways[1]
    for _ in range(count):
        trip = start.with_trip("out", rng.choice(out)).with_trip("back", rng.choice(back))
        trip = trip.with_hotel(rng.choice(list(atlas.hotels)))
        sights = rng.sample(list(atlas.attractions), len(atlas.attractions))
        for day in range(1, start.frame.days + 1):
            stops: list[list[Any]] = []
            for _ in range(min(rng.randint(0, 2), len(sights))):
                stops.append([sights.pop()])
                beside = atlas.restaurants_near(stops[-1][0])
                if beside:
                    stops.append([rng.choice(beside)["id"], rng.choice([None, "11:30", "17:30"])])
            trip = trip.with_day(day, stops)
        yield trip


@pytest.mark.parametrize(("language", "number"), TASKS)
def test_random_days_pass_what_the_builder_answers_for(language: Language, number: int) -> None:
    database, atlas = city(language, number)
    meta = gold(language)[f"{language}-{number}"]
    untimed = set(ANSWERED) - {"no_time_overlaps", "reasonable_transfer_time"} | {"seamless_intercity_transfers"}
    names = {*ANSWERED, *STRICT, "seamless_intercity_transfers", "trips_as_listed", "roads_as_listed"}
    judged = 0
    for trip in random_itineraries(started(atlas, meta), random.Random(number), 20):
        score = strict_score(trip.to_plan(language), meta, database)
        checks = {**score.official.checks, **score.checks}
        wanted = untimed if missed(trip) else names
        assert not {name: score.reasons[name] for name in wanted if not checks[name]}
        judged += not missed(trip)
    assert judged >= 5
