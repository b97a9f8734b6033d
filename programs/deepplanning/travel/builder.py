"""Puts times to a day: roads, waiting, opening hours, trips and the way to the hotel.

It chooses nothing: stops keep their order and none is dropped. What cannot be done is placed all the same, at the time
that results, and noted; a trip keeps its published times even where it is missed.

What goes on after midnight counts on beyond 1,440 minutes, and stays on its day. So a trip that arrives on the next day
still ends with the hotel on the day of departure, as the evaluator wants it, and the next day begins after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

from programs.deepplanning.travel.atlas import Atlas, Hotel, Mode, Trip
from programs.deepplanning.travel.clock import DAY, clock, late_clock, read_clock
from programs.deepplanning.travel.database import Road
from programs.deepplanning.travel.frame import WEEKDAYS
from programs.deepplanning.travel.slots import Move, Night, Note, PlacedDay, Point, Reason, Ride, Slot, Visit, Wait
from programs.deepplanning.travel.stops import Stop

FIRST_STOP = 9 * 60
"""When the first stop of a day begins, unless it says otherwise or follows a trip."""
AFTER_ARRIVAL: dict[Mode, int] = {"train": 30, "flight": 45}
BEFORE_BOARDING: dict[Mode, int] = {"train": 30, "flight": 60}
"""Minutes at the station, as the published prompt asks for them: 30 to 45 after a landing, enough before boarding."""
UNKNOWN_ROAD = 60
"""Minutes kept free for a road that the matrix does not have; of the roads from stations to hotels most are shorter."""
_CHECK_IN = 30
"""Minutes that the hotel takes where one is there after midnight only."""
_LONG_WAIT = 2 * 60
"""Free minutes before a stop from which on they are noted."""


class DayTask(NamedTuple):
    """What a day holds, in order.

    Args:
        begin: the hotel that it begins at; None on the day of departure.
        end: the hotel that it ends at; None on the last day.
        overrun: minutes of the day in which the day before goes on.
    """

    day: int
    date: date
    items: Sequence[Stop | Trip]
    begin: Hotel | None
    end: Hotel | None
    overrun: int = 0


def place_day(atlas: Atlas, task: DayTask) -> PlacedDay:
    """The day with its times. Stops before a trip that leaves from home begin so late that the trip is just reached,
    where the first of them has no start of its own and that makes no problem more."""
    placed = _place(atlas, task, FIRST_STOP)
    first = task.items[0] if task.items else None
    if task.begin is None and isinstance(first, Stop) and first.start is None and placed.slack is not None:
        later = _place(atlas, task, max(0, FIRST_STOP + placed.slack))
        return later if later.problems <= placed.problems else placed
    return placed


def _place(atlas: Atlas, task: DayTask, first_stop: int) -> PlacedDay:
    course = _Course(atlas, task)
    for item in task.items:
        if isinstance(item, Stop):
            course.visit(item, first_stop)
        else:
            course.ride(item)
    if task.end is not None:
        course.night(task.end)
    return PlacedDay(tuple(course.slots), tuple(course.notes), course.slack, course.overrun)


class _Way(NamedTuple):
    """How one gets to the next place; `moves` is False where one is there already."""

    minutes: int
    road: Road | None = None
    moves: bool = True


class _Course:
    """The day as far as it is placed: where one is, from when on, and what was done."""

    def __init__(self, atlas: Atlas, task: DayTask) -> None:
        self._atlas = atlas
        self._task = task
        self._here = None if task.begin is None else _hotel(task.begin)
        self._free = task.overrun
        self._arrived: Trip | None = None
        """The trip after which one still is at the station."""
        self.slots: list[Slot] = []
        self.notes: list[Note] = []
        self.slack: int | None = None

    def visit(self, stop: Stop, first_stop: int) -> None:
        """A stop, as soon as one can be there and it is open."""
        point = Point(stop.name, stop.id)
        asked = stop.start if stop.start is not None else 0 if self.slots else first_stop
        way = self._way(point)
        earliest = self._free_at_exit + way.minutes
        wished = max(earliest, asked)
        start, open_ = stop.fit(wished)
        if stop.start is not None and stop.start < earliest:
            self._note(
                stop.id,
                f"{stop.id} is reached at {late_clock(earliest)}, not at {clock(stop.start)}: what follows moves too",
                problem=False,
            )
        if start > wished:
            wait = "" if self._setting_out else f", {start - wished} min after one could be there"
            self._note(stop.id, f"{stop.id} opens at {late_clock(start)}{wait}", problem=False)
        elif not self._setting_out and start - earliest >= _LONG_WAIT:
            self._note(stop.id, f"{start - earliest} free min before {stop.id}", problem=False)
        self._go(point, way, start, "opening" if start > wished else "free")
        end = start + stop.minutes
        self.slots.append(Visit(start, end, stop))
        self._free = end
        weekday = self._task.date.isoweekday()
        if weekday in stop.closed_on:
            self._note(stop.id, f"{stop.id} is closed on {WEEKDAYS[weekday - 1]}")
        if not open_:
            hours = f"{clock(stop.opens or 0)}-{clock(stop.closes or 0)}"
            placed = f"{late_clock(start)}-{late_clock(end)}"
            self._note(stop.id, f"{stop.id} is open {hours}, but lies at {placed}: be there earlier, or stay less")
        elif end > DAY:
            self._note(stop.id, f"{stop.id} lasts until {late_clock(end)}", problem=False)

    def ride(self, trip: Trip) -> None:
        """A trip at its published times; what comes before it must leave time for boarding."""
        legs = _rides(trip)
        station, margin = Point(legs[0].origin, "station"), BEFORE_BOARDING[trip["mode"]]
        if trip["date"] != self._task.date.isoformat():
            self._note(trip["number"], f"{trip['number']} runs on {trip['date']}, this day is {self._task.date}")
        if self._here is not None:
            self._board(legs[0], station, margin)
        for before, leg in zip(legs, legs[1:], strict=False):
            self.slots.append(before)
            self._stand_at(before)
            self._change(before, leg)
        self.slots.append(legs[-1])
        self._stand_at(legs[-1])
        self._arrived = trip

    def night(self, hotel: Hotel) -> None:
        """The way to the hotel, and the hotel until midnight."""
        if self._here is None:  # no trip has brought anyone to the city yet
            return
        point = _hotel(hotel)
        way = self._way(point)
        start = self._free_at_exit + way.minutes
        self._go(point, way, start, "free")
        self.slots.append(Night(start, DAY if start < DAY else start + _CHECK_IN, hotel, self._task.begin is None))
        if start > DAY:
            end = self.slots[-1].end
            too_long = self.overrun < end - DAY or end - self.slots[0].start > DAY
            self._note(point.label, f"the hotel is reached at {late_clock(start)}", problem=too_long)

    @property
    def overrun(self) -> int:
        """Minutes of the next day that this one takes: with a trip all of them, with late stops until 09:00 at most.

        More than that is a fault of this day, which is noted, and would only hide in the next.
        """
        after = max(0, self.slots[-1].end - DAY) if self.slots else 0
        arrival = max((slot.end for slot in self.slots if isinstance(slot, Ride)), default=self._task.overrun)
        return after if arrival > DAY else min(after, FIRST_STOP)

    @property
    def _free_at_exit(self) -> int:
        """When one can leave where one is: after a trip, that takes a while."""
        return self._free + (AFTER_ARRIVAL[self._arrived["mode"]] if self._arrived else 0)

    @property
    def _setting_out(self) -> bool:
        """Whether nothing was done yet, so that one leaves as late as will do."""
        return not self.slots

    def _board(self, leg: Ride, station: Point, margin: int) -> None:
        way = self._way(station)
        there = self._free_at_exit + way.minutes
        if setting_out := self._setting_out:
            there = max(there, leg.start - margin)
        self.slack = leg.start - margin - there
        # A missed trip keeps its time: the road to it then runs into it, and shows by how much.
        self._go(station, way, there, "free")
        if there < leg.start:
            self._wait(there, leg.start, "boarding")
        if there > leg.start:
            remedy = "take a later one" if setting_out else f"be {there + margin - leg.start} min earlier, or stop less"
            self._note(
                leg.number,
                f"{leg.number} is missed: it leaves at {late_clock(leg.start)}, and {leg.origin} is reached at "
                f"{late_clock(there)}; {remedy}",
            )
        elif self.slack < 0:
            left = leg.start - there
            text = f"{leg.origin} is reached {left} min before {leg.number} leaves, {margin} are usual"
            self._note(leg.number, text, problem=left < margin // 2)

    def _change(self, before: Ride, leg: Ride) -> None:
        station = Point(leg.origin, "station")
        way = self._way(station)
        if way.moves and way.road is None:  # the timetable has the change, so that it can be done
            way = way._replace(minutes=max(0, min(way.minutes, leg.start - before.end)))
        there = self._free + way.minutes
        self._go(station, way, there, "free")
        if there < leg.start:
            self._wait(there, leg.start, "change")
        if there > leg.start:
            self._note(
                leg.number,
                f"the change from {before.number} to {leg.number} takes {way.minutes} min, there are "
                f"{leg.start - before.end}",
            )

    def _stand_at(self, leg: Ride) -> None:
        self._here, self._free = Point(leg.destination, "station"), leg.end

    def _way(self, to: Point) -> _Way:
        if self._here is None or self._here.name == to.name:
            return _Way(0, moves=False)
        road = self._atlas.road(self._here.name, to.name)
        return _Way(UNKNOWN_ROAD if road is None else road.duration_in_minutes, road)

    def _go(self, to: Point, way: _Way, by: int, reason: Reason) -> None:
        """The way to a place, and what is left until one wants to be there."""
        begin = by - way.minutes if self._setting_out else self._free_at_exit
        if self._arrived:
            self._wait(self._free, begin, "arrival")
            self._arrived = None
        there = begin + way.minutes
        if way.moves and self._here is not None:
            self.slots.append(Move(begin, there, self._here, to, way.road))
            if way.road is None:
                text = f"no road is known from {self._here.name} to {to.name}: {way.minutes} min are kept free for it"
                self._note(to.label, text, problem=False)
        if there < by:
            self._wait(there, by, reason)
        self._here = to

    def _wait(self, start: int, end: int, reason: Reason) -> None:
        self.slots.append(Wait(start, end, reason))

    def _note(self, place: str, text: str, *, problem: bool = True) -> None:
        self.notes.append(Note(self._task.day, place, text, problem))


def _rides(trip: Trip) -> list[Ride]:
    """The legs of a trip, in minutes from midnight of the day of departure."""
    if not trip.get("legs"):
        start = _minutes(trip["dep"])
        end = _minutes(trip["arr"]) + DAY * trip["arr_day"]
        return [Ride(start, end, trip["number"], trip["mode"], trip["from"], trip["to"], trip["price"])]
    rides = []
    for number, leg in enumerate(trip["legs"]):
        midnight = (date.fromisoformat(leg["date"]) - date.fromisoformat(trip["date"])).days * DAY
        start = midnight + _minutes(leg["dep"])
        end = midnight + _minutes(leg["arr"]) + DAY * leg["arr_day"]
        rides.append(Ride(start, end, leg["number"], trip["mode"], leg["from"], leg["to"], trip["price"], number))
    return rides


def _minutes(text: str) -> int:
    minutes = read_clock(text)
    if minutes is None:
        raise ValueError(f"{text!r} is no time of day: trips must come from the atlas")
    return minutes


def _hotel(hotel: Hotel) -> Point:
    return Point(hotel["name"], hotel["id"])
