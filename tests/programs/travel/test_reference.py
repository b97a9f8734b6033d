"""References of travel tasks in a Pivot run under the offline model: both forms, without slips and with repairs."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from functools import lru_cache
from typing import Any

import pytest

from pivot_dspy import Pivot, ReAct
from pivot_dspy.simulator import Reference, offline_lm
from programs.deepplanning.travel.builder_form import TripBuilder
from programs.deepplanning.travel.database import Language, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.environment import TravelEnvironment, World, standing_rules
from programs.deepplanning.travel.generate.city import City
from programs.deepplanning.travel.generate.tasks import MadeTask, make_task
from programs.deepplanning.travel.json_form import WrittenPlan
from programs.deepplanning.travel.loader import load_gold, load_tasks
from programs.deepplanning.travel.planner import PlanningError
from programs.deepplanning.travel.reading import ReadingError
from programs.deepplanning.travel.reference import reference
from programs.deepplanning.travel.strict import StrictScore, strict_score
from programs.deepplanning.travel.trip_plan import TripPlan
from tests.programs.travel.cities import NO_DATA, TRAVEL
from tests.programs.travel.made_worlds import BACK, DEPART, OPENINGS, WORLDS

FORMS: dict[str, type[TravelEnvironment]] = {"builder": TripBuilder, "json": WrittenPlan}
TASKS = range(6)


@lru_cache
def made(number: int) -> tuple[MadeTask, World]:
    language: Language = "zh" if number % 3 == 2 else "en"
    task = make_task(random.Random(f"reference/{number}"), language, with_budget=number % 2 == 0)
    return task, World(task.city.database)


def run(number: int, form: type[TravelEnvironment], **rates: float) -> tuple[Any, Any]:
    task, world = made(number)
    lm = offline_lm([reference(task.request, world, form)], cache=False, **rates)  # type: ignore[arg-type]
    pivot = Pivot(TripPlan, lambda: form(world, task.request), requirements=standing_rules())
    pivot.set_lm(lm)
    return pivot(request=task.request), lm.engine


def score(number: int, plan: Any) -> StrictScore:
    task, world = made(number)
    return strict_score(plan, task.gold, world.database)


def of(known: Reference) -> dict[str, dict[str, Any]]:
    return {step["id"]: step for step in known.steps}


@pytest.mark.parametrize("number", TASKS)
@pytest.mark.parametrize(("form", "calls"), [("builder", 1), ("json", 2)])
def test_without_slips_a_task_is_solved_as_soon_as_all_is_read(form: str, calls: int, number: int) -> None:
    result, engine = run(number, FORMS[form], slip=0)
    assert result.verdict.status == "checked", result.verdict.reasons
    assert engine.calls.lm_calls == calls and score(number, result.plan).passed


def test_with_slips_what_was_wrong_is_rewritten_and_the_trip_is_right_in_the_end() -> None:
    rewritten: Counter[str] = Counter()
    for number in TASKS:
        for seed in range(2):
            result, engine = run(number, TripBuilder, slip=0.2, seed=seed)
            assert result.verdict.status == "checked" and score(number, result.plan).passed
            assert engine.calls.lm_calls <= 20
            tried = [event.execution.trajectory for event in result.history if event.kind == "inspect"]
            for before, after in itertools.pairwise(tried):
                tools = {step.id: step.tool for step in after.steps if step not in before.steps}
                rewritten.update(tools.values())
    assert rewritten["day"] and rewritten["go"] + rewritten["stay"]


def test_a_plain_loop_of_calls_copies_what_it_has_read() -> None:
    for number in TASKS:
        task, world = made(number)
        react = ReAct(TripPlan, lambda world=world, task=task: TripBuilder(world, task.request),
                      requirements=standing_rules())  # fmt: skip
        react.set_lm(offline_lm([reference(task.request, world)], slip=0, cache=False))
        assert score(number, react(request=task.request).plan).passed


def test_steps_of_the_builder_are_bound_to_what_the_wishes_single_out() -> None:
    request = OPENINGS["en"] + (
        "The return train should be the latest one. For accommodation, the cheapest 'Hilton', please. "
        "We'd like to eat near 'Maple Arcade', somewhere with private rooms, and to see 'Quartz Tower'."
    )
    known = reference(request, WORLDS["en"])
    steps = of(known)
    assert steps["s"]["args"]["back"] == "2026-05-08"
    assert steps["b"]["args"]["number"] == "$R1[0].number" and steps["o"]["args"]["number"][0] in "GK"
    assert steps["h"]["args"] == {"hotel": "$R2[0].id"}
    stops = [stop for step in known.steps if step["tool"] == "day" for stop in step["args"]["stops"]]
    assert ["A6"] in stops and any(stop[0] == "$R3[0].id" for stop in stops)
    assert [known.steps[-2]["tool"], known.steps[-1]["args"]] == ["itinerary", {"plan": "$p"}]
    assert {"R3", "R4", "meals", "hours"} <= {name for day in ("d1", "d2", "d3") for name in known.requirements_of(day)}


def test_a_written_plan_binds_names_and_roads_and_works_out_the_rest() -> None:
    request = f"{OPENINGS['en']}For accommodation, the cheapest 'Hilton', please."
    known = reference(request, WORLDS["en"], WrittenPlan)
    days = of(known)["p"]["args"]["plan"]["daily_plans"]
    assert days[0]["accommodation"] == {"name": "$R1[0].name", "price_per_night": "$R1[0].price"}
    roads = [act["details"] for day in days for act in day["activities"] if act["type"] == "travel_city"]
    assert roads and all(of(known)[road[1:]]["tool"] == "road" for road in roads)
    slots = {act["time_slot"] for day in days for act in day["activities"]}
    assert slots <= set(known.worked_out)


def test_of_a_train_that_stops_twice_in_a_city_the_plan_has_the_stop_that_it_pays_for() -> None:
    city = City(random.Random(3), "en", DEPART, BACK)
    trains = city.tables["trains"]
    last = max((row for row in trains if row["origin_city"] == "Eastholm"), key=lambda row: row["arr_datetime"][11:])
    later = {"arr_station_name": "Brightwater East", "arr_datetime": f"{BACK} 23:45:00", "price": "900"}
    tables = {**city.tables, "trains": [*trains, {**last, **later, "seat_status": "Sufficient", "route_index": "9"}]}
    world = World(TravelDatabase.of("en", RoadMatrix(city.legs), **tables))
    request = f"{OPENINGS['en']}The return train should be the latest one."
    known = reference(request, world, WrittenPlan)
    days = of(known)["p"]["args"]["plan"]["daily_plans"]
    (trip,) = [act["details"] for act in days[-1]["activities"] if act["type"] == "travel_intercity_public"]
    assert (trip["number"], trip["to"]) == ("$R1[0].number", last["arr_station_name"])


def test_what_is_not_read_or_cannot_be_done_has_no_reference() -> None:
    with pytest.raises(ReadingError):
        reference(f"{OPENINGS['en']}The hotel should have a sea view.", WORLDS["en"])
    with pytest.raises(PlanningError):
        reference(f"{OPENINGS['en']}The total budget is 90 yuan.", WORLDS["en"])


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize(("form", "calls"), [("builder", 1), ("json", 3)])
def test_real_tasks_without_slips(form: str, calls: int) -> None:
    gold = load_gold(TRAVEL)
    for task in load_tasks(TRAVEL)[:5]:
        world = World(task.database)
        known = reference(task.request, world, FORMS[form])
        pivot = Pivot(TripPlan, lambda world=world, request=task.request: FORMS[form](world, request),
                      requirements=standing_rules())  # fmt: skip
        pivot.set_lm(lm := offline_lm([known], slip=0, cache=False))
        result = pivot(request=task.request)
        assert result.verified and lm.engine.calls.lm_calls <= calls
        assert strict_score(result.plan, gold[task.id], world.database).passed
