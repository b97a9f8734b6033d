"""The atlas of a task: records, names, roads, and what is near."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from programs.deepplanning.travel.atlas import Atlas, seats_for
from programs.deepplanning.travel.database import Road
from programs.deepplanning.travel.loader import TravelTask, load_tasks
from programs.deepplanning.travel.lookup import NotFound, TravelLookup
from programs.deepplanning.travel.scoring.tables import Tables
from tests.programs.travel.atlas_city import atlas, database
from tests.programs.travel.cities import NO_DATA, TRAVEL

CITY = atlas()


def test_records_have_ids_in_the_order_of_the_tables_and_numbers_for_texts() -> None:
    assert CITY.hotels["H1"] == {
        "id": "H1", "name": "Inn", "star": 3, "brand": "Hilton", "price": 222, "score": 4.8, "renovated": 2020,
        "services": ["Gym", "Free Parking"],
    }  # fmt: skip
    assert CITY.hotels["H3"]["renovated"] is None and CITY.hotels["H3"]["services"] == []
    assert CITY.attractions["A1"] == {
        "id": "A1", "name": "Museum", "type": "Art", "rating": 4.5, "open": "09:00", "close": "17:00",
        "closed": [1, 7], "closed_text": "Monday,周日", "min_hours": 1, "max_hours": 2.5, "ticket": 40,
    }  # fmt: skip
    assert [place["name"] for place in CITY.attractions.values()] == ["Museum", "Square", "Garden", "Tower"]
    assert str(CITY.hotels["H1"]["price"]) == "222"  # as it is shown: without a point


def test_of_a_restaurants_rows_the_last_counts() -> None:
    names = [restaurant["name"] for restaurant in CITY.restaurants.values()]
    assert names == ["Noodles", "Dumplings", "Grill", "Airport Bar", "Tower"]
    noodles = CITY.restaurants["R1"]
    assert (noodles["price"], noodles["close"], noodles["rating"]) == (60, "21:00", 4.1)


def test_trips_are_found_by_city_without_brackets_and_by_day() -> None:
    trips = CITY.trips("Aville", "Bton (new town)", "2026-05-01")
    assert [trip["number"] for trip in trips] == ["MU1", "G1", "G2", "G2", "G3", "G4", "K9", "K1/K2"]
    assert [trip["number"] for trip in CITY.trips("Bton", "Aville", "2026-05-02", "train")] == ["G3", "G4"]
    assert CITY.trips("Aville", "Bton", "2026-05-02") == CITY.trips("Aville", "Cton", "2026-05-01") == []
    assert CITY.cities == ("Aville", "Bton") and CITY.dates == ("2026-05-01", "2026-05-02")


def test_a_direct_trip() -> None:
    flight, train, *_, night, _ = CITY.trips("Aville", "Bton", "2026-05-01")
    assert train == {
        "number": "G1", "mode": "train", "direct": True, "from": "Aville Station", "to": "Bton Station",
        "date": "2026-05-01", "dep": "06:30", "arr": "09:00", "arr_day": 0, "minutes": 150,
        "seat_class": "Second Class Seat", "seats": 2, "price": 100, "train_type": "Express",
    }  # fmt: skip
    assert (night["dep"], night["arr"], night["arr_day"]) == ("22:00", "01:10", 1)
    assert (flight.get("airline"), flight.get("manufacturer"), flight.get("aircraft")) == ("China Air", "Airbus", "320")
    assert "train_type" not in flight


def test_a_trip_with_changes_lists_its_legs_in_their_order() -> None:
    trip = CITY.trips("Aville", "Bton", "2026-05-01")[-1]
    assert [leg["number"] for leg in trip["legs"]] == ["K1", "K2"] and not trip["direct"]
    assert (trip["from"], trip["to"], trip["dep"], trip["arr"]) == ("Aville Station", "Bton Station", "07:00", "12:15")
    assert (trip["minutes"], trip["price"], trip["seats"]) == (315, 41, 7)


@pytest.mark.parametrize(("number", "seats", "three"), [("G1", 2, False), ("G2", "Available", True), ("G4", 7, True)])
def test_seats_are_a_number_or_a_text_that_means_enough(number: str, seats: object, three: bool) -> None:
    trip = next(trip for trip in CITY.trips("Aville", "Bton", "2026-05-01") if trip["number"] == number)
    assert trip["seats"] == seats and seats_for(trip, 3) is three


def test_places_are_found_by_id_and_by_name() -> None:
    assert CITY.find("A2") is CITY.find(" Square") is CITY.attractions["A2"]
    assert CITY.find("Tower")["id"] == "A4"  # a restaurant of this name has an id of its own
    assert CITY.find("R5")["name"] == "Tower"
    assert CITY.find("Old Mill") == {"id": "L1", "name": "Old Mill", "kind": "attraction"}
    assert CITY.find("Bton South Station")["id"].startswith("S")  # no coordinates are published
    with pytest.raises(LookupError, match=r"no place 'Musem'; nearest names: \['Museum'"):
        CITY.find("Musem")
    with pytest.raises(LookupError, match="no place 'bton station'; nearest names: .*'Bton Station'"):
        CITY.road("bton station", "A1")


def test_roads_run_between_ids_and_names_in_one_direction() -> None:
    assert CITY.road("Bton Station", "A1") == Road(9000, 20, 30)
    assert CITY.road("Museum", "Bton Station") == Road(9500, 25, 31)
    assert CITY.road("A1", "Noodles") == Road(700, 10, 0)  # of two coordinates the last
    assert CITY.road("A1", "Museum") == CITY.road("A2", "Tower") == Road(0, 0, 0)
    assert CITY.road("A1", "H1") is None and CITY.road("A1", "Bton South Station") is None


def test_restaurants_near_have_what_their_row_for_the_place_says_but_their_own_hours() -> None:
    dumplings, noodles = CITY.restaurants_near("Museum")
    assert (dumplings["id"], dumplings["metres"], dumplings["minutes"]) == ("R2", 400, 5)
    assert (noodles["price"], noodles["rating"], noodles["tags"]) == (53, 4.5, ["Patio", "Queue"])
    assert noodles["close"] == CITY.restaurants["R1"]["close"] == "21:00"
    assert noodles["cuisine"] == ["Chinese", "Hot Pot"]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ({"limit": 1}, ["R2"]),
        ({"sort": "rating"}, ["R1", "R2"]),
        ({"sort": "price"}, ["R2", "R1"]),
        ({"tag": "patio"}, ["R1"]),
        ({"cuisine": "Hot Pot"}, ["R1"]),
        ({"tag": "Private Room"}, []),
    ],
)
def test_restaurants_near_are_sorted_and_filtered(arguments: dict[str, Any], ids: list[str]) -> None:
    assert [restaurant["id"] for restaurant in CITY.restaurants_near("A1", **arguments)] == ids


def test_of_two_attractions_at_one_point_each_has_its_own_rows_of_a_shared_restaurant() -> None:
    for place, rating in (("Square", 4.0), ("Tower", 3.9)):
        assert [record["rating"] for record in CITY.restaurants_near(place) if record["name"] == "Grill"] == [rating]
    assert [record["name"] for record in CITY.restaurants_near("Tower")] == ["Grill", "Noodles"]
    assert [record["name"] for record in CITY.restaurants_of("Tower")] == ["Grill"]


def test_restaurants_near_a_station_and_where_there_are_none() -> None:
    (bar,) = CITY.restaurants_near("Aville Airport")
    assert (bar["name"], bar["metres"]) == ("Airport Bar", 0)
    assert CITY.restaurants_near("H1") == CITY.restaurants_near("Bton South Station") == []


def test_forks_share_the_atlas_and_tables_may_be_absent() -> None:
    assert copy.deepcopy(CITY) is CITY and copy.copy(CITY) is CITY
    empty = Atlas(database(trains=None, flights=None, restaurants=[]))
    assert empty.trips("Aville", "Bton", "2026-05-01") == [] and empty.cities == empty.dates == ()


def _tasks() -> list[TravelTask]:
    return [] if not TRAVEL.is_dir() else [task for lang in ("en", "zh") for task in load_tasks(TRAVEL, language=lang)]


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize("task", _tasks()[::9], ids=lambda task: task.id)
def test_real_places_agree_with_the_published_tools_and_the_evaluator(task: TravelTask) -> None:
    city, tools, tables = Atlas(task.database), TravelLookup(task.database), Tables(task.database)
    for place in (*city.attractions.values(), *city.hotels.values()):
        latitude, longitude = (city.coordinates(place["id"]) or "").split(",")
        names = {row["name"] for row in tools.recommend_restaurants(latitude, longitude)}
        near = city.restaurants_near(place["id"], limit=None)
        assert {record["name"] for record in near} == names
        assert all(record["open"] == tables.restaurants[record["name"]]["opening_time"] for record in near)
    for name in {row["poi_name"].strip() for row in task.database.locations}:
        assert city.coordinates(name) == tables.coordinates(name)
        for attraction in city.attractions.values():
            same = city.coordinates(attraction["id"]) == city.coordinates(name)
            road = tables.road(attraction["name"], name) or (Road(0, 0, 0) if same else None)
            assert city.road(attraction["id"], name) == (Road(0, 0, 0) if name == attraction["name"] else road)


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
@pytest.mark.parametrize("task", _tasks()[::9], ids=lambda task: task.id)
def test_real_trips_are_those_of_the_published_tools(task: TravelTask) -> None:
    city, tools = Atlas(task.database), TravelLookup(task.database)
    for origin, destination, date in ((a, b, day) for a in city.cities for b in city.cities for day in city.dates):
        for mode, query in (("train", tools.query_train_info), ("flight", tools.query_flight_info)):
            try:
                routes = query(origin, destination, date)
            except NotFound:
                routes = []
            numbers = [dict.fromkeys(leg["marketingTransportNo"] for leg in route["segments"]) for route in routes]
            trips = city.trips(origin, destination, date, mode)  # type: ignore[arg-type]
            assert sorted(trip["number"] for trip in trips) == sorted(map("/".join, numbers))
            assert sum(trip["price"] for trip in trips) == pytest.approx(sum(route["price"] for route in routes))
