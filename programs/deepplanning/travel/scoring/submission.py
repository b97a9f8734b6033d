"""What every check sees: the plan as read, the task it is for, and the tables to compare it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from programs.deepplanning.travel.scoring.readings import Day, Itinerary, city
from programs.deepplanning.travel.scoring.tables import Tables


@dataclass(frozen=True)
class TaskMeta:
    """What is read of a gold's `meta_info`; only the strict score reads the destination and the date of departure."""

    home: str
    destination: str
    departs: str
    days: int
    weekday: int | None
    people: int
    rooms: int
    hard_constraints: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, gold: Mapping[str, Any]) -> TaskMeta:
        return cls(
            home=city(gold["org"]),
            destination=city(gold["dest"][0]),
            departs=gold["depart_date"],
            days=int(gold["days"]),
            weekday=gold.get("depart_weekday"),
            people=int(gold.get("people_number", 1)),
            rooms=int(gold.get("room_number", 1)),
            hard_constraints=gold.get("hard_constraints", {}),
        )

    @property
    def cars(self) -> int:
        """Cars of four."""
        return max(1, (self.people + 3) // 4)


@dataclass(frozen=True)
class Submission:
    """A plan for a task over a database."""

    itinerary: Itinerary
    task: TaskMeta
    tables: Tables

    def walk(self) -> Iterator[tuple[Day, str, tuple[str, str] | None]]:
        """Each day with the city it should begin in and, of a route day, its two cities; it begins at home, and a route
        day leads on even where it does not fit."""
        current = self.task.home
        for day in self.itinerary.days:
            route = (city(day.route[0]), city(day.route[1])) if day.route else None
            yield day, current, route
            current = route[1] if route else current


Check = Callable[[Submission], Iterator[str]]
"""Gives the reasons why a plan fails; it passes where there are none."""
