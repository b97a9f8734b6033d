"""What a trip is about before anything is chosen: where, when, and for how many."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

Way = Literal["out", "back"]
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_SEATS = 4
"""People that a car holds."""
_LONGEST = 31
"""Days that a trip may have: a longer one is a slip of the pen."""


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one trip from a city to another and back.

    Raises:
        ValueError: the return is not after the departure, or far too late, or nobody travels.
    """

    origin: str
    destination: str
    depart: date
    return_: date
    people: int
    rooms: int

    def __post_init__(self) -> None:
        if not 1 <= self.nights < _LONGEST:
            raise ValueError(
                f"departure {self.depart}, return {self.return_}: the return must be 1 to {_LONGEST - 1} days after "
                "the departure"
            )
        if self.people < 1 or self.rooms < 1:
            raise ValueError(f"{self.people} people in {self.rooms} rooms: both must be 1 or more")

    @property
    def nights(self) -> int:
        return (self.return_ - self.depart).days

    @property
    def days(self) -> int:
        return self.nights + 1

    @property
    def cars(self) -> int:
        """Cars for a road inside a city."""
        return -(-self.people // _SEATS)

    def date_of(self, day: int) -> date:
        return self.depart + timedelta(days=day - 1)

    def weekday(self, day: int) -> int:
        """1 is Monday, 7 is Sunday."""
        return self.date_of(day).isoweekday()

    @property
    def weekdays(self) -> tuple[int, ...]:
        return tuple(self.weekday(day) for day in range(1, self.days + 1))
