"""The tools' texts: the form of each answer in both languages, and what bad arguments are message."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from programs.deepplanning.travel.tools import TOOLS, call
from tests.programs.travel.cities import INN, MUSEUM, city, trip

TRIP = {"origin": "Aville", "destination": "Bton", "depDate": "2026-05-01"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)


def asked(tool: str, language: Any = "en", **arguments: Any) -> str:
    return call(city(language), tool, json.dumps(arguments))


def test_a_train_is_a_list_in_a_list() -> None:
    routes = json.loads(asked("query_train_info", **TRIP))
    assert [list(route) for (route,) in routes] == [["Segment 1", "Segment 2", "price"], ["Segment 1", "price"]]
    first = routes[0][0]["Segment 1"]
    assert list(first)[-1] == "Remaining Seats" and first["Remaining Seats"] == "7" and routes[0][0]["price"] == 41.5


def test_a_train_in_chinese() -> None:
    trains = [
        trip("1", "1", "G1", "合肥站", "南京南站", seat_status=""),
        trip("1", "2", "G2", "南京南站", "上海站"),
    ]
    (((route),),) = json.loads(call(city("zh", trains=trains), "query_train_info", json.dumps(TRIP)))
    assert route["第1段"]["剩余票数量"] == "充足" and route["第2段"]["depCityName"] == "南京南"


def test_a_flight_is_the_object_itself() -> None:
    (route,) = json.loads(asked("query_flight_info", **TRIP))
    assert list(route["Segment 1"])[-4:] == ["Remaining Seats", "equipSize", "equipType", "manufacturer"]


def test_no_flight_is_an_error_of_the_benchmark_but_no_table_is_not() -> None:
    none = asked("query_flight_info", **{**TRIP, "depDate": "2026-05-02"})
    assert none == '{"error": "FlightQueryTool.<lambda>() missing 1 required positional argument: \'seat\'"}'
    message = call(city(flights=None), "query_flight_info", json.dumps(TRIP))
    assert message == "No information found, please check input parameters"


def test_attractions_are_lines() -> None:
    assert asked("recommend_attractions", city="x", attraction_type="Art") == (
        "Recommended attractions:\n\nMuseum, Old things.. This is a Art type attraction"
    )
    assert asked("recommend_attractions", "zh", city="x").splitlines()[:3] == [
        "推荐的景点有：", "", "Museum，Old things.这是一个Art类型的景点"
    ]  # fmt: skip


def test_the_details_of_an_attraction() -> None:
    assert asked("query_attraction_details", attraction_name="Museum") == (
        "Attraction ID：B1\nAttraction Name：Museum\nCity：Bton\nAddress：nan\n"
        "Coordinates：Latitude 30.100000，Longitude 120.100000\nDescription：Old things.\n"
        "Rating：4.5(average visitor rating)\nOpening Hours：09:00 to 17:00\nClosed Dates：Monday\n"
        "Minimum Visit Duration：1.0 hours\nMaximum Visit Duration：2.5 hours\nTicket Price：40.0 RMB\n"
        "Attraction Type：Art"
    )
    sparse = asked("query_attraction_details", "zh", attraction_name="Square").splitlines()
    assert sparse[0] == "景点ID：nan" and sparse[7] == "开放时间：Open"
    assert sparse[6] == "用户评分：（游客平均评价）" and sparse[9] == "建议最短游玩时长： 小时"
    assert sparse[11] == "门票价格：0 元"


def test_a_restaurant_has_an_empty_id_and_a_missing_one_a_message() -> None:
    restaurant = json.loads(asked("query_restaurant_details", restaurant_name="Noodles"))
    assert list(restaurant.items())[:2] == [("id", ""), ("name", "Noodles")]
    assert restaurant["tags"] == ["Patio", "Queue"]
    assert asked("query_restaurant_details", "zh", restaurant_name="面") == (
        '{\n  "message": "未找到餐厅 面 的详细信息",\n  "restaurant_name": "面"\n}'
    )


def test_a_road_is_indented_json() -> None:
    assert asked("query_road_route_info", origin=MUSEUM, destination=INN) == (
        f'{{\n  "origin": "{MUSEUM}",\n  "destination": "{INN}",\n  "distance_in_meters": 1500,\n'
        '  "duration_in_minutes": 18,\n  "cost": 0\n}'
    )


def test_other_arguments_are_ignored() -> None:
    assert asked("search_location", place_name="Museum", city=3) == asked("search_location", place_name="Museum")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("not json", "'origin' is a required property"),
        ("", "'origin' is a required property"),
        ('{"destination": 3}', "'origin' is a required property"),
        ('{"origin": "a", "destination": null, "depDate": 3}', "None is not of type 'string'"),
        ('{"origin": ["x"], "destination": "b", "depDate": "c", "seatClassName": 3}', "3 is not of type 'string'"),
        ("[]", "[] is not of type 'object'"),
        ("null", "None is not of type 'object'"),
        ('"abc"', "Parameters must be formatted as a valid JSON!"),
        ('"[3]"', "[3] is not of type 'object'"),
    ],
)
def test_bad_arguments(arguments: str, message: str) -> None:
    assert call(city(), "query_train_info", arguments) == json.dumps({"error": message})


def test_arguments_inside_a_text_are_read() -> None:
    inside = json.dumps(json.dumps({"place_name": "Museum"}))
    assert call(city(), "search_location", inside) == asked("search_location", place_name="Museum")


def test_an_unknown_tool() -> None:
    assert call(city(), "__init__", "{}") == "{\"error\": \"tool '__init__' not found\"}"


@given(st.sampled_from(TOOLS), JSON.map(json.dumps) | st.text(max_size=20))
def test_any_arguments_get_an_answer(tool: str, arguments: str) -> None:
    assert call(CITY, tool, arguments)


@given(st.sampled_from(TOOLS), st.data())
def test_any_texts_get_an_answer(tool: str, data: st.DataObject) -> None:
    names = [
        "origin", "destination", "depDate", "checkinDate", "checkoutDate", "city", "attraction_name", "place_name",
        "latitude", "longitude", "restaurant_name",
    ]  # fmt: skip
    values = {name: data.draw(st.text(max_size=5)) for name in names}
    assert '"error"' not in call(CITY, tool, json.dumps(values)) or tool == "query_flight_info"


CITY = city()
