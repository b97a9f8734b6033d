"""The itinerary of a made trip: times, what is noted, what is refused, costs, and the plan in both languages."""

from __future__ import annotations

import copy
import time
from datetime import date
from typing import Any

import pytest

from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.itinerary import Itinerary
from tests.programs.travel.made_trip import FRAME, atlas, itinerary, road, trip


def notes(trip_: Itinerary, *, problem: bool) -> list[str]:
    return [str(note) for note in trip_.notes if note.problem is problem]


def test_a_frame_counts_days_weekdays_and_cars() -> None:
    assert (FRAME.days, FRAME.nights, FRAME.cars) == (4, 3, 2)
    assert FRAME.weekdays == (5, 6, 7, 1)
    assert Frame("A", "B", date(2026, 2, 28), date(2026, 3, 1), people=4, rooms=1).cars == 1


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"return_": date(2026, 5, 1)}, "1 to 30 days after"),
        ({"return_": date(2126, 5, 1)}, "1 to 30 days after"),
        ({"people": 0}, "1 or more"),
        ({"rooms": 0}, "1 or more"),
    ],
)
def test_a_frame_that_cannot_be_is_refused(changed: dict[str, Any], remedy: str) -> None:
    fields = {"depart": date(2026, 5, 1), "return_": date(2026, 5, 2), "people": 1, "rooms": 1, **changed}
    with pytest.raises(ValueError, match=remedy):
        Frame("Aville", "Bton", **fields)


def test_the_day_of_arrival() -> None:
    day = itinerary("G1").with_day(1, [["Museum", None, 1.5], ["Noodles"], ["Street"], ["Bar", "18:00"]])
    assert day.render_day(1) == (
        "day 1 Fri: 06:28-09:15 G1 [wait 30] (13 min) 09:58-11:28 A1 (5 min) 11:33-12:33 R1 (7 min) 12:40-14:10 A2 "
        "(5 min) [wait 225] 18:00-19:00 R4 (5 min) 19:05 hotel"
    )
    assert notes(day, problem=False) == ["day 1: 225 free min before R4"] and not notes(day, problem=True)


def test_a_day_at_the_destination_begins_at_nine_or_when_it_is_asked_to() -> None:
    assert itinerary().with_day(2, [["A1"]]).render_day(2) == "day 2 Sat: (6 min) 09:00-10:00 A1 (5 min) 10:05 hotel"
    early = itinerary().with_day(2, [["A2", "07:30"], ["R2"]])
    assert early.render_day(2).startswith("day 2 Sat: (5 min) 07:30-09:00 A2 (5 min) 09:05-10:05 R2")
    assert itinerary().render_day(2) == "day 2 Sat: 00:00 hotel"


def test_the_day_of_departure() -> None:
    assert itinerary(back="G2").render_day(4) == "day 4 Mon: (7 min) [wait 30] 10:46-16:00 G2"
    day = itinerary().with_day(4, [["A3"], ["R3"]])
    assert day.render_day(4) == (
        "day 4 Mon: (22 min) 09:00-09:18 A3 (5 min) [wait 427] 16:30-17:30 R3 (29 min) [wait 1] 18:00-20:40 G4"
    )
    assert notes(day, problem=True) == ["day 4: Bton Station is reached 1 min before G4 leaves, 30 are usual"]


def test_a_flight_takes_longer_at_the_airports() -> None:
    flown = itinerary("MU1", "MU2")
    assert flown.render_day(1) == "day 1 Fri: 20:20-22:20 MU1 [wait 45] (40 min) 23:45 hotel"
    assert flown.render_day(4) == "day 4 Mon: (41 min) [wait 60] 19:00-21:00 MU2"


def test_places_may_be_named_unless_two_have_the_name() -> None:
    assert itinerary().with_day(2, [["Museum"]]).stops == itinerary().with_day(2, [["A1"]]).stops
    with pytest.raises(ValueError, match=r"name of A6 and R6 .*write the id"):
        itinerary().with_day(2, [["Kiosk"]])


