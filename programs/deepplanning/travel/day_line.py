"""A placed day as one line of text."""

from __future__ import annotations

from collections.abc import Sequence

from programs.deepplanning.travel.clock import DAY, late_clock
from programs.deepplanning.travel.frame import WEEKDAYS
from programs.deepplanning.travel.slots import Move, Night, Ride, Slot, Visit, Wait


def day_line(day: int, weekday: int, slots: Sequence[Slot]) -> str:
    """Roads in round brackets, waiting in square ones; what is after midnight has a +1."""
    return f"day {day} {WEEKDAYS[weekday - 1][:3]}: {' '.join(map(_text, slots)) or 'nothing yet'}"


def _text(slot: Slot) -> str:
    match slot:
        case Move(road=None):
            return f"(road unknown, {slot.minutes} min)"
        case Move():
            return f"({slot.minutes} min)"
        case Wait():
            return f"[wait {slot.minutes}]"
        case Night():
            return f"{late_clock(slot.start)} hotel"
        case Ride():
            return f"{_span(slot)} {slot.number}"
        case Visit():
            return f"{_span(slot)} {slot.stop.id}"


def _span(slot: Slot) -> str:
    end = "24:00" if slot.end == DAY else late_clock(slot.end)
    return f"{late_clock(slot.start)}-{end}"
