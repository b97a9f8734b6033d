"""The strict score: what the official evaluator lets pass and the database does not bear out."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings

from programs.deepplanning.travel.scoring.readings import read_itinerary
from programs.deepplanning.travel.strict import TRUTHS, WISHES, StrictScore, strict_score
from programs.deepplanning.travel.truth.timeline import timeline
from tests.programs.travel.broken_plans import SHAPES, plans
from tests.programs.travel.town import (
    GOLD,
    Edit,
    activity,
    day,
    detailed,
    edited,
    rest,
    stay,
    timed,
    total,
    town,
    train,
    visit,
    without,
)

TOWN = town()
STRICT = {check.__name__ for check in (*TRUTHS, *WISHES)}


def scored(*edits: Edit, **gold: Any) -> StrictScore:
    return strict_score(edited(*edits), {**GOLD, **gold}, TOWN)


def failing(*edits: Edit, **gold: Any) -> set[str]:
    """The strict checks that fail after the edits; only these and official ones have reasons."""
    score = scored(*edits, **gold)
    failed = {name for name, passed in score.checks.items() if not passed}
    assert failed | set(score.official.reasons) == set(score.reasons)
    return failed


def test_the_good_plan_passes() -> None:
    score = scored()
    assert score.passed and score.true_to_database and set(score.checks) == STRICT and not score.reasons


def test_an_official_failure_is_one() -> None:
    score = scored(detailed(1, "Museum", cost=None))
    assert not score.passed and score.true_to_database and "validated_attractions" in score.reasons


def connection(plan: Any) -> None:
    """Out by two trains; each shows the whole fare."""
    activities = day(plan, 1)["activities"]
    legs = [
        train("07:00-08:00", "K1", "Aville", "Midway", 60), rest("08:00-08:30"),
        train("08:30-09:00", "K2", "Midway", "Bton", 60),
    ]  # fmt: skip
    activities[:1] = legs
    plan["budget_summary"]["total_estimated_budget"] -= 80


def moved_to_the_first_day(plan: Any) -> None:
    """A way back on the first day, which the evaluator takes for a free second trip."""
    day(plan, 1)["activities"].append(train("18:00-20:00", "G2", "Bton", "Aville"))


OUT, BACK = (1, "travel_intercity_public"), (3, "travel_intercity_public")
TRIPS: list[tuple[Edit, set[str]]] = [
    (timed(*OUT, "07:01-09:00"), {"trips_as_listed"}),
    (timed(*BACK, "18:00-20:01"), {"trips_as_listed"}),
    (timed(*BACK, "18:00-20:00 (exactly)"), set()),
    (detailed(*OUT, to="Midway Station"), {"trips_as_listed", "roads_between_places"}),
    (detailed(*OUT, mode="bus"), {"trips_as_listed"}),
    (detailed(*OUT, mode="高铁", number=" G1 "), set()),
    (detailed(*OUT, cost=None), {"trips_as_listed"}),
    (detailed(*OUT, cost="100"), set()),
    (detailed(*BACK, cost=120), {"trips_as_listed"}),  # the fare of the next day
    (detailed(*BACK, number="G3"), {"trips_as_listed", "wished_directions"}),  # one seat for two
    (detailed(*OUT, number="G4"), {"wished_directions"}),
    (detailed(*OUT, number="K1", cost=60), {
        "trips_as_listed", "out_and_back", "wished_directions", "true_total",
    }),
    (without(*OUT), {"out_and_back", "wished_directions", "true_total"}),
    (moved_to_the_first_day, {
        "one_timeline", "trips_as_listed", "roads_between_places", "out_and_back", "true_total", "true_budget",
    }),
]  # fmt: skip
ROADS: list[tuple[Edit, set[str]]] = [
    (without(1, "travel_city"), {"roads_between_places"}),  # the sum is still within 1%
    (without(1, "Museum"), {"true_total"}),
    (detailed(1, "travel_city", from_="Airport"), {"roads_between_places", "roads_as_listed"}),
    (detailed(1, "travel_city", to="Garden"), {"roads_between_places"}),
    (timed(1, "travel_city", "09:00-09:05"), set()),
    (timed(1, "travel_city", "09:00-09:04"), {"roads_as_listed"}),
    (timed(1, "travel_city", None), {"one_timeline", "roads_as_listed"}),
    (detailed(1, "travel_city", duration="15 minutes", distance="3km"), set()),
    (detailed(1, "travel_city", duration="16min"), {"roads_as_listed"}),
    (detailed(1, "travel_city", duration=None), {"roads_as_listed"}),
    (detailed(1, "travel_city", distance="3.3km"), {"roads_as_listed"}),
    (detailed(1, "travel_city", distance="3210 m"), set()),
    (detailed(1, "travel_city", distance=3.21), set()),
    (detailed(1, "travel_city", cost=14), {"roads_as_listed"}),
    (detailed(1, "travel_city", to="Bton Station"), {"roads_as_listed", "roads_between_places"}),
]
STAYS: list[tuple[Edit, set[str]]] = [
    (detailed(1, "hotel", name=""), {"roads_between_places", "nights_at_the_hotel"}),
    (detailed(1, "hotel", name="Hostel"), {"roads_between_places", "nights_at_the_hotel"}),
    (lambda plan: day(plan, 1)["accommodation"].update(name="Hostel"), {"nights_at_the_hotel", "true_total"}),
    (lambda plan: day(plan, 1).pop("accommodation"), {"nights_at_the_hotel", "true_total"}),
    (lambda plan: day(plan, 3)["activities"].insert(0, stay("09:00-10:00")), set()),  # to check out
    (detailed(2, "Buns", name="Noodles ", cost=53), {"no_place_twice", "roads_between_places", "true_total"}),
]
SUMS: list[tuple[Edit, set[str]]] = [
    (total(1611 * 1.0099), set()),
    (total(1611 * 1.0112), {"true_total"}),
    (total(-1611), {"true_total"}),
    (total(None), {"true_total"}),
]
TIMES: list[tuple[Edit, set[str]]] = [
    (timed(2, "Grill", "17:29-18:30"), {"one_timeline"}),
    (timed(1, "hotel", "18:10-09:00"), set()),
    (timed(1, "hotel", "18:10-09:01"), {"one_timeline"}),  # past midnight, into the next morning
    (lambda plan: day(plan, 1)["activities"].append(stay("00:00-08:00")), set()),  # after the hotel until 24:00
    (lambda plan: day(plan, 2)["activities"].append(stay("00:00-08:00")), {"one_timeline"}),  # before midnight
    (lambda plan: activity(plan, 1, "buffer").update(time_slot="soon"), {"one_timeline"}),
]


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(edit, expected, id=f"{name} {number}")
        for name, cases in {"trips": TRIPS, "roads": ROADS, "stays": STAYS, "sums": SUMS, "times": TIMES}.items()
        for number, (edit, expected) in enumerate(cases)
    ],
)
def test_what_one_edit_breaks(edit: Edit, expected: set[str]) -> None:
    assert failing(edit) == expected


def test_a_connection_is_taken_whole_at_one_fare() -> None:
    assert failing(connection, hard_constraints={}) == set()
    half = failing(connection, without(1, "buffer"), detailed(1, "travel_intercity_public", number="K3"))
    assert half >= {"trips_as_listed", "out_and_back", "true_total"}


def test_a_wished_trip_leads_where_it_is_wished_to() -> None:
    swapped = {"train_x": {"outbound_train_no": "G2"}}
    score = scored(hard_constraints=swapped)
    assert score.official.case_accuracy == 1.0 and not score.passed and score.true_to_database
    assert failing(hard_constraints={"train_x": {"outbound_train_no": "G1", "seat_class": "First Class"}})
    assert not failing(hard_constraints={"train_x": {"outbound_train_no": "G1", "seat_class": "Second Class Seat"}})


def test_the_budget_holds_at_true_prices() -> None:
    budget = {"budget_constraint": {"max_budget": 1600}}
    hidden = detailed(1, "travel_city", cost=0)
    assert scored(hidden, hard_constraints=budget).official.case_accuracy == 1.0
    assert failing(hidden, hard_constraints=budget) == {"roads_as_listed", "true_budget"}


def test_other_prices_of_the_plan_do_not_count() -> None:
    """A total that agrees with a plan's own wrong prices is wrong, too."""
    dearer = [detailed(number, "travel_city", cost=65) for number in (1, 2, 3)]
    score = scored(*dearer, total(1611 + 150), hard_constraints={"hotel_x": {"hotel_name": "Inn"}})
    assert score.official.case_accuracy == 1.0
    assert {name for name, passed in score.checks.items() if not passed} == {"roads_as_listed", "true_total"}


def test_the_timeline_runs_over_midnight() -> None:
    plan = {
        "daily_plans": [
            {"activities": [visit("22:00-24:00", "Tower", 15), stay("00:10-08:00")]},
            {"activities": [visit("09:00-10:00", "Museum", 40)]},
        ]
    }
    times = [(timed.start, timed.end) for timed in timeline(read_itinerary(plan))]
    assert times == [(1320, 1440), (1450, 1920), (1980, 2040)]


@pytest.mark.parametrize("edit", SHAPES)
def test_a_shape_that_stops_the_evaluator_fails_everything(edit: Edit) -> None:
    score = scored(edit)
    assert not any(score.checks.values()) and not score.passed and not score.true_to_database


@settings(deadline=None, max_examples=200)
@given(plans())
def test_no_plan_raises(plan: Any) -> None:
    before = copy.deepcopy(plan)
    score = strict_score(plan, GOLD, TOWN)
    assert set(score.checks) == STRICT and repr(plan) == repr(before)
    assert not score.passed or (score.official.case_accuracy == 1.0 and score.true_to_database)
