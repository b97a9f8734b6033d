"""Books a meeting: the first plan is refused for want of a permission, the repaired one asks for it before all else.

The invitation is irreversible: it leaves only at commit, once. The exit code is 1 where no trajectory could be verified
and 2 where the model could not be asked.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import LMError

from pivot_dspy import CheckResult, Environment, Pivot, PivotError, Refined, check, tool
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.simulator import Reference, is_simulated
from programs.models import add_model_options, budget_of, named_lm, refuse_orphans
from programs.options import DataError
from programs.terminal import Narrator, choose_lm, model_line, spending

REQUEST = (
    "Book one hour with Ana, Ben and Chioma on the morning of Thursday 12 March 2026 to go through the launch plan, "
    "in a room with a screen, and invite them."
)


@dataclass(frozen=True)
class Person:
    name: str
    email: str


@dataclass(frozen=True)
class Slot:
    start: datetime
    end: datetime

    def overlaps(self, other: "Slot") -> bool:
        return self.start < other.end and other.start < self.end


@dataclass(frozen=True)
class Room:
    name: str
    seats: int
    screen: bool


@dataclass(frozen=True)
class Booking:
    room: str
    start: datetime
    end: datetime


@dataclass(frozen=True)
class Invitation:
    title: str
    people: list[str]
    start: datetime
    end: datetime
    room: str


class Outbox(list[Invitation]):
    """The mail that has left the building: the outside world, which a copy of the workspace shares and cannot undo."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "Outbox":
        return self