@pytest.mark.parametrize(
    ("stops", "remedy"),
    [
        ([["Musaeum"]], "nearest names: .*Museum"),
        ([["Inn"]], "way to the hotel is put in"),
        ([["Bton Station"]], "trips and the ways to them are put in"),
        ([["A1", "9"]], "must be 'HH:MM'"),
        ([["A1", "24:00"]], "must be 'HH:MM'"),
        ([["A1", 9]], "must be 'HH:MM'"),
        ([["A1", "25:10"]], "must be 'HH:MM'"),
        ([["A1", None, 0]], "above 0"),
        ([["A1", None, -1.5]], "above 0"),
        ([["A1", None, True]], "above 0"),
        ([["A1", None, float("nan")]], "above 0"),
        ([["A1", None, "1"]], "above 0"),
        ([["A1", None, 25]], "at most 24"),
        ([[]], r"\[place, start\?, hours\?\]"),
        ([["A1", None, 1, 2]], r"\[place, start\?, hours\?\]"),
        (["A1"], r"\[place, start\?, hours\?\]"),
        ("A1", r"no list of stops"),
        ([[3]], "an id or an exact name"),
    ],
)
def test_a_stop_that_is_none_is_refused_with_the_remedy(stops: Any, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        itinerary().with_day(2, stops)


def test_other_bad_input_is_refused_with_the_remedy() -> None:
    for day in (0, 5):
        for call in (lambda n: itinerary().with_day(n, []), itinerary().placed, itinerary().render_day):
            with pytest.raises(ValueError, match="days 1 to 4"):
                call(day)
    with pytest.raises(ValueError, match="nearest names: .*Inn"):
        itinerary().with_hotel("Inne")
    with pytest.raises(ValueError, match="is no hotel"):
        itinerary().with_hotel("A1")
    with pytest.raises(ValueError, match="'out' or 'back'"):
        itinerary().with_trip("forth", trip("G1"))  # type: ignore[arg-type]


def test_an_asked_start_is_not_before() -> None:
    day = itinerary().with_day(2, [["A3", "10:00", 1.5], ["R1", "11:00"]])
    assert "10:00-11:30 A3 (16 min) 11:46-12:46 R1" in day.render_day(2)
    assert notes(day, problem=False) == ["day 2: R1 is reached at 11:46, not at 11:00: what follows moves too"]


def test_one_waits_until_it_opens_but_sets_out_later_in_the_morning() -> None:
    day = itinerary().with_day(2, [["R1"], ["R3"]])
    assert day.render_day(2) == (
        "day 2 Sat: (7 min) 10:00-11:00 R1 (18 min) [wait 312] 16:30-17:30 R3 (22 min) 17:52 hotel"
    )
    assert notes(day, problem=False) == [
        "day 2: R1 opens at 10:00", "day 2: R3 opens at 16:30, 312 min after one could be there"
    ]  # fmt: skip


def test_what_closes_too_early_is_placed_and_noted() -> None:
    day = itinerary().with_day(2, [["A1", "16:30"], ["A3"]])
    assert "16:30-17:30 A1 (17 min) 17:47-18:05 A3" in day.render_day(2)
    assert notes(day, problem=True) == [
        "day 2: A1 is open 09:00-17:00, but lies at 16:30-17:30: be there earlier, or stay less",
        "day 2: A3 is open 08:00-17:15, but lies at 17:47-18:05: be there earlier, or stay less",
    ]


def test_a_closed_weekday_is_noted() -> None:
    assert notes(itinerary().with_day(4, [["A1"]]), problem=True) == ["day 4: A1 is closed on Monday"]


def test_hours_after_midnight() -> None:
    day = itinerary().with_day(2, [["A5", "23:00"], ["R4"]])
    assert day.render_day(2).endswith("23:00-01:00+1 A5 (10 min) 01:10+1-02:10+1 R4 (5 min) 02:15+1 hotel")
    assert notes(day, problem=True) == [
        "day 2: R4 is open 17:00-02:00, but lies at 01:10+1-02:10+1: be there earlier, or stay less"
    ]
    slots = [act["time_slot"] for act in day.to_plan()["daily_plans"][1]["activities"]]
    assert slots == ["22:51-23:00", "23:00-01:00", "01:00-01:10", "01:10-02:10", "02:10-02:15", "02:15-02:45"]


def test_a_late_night_holds_up_the_next_morning_until_nine_at_most() -> None:
    late = itinerary().with_day(2, [["A2", "23:00", 3]])
    assert late.render_day(3) == "day 3 Sun: 02:35 hotel"
    absurd = itinerary().with_day(2, [["A2", "23:00", 24]]).with_day(3, [["R2"]])
    assert absurd.render_day(3).startswith("day 3 Sun: (5 min) 09:05-10:05 R2")
    assert notes(late, problem=False)[-1] == "day 2: the hotel is reached at 02:05+1"
    assert notes(absurd, problem=True) == ["day 2: the hotel is reached at 23:05+1"]


def test_a_missed_trip_keeps_its_time_and_says_by_how_much() -> None:
    day = itinerary().with_day(4, [["R3", "17:00"]])
    assert day.render_day(4) == "day 4 Mon: (23 min) 17:00-18:00 R3 (29 min) 18:00-20:40 G4"
    assert notes(day, problem=True) == [
        "day 4: G4 is missed: it leaves at 18:00, and Bton Station is reached at 18:29; be 59 min earlier, or stop less"
    ]
    assert "take a later one" in notes(itinerary(back="K8"), problem=True)[0]


def test_trips_with_changes() -> None:
    changed = itinerary("D1/D3", "D2/D4")
    assert changed.render_day(1) == "day 1 Fri: 07:00-09:00 D1 [wait 40] 09:40-12:00 D3 [wait 30] (8 min) 12:38 hotel"
    assert changed.costs.trips == 2 * 5 * 110
    assert "09:00 D1 (road unknown, 25 min) 09:25-12:00 D9" in itinerary("D1/D9").render_day(1)
    hasty = itinerary("D1/D8")
    assert "09:00 D1 (10 min) 09:05-12:00 D8" in hasty.render_day(1)
    assert notes(hasty, problem=True) == ["day 1: the change from D1 to D8 takes 10 min, there are 5"]


def test_trips_that_arrive_on_a_later_day() -> None:
    night = itinerary("K7").with_day(1, [["R1"]]).with_day(2, [["A1"]])
    assert night.render_day(1).endswith("20:00-11:00+1 K7 [wait 30] (14 min) 11:44+1-12:44+1 R1 (6 min) 12:50+1 hotel")
    assert night.render_day(2).startswith("day 2 Sat: (6 min) 13:26-14:26 A1")
    long = itinerary("Z9")
    assert [long.render_day(day).split(": ")[1] for day in (1, 2, 3)] == [
        "15:00-07:30+2 Z9 [wait 30] (8 min) 08:08+2 hotel", "08:38+1 hotel", "09:08 hotel"
    ]  # fmt: skip
    home = itinerary(back="MU4")
    assert home.render_day(4).endswith("22:30-00:40+1 MU4")


def test_a_trip_of_another_date_is_noted() -> None:
    wrong = Itinerary.start(atlas(), FRAME).with_trip("out", trip("G2"))
    assert notes(wrong, problem=True) == ["day 1: G2 runs on 2026-05-04, this day is 2026-05-01"]


def test_a_road_that_is_not_known_keeps_an_hour_free() -> None:
    unknown = itinerary("G5", "G6").with_day(1, [["A1"]])
    assert unknown.render_day(1).startswith("day 1 Fri: 08:00-11:00 G5 [wait 30] (road unknown, 60 min) 12:30-13:30 A1")
    assert notes(unknown, problem=False)[0] == (
        "day 1: no road is known from Bton West to Museum: 60 min are kept free for it"
    )
    (_, _, act, *_) = unknown.to_plan()["daily_plans"][0]["activities"]
    assert act["details"] == {"from": "Bton West", "to": "Museum", "duration": "60min"}


def test_places_at_one_point_have_a_road_of_no_length() -> None:
    day = itinerary().with_day(2, [["Noodles"], ["Canteen"]])
    assert "10:00-11:00 R1 (0 min) 11:00-12:00 R5" in day.render_day(2)


def test_restaurants_in_the_city_of_departure_lie_before_the_way_out_and_after_the_way_back() -> None:
    both = itinerary("MU1", "MU2").with_day(1, [["Lounge"], ["A2"]]).with_day(4, [["A2"], ["Lounge"]])
    assert both.render_day(1).startswith("day 1 Fri: 18:15-19:15 R7 (5 min) [wait 60] 20:20-22:20 MU1 [wait 45]")
    assert both.render_day(4).endswith("19:00-21:00 MU2 [wait 45] (5 min) 21:50-22:50 R7")
    assert not notes(both, problem=True)


def test_a_start_before_the_way_out_is_kept() -> None:
    early = itinerary("MU1").with_day(1, [["Lounge", "10:00"], ["Buffet"]])
    assert early.render_day(1).startswith("day 1 Fri: 10:00-11:00 R7 (5 min) 11:05-12:05 R8 (5 min) [wait 490] 20:20")
    hasty = itinerary("G1").with_day(1, [["Buffet"]])
    assert notes(hasty, problem=True)[-1].startswith("day 1: G1 is missed")


def test_a_restaurant_in_the_city_of_departure_at_another_time_is_noted() -> None:
    astray = itinerary().with_day(1, [["A2"], ["Lounge"]]).with_day(2, [["Lounge"]])
    assert [note for note in notes(astray, problem=True) if "Aville:" in note] == [
        "day 1: R7 lies in Aville: have it first on day 1 or last on day 4",
        "day 2: R7 lies in Aville: have it first on day 1 or last on day 4",
    ]


def test_costs_by_kind_day_and_road() -> None:
    day = itinerary().with_day(1, [["A1"], ["R2"]])
    ways = (("Bton Station", "Museum"), ("Museum", "Cafe"), ("Cafe", "Inn"))
    first, second, third = (2 * road(*way).cost for way in ways)
    assert str(day.costs).startswith(
        f"trips 2337.5, hotel 2002.5; day 1: meals 99.5, tickets 200, roads {first + second + third} "
        f"(station>A1 {first}, A1>R2 {second}, R2>H1 {third}); day 2: meals 0, tickets 0, roads 0; "
    )
    assert day.total == 2337.5 + 2002.5 + 99.5 + 200 + day.costs.roads


def test_the_plan_as_the_evaluator_reads_it() -> None:
    plan = itinerary().with_day(1, [["A1"], ["R3"]]).to_plan()
    assert plan["budget_summary"]["total_estimated_budget"] == sum(
        plan["budget_summary"][kind] for kind in ("transportation", "accommodation", "meals", "attractions_and_tickets")
    )
    first, second, _, last = plan["daily_plans"]
    assert first["current_city"] == "from Aville to Bton" and second["current_city"] == "Bton"
    assert last["current_city"] == "from Bton to Aville" and "accommodation" not in last
    assert first["accommodation"] == {"name": "Inn", "price_per_night": 222.5}
    assert [act["type"] for act in first["activities"]] == [
        "travel_intercity_public", "buffer", "travel_city", "attraction", "travel_city", "buffer", "meal",
        "travel_city", "hotel",
    ]  # fmt: skip
    assert first["activities"][2] == {
        "time_slot": "09:45-09:58",
        "type": "travel_city",
        "details": {
            "from": "Bton Station", "to": "Museum", "distance": "8.7km", "duration": "13min",
            "cost": road("Bton Station", "Museum").cost,
        },
    }  # fmt: skip
    assert first["activities"][6]["details"] == {"meal_type": "Dinner", "name": "Grill", "cost": 80}
    assert first["activities"][8] == {
        "time_slot": "17:52-24:00", "type": "hotel", "details": {"activity": "Check-in", "name": "Inn"}
    }  # fmt: skip


def test_the_plan_in_chinese_has_english_routes_and_chinese_words() -> None:
    first, second, *_ = itinerary().with_day(1, [["A1"], ["R1"]]).to_plan("zh")["daily_plans"]
    assert first["current_city"] == "from Aville to Bton"
    assert first["activities"][5]["details"]["meal_type"] == "午餐"
    assert second["activities"][-1]["details"]["activity"] == "休息"


def test_an_itinerary_without_trips_and_hotel_is_placed_as_far_as_it_goes() -> None:
    bare = Itinerary.start(atlas(), FRAME).with_day(1, [["A2"]]).with_day(2, [["A1"], ["R1"]])
    assert bare.render_day(1) == "day 1 Fri: 09:00-10:30 A2"
    assert bare.render_day(2) == "day 2 Sat: 09:00-10:00 A1 (5 min) 10:05-11:05 R1"
    assert bare.render_day(4) == "day 4 Mon: nothing yet"
    assert len(bare.to_plan()["daily_plans"]) == 4


def test_a_choice_leaves_the_itinerary_as_it_was_and_days_apart() -> None:
    before = itinerary().with_day(2, [["A1"]])
    lines = [before.render_day(day) for day in range(1, 5)]
    after = before.with_day(3, [["A2"]]).with_day(3, [["A3"]])
    assert [before.render_day(day) for day in range(1, 5)] == lines
    assert [after.render_day(day) for day in (1, 2, 4)] == [lines[0], lines[1], lines[3]]
    assert after.placed(1) == before.placed(1) and copy.deepcopy(after) is after


def test_a_fork_is_quick() -> None:
    trip_ = itinerary()
    began = time.perf_counter()
    for _ in range(200):
        copy.deepcopy(trip_.with_day(2, [["A1"], ["R1", "12:00"], ["A2"], ["R2"]]))
    assert (time.perf_counter() - began) / 200 < 0.001
