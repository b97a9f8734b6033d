"""The nine tools of the DeepPlanning travel domain as the benchmark's agents see them: JSON text in, text out.

The behaviour, errors included, is that of the benchmark's own tools (QwenLM/Qwen-Agent, benchmark/deepplanning)."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any

from programs.deepplanning.travel.database import TravelDatabase
from programs.deepplanning.travel.lookup import Attraction, AttractionDetails, NoTable, NotFound, Route, TravelLookup
from programs.deepplanning.travel.wording import Wording

TOOLS = (
    "query_train_info", "query_flight_info", "query_hotel_info", "recommend_attractions", "query_attraction_details",
    "search_location", "query_road_route_info", "recommend_restaurants", "query_restaurant_details",
)  # fmt: skip
_PARAMETERS = {
    tool: [
        parameter for parameter in inspect.signature(getattr(TravelLookup, tool)).parameters.values()
        if parameter.name != "self"
    ]
    for tool in TOOLS
}  # fmt: skip
_NO_FLIGHT = "FlightQueryTool.<lambda>() missing 1 required positional argument: 'seat'"
"""What the benchmark's own tool answers where no flight is found, by a bug of it that models see."""


class BadArguments(ValueError):
    """The arguments are not what the tool takes; the message is the benchmark's, without the schema below it."""


def call(database: TravelDatabase, tool: str, arguments: str) -> str:
    """The answer to a call by a tool's name and the JSON text of its arguments; a refusal is an answer, too.

    The benchmark's answer to bad arguments goes on with a print of the tool's schema, which is left out here."""
    if tool not in TOOLS:
        return _error(f"tool '{tool}' not found")
    try:
        checked = _checked(tool, _parsed(arguments))
    except BadArguments as error:
        return _error(str(error))
    lookup = TravelLookup(database)
    try:
        result = getattr(lookup, tool)(**checked)
    except NotFound as error:
        return _nothing(tool, error, checked)
    return _RENDERERS[tool](result, lookup.wording) if tool in _RENDERERS else _json(result)


def _parsed(arguments: str) -> Any:
    """The arguments as a value; what is no JSON counts as none, and a text inside is parsed as JSON again."""
    try:
        value = json.loads(arguments)
    except ValueError:
        return {}
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise BadArguments("Parameters must be formatted as a valid JSON!") from error
    return value


def _checked(tool: str, arguments: Any) -> dict[str, str]:
    """The arguments that the tool takes, without those it does not; all must be texts."""
    if not isinstance(arguments, dict):
        raise BadArguments(f"{arguments!r} is not of type 'object'")
    for parameter in _PARAMETERS[tool]:
        if parameter.default is parameter.empty and parameter.name not in arguments:
            raise BadArguments(f"{parameter.name!r} is a required property")
    taken = {name: arguments[name] for parameter in _PARAMETERS[tool] if (name := parameter.name) in arguments}
    if wrong := [name for name, value in taken.items() if not isinstance(value, str)]:
        raise BadArguments(f"{taken[max(wrong)]!r} is not of type 'string'")
    return taken


def _nothing(tool: str, error: NotFound, arguments: dict[str, str]) -> str:
    if tool == "query_flight_info" and not isinstance(error, NoTable):
        return _error(_NO_FLIGHT)
    return _json({"message": str(error), **arguments}) if tool == "query_restaurant_details" else str(error)


def _trains(routes: list[Route], wording: Wording) -> str:
    return _json([[_numbered(route, wording)] for route in routes])


def _flights(routes: list[Route], wording: Wording) -> str:
    return _json([_numbered(route, wording) for route in routes])


def _numbered(route: Route, wording: Wording) -> dict[str, Any]:
    segments = {
        wording.segment.format(number): {
            wording.seats if name == "remainingSeats" else name: value for name, value in segment.items()
        }
        for number, segment in enumerate(route["segments"], start=1)
    }
    return {**segments, "price": route["price"]}


def _attractions(attractions: list[Attraction], wording: Wording) -> str:
    return wording.attractions.format("\n".join(wording.attraction.format(**attraction) for attraction in attractions))


def _attraction_details(details: AttractionDetails, wording: Wording) -> str:
    opening, closing = details["opening_time"] or "nan", details["closing_time"] or "nan"
    return wording.attraction_details.format(
        **{
            **{name: value or "nan" for name, value in details.items()},
            **{name: _number(details[name]) for name in ("rating", "min_visit_hours", "max_visit_hours")},
            "ticket_price": _number(details["ticket_price"]) or "0",
            "hours": opening if opening == closing else wording.hours.format(opening, closing),
        }
    )


def _number(text: str) -> str:
    return str(float(text)) if text else ""


_RENDERERS: dict[str, Callable[[Any, Wording], str]] = {
    "query_train_info": _trains,
    "query_flight_info": _flights,
    "recommend_attractions": _attractions,
    "query_attraction_details": _attraction_details,
    "query_restaurant_details": lambda restaurant, _: _json({"id": "", **restaurant}),
}
"""Where the answer is another form than the result as JSON."""


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _error(message: str) -> str:
    return json.dumps({"error": message}, ensure_ascii=False)
