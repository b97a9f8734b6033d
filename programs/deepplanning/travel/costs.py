"""What an itinerary costs, by kind, by day and by road."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from programs.deepplanning.travel.atlas import Hotel
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.slots import Move, Ride, Slot, Visit


class RoadCost(NamedTuple):
    """A road that costs something, for all cars; the ends are labels."""

    origin: str
    destination: str
    cost: int


@dataclass(frozen=True, slots=True)
class DayCosts:
    """What is spent inside the city on one day, by all people."""

    meals: float
    tickets: float
    roads: tuple[RoadCost, ...]

    @property
    def road_total(self) -> int:
        return sum(road.cost for road in self.roads)


@dataclass(frozen=True, slots=True)
class Costs:
    """All costs. As text, a line in which one sees where to save.

    Args:
        trips: both ways, for all people.
        hotel: all rooms, all nights.
    """

    trips: float
    hotel: float
    days: tuple[DayCosts, ...]

    @property
    def meals(self) -> float:
        return exact(sum(day.meals for day in self.days))

    @property
    def tickets(self) -> float:
        return exact(sum(day.tickets for day in self.days))

    @property
    def roads(self) -> int:
        return sum(day.road_total for day in self.days)

    @property
    def total(self) -> float:
        return exact(self.trips + self.hotel + self.meals + self.tickets + self.roads)

    def __str__(self) -> str:
        days = (_day_text(number, day) for number, day in enumerate(self.days, start=1))
        return "; ".join((f"trips {self.trips}, hotel {self.hotel}", *days))


def costs_of(frame: Frame, hotel: Hotel | None, days: Sequence[Sequence[Slot]]) -> Costs:
    """The costs of placed days. A trip is paid once, however many legs it has; a walk costs nothing."""
    fares = sum(slot.price for day in days for slot in day if isinstance(slot, Ride) and slot.leg == 0)
    return Costs(
        trips=exact(fares * frame.people),
        hotel=exact(hotel["price"] * frame.rooms * frame.nights) if hotel else 0,
        days=tuple(_day_costs(frame, day) for day in days),
    )


def exact(amount: float) -> float:
    """An amount without what floats add to it; a whole one as such, so that it is shown without a point."""
    amount = round(amount, 2)
    return int(amount) if amount == int(amount) else amount


def _day_costs(frame: Frame, slots: Sequence[Slot]) -> DayCosts:
    stops = [slot.stop for slot in slots if isinstance(slot, Visit)]
    meals = sum(stop.price for stop in stops if stop.kind == "meal")
    tickets = sum(stop.price for stop in stops if stop.kind == "attraction")
    roads = (
        RoadCost(slot.origin.label, slot.destination.label, slot.road.cost * frame.cars)
        for slot in slots
        if isinstance(slot, Move) and slot.road and slot.road.cost
    )
    return DayCosts(exact(meals * frame.people), exact(tickets * frame.people), tuple(roads))


def _day_text(number: int, day: DayCosts) -> str:
    roads = ", ".join(f"{road.origin}>{road.destination} {road.cost}" for road in day.roads)
    return f"day {number}: meals {day.meals}, tickets {day.tickets}, roads {day.road_total}" + (
        f" ({roads})" if roads else ""
    )
