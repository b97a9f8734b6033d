"""Each official check and hard constraint of travel plans, by edits of a plan that passes all of them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from programs.deepplanning.travel.scoring.official import official_score
from tests.programs.travel.town import (
    GOLD,
    Edit,
    activity,
    appended,
    day,
    detailed,
    edited,
    inserted,
    meal,
    of_day,
    replaced,
    rest,
    road,
    stay,
    timed,
    total,
    town,
    train,
    visit,
    without,
)

TOWN = town()
TRIPS = {"train_cheapest_direct"}


def failing(*edits: Edit, **gold: Any) -> set[str]:
    """The checks and constraints that fail after the edits."""
    return set(official_score(edited(*edits), {**GOLD, **gold}, TOWN).reasons)


ROUTE: list[tuple[Edit, set[str]]] = [
    (lambda plan: plan["daily_plans"].insert(1, copy.deepcopy(day(plan, 2))), {
        "valid_trip_duration", "diverse_meal_options", "diverse_attraction_options", "cost_calculation_correctness",
        "budget_constraint",
    }),
    (of_day(1, current_city="from Aville (old town) to Bton, by train"), set()),
    (of_day(1, current_city="from Cton to Bton"), {"closed_loop_route_structure", "seamless_intercity_transfers"}),
    (of_day(3, current_city="from Bton to Cton"), {"closed_loop_route_structure", "seamless_intercity_transfers"}),
    (of_day(1, current_city="Bton"), {"seamless_intercity_transfers"}),
    (of_day(2, current_city="Bton（west）"), set()),
    (of_day(2, current_city=""), {"seamless_intercity_transfers"}),
    (of_day(2, current_city=None), {"seamless_intercity_transfers"}),
    # Without a small "from" the day is no route, so that it needs what a full day does.
    (of_day(3, current_city="From Bton to Aville"), {
        "seamless_intercity_transfers", "essential_meal_coverage", "essential_attraction_coverage",
    }),
    (detailed(1, "travel_intercity_public", from_="Unknown"), {"seamless_intercity_transfers"}),
    (detailed(1, "travel_intercity_public", from_=" Aville Station "), set()),
    (detailed(1, "travel_intercity_public", from_="Midway Station"), set()),  # a stopover is of either end
    (without(1, "travel_intercity_public"), {"seamless_intercity_transfers", "cost_calculation_correctness", *TRIPS}),
]  # fmt: skip
SANDBOX: list[tuple[Edit, set[str]]] = [
    (of_day(1, accommodation={"name": "Motel", "price": 200}), {"validated_accommodation"}),
    (of_day(1, accommodation={"name": "Inn", "price": 200.4}), set()),
    (of_day(1, accommodation={"name": "Inn", "price": 0, "cost": 200}), set()),
    (of_day(1, accommodation={"name": "Inn", "price_per_night": "200"}), {"validated_accommodation"}),
    (of_day(1, accommodation={"name": "Inn", "price": 201, "price_per_night": 200}), {"validated_accommodation"}),
    (of_day(1, accommodation={"name": "", "price": 200}), set()),
    (of_day(3, accommodation={"name": "-"}), set()),
    (of_day(3, accommodation={"name": "Inn", "price": 7}), {"validated_accommodation", "traceable_accommodation"}),
    (detailed(1, "hotel", name="Motel"), {"validated_accommodation"}),
    (detailed(1, "hotel", name=None), set()),
    (appended(3, stay("21:00-22:00", "Motel")), set()),
    (detailed(1, "Museum", name="Mosque"), {"validated_attractions", "attraction_must_visit_named"}),
    (detailed(1, "Museum", name=" Museum"), {"attraction_must_visit_named"}),  # the wish is compared to the letter
    (detailed(1, "Museum", name=None), {"validated_attractions", "attraction_must_visit_named"}),
    (detailed(1, "Museum", cost=40.5), set()),  # halves go to the even number
    (detailed(1, "Museum", cost=41.5), {"validated_attractions"}),
    (detailed(1, "Museum", cost="40"), {"validated_attractions"}),
    (detailed(1, "Museum", cost=None), {"validated_attractions"}),
    (detailed(1, "Noodles", cost=1), {"validated_meals"}),  # the price of a row that does not count
    (detailed(1, "Noodles", name="Nudels"), {"validated_meals"}),
    (detailed(1, "travel_intercity_public", number=" G1 "), TRIPS),
    (detailed(1, "travel_intercity_public", number="G9"), {"validated_transportation", *TRIPS}),
    (detailed(1, "travel_intercity_public", cost=101), {"validated_transportation"}),
    (detailed(1, "travel_intercity_public", cost="100.4"), set()),
    (detailed(1, "travel_intercity_public", cost="¥100"), {"cost_calculation_correctness"}),
    (detailed(1, "travel_intercity_public", cost=""), {"validated_transportation", "cost_calculation_correctness"}),
    (detailed(3, "travel_intercity_public", cost=120), set()),  # the fare of another date
    (detailed(1, "travel_intercity_public", from_=""), {"validated_transportation", "seamless_intercity_transfers"}),
]  # fmt: skip
STRUCTURE: list[tuple[Edit, set[str]]] = [
    (without(1, "hotel"), {"traceable_accommodation", "ends_with_accommodation"}),
    (of_day(1, accommodation={}), {"traceable_accommodation", "cost_calculation_correctness"}),
    (of_day(1, accommodation="Inn"), {"hotel_highest_rated", "cost_calculation_correctness"}),
    (of_day(3, accommodation="-"), {"traceable_accommodation", "hotel_highest_rated"}),
    (appended(1, rest("24:00-24:00")), {"ends_with_accommodation"}),
    (without(1, "Dumplings"), {"essential_meal_coverage", "reasonable_transfer_time"}),
    (without(2, "Buns"), {"essential_meal_coverage", "reasonable_transfer_time"}),
    (timed(1, "Dumplings", "14:19-15:19"), {  # 119 minutes after lunch
        "essential_meal_coverage", "no_time_overlaps", "reasonable_transfer_time",
    }),
    (without(3, "Cafe"), {"essential_meal_coverage", "reasonable_transfer_time"}),
    (without(3, "Tower"), {"essential_attraction_coverage", "attraction_must_visit_named"}),
    (without(2, "Pagoda"), {"essential_attraction_coverage", "reasonable_transfer_time"}),
]  # fmt: skip
TIMING: list[tuple[Edit, set[str]]] = [
    (timed(1, "Dumplings", "17:00-18:01"), {"no_time_overlaps"}),
    (timed(1, "Garden", "12:30-14:31"), {"no_time_overlaps"}),
    (without(1, "buffer"), {"reasonable_transfer_time"}),
    (without(1, "travel_city"), set()),  # roads are not looked at
    (timed(1, "buffer", "14:45-17:00"), set()),
    (timed(1, "buffer", "14:46-17:00"), {"reasonable_transfer_time"}),  # 16 minutes are left, at most 15 may
    (timed(1, "buffer", "14:35-17:00"), {"no_time_overlaps"}),  # 5 minutes are enough
    (timed(1, "buffer", "14:34-17:00"), {"no_time_overlaps", "reasonable_transfer_time"}),
    (timed(1, "buffer", "14:40-17:01"), {"no_time_overlaps", "reasonable_transfer_time"}),  # not wholly inside
    (detailed(1, "Noodles", name="Anywhere"), {"validated_meals"}),  # a place without coordinates is skipped
    (timed(1, "Museum", "09:10 - 11:10 (slowly)"), set()),
    (timed(1, "Museum", "9:10-11:10"), set()),
    (timed(1, "Museum", "09:10–11:10"), {
        "attraction_visit_within_opening_hours", "reasonable_duration_at_attractions", "reasonable_transfer_time",
    }),
]  # fmt: skip
HOURS: list[tuple[Edit, set[str]]] = [
    (timed(3, "Tower", "10:10-10:40"), {"reasonable_duration_at_attractions", "reasonable_transfer_time"}),
    (timed(2, "Square", "09:10-09:39"), {"reasonable_duration_at_attractions", "reasonable_transfer_time"}),
    (timed(1, "Museum", "08:59-11:10"), {
        "attraction_visit_within_opening_hours", "no_time_overlaps",
    }),
    (timed(3, "Tower", "01:00-02:00"), {"reasonable_transfer_time"}),  # in the morning after it opened
    (timed(3, "Tower", "01:00-02:01"), {"attraction_visit_within_opening_hours", "reasonable_transfer_time"}),
    (timed(1, "Noodles", "10:59-12:20"), {
        "dining_within_service_hours", "no_time_overlaps",
    }),
    (timed(1, "Noodles", None), {
        "dining_within_service_hours", "reasonable_meal_duration", "essential_meal_coverage",
        "reasonable_transfer_time",
    }),
    (timed(2, "Grill", "17:30-17:59"), {"reasonable_meal_duration", "reasonable_transfer_time"}),
    (timed(2, "Buns", "11:40-14:11"), {
        "reasonable_meal_duration", "no_time_overlaps",
    }),
]  # fmt: skip
COSTS: list[tuple[Edit, set[str]]] = [
    (total(1611 / 1.1 + 0.01), set()),
    (total(1611 / 1.1 - 0.01), {"cost_calculation_correctness"}),
    (total(1611 / 0.9 + 0.01), {"cost_calculation_correctness"}),
    (total("1611"), set()),
    (total("about 1611"), {"cost_calculation_correctness"}),
    (total(None), {"cost_calculation_correctness"}),
    (total(0), {"cost_calculation_correctness"}),
    (total(-1), set()),
    (total(float("nan")), {"cost_calculation_correctness"}),
    (lambda plan: plan.pop("budget_summary"), {"cost_calculation_correctness"}),
    (detailed(1, "travel_city", cost=104), set()),  # 89 more are 1700, all that may be spent
    (detailed(1, "travel_city", cost=105), {"budget_constraint"}),
    (detailed(1, "travel_city", cost="105"), {"budget_constraint"}),
    (detailed(1, "travel_city", cost="¥105"), set()),
    (appended(3, train("20:30-21:30", "G2", "Bton", "Aville")), set()),  # the second trip of a day is free
    (inserted(3, 0, train("07:00-08:00", "G2", "Bton", "Aville", 0)), {  # the first one is, too, where it says so
        "cost_calculation_correctness", "validated_transportation", "essential_meal_coverage",
    }),
]  # fmt: skip
DIVERSITY: list[tuple[Edit, set[str]]] = [
    (detailed(2, "Buns", name="Noodles", cost=53), {"diverse_meal_options"}),
    (detailed(2, "Buns", name="Noodles ", cost=53), set()),
    (detailed(2, "Pagoda", name="Garden", cost=20), {"diverse_attraction_options"}),
]
CONSTRAINED: list[tuple[Edit, set[str]]] = [
    (detailed(1, "travel_intercity_public", mode="高铁"), set()),
    (detailed(1, "travel_intercity_public", mode="TRAIN"), set()),
    (detailed(1, "travel_intercity_public", mode="bus"), TRIPS),
    (detailed(1, "travel_intercity_public", mode=None), TRIPS),
    (lambda plan: activity(plan, 1, "travel_intercity_public")["details"].pop("mode"), TRIPS),
    (detailed(2, "Grill", name="Grill "), {"restaurant_must_eat_named"}),
    (appended(3, {"time_slot": "21:00-22:00", "type": "meal", "details": None}), {
        "validated_meals", "restaurant_must_eat_named",
    }),
    (appended(3, {"time_slot": "21:00-22:00", "type": "meal"}), {"validated_meals"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        pytest.param(edit, expected, id=f"{name} {number}")
        for name, cases in {
            "route": ROUTE, "sandbox": SANDBOX, "structure": STRUCTURE, "timing": TIMING, "hours": HOURS,
            "costs": COSTS, "diversity": DIVERSITY, "constraints": CONSTRAINED,
        }.items()
        for number, (edit, expected) in enumerate(cases)
    ],
)  # fmt: skip
def test_what_one_edit_breaks(edit: Edit, expected: set[str]) -> None:
    assert failing(edit) == expected


def meals(count: int, gap: int = 120) -> list[dict[str, Any]]:
    """Lunch until 13:00, and dinner that long after it."""
    start = 13 * 60 + gap
    dinner = f"{start // 60}:{start % 60:02}-{start // 60 + 1}:{start % 60:02}"
    return [meal("12:00-13:00", "Noodles", 53), meal(dinner, "Dumplings", 30)][:count]


@pytest.mark.parametrize(
    ("arrival", "least", "most"), [("09:59", 2, 2), ("10:00", 1, 2), ("14:59", 1, 2), ("15:00", 0, 1), ("24:00", 0, 1)]
)
def test_meals_after_an_arrival(arrival: str, least: int, most: int) -> None:
    for count in range(3):
        broken = failing(replaced(1, train(f"07:00-{arrival}", "G1", "Aville", "Bton"), *meals(count)))
        assert ("essential_meal_coverage" in broken) is not (least <= count <= most)


@pytest.mark.parametrize(
    ("departure", "least", "most"), [("08:59", 0, 0), ("09:00", 0, 1), ("14:59", 0, 1), ("15:00", 1, 2)]
)
def test_meals_before_a_departure(departure: str, least: int, most: int) -> None:
    for count in range(3):
        broken = failing(replaced(3, *meals(count), train(f"{departure}-23:00", "G2", "Bton", "Aville")))
        assert ("essential_meal_coverage" in broken) is not (least <= count <= most)


@pytest.mark.parametrize(("hour", "asked"), [("09", True), ("15", False)])
def test_time_between_meals_is_asked_for_where_two_may_be(hour: str, asked: bool) -> None:
    arriving = train(f"07:00-{hour}:00", "G1", "Aville", "Bton")
    for gap, passes in ((120, True), (119, False)):
        broken = failing(replaced(1, arriving, *meals(2, gap)))
        assert ("essential_meal_coverage" in broken) is not (passes and asked)
    third = meal("13:01-14:00", "Cafe", 40)
    assert "essential_meal_coverage" in failing(replaced(1, arriving, *meals(2), third))
    assert "essential_meal_coverage" in failing(replaced(2, *meals(2), third))
    assert "essential_meal_coverage" not in failing(replaced(2, *meals(2), meal("15:01-16:00", "Cafe", 40)))


def test_own_times_go_before_the_slot_where_meals_and_trips_are_counted() -> None:
    trip = {**train("07:00-16:00", "G1", "Aville", "Bton"), "end_time": "09:00"}
    assert "essential_meal_coverage" in failing(replaced(1, trip, *meals(1)))
    lunch = {**meals(1)[0], "start_time": "noon"}
    assert "essential_meal_coverage" in failing(replaced(2, lunch, meals(2)[1]))
    late = {**meals(1)[0], "end_time": "13:01"}
    assert "essential_meal_coverage" in failing(replaced(2, late, meals(2)[1]))


def test_a_trip_without_a_readable_time_asks_for_no_meal() -> None:
    for slot in (None, "morning", "07:00–09:00"):
        broken = failing(replaced(1, train(slot, "G1", "Aville", "Bton")))  # type: ignore[arg-type]
        assert not broken & {"essential_meal_coverage", "essential_attraction_coverage"}


@pytest.mark.parametrize(("arrival", "needed"), [("11:59", True), ("12:00", False)])
def test_an_attraction_after_an_arrival(arrival: str, needed: bool) -> None:
    broken = failing(replaced(1, train(f"07:00-{arrival}", "G1", "Aville", "Bton"), *meals(1)))
    assert ("essential_attraction_coverage" in broken) is needed


@pytest.mark.parametrize(("departure", "needed"), [("16:00", False), ("16:01", True)])
def test_an_attraction_before_a_departure(departure: str, needed: bool) -> None:
    broken = failing(replaced(3, *meals(1), train(f"{departure}-23:00", "G2", "Bton", "Aville")))
    assert ("essential_attraction_coverage" in broken) is needed


@pytest.mark.parametrize(
    ("activities", "passes"),
    [
        ([visit("08:00-12:00", "Garden", 20)], True),
        ([visit("08:00-11:59", "Garden", 20)], False),
        ([visit("08:00-11:45", "Garden", 20), road("11:45-12:00", "Garden ", "Noodles")], True),
        ([visit("08:00-11:45", "Garden", 20), road("11:45-12:00", "Inn", "Noodles")], False),
        ([visit("20:00-24:00", "Garden", 20)], True),
        ([visit("22:00-02:00", "Garden", 20)], True),
        # 220 and 20 minutes, but floating hours cut the second to 19.
        ([visit("08:00-11:40", "Garden", 20), road("11:40-12:00", "Garden", "Noodles")], False),
        ([visit("08:00-09:00", "Garden", 20), visit("09:00-10:00", "", 0)], True),
    ],
)
def test_attractions_of_a_full_day(activities: list[dict[str, Any]], passes: bool) -> None:
    assert ("essential_attraction_coverage" not in failing(replaced(2, *activities))) is passes


@pytest.mark.parametrize(
    ("weekday", "closed"), [(1, True), (5, False), (7, True), (0, False)]
)
def test_closed_days(weekday: int, closed: bool) -> None:
    assert ("avoidance_of_closure_days" in failing(depart_weekday=weekday)) is closed


def test_the_weekday_goes_on_with_the_days() -> None:
    moved = edited(without(1, "Museum"), appended(3, visit("10:00-12:00", "Museum", 40)))
    assert not official_score(moved, GOLD, TOWN).checks["avoidance_of_closure_days"]  # the third day is a Sunday


@pytest.mark.parametrize(("slot", "passes"), [("23:10-00:30", True), ("23:06-00:30", True), ("23:30-00:30", False)])
def test_the_road_is_measured_past_midnight(slot: str, passes: bool) -> None:
    night = [meal("21:00-23:00", "Grill", 80), visit(slot, "Tower", 15)]
    assert ("reasonable_transfer_time" not in failing(replaced(2, *night))) is passes


@pytest.mark.parametrize(("buffer", "passes"), [("00:20-00:40", True), ("23:55-00:20", False), ("00:20-00:45", False)])
def test_buffers_past_midnight(buffer: str, passes: bool) -> None:
    night = [meal("22:30-00:10", "Grill", 80), rest(buffer), visit("00:40-01:40", "Tower", 15)]
    assert ("reasonable_transfer_time" not in failing(replaced(2, *night))) is passes


def test_coordinates_may_stand_for_a_name() -> None:
    """As numbers, so that zeros at their ends are lost and the matrix does not know them."""
    there = detailed(1, "Museum", name="30.000003,120.000000")
    assert failing(there) == {"validated_attractions", "attraction_must_visit_named"}


def test_hours_past_midnight() -> None:
    def fits(slot: str, name: str = "Tower") -> bool:
        return "attraction_visit_within_opening_hours" not in failing(replaced(2, visit(slot, name, 15)))

    assert fits("23:00-01:00") and fits("10:00-12:00") and fits("00:00-02:00") and fits("22:00-24:00")
    assert not fits("23:00-02:01") and not fits("09:59-11:00") and not fits("01:30-02:30") and not fits("09:00-01:00")
    assert not fits("16:00-00:30", "Museum") and fits("16:00-17:00", "Museum") and fits("23:00-01:00", "Square")
