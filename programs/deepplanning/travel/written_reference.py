"""A plan that is written out as a whole, as a capable model would write it: its roads read, its times worked out."""

from __future__ import annotations

from typing import Any

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.planner import Planned
from programs.deepplanning.travel.slots import Move, Night, Ride, Slot, Visit
from programs.deepplanning.travel.sources import Sources, Step

_KNOWN_TO_ALL = ("CNY", "Check-in", "Rest", "Breakfast", "Lunch", "Dinner", "办理入住", "休息", "早餐", "午餐", "晚餐")
"""Words of a plan that the form leaves to whoever writes it."""


def written(sources: Sources, language: Language) -> Step:
    """The step that proposes the plan; the reads that it is bound to are among the sources' own."""
    plan = sources.planned.itinerary.to_plan(language)
    days = [
        _day(sources, day, slots.slots)
        for day, slots in zip(plan["daily_plans"], sources.planned.itinerary.days, strict=True)
    ]
    return {"id": "p", "tool": "propose", "args": {"plan": {**plan, "daily_plans": days}}}


def _day(sources: Sources, day: dict[str, Any], slots: tuple[Slot, ...]) -> dict[str, Any]:
    activities = [
        {**activity, "details": _details(sources, slot, activity["details"])}
        for activity, slot in zip(day["activities"], slots, strict=True)
    ]
    if "accommodation" not in day:
        return {**day, "activities": activities}
    hotel = {"name": sources.hotel("name"), "price_per_night": sources.hotel("price")}
    return {**day, "accommodation": hotel, "activities": activities}


def _details(sources: Sources, slot: Slot, details: dict[str, Any]) -> Any:
    match slot:
        case Move() if slot.road is not None:
            return f"${_road(sources, slot)}"
        case Ride():
            way: Way = "out" if slot.number == sources.planned.out["number"] else "back"
            trip = {"number": "number", "from": "from", "to": "to", "cost": "price"}
            return {**details, **{name: sources.trip(way, field) for name, field in trip.items()}}
        case Night():
            return {**details, "name": sources.hotel("name")}
        case Visit(stop=stop):
            return {**details, "name": sources.place(stop.id, "name"), "cost": _cost(sources, stop.id)}
    return details


def _cost(sources: Sources, place: str) -> Any:
    return sources.place(place, "ticket" if place in sources.atlas.attractions else "price")


def _road(sources: Sources, move: Move) -> str:
    """The id of the step that reads a road."""
    args = {"origin": _end(sources, move.origin.name), "destination": _end(sources, move.destination.name)}
    return sources.read("r1", "road", args)


def _end(sources: Sources, name: str) -> Any:
    place = sources.atlas.find(name)["id"]
    if place == sources.planned.hotel["id"]:
        return sources.hotel("id")
    return name if place[0] in "SL" else sources.place(place, "id")


def worked_out(planned: Planned, language: Language) -> dict[str, list[Any]]:
    """What of a written plan is worked out, from what: times from the trip and the roads of the day so far."""
    plan = planned.itinerary.to_plan(language)
    derived: dict[str, list[Any]] = {word: [] for word in _KNOWN_TO_ALL}
    roads: list[Any] = []
    for day, placed in zip(plan["daily_plans"], planned.itinerary.days, strict=True):
        sources: list[Any] = []
        for activity, slot in zip(day["activities"], placed.slots, strict=True):
            if isinstance(slot, Move) and slot.road is not None:
                sources.append(f"{slot.minutes}min")
                roads.append(f"{slot.minutes}min")
            derived.setdefault(activity["time_slot"], list(sources))
            if isinstance(slot, Ride):
                sources.append(activity["time_slot"].split("-")[1])
            if activity["type"] == "buffer":
                derived[activity["details"]["description"]] = []
    return derived | {str(amount): roads for amount in plan["budget_summary"].values() if amount != "CNY"}