class Workspace(Environment):
    """Calendars, rooms and mail of a small company, as one agent may use them."""

    policy = (
        "The organiser is Olu, who asks for the meeting: Olu attends and is invited too. A meeting has one invitation "
        "and the smallest free room that serves it, with a seat for everybody."
    )
    orientation = ("address_book",)

    def __init__(self) -> None:
        self.scopes = {"rooms.book", "mail.send"}
        self.outbox = Outbox()
        self.invitations: list[Invitation] = []
        self.bookings = [Booking("Oak", _at("09:00"), _at("11:00"))]
        self.rooms = [
            Room("Oak", 4, screen=True),
            Room("Elm", 4, screen=False),
            Room("Birch", 6, screen=True),
            Room("Maple", 12, screen=True),
        ]
        self.people = [Person(name, f"{name.lower()}@example.org") for name in ("Olu", "Ana", "Ben", "Chioma")]
        self.busy = {
            "olu@example.org": [Slot(_at("09:00"), _at("09:30"))],
            "ana@example.org": [Slot(_at("09:00"), _at("10:30"))],
            "ben@example.org": [Slot(_at("11:30"), _at("13:00")), Slot(_at("14:00"), _at("15:00"))],
            "chioma@example.org": [Slot(_at("09:30"), _at("10:00"))],
        }

    @tool(effect="read")
    def address_book(self) -> list[Person]:
        """Everybody in the company."""
        return self.people

    @tool(effect="read")
    def search_calendar(
        self, people: list[str], day: date, minutes: int = 60, earliest: time = time(9), latest: time = time(17)
    ) -> list[Slot]:
        """Times of that length between earliest and latest at which all the people (addresses) are free, in order."""
        self._needs("calendar.read")
        self._known(people)
        return [slot for slot in _slots(day, minutes, earliest, latest) if not self._conflicts(people, slot)]

    @tool(effect="read")
    def find_rooms(self, start: datetime, end: datetime, seats: int = 1) -> list[Room]:
        """Rooms that are free in that time and have the seats."""
        return [room for room in self.rooms if room.seats >= seats and self._is_free(room.name, Slot(start, end))]

    @tool(effect="write")
    def book_room(self, room: str, start: datetime, end: datetime) -> Booking:
        """Book a room."""
        self._needs("rooms.book")
        if room not in {known.name for known in self.rooms}:
            raise LookupError(f"no room is called {room!r}")
        if not self._is_free(room, Slot(start, end)):
            raise ValueError(f"{room} is taken in that time")
        booking = Booking(room, start, end)
        self.bookings.append(booking)
        return booking

    @tool(effect="irreversible", preview="prepare_invitation")
    def send_invitation(self, title: str, people: list[str], start: datetime, end: datetime, room: str) -> Invitation:
        """Send one invitation to all the people (addresses)."""
        invitation = self.prepare_invitation(title, people, start, end, room)
        self.outbox.append(invitation)
        return invitation

    def prepare_invitation(
        self, title: str, people: list[str], start: datetime, end: datetime, room: str
    ) -> Invitation:
        """The invitation as it would be sent."""
        self._needs("mail.send")
        self._known(people)
        invitation = Invitation(title, people, start, end, room)
        self.invitations.append(invitation)
        return invitation

    @tool(effect="write")
    def request_scope(self, scope: str) -> str:
        """Ask the administrator to grant a scope for the rest of the session."""
        if scope not in ("calendar.read", "rooms.book", "mail.send"):
            raise PermissionError(f"the scope {scope!r} is not granted to agents")
        self.scopes.add(scope)
        return f"{scope} granted"

    @check
    def invited(self, people: list[str], day: date, minutes: int) -> CheckResult:
        """There is one invitation: to exactly these people (addresses), on the day, for so many minutes."""
        if len(self.invitations) != 1:
            return CheckResult(False, f"{len(self.invitations)} invitations")
        invitation = self.invitations[0]
        lasts = (invitation.end - invitation.start) // timedelta(minutes=1)
        said = f"{', '.join(invitation.people)} on {invitation.start.date()} for {lasts} minutes"
        holds = sorted(invitation.people) == sorted(people) and invitation.start.date() == day and lasts == minutes
        return CheckResult(holds, said)

    @check
    def all_free(self, after: time = time(9), before: time = time(17)) -> CheckResult:
        """The meeting lies between the two times of the day, and nobody who is invited has anything else then."""
        if not self.invitations:
            return CheckResult(False, "no invitation")
        invitation = self.invitations[0]
        slot = Slot(invitation.start, invitation.end)
        if not after <= slot.start.time() < slot.end.time() <= before:
            return CheckResult(False, f"it is from {slot.start:%H:%M} to {slot.end:%H:%M}")
        conflicts = self._conflicts(invitation.people, slot)
        return CheckResult(not conflicts, "; ".join(conflicts) or "all are free", about=tuple(conflicts))

    @check
    def room_is_booked_and_fits(self, seats: int, screen: bool = False) -> CheckResult:
        """The room of the invitation is booked for its whole time, serves, and no smaller free room does."""
        if not self.invitations:
            return CheckResult(False, "no invitation")
        invitation = self.invitations[0]
        booking = Booking(invitation.room, invitation.start, invitation.end)
        if booking not in self.bookings:
            return CheckResult(False, f"{booking.room} is not booked from {booking.start} to {booking.end}")
        slot = Slot(booking.start, booking.end)
        free = [room for room in self.rooms if room.name == booking.room or self._is_free(room.name, slot)]
        fitting = [room for room in free if room.seats >= seats and room.screen >= screen]
        best = min(fitting, key=lambda room: room.seats, default=None)
        hint = f"{best.name} serves it" if best else "no free room serves it; another time may"
        chosen = next(room for room in self.rooms if room.name == booking.room)
        said = f"{chosen.name} has {chosen.seats} seats and {'a' if chosen.screen else 'no'} screen"
        return CheckResult(chosen == best, said, hint)

    def describe(self) -> str:
        own = [f"{booking.room} from {booking.start:%H:%M} to {booking.end:%H:%M}" for booking in self.bookings[1:]]
        return f"Booked: {', '.join(own) or 'nothing'}. Invitations: {len(self.invitations)}."

    def summarise(self, tool: str, value: Any) -> str | None:
        if tool == "search_calendar":
            return ", ".join(slot["start"] for slot in value) or "no time"
        if tool == "find_rooms":
            return ", ".join(f"{room['name']} ({room['seats']} seats)" for room in value) or "no room"
        return None

    def _needs(self, scope: str) -> None:
        if scope not in self.scopes:
            raise PermissionError(f"403 insufficient_scope: this call needs the scope {scope}")

    def _known(self, people: list[str]) -> None:
        unknown = [address for address in people if address not in self.busy]
        if unknown:
            raise LookupError(f"unknown address: {', '.join(unknown)}")

    def _is_free(self, room: str, slot: Slot) -> bool:
        return not any(b.room == room and slot.overlaps(Slot(b.start, b.end)) for b in self.bookings)

    def _conflicts(self, people: list[str], slot: Slot) -> list[str]:
        return [address for address in people if any(slot.overlaps(busy) for busy in self.busy[address])]


