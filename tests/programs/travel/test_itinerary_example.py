"""Three days of a real trip, from Fuzhou to Suzhou, by its roads and trains: the lines and the order of their parts."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.database import Road, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.itinerary import Itinerary

MINUTES = {
    "Shengze Station, A5": 66, "A5, R1": 6, "R1, A3": 5, "A3, R2": 6, "R2, Inn": 71, "Inn, A2": 62, "A2, R3": 5,
    "R3, A1": 24, "A1, A4": 5, "A4, R4": 5, "R4, Inn": 64, "Inn, Suzhou South Station": 66,
}  # fmt: skip
"""All other places are named by their ids."""
PLACES = sorted({place for pair in MINUTES for place in pair.split(", ")})
FRAME = Frame("Fuzhou", "Suzhou", date(2025, 11, 12), date(2025, 11, 14), people=3, rooms=2)


def coordinates(place: str) -> dict[str, str]:
    return {"latitude": str(PLACES.index(place)), "longitude": "0"}


def roads() -> Iterable[tuple[str, str, Road]]:
    for pair, minutes in MINUTES.items():
        start, end = (",".join(coordinates(place).values()) for place in pair.split(", "))
        yield start, end, Road(9000, minutes, 20)


def train(number: str, day: str, cities: str, stations: str, times: str) -> dict[str, str]:
    (origin, destination), (start, end) = cities.split("-"), stations.split("-")
    departs, arrives = times.split("-")
    return {
        "origin_city": origin, "destination_city": destination, "dep_date": day, "dep_station_name": start,
        "arr_station_name": end, "dep_datetime": f"{day} {departs}:00", "arr_datetime": f"{day} {arrives}:00",
        "train_no": number, "price": "347", "duration": "0", "segment_index": "1", "route_index": number,
    }  # fmt: skip


def suzhou() -> Atlas:
    database = TravelDatabase.of(
        "en",
        RoadMatrix(roads()),
        trains=[
            train("G1412", "2025-11-12", "Fuzhou-Suzhou", "Fuzhou Station-Shengze Station", "06:28-11:15"),
            train("D3205", "2025-11-14", "Suzhou-Fuzhou", "Suzhou South Station-Fuzhou South Station", "10:46-16:00"),
        ],
        hotels=[{"name": "Inn", "price": "466"}],
        attractions=[{"attraction_name": place} for place in PLACES if place[0] == "A"],
        restaurants=[
            {"restaurant_name": place, "opening_time": "08:00", "closing_time": "22:00"}
            for place in PLACES if place[0] == "R"
        ],
        locations=[{"poi_name": place, **coordinates(place)} for place in PLACES],
    )  # fmt: skip
    return Atlas(database)


def test_three_days_of_a_real_trip() -> None:
    atlas = suzhou()
    (out,), (back,) = atlas.trips("Fuzhou", "Suzhou", "2025-11-12"), atlas.trips("Suzhou", "Fuzhou", "2025-11-14")
    trip = Itinerary.start(atlas, FRAME).with_trip("out", out).with_trip("back", back).with_hotel("H1")
    trip = trip.with_day(1, [["A5", None, 1.5], ["R1"], ["A3", None, 1], ["R2", "18:00"]])
    trip = trip.with_day(2, [["A2", "09:30", 2], ["R3"], ["A1", None, 1], ["A4", None, 2], ["R4", "18:00"]])
    assert [trip.render_day(day) for day in (1, 2, 3)] == [
        "day 1 Wed: 06:28-11:15 G1412 [wait 30] (66 min) 12:51-14:21 A5 (6 min) 14:27-15:27 R1 (5 min) 15:32-16:32 A3 "
        "(6 min) [wait 82] 18:00-19:00 R2 (71 min) 20:11 hotel",
        "day 2 Thu: (62 min) 09:30-11:30 A2 (5 min) 11:35-12:35 R3 (24 min) 12:59-13:59 A1 (5 min) 14:04-16:04 A4 "
        "(5 min) [wait 111] 18:00-19:00 R4 (64 min) 20:04 hotel",
        "day 3 Fri: (66 min) [wait 30] 10:46-16:00 D3205",
    ]
    assert not trip.notes
    assert (trip.costs.trips, trip.costs.hotel, trip.costs.roads) == (2082, 1864, 12 * 20)
