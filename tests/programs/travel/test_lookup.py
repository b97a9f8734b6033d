"""The tools as typed methods: what they find, and that nothing found is an error with the benchmark's words."""

from __future__ import annotations

from typing import Any

import pytest

from programs.deepplanning.travel.lookup import NoTable, NotFound, TravelLookup
from tests.programs.travel.cities import INN, MUSEUM, STATION, city

ANY_DAYS = ("Bton", "2026-05-01", "2026-05-02")
TRIP = ("Aville", "Bton", "2026-05-01")


@pytest.fixture
def lookup() -> TravelLookup:
    return TravelLookup(city())


def test_routes_come_in_the_order_of_text_with_their_changes(lookup: TravelLookup) -> None:
    change, direct = lookup.query_train_info(*TRIP)
    assert [segment["marketingTransportNo"] for segment in change["segments"]] == ["K1", "K2"]
    assert [segment["depCityName"] for segment in change["segments"]] == ["Aville", "Midway East"]
    assert change["price"] == 41.5 and direct["price"] == 80.0
    assert direct["segments"][0]["remainingSeats"] == "Available" and direct["segments"][0]["duration"] == 90


def test_a_seat_class_may_leave_half_of_a_route(lookup: TravelLookup) -> None:
    (route,) = lookup.query_train_info(*TRIP, seatClassName="Hard Seat")
    assert [segment["depCityName"] for segment in route["segments"]] == ["Aville"]


def test_flights_show_the_aircraft(lookup: TravelLookup) -> None:
    (route,) = lookup.query_flight_info(*TRIP, seatClassName="")
    assert route["segments"][0]["equipType"] == "320" and route["segments"][0]["marketingTransportName"] == "Air A"


def test_hotels_and_attractions_are_filtered_to_the_letter(lookup: TravelLookup) -> None:
    assert [hotel["name"] for hotel in lookup.query_hotel_info(*ANY_DAYS)] == ["Inn", "Hostel"]
    (inn,) = lookup.query_hotel_info("elsewhere", "", "", hotelStar="3", hotelBrands="Hilton")
    assert inn["name"] == "Inn" and inn["services"] == ["Gym", "Pool"]
    assert "services" not in lookup.query_hotel_info(*ANY_DAYS, hotelStar="2")[0]
    assert [attraction["attraction_name"] for attraction in lookup.recommend_attractions("Bton", "Art")] == ["Museum"]
    with pytest.raises(NotFound, match="reduce constraints"):
        lookup.query_hotel_info(*ANY_DAYS, hotelBrands="hilton")


def test_of_one_name_the_first_row_is_shown(lookup: TravelLookup) -> None:
    assert lookup.search_location("Museum")["latitude"] == "30.100000"
    assert lookup.query_restaurant_details("Noodles")["price_per_person"] == "53.0"
    assert lookup.query_attraction_details("Museum")["ticket_price"] == "40"


def test_restaurants_around_coordinates(lookup: TravelLookup) -> None:
    noodles, dumplings = lookup.recommend_restaurants("30.100000", "120.100000")
    assert noodles["tags"] == ["Patio", "Queue"] and "tags" not in dumplings


def test_roads(lookup: TravelLookup) -> None:
    assert lookup.query_road_route_info(MUSEUM, INN) == {
        "origin": MUSEUM, "destination": INN, "distance_in_meters": 1500, "duration_in_minutes": 18, "cost": 0,
    }  # fmt: skip
    with pytest.raises(NotFound, match=f"from {INN} to {MUSEUM}"):
        lookup.query_road_route_info(INN, MUSEUM)
    with pytest.raises(NotFound, match="Coordinate Museum is not in query range"):
        lookup.query_road_route_info(STATION, "Museum")


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("query_train_info", ("Bton", "Aville", "2026-05-01")),
        ("query_flight_info", ("Aville", "Bton", "2026-05-02")),
        ("query_hotel_info", (*ANY_DAYS, "5")),
        ("recommend_attractions", ("Bton", "art")),
        ("query_attraction_details", ("{museum}",)),
        ("search_location", ("museum",)),
        ("query_road_route_info", ("30.1,120.1", INN)),
        ("recommend_restaurants", ("30.1", "120.1")),
        ("query_restaurant_details", ("noodles",)),
    ],
)
@pytest.mark.parametrize("language", ["en", "zh"])
def test_nothing_found_names_what_was_asked(tool: str, arguments: tuple[str, ...], language: Any) -> None:
    with pytest.raises(NotFound) as raised:
        getattr(TravelLookup(city(language)), tool)(*arguments)
    message = str(raised.value)
    assert tool == "query_hotel_info" or tool == "recommend_attractions" or arguments[0] in message
    assert message.isascii() == (language == "en")


def test_a_task_may_have_no_trains_at_all() -> None:
    with pytest.raises(NoTable, match="No information found$"):
        TravelLookup(city(trains=None)).query_train_info(*TRIP)
    with pytest.raises(NotFound, match="from Aville to Bton"):
        TravelLookup(city(trains=[])).query_train_info(*TRIP)
    with pytest.raises(NoTable, match="请检查输入参数"):
        TravelLookup(city("zh", flights=None)).query_flight_info(*TRIP)
