"""A made trip on a plane, from Aville to Bton and back, whose roads are as long as its places lie apart."""

from __future__ import annotations

from datetime import date, datetime
from functools import cache
from math import hypot
from typing import Any

from programs.deepplanning.travel.atlas import Atlas, Trip
from programs.deepplanning.travel.database import Road, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.itinerary import Itinerary

FRAME = Frame("Aville", "Bton", date(2026, 5, 1), date(2026, 5, 4), people=5, rooms=3)
"""Friday to Monday, two cars."""
SPOTS = {
    "Aville Airport": (0, 0), "Aville Station": (9, 4), "Lounge": (1, 0), "Buffet": (0, 2),
    "Bton Airport": (230, 0), "Bton Station": (200, 5), "Inn": (203, 9), "Hostel": (212, 4),
    "Halfway": (100, 7), "Halfway South": (100, 0), "Museum": (205, 12), "Street": (204, 8), "Garden": (215, 18),
    "Bridges": (201, 3), "Club": (209, 9), "Noodles": (205, 13), "Cafe": (204, 7), "Grill": (216, 18), "Bar": (202, 8),
    "Canteen": (205, 13), "Kiosk": (201, 2),
}  # fmt: skip
"""Kilometres east and north. Bton West, a station, is not among them, and Canteen is where Noodles is."""
_MOVED = {"Canteen": "Noodles"}


def coordinates(name: str) -> str:
    name = _MOVED.get(name, name)
    return f"30.{list(SPOTS).index(name):06},120.000000"


