"""A tiny made city for the tests, in memory and as the benchmark publishes one."""

from __future__ import annotations

import csv
import gzip
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programs.deepplanning.travel.database import COLUMNS, FILES, Language, Road, RoadMatrix, TravelDatabase

DATA = Path(os.environ.get("PIVOT_DATA") or Path(__file__).parents[3] / ".." / "shared" / "data")
TRAVEL = DATA / "deepplanning_travel"
NO_DATA = "no real tasks; set PIVOT_DATA to their folder"

STATION, MUSEUM, INN = "30.000001,120.000000", "30.100000,120.100000", "30.200000,120.200000"
LEGS = [
    (STATION, MUSEUM, Road(9000, 20, 30)),
    (MUSEUM, INN, Road(1500, 18, 0)),
    (STATION, MUSEUM, Road(1, 1, 1)),
]


def trip(route: str, segment: str, name: str, start: str, end: str, **cells: str) -> dict[str, str]:
    """One train or flight from Aville to Bton on the first of May."""
    return {
        "origin_city": "Aville", "destination_city": "Bton", "dep_date": "2026-05-01", "dep_station_code": start[:3],
        "dep_station_name": start, "arr_station_code": end[:3], "arr_station_name": end,
        "dep_datetime": "2026-05-01 08:00:00", "arr_datetime": "2026-05-01 09:30:00", "duration": "90",
        "seat_class": "Second Class Seat", "seat_status": "7", "price": "80", "segment_index": segment,
        "route_index": route, "train_no": name, "train_type": "Express", **cells,
    }  # fmt: skip


TRAINS = [
    trip("9", "1", "G9", "Aville Station", "Bton Station", seat_status=""),
    trip("10", "2", "K2", "Midway East Station", "Bton Station", seat_class="Hard Seat", price="41.5"),
    trip("10", "1", "K1", "Aville Station", "Midway East Station", price="41.5"),
]
FLIGHTS = [
    trip(
        "1", "1", "", "Aville Airport", "Bton Airport", price="500", flight_no="MU1", airline="Air A", equip_type="320",
        equip_size="Medium", manufacturer="Airbus", seat_class="Economy Class",
    )
]  # fmt: skip
PLACES = dict(zip(("latitude", "longitude"), INN.split(","), strict=True))
HOTELS = [
    {"name": "Inn", "hotel_star": "3", "brand": "Hilton", "price": "222", **PLACES, "services": "Gym;Pool"},
    {"name": "Hostel", "hotel_star": "2", "brand": "", "price": "90"},
]
ATTRACTIONS = [
    {
        "attraction_name": "Museum", "attraction_type": "Art", "description": "Old things.", "city": "Bton",
        "attraction_id": "B1", "latitude": "30.100000", "longitude": "120.100000", "rating": "4.5",
        "opening_time": "09:00", "closing_time": "17:00", "closing_dates": "Monday", "min_visit_hours": "1",
        "max_visit_hours": "2.5", "ticket_price": "40", "address": "",
    },
    {"attraction_name": "Square", "attraction_type": "Landmark", "opening_time": "Open", "closing_time": "Open"},
]  # fmt: skip
RESTAURANTS = [
    {
        "restaurant_name": "Noodles", "query_latitude": "30.100000", "query_longitude": "120.100000",
        "price_per_person": "53.0", "tags": "Patio;Queue",
    },
    {"restaurant_name": "Dumplings", "query_latitude": "30.100000", "query_longitude": "120.100000"},
    {"restaurant_name": "Noodles", "query_latitude": "30.2", "query_longitude": "120.2", "price_per_person": "99.0"},
]  # fmt: skip
LOCATIONS = [
    {"poi_name": "Museum", "latitude": "30.100000", "longitude": "120.100000"},
    {"poi_name": "Museum", "latitude": "31.0", "longitude": "121.0"},
]
META: dict[str, Any] = {
    "org": "Aville", "dest": ["Bton"], "days": 2, "depart_date": "2026-05-01", "return_date": "2026-05-02",
    "depart_weekday": 5, "people_number": 2, "room_number": 1, "hard_constraints": {"s3cret": {}},
}  # fmt: skip


def city(language: Language = "en", **tables: Any) -> TravelDatabase:
    """The city, with other rows where they are given."""
    rows = {
        "trains": TRAINS, "flights": FLIGHTS, "hotels": HOTELS, "attractions": ATTRACTIONS, "restaurants": RESTAURANTS,
        "locations": LOCATIONS, **tables,
    }  # fmt: skip
    return TravelDatabase.of(language, RoadMatrix(LEGS), **rows)


def write_database(folder: Path, *without: str, packed: bool = False) -> Path:
    """The city's files in a task's folder; tables named in `without` are left out."""
    roads = [dict(zip(COLUMNS["roads"], (start, end, *map(str, road)), strict=True)) for start, end, road in LEGS]
    tables: dict[str, list[Any]] = {
        "flights": FLIGHTS, "trains": TRAINS, "hotels": HOTELS, "attractions": ATTRACTIONS,
        "restaurants": RESTAURANTS, "locations": LOCATIONS, "roads": roads,
    }  # fmt: skip
    for name, rows in tables.items():
        if name not in without:
            write_table(folder / FILES[name], COLUMNS[name], rows)
    if packed:
        plain = folder / FILES["roads"]
        plain.with_name(f"{plain.name}.gz").write_bytes(gzip.compress(plain.read_bytes()))
        plain.unlink()
    return folder


def write_table(file: Path, columns: tuple[str, ...], rows: list[Mapping[str, str]]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="utf-8-sig", newline="") as text:
        writer = csv.DictWriter(text, columns, restval="", extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)


def write_tasks(root: Path, *numbers: int, language: Language = "en", published: bool = False) -> Path:
    """A data folder with the city for every number."""
    for number in numbers:
        write_database(root / f"database_{language}" / f"id_{number}")
    queries = [{"id": number, "query": f"request {number}"} for number in numbers]
    gold = [{"id": number, "meta_info": META} for number in numbers]
    if published:
        both = [{**query, **meta, "id": str(query["id"])} for query, meta in zip(queries, gold, strict=True)]
        (root / f"travelplanning_query_{language}.json").write_text(json.dumps(both), encoding="utf-8")
    else:
        for kind, records in (("queries", queries), ("gold", gold)):
            lines = "\n".join(map(json.dumps, records))
            (root / f"{kind}_{language}.jsonl").write_text(lines, encoding="utf-8")
    return root
