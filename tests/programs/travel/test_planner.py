"""The planner: what it makes keeps all rules and wishes, on made cities and on the real ones."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

import pytest

from programs.deepplanning.travel import rules
from programs.deepplanning.travel.database import Language, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.generate.city import City
from programs.deepplanning.travel.generate.tasks import make_task
from programs.deepplanning.travel.loader import load_gold, load_tasks
from programs.deepplanning.travel.planner import Planned, PlanningError, plan
from programs.deepplanning.travel.planner.needs import Need, needs
from programs.deepplanning.travel.reading import Reading, ReadingError, read
from programs.deepplanning.travel.request import Journey
from programs.deepplanning.travel.slots import Visit
from programs.deepplanning.travel.strict import strict_score
from tests.programs.travel.cities import NO_DATA, TRAVEL

DEPART = date(2026, 5, 6)
NOTHING: Mapping[str, str] = {}


def city(
    days: int = 3, sights: int | None = None, every: Mapping[str, str] = NOTHING, first: Mapping[str, str] = NOTHING
) -> tuple[World, Journey]:
    """A made city, with fewer sights or with other values of every one or of the first, and a journey there."""
    made = City(random.Random(3), "en", DEPART, date(2026, 5, 5 + days))
    attractions = [{**row, **every} for row in made.tables["attractions"][:sights]]
    tables = {**made.tables, "attractions": [{**attractions[0], **first}, *attractions[1:]]}
    world = World(TravelDatabase.of("en", RoadMatrix(made.legs), **tables))
    return world, Journey(made.origin, made.destination, DEPART.isoformat(), f"2026-05-{5 + days:02}")


def wish(check: str, **args: Any) -> dict[str, Any]:
    return {"id": f"R-{check}", "check": check, "args": args}


FIRST_SIGHT = wish("visit", where=[["name", "==", "Lantern Citadel"]])


def planned(days: int = 3, *wishes: dict[str, Any], **made_city: Any) -> Planned:
    world, journey = city(days, **made_city)
    reading = Reading(journey, 2, 1, wishes)
    made = plan(reading, world)
    assert not list(broken(made, reading, world))
    return made


def broken(made: Planned, reading: Reading, world: World) -> Iterator[str]:
    held = rules.read_plan(made.itinerary.to_plan("en"), reading.frame, world.tables)
    for about in rules.ABOUT:
        yield from rules.broken(about, held)


def visits(made: Planned) -> list[Visit]:
    stops = [slot for day in made.itinerary.days for slot in day.slots if isinstance(slot, Visit)]
    return [slot for slot in stops if slot.stop.kind == "attraction"]


@pytest.mark.parametrize("number", range(12))
def test_made_tasks_are_solved_as_their_golds_have_it(number: int) -> None:
    language: Language = "zh" if number % 3 == 2 else "en"
    task = make_task(random.Random(number), language, with_budget=number % 2 == 0)
    world = World(task.city.database)
    made = plan(read(task.request, world), world)
    score = strict_score(made.itinerary.to_plan(language), task.gold, world.database)
    assert score.passed, score.reasons


@pytest.mark.parametrize("days", [2, 3, 5, 7])
def test_days_without_wishes_are_filled_as_the_policy_asks(days: int) -> None:
    made = planned(days)
    assert len(made.days) == days and made.itinerary.total > 0
    assert all(2 <= len(stops) <= 6 for stops in made.days[1:-1])


def test_where_there_are_too_few_sights_visits_are_long() -> None:
    made = planned(5, sights=5, every={"min_visit_hours": "1.0", "max_visit_hours": "4.5", "closing_dates": ""})
    assert len(visits(made)) <= 5 and max(slot.minutes for slot in visits(made)) >= 180


def test_a_sight_that_opens_for_a_quarter_of_an_hour_is_visited_for_that_long() -> None:
    short = {"opening_time": "19:30", "closing_time": "19:45", "min_visit_hours": "0", "closing_dates": ""}
    made = planned(3, FIRST_SIGHT, first=short)
    (slot,) = [slot for slot in visits(made) if slot.stop.name == "Lantern Citadel"]
    assert (slot.start, slot.minutes) == (19 * 60 + 30, 15)


def test_meals_lie_at_noon_and_in_the_evening_where_there_is_time() -> None:
    made = planned()
    meals = [slot for slot in made.itinerary.placed(2) if isinstance(slot, Visit) and slot.stop.kind == "meal"]
    assert [slot.start // 60 for slot in meals] == [11, 17]


def test_a_budget_makes_it_cheaper() -> None:
    free = planned(4)
    limit = free.itinerary.total - 50
    saving = planned(4, wish("budget", max=limit))
    assert saving.itinerary.total <= limit


@pytest.mark.parametrize(
    "wished",
    [FIRST_SIGHT, wish("budget", max=100), wish("trip", way="out", mode="train", where=[["dep", "<", "02:00"]])],
    ids=["a closed sight", "too little money", "no such trip"],
)
def test_what_cannot_be_done_is_said(wished: dict[str, Any]) -> None:
    world, journey = city(days=2, first={"closing_dates": "Wednesday,Thursday"})
    with pytest.raises(PlanningError, match="no plan keeps all rules and wishes"):
        plan(Reading(journey, 2, 1, (wished,)), world)


@pytest.mark.parametrize(
    ("arrives", "leaves", "first", "last"),
    [
        ("08:00", "08:30", Need(2, 2, 1), Need(0, 0, 0)),
        ("10:00", "09:00", Need(1, 2, 1), Need(0, 1, 0)),
        ("12:00", "15:00", Need(1, 2, 0), Need(1, 2, 0)),
        ("15:00", "16:01", Need(0, 1, 0), Need(1, 2, 1)),
    ],
)
def test_what_the_days_of_the_trips_need(arrives: str, leaves: str, first: Need, last: Need) -> None:
    world, journey = city(3)
    trip: Any = {"arr": arrives, "dep": leaves}
    assert needs(Reading(journey, 1, 1, ()).frame, trip, trip) == [first, Need(2, 2, 2), last]


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize(("language", "solved"), [("en", 39), ("zh", 45)])
def test_real_tasks(language: Language, solved: int) -> None:
    """Every request that is read is planned, and in full, but where the gold has what the request does not say (98) or
    what the tables do not have (10)."""
    gold = load_gold(TRAVEL, language=language)
    scores = {}
    for task in load_tasks(TRAVEL, language=language):
        world = World(task.database)
        try:
            reading = read(task.request, world)
        except ReadingError:
            continue
        made = plan(reading, world)
        assert not list(broken(made, reading, world))
        scores[task.number] = strict_score(made.itinerary.to_plan(language), gold[task.id], world.database)
    assert {number for number, score in scores.items() if not score.passed} <= {10, 98}
    assert sum(score.official.case_accuracy for score in scores.values()) == solved
