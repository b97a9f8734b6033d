"""A made town with a plan for it that passes every check, official and strict, for tests that break one thing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from programs.deepplanning.travel.database import Road, RoadMatrix, TravelDatabase

Plan = dict[str, Any]
Edit = Callable[[Plan], Any]

PLACES = ("Bton Station", "Inn", "Hostel", "Museum", "Garden", "Square", "Pagoda", "Tower") + (
    "Noodles", "Dumplings", "Buns", "Grill", "Cafe",
)  # fmt: skip
ROAD = Road(3210, 10, 15)
GOLD: dict[str, Any] = {
    "org": "Aville", "dest": ["Bton"], "days": 3, "depart_date": "2026-05-01", "return_date": "2026-05-03",
    "depart_weekday": 5, "people_number": 2, "room_number": 1,
    "hard_constraints": {
        "train_cheapest_direct": {"outbound_train_no": "G1", "inbound_train_no": "G2"},
        "hotel_highest_rated": {"hotel_name": "Inn"},
        "restaurant_must_eat_named": {"restaurant_name": "Grill"},
        "attraction_must_visit_named": {"attraction_names": ["Museum", "Tower"]},
        "budget_constraint": {"max_budget": 1700},
    },
}  # fmt: skip
CONSTRAINTS = frozenset(GOLD["hard_constraints"])


def coordinates(place: str) -> tuple[str, str]:
    return f"30.{PLACES.index(place):06}", "120.000000"


def _trip(number: str, ends: str, date: str, times: str, price: str = "100.0", **cells: str) -> dict[str, str]:
    """Of a train "A-B" on a day "07:00-09:00"; route and number are the same."""
    (start, end), (departs, arrives) = ends.split("-"), times.split("-")
    stations = {"A": "Aville Station", "B": "Bton Station", "C": "Midway Station"}
    cities = {"A": "Aville", "B": "Bton", "C": "Bton"}
    return {
        "origin_city": cities[start], "destination_city": cities[end], "dep_date": date,
        "dep_station_name": stations[start], "arr_station_name": stations[end], "dep_datetime": f"{date} {departs}:00",
        "arr_datetime": f"{date} {arrives}:00", "train_no": number, "seat_class": "Second Class Seat",
        "seat_status": "Sufficient", "price": price, "segment_index": "1", "route_index": number, **cells,
    }  # fmt: skip


TRAINS = [
    _trip("G1", "A-B", "2026-05-01", "07:00-09:00"),
    _trip("G2", "B-A", "2026-05-03", "18:00-20:00"),
    _trip("G2", "B-A", "2026-05-04", "18:00-20:00", "120.0"),
    _trip("G3", "B-A", "2026-05-03", "18:00-20:00", seat_status="1"),
    _trip("G4", "A-B", "2026-05-01", "07:00-09:00"),
    _trip("K1", "A-C", "2026-05-01", "07:00-08:00", "60", route_index="K"),
    _trip("K2", "C-B", "2026-05-01", "08:30-09:00", "60", route_index="K", segment_index="2", origin_city="Aville"),
]
HOTELS = [{"name": "Inn", "price": "200"}, {"name": "Hostel", "price": "90"}]


def _attraction(name: str, hours: str, visit: str, price: str, closed: str = "") -> dict[str, str]:
    (opening, closing), (least, most) = hours.split("-"), visit.split("-")
    return {
        "attraction_name": name, "opening_time": opening, "closing_time": closing, "closing_dates": closed,
        "min_visit_hours": least, "max_visit_hours": most, "ticket_price": price,
    }  # fmt: skip


ATTRACTIONS = [
    _attraction("Museum", "09:00-17:00", "1.0-3.0", "40.0", "Monday,周日"),
    _attraction("Garden", "08:00-18:00", "1.0-4.0", "20.0"),
    _attraction("Square", "Open 24 Hours-Open 24 Hours", "0.5-4.0", "0.0"),
    _attraction("Pagoda", "09:00-17:00", "0.5-2.5", "10.4"),
    _attraction("Tower", "10:00-02:00", "1.0-3.0", "15.0"),
]


def _restaurant(name: str, hours: str, price: str) -> dict[str, str]:
    opening, closing = hours.split("-")
    return {"restaurant_name": name, "opening_time": opening, "closing_time": closing, "price_per_person": price}


RESTAURANTS = [
    _restaurant("Noodles", "11:00-21:00", "1.0"),  # an earlier row of that name does not count
    _restaurant("Noodles", "11:00-21:00", "53.0"),
    _restaurant("Dumplings", "11:00-21:00", "30.0"),
    _restaurant("Buns", "-", "20.0"),
    _restaurant("Grill", "17:00-02:00", "80.0"),
    _restaurant("Cafe", "09:00-20:00", "40.0"),
]
LOCATIONS = [
    dict(zip(("poi_name", "latitude", "longitude"), (name, *coordinates(name)), strict=True)) for name in PLACES
]


def town() -> TravelDatabase:
    ends = [",".join(coordinates(name)) for name in PLACES]
    roads = RoadMatrix((start, end, ROAD) for start in ends for end in ends if start != end)
    return TravelDatabase.of(
        "en", roads, trains=TRAINS, hotels=HOTELS, attractions=ATTRACTIONS, restaurants=RESTAURANTS, locations=LOCATIONS
    )


def act(slot: str, kind: str, **details: Any) -> dict[str, Any]:
    return {"time_slot": slot, "type": kind, "details": details}


def train(slot: str, number: str, start: str, end: str, cost: Any = 100) -> dict[str, Any]:
    details = {"mode": "train", "number": number, "from": f"{start} Station", "to": f"{end} Station", "cost": cost}
    return act(slot, "travel_intercity_public", **details)


def road(slot: str, start: str, end: str) -> dict[str, Any]:
    return act(slot, "travel_city", **{"from": start, "to": end}, distance="3.2km", duration="10min", cost=15)


def visit(slot: str, name: str, cost: Any) -> dict[str, Any]:
    return act(slot, "attraction", name=name, city="Bton", cost=cost)


def meal(slot: str, name: str, cost: Any) -> dict[str, Any]:
    return act(slot, "meal", meal_type="Lunch" if slot < "15" else "Dinner", name=name, cost=cost)


def stay(slot: str, name: str = "Inn") -> dict[str, Any]:
    return act(slot, "hotel", activity="Rest", name=name)


def rest(slot: str) -> dict[str, Any]:
    return act(slot, "buffer", description="Rest")


_PLAN: Plan = {
    "budget_summary": {"total_estimated_budget": 1611, "currency": "CNY"},
    "daily_plans": [
        {
            "day_number": 1,
            "current_city": "from Aville to Bton",
            "accommodation": {"name": "Inn", "price_per_night": 200},
            "activities": [
                train("07:00-09:00", "G1", "Aville", "Bton"),
                road("09:00-09:10", "Bton Station", "Museum"),
                visit("09:10-11:10", "Museum", 40),
                road("11:10-11:20", "Museum", "Noodles"),
                meal("11:20-12:20", "Noodles", 53),
                road("12:20-12:30", "Noodles", "Garden"),
                visit("12:30-14:30", "Garden", 20),
                road("14:30-14:40", "Garden", "Dumplings"),
                rest("14:40-17:00"),
                meal("17:00-18:00", "Dumplings", 30),
                road("18:00-18:10", "Dumplings", "Inn"),
                stay("18:10-24:00"),
            ],
        },
        {
            "day_number": 2,
            "current_city": "Bton",
            "accommodation": {"name": "Inn", "price_per_night": 200},
            "activities": [
                road("09:00-09:10", "Inn", "Square"),
                visit("09:10-11:30", "Square", 0),
                road("11:30-11:40", "Square", "Buns"),
                meal("11:40-12:40", "Buns", 20),
                road("12:40-12:50", "Buns", "Pagoda"),
                visit("12:50-14:50", "Pagoda", 10),
                road("14:50-15:00", "Pagoda", "Grill"),
                rest("15:00-17:30"),
                meal("17:30-18:30", "Grill", 80),
                road("18:30-18:40", "Grill", "Inn"),
                stay("18:40-23:30"),
            ],
        },
        {
            "day_number": 3,
            "current_city": "from Bton to Aville",
            "activities": [
                road("10:00-10:10", "Inn", "Tower"),
                visit("10:10-12:10", "Tower", 15),
                road("12:10-12:20", "Tower", "Cafe"),
                meal("12:20-13:20", "Cafe", 40),
                road("13:20-13:30", "Cafe", "Bton Station"),
                rest("13:30-18:00"),
                train("18:00-20:00", "G2", "Bton", "Aville"),
            ],
        },
    ],
}


def good_plan() -> Plan:
    """Two people, two nights in one room and one car: trips 400, nights 400, meals 446, tickets 170, roads 195."""
    return copy.deepcopy(_PLAN)


def day(plan: Plan, number: int) -> dict[str, Any]:
    entry: dict[str, Any] = plan["daily_plans"][number - 1]
    return entry


def activity(plan: Plan, number: int, name: str) -> dict[str, Any]:
    """The first activity of a day that is of that kind, or at a place of that name."""
    return next(act for act in day(plan, number)["activities"] if name in (act["type"], act["details"].get("name")))


def timed(number: int, name: str, slot: Any) -> Edit:
    """Sets the time slot of an activity."""
    return lambda plan: activity(plan, number, name).update(time_slot=slot)


def detailed(number: int, name: str, /, **details: Any) -> Edit:
    """Sets details of an activity; `from_` stands for `from`."""
    changed = {key.rstrip("_"): value for key, value in details.items()}
    return lambda plan: activity(plan, number, name)["details"].update(changed)


def without(number: int, name: str) -> Edit:
    """Takes an activity out of a day."""
    return lambda plan: day(plan, number)["activities"].remove(activity(plan, number, name))


def edited(*edits: Edit) -> Plan:
    """The good plan after some edits."""
    plan = good_plan()
    for edit in edits:
        edit(plan)
    return plan


def total(value: Any) -> Edit:
    return lambda plan: plan["budget_summary"].update(total_estimated_budget=value)


def of_day(number: int, **fields: Any) -> Edit:
    return lambda plan: day(plan, number).update(fields)


def appended(number: int, *activities: dict[str, Any]) -> Edit:
    return lambda plan: day(plan, number)["activities"].extend(activities)


def inserted(number: int, place: int, *activities: dict[str, Any]) -> Edit:
    def edit(plan: Any) -> None:
        day(plan, number)["activities"][place:place] = activities

    return edit


def replaced(number: int, *activities: dict[str, Any]) -> Edit:
    return lambda plan: day(plan, number).update(activities=list(activities))
