"""What a placed day is made of: slots with their times, and notes on what did not go as asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from programs.deepplanning.travel.atlas import Hotel, Mode
from programs.deepplanning.travel.database import Road
from programs.deepplanning.travel.stops import Stop

Reason = Literal["arrival", "boarding", "change", "opening", "free"]


class Point(NamedTuple):
    """Where one is: the place's name, and a short label for reports."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Span:
    """Minutes from the day's midnight; what goes on after the next midnight counts on beyond 1,440."""

    start: int
    end: int

    @property
    def minutes(self) -> int:
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Move(Span):
    """A road inside a city; None where the matrix does not have it, so that its minutes are only kept free for it."""

    origin: Point
    destination: Point
    road: Road | None


@dataclass(frozen=True, slots=True)
class Wait(Span):
    """Time that belongs to nothing."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Ride(Span):
    """One leg of a trip between the cities; the price is that of the whole trip, for one person."""

    number: str
    mode: Mode
    origin: str
    destination: str
    price: float
    leg: int = 0


@dataclass(frozen=True, slots=True)
class Visit(Span):
    """An attraction or a meal."""

    stop: Stop


@dataclass(frozen=True, slots=True)
class Night(Span):
    """The hotel at the end of a day."""

    hotel: Hotel
    first: bool


Slot = Move | Wait | Ride | Visit | Night


@dataclass(frozen=True, slots=True)
class Note:
    """What a reader of the plan should know of a day.

    Args:
        place: the label or number that it is about.
        problem: whether something cannot be done as it stands, rather than only later than asked.
    """

    day: int
    place: str
    text: str
    problem: bool

    def __str__(self) -> str:
        return f"day {self.day}: {self.text}"


@dataclass(frozen=True, slots=True)
class PlacedDay:
    """A day with its times.

    Args:
        slack: minutes left before boarding the first trip of the day, below 0 where it is missed; None without a trip,
            or with nothing before it.
        overrun: minutes of the next day in which it goes on.
    """

    slots: tuple[Slot, ...]
    notes: tuple[Note, ...]
    slack: int | None = None
    overrun: int = 0

    @property
    def problems(self) -> int:
        return sum(note.problem for note in self.notes)