def road(origin: str, destination: str) -> Road:
    """Five minutes at least, longer to the east than to the west."""
    (x, y), (to_x, to_y) = SPOTS[origin], SPOTS[destination]
    metres = round(hypot(x - to_x, y - to_y) * 1000) + 100
    minutes = max(5, metres // 700 + (to_x > x))
    return Road(metres, minutes, 0 if metres <= 2000 else 5 + metres // 300)


def _trip(numbers: str, stations: str, times: str, price: str, **cells: str) -> list[dict[str, str]]:
    """The rows of a trip "G1/G2", with stations "A-M M-B" and times "01 08:00, 01 09:00, ..." in May."""
    ends = [[_STATIONS[letter] for letter in leg.split("-")] for leg in stations.split()]
    moments = [datetime.fromisoformat(f"2026-05-{moment}") for moment in times.split(", ")]
    out = stations[0] in "Aa"
    return [
        {
            "origin_city": "Aville" if out else "Bton", "destination_city": "Bton" if out else "Aville",
            "dep_date": f"{moments[0]:%Y-%m-%d}", "dep_station_name": ends[n][0], "arr_station_name": ends[n][1],
            "dep_datetime": str(moments[2 * n]), "arr_datetime": str(moments[2 * n + 1]), "duration": "60",
            "seat_class": "Second Class Seat", "seat_status": "Sufficient", "price": price, "segment_index": str(n + 1),
            "route_index": numbers, "train_no": number, "train_type": "Express", "flight_no": number, **cells,
        }
        for n, number in enumerate(numbers.split("/"))
    ]  # fmt: skip


_STATIONS = {
    "A": "Aville Station", "a": "Aville Airport", "B": "Bton Station", "b": "Bton Airport", "W": "Bton West",
    "M": "Midway", "N": "Midway North", "O": "Halfway", "P": "Halfway South",
}  # fmt: skip
TRAINS = [
    *_trip("G1", "A-B", "01 06:28, 01 09:15", "347"),
    *_trip("G3", "A-B", "01 13:00, 01 16:30", "120.5"),
    *_trip("G5", "A-W", "01 08:00, 01 11:00", "99"),
    *_trip("K7", "A-B", "01 20:00, 02 11:00", "80"),
    *_trip("Z9", "A-B", "01 15:00, 03 07:30", "60"),
    *_trip("D1/D3", "A-M M-B", "01 07:00, 01 09:00, 01 09:40, 01 12:00", "110"),
    *_trip("D5/D7", "A-M M-B", "01 21:00, 01 23:30, 02 00:20, 02 02:00", "90"),
    *_trip("D1/D9", "A-M N-B", "01 07:00, 01 09:00, 01 09:25, 01 12:00", "70"),
    *_trip("D1/D8", "A-O P-B", "01 07:00, 01 09:00, 01 09:05, 01 12:00", "50"),
    *_trip("G2", "B-A", "04 10:46, 04 16:00", "341"),
    *_trip("G4", "B-A", "04 18:00, 04 20:40", "120.5"),
    *_trip("G6", "W-A", "04 17:00, 04 20:00", "99"),
    *_trip("K8", "B-A", "04 00:05, 04 09:00", "80"),
    *_trip("D2/D4", "B-M M-A", "04 15:00, 04 17:00, 04 18:00, 04 19:30", "110"),
]
FLIGHTS = [
    *_trip("MU1", "a-b", "01 20:20, 01 22:20", "750"),
    *_trip("MU3", "a-b", "01 22:00, 01 23:55", "500"),
    *_trip("MU2", "b-a", "04 19:00, 04 21:00", "750"),
    *_trip("MU4", "b-a", "04 22:30, 05 00:40", "500"),
]
HOTELS = [{"name": "Inn", "price": "222.5"}, {"name": "Hostel", "price": "90"}]


def _attraction(name: str, opening: str, closing: str, least: str, most: str, price: str, closed: str = "") -> Any:
    return {
        "attraction_name": name, "opening_time": opening, "closing_time": closing, "closing_dates": closed,
        "min_visit_hours": least, "max_visit_hours": most, "ticket_price": price,
    }  # fmt: skip


ATTRACTIONS = [
    _attraction("Museum", "09:00", "17:00", "1.0", "2.5", "40.0", "Monday"),
    _attraction("Street", "Open 24 Hours", "Open 24 Hours", "1.5", "3.0", "0.0"),
    _attraction("Garden", "08:00", "17:15", "0.3", "1.8", "12.5"),
    _attraction("Bridges", "Open 24 Hours", "Open 24 Hours", "0.0", "1.5", "0.0"),
    _attraction("Club", "19:00", "03:00", "2.0", "3.5", "30"),
    _attraction("Kiosk", "Open 24 Hours", "Open 24 Hours", "1.0", "2.5", "5"),
]


def _restaurant(name: str, opening: str, closing: str, price: str) -> dict[str, str]:
    return {"restaurant_name": name, "opening_time": opening, "closing_time": closing, "price_per_person": price}


RESTAURANTS = [
    _restaurant("Noodles", "10:00", "21:00", "53.0"),
    _restaurant("Cafe", "07:00", "20:00", "19.9"),
    _restaurant("Grill", "16:30", "23:30", "80"),
    _restaurant("Bar", "17:00", "02:00", "66"),
    _restaurant("Canteen", "06:00", "24:00", "10"),
    _restaurant("Kiosk", "", "", "8"),
    _restaurant("Lounge", "05:00", "23:00", "100"),
    _restaurant("Buffet", "10:00", "22:00", "45"),
]


@cache
def database() -> TravelDatabase:
    placed = [name for name in SPOTS if name not in _MOVED]
    roads = RoadMatrix(
        (coordinates(start), coordinates(end), road(start, end)) for start in placed for end in placed if start != end
    )
    locations = [
        dict(zip(("poi_name", "latitude", "longitude"), (name, *coordinates(name).split(",")), strict=True))
        for name in SPOTS
    ]
    return TravelDatabase.of(
        "en", roads, trains=TRAINS, flights=FLIGHTS, hotels=HOTELS, attractions=ATTRACTIONS, restaurants=RESTAURANTS,
        locations=locations,
    )  # fmt: skip


@cache
def atlas() -> Atlas:
    return Atlas(database())


OUT = tuple(atlas().trips("Aville", "Bton", "2026-05-01"))
BACK = tuple(atlas().trips("Bton", "Aville", "2026-05-04"))
GOLD: dict[str, Any] = {
    "org": "Aville", "dest": ["Bton"], "days": 4, "depart_date": "2026-05-01", "return_date": "2026-05-04",
    "depart_weekday": 5, "people_number": 5, "room_number": 3, "hard_constraints": {},
}  # fmt: skip


def trip(number: str) -> Trip:
    return next(trip for trip in (*OUT, *BACK) if trip["number"] == number)


def itinerary(out: str = "G1", back: str = "G4", hotel: str = "Inn") -> Itinerary:
    start = Itinerary.start(atlas(), FRAME)
    return start.with_trip("out", trip(out)).with_trip("back", trip(back)).with_hotel(hotel)