def _at(clock: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-12T{clock}:00")


def _slots(day: date, minutes: int, earliest: time, latest: time) -> Iterator[Slot]:
    start, end = datetime.combine(day, earliest), datetime.combine(day, latest)
    while start + timedelta(minutes=minutes) <= end:
        yield Slot(start, start + timedelta(minutes=minutes))
        start += timedelta(minutes=30)


class BookMeeting(dspy.Signature):  # type: ignore[misc]
    """Book the meeting that is asked for and invite everybody to it."""

    request: str = dspy.InputField()
    confirmation: str = dspy.OutputField(desc="one line, bound to what was sent: when, where, who")


def reference() -> Reference:
    """What a capable model writes who reads the tools and does not know yet that the calendar is closed to it."""
    people = [f"{name}@example.org" for name in ("olu", "ana", "ben", "chioma")]
    day, when = "2026-03-12", {"start": "$a[0].start", "end": "$a[0].end"}
    requirements = [
        {"id": "R1", "check": "invited", "args": {"people": people, "day": day, "minutes": 60}},
        {"id": "R2", "check": "all_free", "args": {"before": "12:00"}},
        {"id": "R3", "check": "room_is_booked_and_fits", "args": {"seats": 4, "screen": True}},
    ]
    invitation = {"title": "Launch plan", "people": people}
    told = "join('', ['Launch plan: ', $d.start, ' in ', $d.room, ', invited: ', join(', ', $d.people)])"
    steps = [
        {"id": "a", "tool": "search_calendar", "args": {"people": people, "day": day, "latest": "12:00"}},
        {"id": "b", "tool": "find_rooms", "args": {**when, "seats": 4}},
        {"id": "c", "tool": "book_room", "args": {"room": "min_by($b[?screen], &seats).name", **when}},
        {"id": "d", "tool": "send_invitation", "args": {**invitation, **when, "room": "$c.room"}},
        {"id": "submit", "tool": "submit", "args": {"confirmation": told}},
    ]
    serves = {"c": "R3", "d": ("R1", "R2")}
    return Reference(match=REQUEST, requirements=requirements, steps=steps, serves=serves, revise=ask_first)


def ask_first(sections: Mapping[str, str], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The plan with a request for each scope that a refusal in the prompt names, before all else."""
    shown = "\n".join(sections.get(name, "") for name in ("kept", "open_steps", "report", "blame"))
    wanted = dict.fromkeys(re.findall(r"needs the scope ([a-z]+\.[a-z]+)", shown))
    asked = [
        {"id": f"p{number}", "tool": "request_scope", "args": {"scope": scope}}
        for number, scope in enumerate(wanted, start=1)
    ]
    return [*asked, *steps]


@dataclass(frozen=True)
class Outcome:
    """What came of a run: the result, and the mail that had left at its end and after commit."""

    refined: Refined
    sent_before: int
    sent_after: int

    def to_json(self) -> dict[str, Any]:
        """The figures as plain JSON data."""
        refined, committed = self.refined, self.refined.committed
        return {
            "confirmation": refined.confirmation,
            "verified": refined.verified,
            "status": refined.verdict.status,
            "reasons": list(refined.verdict.reasons),
            "losses": accepted_losses(refined.history),
            "gradients": [event.gradient.model_dump() for event in refined.history if event.kind == "gradient"],
            "trajectory": refined.trajectory.model_dump(mode="json", exclude_defaults=True),
            "ledger": refined.ledger.model_dump(mode="json"),
            "committed": committed is not None,
            "sent_before_commit": self.sent_before,
            "sent_after_commit": self.sent_after,
        }


def run(lm: dspy.LM, workspace: Workspace, narrator: Narrator, *, commit: bool = True, **options: Any) -> Outcome:
    """Refine the plan for `REQUEST` on copies of `workspace`, then run it once in `workspace` itself.

    Raises:
        PivotError: the model gave no plan, or the real workspace departed from what was verified.
        LMError: the model cannot be called.
    """
    pivot = Pivot(BookMeeting, workspace, on_event=narrator, **options)
    with dspy.context(lm=lm):
        refined = pivot(request=REQUEST)
    before = len(workspace.outbox)
    if commit and refined.verified:
        narrator.committed(refined.commit())
    return Outcome(refined, before, len(workspace.outbox))


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m programs.meeting_room", description=__doc__)
    add_model_options(parser, "a model as DSPy names it, such as openai/gpt-4.1-mini")
    parser.add_argument("--seed", type=int, default=0, help="of the offline model")
    parser.add_argument("--json", type=Path, metavar="PATH", help="also write the figures there")
    parser.add_argument("--no-commit", action="store_true", help="stop after VERIFY: send nothing")
    options = parser.parse_args(argv)
    refuse_orphans(parser, options)
    if options.json and not options.json.parent.is_dir():
        parser.error(f"--json: there is no folder {options.json.parent}; make it first")
    workspace = Workspace()
    narrator = Narrator(environment=workspace)
    try:
        lm = named_lm(options) if options.lm else choose_lm(None, [reference()], options.seed, slip=0.0, heed=1.0)
        narrator.say("model", model_line(lm))
        narrator.say("request", REQUEST)
        limits = {"budget": budget_of(options), "constrained": options.constrained}
        outcome = run(lm, workspace, narrator, commit=not options.no_commit, **limits)
    except (DataError, PivotError, LMError) as error:
        narrator.say("error", str(error), "red")
        return 2
    narrator.heading("RESULT")
    if outcome.refined.verified:
        narrator.say("confirmation", outcome.refined.confirmation, "bold")
    narrator.say("spent", spending(outcome.refined.ledger))
    narrator.say("invitations", f"{outcome.sent_before} sent before commit, {outcome.sent_after} after it")
    if options.json:
        figures = {"lm": {"name": lm.model, "simulated": is_simulated(lm)}, **outcome.to_json()}
        options.json.write_text(json.dumps(figures, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return 0 if outcome.refined.verified else 1


if __name__ == "__main__":
    sys.exit(main())
