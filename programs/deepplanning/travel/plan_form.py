"""An itinerary in the form in which the benchmark's evaluator reads a plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from programs.deepplanning.travel.atlas import Hotel
from programs.deepplanning.travel.clock import DAY, clock
from programs.deepplanning.travel.costs import Costs, exact
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.slots import Move, Night, Reason, Ride, Slot, Visit, Wait
from programs.deepplanning.travel.stops import Stop

_BREAKFAST_ENDS, _LUNCH_ENDS = 10 * 60 + 30, 16 * 60
_MEALS: Mapping[Language, tuple[str, str, str]] = {
    "en": ("Breakfast", "Lunch", "Dinner"), "zh": ("早餐", "午餐", "晚餐")
}  # fmt: skip
_HOTEL: Mapping[Language, tuple[str, str]] = {"en": ("Check-in", "Rest"), "zh": ("办理入住", "休息")}
_WAITS: Mapping[Language, Mapping[Reason, str]] = {
    "en": {
        "arrival": "Arrival, luggage and way out of the station",
        "boarding": "Security check and waiting for departure",
        "change": "Change",
        "opening": "Waiting until it opens",
        "free": "Free time",
    },
    "zh": {
        "arrival": "到达、取行李、出站",
        "boarding": "安检候车候机",
        "change": "换乘",
        "opening": "等待营业",
        "free": "自由活动",
    },
}


def plan_of(
    frame: Frame, hotel: Hotel | None, days: Sequence[Sequence[Slot]], costs: Costs, language: Language
) -> dict[str, Any]:
    """The plan of placed days."""
    return {
        "budget_summary": {
            "transportation": exact(costs.trips + costs.roads),
            "accommodation": costs.hotel,
            "meals": costs.meals,
            "attractions_and_tickets": costs.tickets,
            "other": 0,
            "total_estimated_budget": costs.total,
            "currency": "CNY",
        },
        "daily_plans": [_day(frame, hotel, number, slots, language) for number, slots in enumerate(days, start=1)],
    }


def _day(frame: Frame, hotel: Hotel | None, number: int, slots: Sequence[Slot], language: Language) -> dict[str, Any]:
    day: dict[str, Any] = {"day_number": number, "current_city": _city(frame, number)}
    if hotel is not None and number < frame.days:
        day["accommodation"] = {"name": hotel["name"], "price_per_night": hotel["price"]}
    day["activities"] = [_activity(frame, slot, language) for slot in slots]
    return day


def _city(frame: Frame, number: int) -> str:
    """A route is written in English in all languages: that is what the evaluator looks for."""
    if number == 1:
        return f"from {frame.origin} to {frame.destination}"
    if number == frame.days:
        return f"from {frame.destination} to {frame.origin}"
    return frame.destination


def _activity(frame: Frame, slot: Slot, language: Language) -> dict[str, Any]:
    kind, details = _details(frame, slot, language)
    return {"time_slot": _time_slot(slot), "type": kind, "details": details}


def _details(frame: Frame, slot: Slot, language: Language) -> tuple[str, dict[str, Any]]:
    match slot:
        case Move():
            return "travel_city", _road(slot)
        case Wait():
            return "buffer", {"description": _WAITS[language][slot.reason]}
        case Ride():
            return "travel_intercity_public", {
                "mode": slot.mode,
                "number": slot.number,
                "from": slot.origin,
                "to": slot.destination,
                "cost": slot.price,
            }
        case Night():
            return "hotel", {"activity": _HOTEL[language][not slot.first], "name": slot.hotel["name"]}
        case Visit(stop=Stop(kind="meal") as stop):
            meal = (slot.start >= _BREAKFAST_ENDS) + (slot.start >= _LUNCH_ENDS)
            return "meal", {"meal_type": _MEALS[language][meal], "name": stop.name, "cost": stop.price}
        case Visit(stop=stop):
            return "attraction", {"name": stop.name, "city": frame.destination, "cost": stop.price}


def _road(move: Move) -> dict[str, Any]:
    """Of a road that is not known, distance and cost are left out rather than made up."""
    details: dict[str, Any] = {"from": move.origin.name, "to": move.destination.name, "duration": f"{move.minutes}min"}
    if move.road is not None:
        details |= {"distance": f"{move.road.distance_in_meters / 1000:.1f}km", "cost": move.road.cost}
    return details


def _time_slot(slot: Slot) -> str:
    """The evaluator reads 24:00 as 23:59: a visit keeps its last minute as 00:00, where that may be after midnight."""
    always_open = isinstance(slot, Visit) and slot.stop.closes is None
    end = "24:00" if slot.end > slot.start and slot.end % DAY == 0 and not always_open else clock(slot.end)
    return f"{clock(slot.start)}-{end}"
