"""A small environment for the tests: rooms with prices, and the reference of a task in it."""

from typing import Any, Literal

import dspy
from pydantic import BaseModel

from pivot_dspy.environment.base import CheckResult, Environment, check, tool
from pivot_dspy.simulator import Reference

REQUEST = "Book the cheapest room with a projector for 8 people on 12 March 2026."
DAY = "2026-03-12"


class Room(BaseModel):
    id: str
    seats: int
    projector: Literal["yes", "no"]
    floor: int


class Quote(BaseModel):
    room_id: str
    price: float


class Booking(BaseModel):
    room_id: str
    day: str


class Rooms(Environment):
    """Rooms, what they cost, and the bookings made."""

    policy = "Book one room only."

    def __init__(self) -> None:
        self.bookings: list[Booking] = []
        self.rooms = [
            Room(id="r1", seats=4, projector="yes", floor=1),
            Room(id="r2", seats=8, projector="no", floor=1),
            Room(id="r3", seats=10, projector="yes", floor=2),
            Room(id="r4", seats=20, projector="yes", floor=3),
        ]

    @tool(effect="read")
    def list_rooms(self, day: str) -> list[Room]:
        """Rooms that are free on a day."""
        return self.rooms

    @tool(effect="read")
    def list_floors(self, day: str) -> list[int]:
        """Floors that are open on a day."""
        return sorted({room.floor for room in self.rooms})

    @tool(effect="read")
    def quote(self, room_id: str, day: str) -> Quote:
        """What a room costs on a day."""
        return Quote(room_id=room_id, price=10.0 * self._room(room_id).seats)

    @tool(effect="write")
    def book_room(self, room_id: str, day: str) -> Booking:
        """Book a room."""
        self._room(room_id)
        self.bookings.append(Booking(room_id=room_id, day=day))
        return self.bookings[-1]

    @check
    def booked(self, seats: int, day: str, projector: str) -> CheckResult:
        """Exactly one room is booked on the day, with the seats and the projector."""
        if [booking.day for booking in self.bookings] != [day]:
            return CheckResult(False, f"booked: {[booking.model_dump() for booking in self.bookings]}")
        room = self._room(self.bookings[0].room_id)
        holds = room.seats >= seats and room.projector == projector
        return CheckResult(holds, f"{room.id} has {room.seats} seats, projector {room.projector}", about=(room.id,))

    @check
    def cheapest(self) -> CheckResult:
        """No room with 8 seats and a projector is smaller."""
        names = [booking.room_id for booking in self.bookings]
        return CheckResult(names == ["r3"], f"booked {names}; r3 is the cheapest")

    def describe(self) -> str:
        return f"Booked: {', '.join(booking.room_id for booking in self.bookings) or 'nothing'}."

    def _room(self, room_id: str) -> Room:
        found = [room for room in self.rooms if room.id == room_id]
        if not found:
            raise LookupError(f"no room is called {room_id!r}")
        return found[0]


class Book(dspy.Signature):  # type: ignore[misc]
    """Book the room that is asked for."""

    request: str = dspy.InputField()
    room: str = dspy.OutputField(desc="id of the room")
    message: str = dspy.OutputField(desc="one line for the person who asked")


STEPS: list[dict[str, Any]] = [
    {"id": "a", "tool": "list_rooms", "args": {"day": DAY}},
    {
        "id": "b",
        "tool": "quote",
        "for_each": "$a[?seats >= `8` && projector == 'yes']",
        "args": {"room_id": "$item.id", "day": DAY},
    },
    {"id": "c", "tool": "book_room", "args": {"room_id": "min_by($b, &result.price).item.id", "day": DAY}},
    {"id": "submit", "tool": "submit", "args": {"room": "$c.room_id"}},
]
REQUIREMENTS = [
    {"id": "R1", "check": "booked", "args": {"seats": 8, "day": DAY, "projector": "yes"}},
    {"id": "R2", "check": "cheapest", "args": {}},
]


def reference(request: str = REQUEST, **changes: Any) -> Reference:
    """The reference for `request`."""
    known: dict[str, Any] = {
        "match": request,
        "requirements": REQUIREMENTS,
        "steps": STEPS,
        "serves": {"a": ["R1", "R2"], "b": ["R1", "R2"], "c": ["R1", "R2"]},
        "outputs": {"message": "join('', ['Booked ', $c.room_id, '.'])"},
        "truths": {"R9": '"projector": "yes"'},
    }
    return Reference(**{**known, **changes})
