"""A small made city with ties, repeated names and odd hours, for the tests of atlas and wishes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.database import Road, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.frame import Frame
from tests.programs.travel.cities import trip

SPOTS = {
    name: f"30.{number}00000,120.{number}00000"
    for number, name in enumerate(("station", "museum", "square", "garden", "inn", "north", "south"), start=1)
}
FRAME = Frame("Aville", "Bton", date(2026, 5, 1), date(2026, 5, 2), people=3, rooms=2)


def place(spot: str, **cells: str) -> dict[str, str]:
    latitude, longitude = SPOTS[spot].split(",")
    return {"latitude": latitude, "longitude": longitude, **cells}


def train(number: str, dep: str, arr: str, price: str, to: str = "Bton Station", **cells: str) -> dict[str, str]:
    """A direct train out; its route is named as the train, which no other cell is."""
    minutes = _minutes(arr) - _minutes(dep)
    times = {"dep_datetime": f"2026-05-01 {dep}:00", "arr_datetime": f"2026-05-01 {arr}:00", "duration": str(minutes)}
    return trip(number + to, "1", number, "Aville Station", to, **times, price=price, **cells)


def home(row: Mapping[str, str]) -> dict[str, str]:
    """The same the other way on the last day."""
    turned = {
        "origin_city": row["destination_city"], "destination_city": row["origin_city"], "dep_date": "2026-05-02",
        "dep_station_name": row["arr_station_name"], "arr_station_name": row["dep_station_name"],
    }  # fmt: skip
    times = {key: row[key].replace("05-01", "05-02") for key in ("dep_datetime", "arr_datetime")}
    return {**row, **turned, **times}


def _minutes(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 60 + int(minutes)


TRAINS = [
    train("G1", "06:30", "09:00", "100", seat_status="2"),
    train("G2", "08:00", "10:00", "100", seat_status="", train_type="High-Speed Train"),
    train("G2", "08:00", "10:20", "100", "Bton South Station", train_type="High-Speed Train"),
    train("G3", "09:00", "11:30", "80.5", seat_status="Sufficient", seat_class="First Class Seat"),
    train("G4", "14:00", "16:00", "80.5", seat_class="First Class Seat"),
    trip(
        "n", "1", "K9", "Aville Station", "Bton Station", origin_city=" Aville (old town)", price="60",
        dep_datetime="2026-05-01 22:00:00", arr_datetime="2026-05-02 01:10:00", duration="190",
        train_type="Night Train",
    ),
    trip("c", "2", "K2", "Midway", "Bton Station", arr_datetime="2026-05-01 12:15:00", seat_status="9", price="41"),
    trip("c", "1", "K1", "Aville Station", "Midway", dep_datetime="2026-05-01 07:00:00", price="41"),
]  # fmt: skip
TRAINS += [home(row) for row in TRAINS if row["train_no"] in ("G3", "G4")]
FLIGHTS = [
    trip(
        "1", "1", "", "Aville Airport", "Bton Airport", price="500", flight_no="MU1", airline="China Air",
        equip_type="320", manufacturer="Airbus", seat_class="Economy Class",
    )
]  # fmt: skip
HOTELS = [
    place("inn", name="Inn", hotel_star="3", brand="Hilton", price="222", score="4.8", decoration_time="2020",
          services="Gym;Free Parking"),
    {"name": "Hilton Plaza", "hotel_star": "4", "brand": "Hilton", "price": "222", "score": "4.9",
     "decoration_time": "2024", "services": "Gym"},
    {"name": "Hostel", "hotel_star": "2", "brand": "", "price": "90", "score": "4.1", "decoration_time": ""},
]  # fmt: skip
ATTRACTIONS = [
    place("museum", attraction_name="Museum", attraction_type="Art", rating="4.5", opening_time="09:00",
          closing_time="17:00", closing_dates="Monday,周日", min_visit_hours="1.0", max_visit_hours="2.5",
          ticket_price="40.0"),
    place("square", attraction_name="Square ", attraction_type="Landmark", rating="4.7",
          opening_time="Open 24 Hours", closing_time="Open 24 Hours", ticket_price="0"),
    place("garden", attraction_name="Garden", attraction_type="Nature", rating="4.7", opening_time="18:00",
          closing_time="02:00", ticket_price="0"),
    place("square", attraction_name="Tower", attraction_type="Landmark", rating="4.9", opening_time="10:00",
          closing_time="22:00", ticket_price="60"),
]  # fmt: skip


def restaurant(name: str, near: str, spot: str, at: str, **cells: str) -> dict[str, str]:
    """A row of a restaurant that stands `at` a spot, for the place `near` at another."""
    latitude, longitude = SPOTS[spot].split(",")
    query = {"nearby_attraction_name": near, "query_latitude": latitude, "query_longitude": longitude}
    hours = {"opening_time": "10:00", "closing_time": "21:00"}
    return place(at, restaurant_name=name, **query, **{**hours, **cells})


RESTAURANTS = [
    restaurant("Noodles", "Museum", "museum", "north", price_per_person="53.0", rating="4.5", tags="Patio;Queue",
               cuisine="Chinese;Chinese|Hot Pot", closing_time="20:00"),
    restaurant("Dumplings", "Museum", "museum", "south", price_per_person="20", rating="4.5", tags="Queue",
               cuisine="Chinese"),
    restaurant("Grill", "Square", "square", "north", price_per_person="90", rating="4.0", tags="Patio"),
    restaurant("Noodles", "Square", "square", "north", price_per_person="60.0", rating="4.1", tags="Private Room"),
    restaurant("Grill", "Tower", "square", "north", price_per_person="90", rating="3.9", tags="Queue"),
    restaurant("Airport Bar", "Aville Airport", "station", "station", price_per_person="30", rating="3.0"),
    restaurant("Tower", "Old Mill", "garden", "south", price_per_person="45", rating="4.4"),
]  # fmt: skip
LOCATIONS = [
    place("south", poi_name="Noodles", poi_type="restaurant"),
    *(place(spot, poi_name=spot.title(), poi_type="attraction") for spot in ("museum", "square", "garden")),
    place("station", poi_name="Bton Station", poi_type="train_station"),
    place("station", poi_name="Aville Airport", poi_type="airport"),
    place("garden", poi_name="Old Mill", poi_type="attraction"),
    place("north", poi_name="Noodles", poi_type="restaurant"),
]
METRES = {("museum", "north"): 700, ("museum", "south"): 400, ("square", "north"): 900, ("garden", "south"): 300}
ROADS = [
    *((SPOTS[start], SPOTS[end], Road(metres, metres // 70, 0)) for (start, end), metres in METRES.items()),
    (SPOTS["station"], SPOTS["museum"], Road(9000, 20, 30)),
    (SPOTS["museum"], SPOTS["station"], Road(9500, 25, 31)),
]  # fmt: skip


def database(**tables: Any) -> TravelDatabase:
    """The city, with other tables where they are given."""
    rows: dict[str, Any] = {
        "trains": TRAINS, "flights": FLIGHTS, "hotels": HOTELS, "attractions": ATTRACTIONS, "restaurants": RESTAURANTS,
        "locations": LOCATIONS, **tables,
    }  # fmt: skip
    return TravelDatabase.of("en", RoadMatrix(ROADS), **rows)


def atlas(**tables: Any) -> Atlas:
    return Atlas(database(**tables))
