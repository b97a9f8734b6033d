"""Trips against the timetable: date, times, stations, fare and seats; out on the first day, back on the last."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from programs.deepplanning.travel.database import Row
from programs.deepplanning.travel.scoring.constraints import MODES
from programs.deepplanning.travel.scoring.readings import DAY, TRIP, city, read_number, trimmed
from programs.deepplanning.travel.scoring.submission import Submission
from programs.deepplanning.travel.scoring.tables import same_price
from programs.deepplanning.travel.truth.timeline import Timed, timeline


@dataclass(frozen=True)
class Journey:
    """A train or flight of the timetable, or a connection of several: a row for each leg."""

    mode: str
    legs: tuple[Row, ...]

    @property
    def numbers(self) -> list[str]:
        return [leg[f"{self.mode}_no"].strip() for leg in self.legs]

    @property
    def fare(self) -> str:
        """For one person and all legs: the price of the first row, as the tools show it."""
        return self.legs[0]["price"]

    @property
    def cities(self) -> tuple[str, str]:
        return city(self.legs[0]["origin_city"]), city(self.legs[-1]["destination_city"])

    def has_seats(self, people: int) -> bool:
        """Whether each leg has seats for all; a table without a number of seats has enough."""
        return all(int(leg["seat_status"]) >= people for leg in self.legs if leg["seat_status"].isdecimal())


@dataclass(frozen=True)
class Booking:
    """Trips of a plan, the journey of the timetable that they are taken for, and what does not agree."""

    trips: tuple[Timed, ...]
    journey: Journey | None
    faults: tuple[str, ...]

    @property
    def day(self) -> int:
        """The day of the departure by the calendar, the first is 1."""
        return self.trips[0].start // DAY + 1


def bookings(submission: Submission) -> Iterator[Booking]:
    """The trips of a plan in their order, each with the journey of the timetable that it agrees with best."""
    timetable = [
        Journey(mode, legs) for mode, numbers in submission.tables.trips.items() for legs in _connections(numbers)
    ]
    trips = [timed for timed in timeline(submission.itinerary) if timed.activity.kind == TRIP]
    while trips:
        candidates = [_booked(submission, journey, trips) for journey in timetable if _fits(journey, trips)]
        booking = min(candidates, key=lambda candidate: len(candidate.faults), default=_unlisted(trips[0]))
        trips = trips[len(booking.trips) :]
        yield booking


def _fits(journey: Journey, trips: Sequence[Timed]) -> bool:
    """Whether the next trips have the journey's numbers, leg by leg."""
    return journey.numbers == [_number(trip) for trip in trips[: len(journey.legs)]]


def _booked(submission: Submission, journey: Journey, trips: Sequence[Timed]) -> Booking:
    taken = tuple(trips[: len(journey.legs)])
    return Booking(taken, journey, tuple(_faults(submission, journey, taken)))


def _unlisted(trip: Timed) -> Booking:
    where = f"Day {trip.activity.day}: {_number(trip) or 'a trip without a number'}"
    return Booking((trip,), None, (f"{where} is neither a trip of the timetable nor the start of a connection",))


def _number(trip: Timed) -> str:
    return trimmed(trip.activity.details.get("number"))


def _connections(numbers: dict[str, list[Row]]) -> list[tuple[Row, ...]]:
    connections: dict[tuple[str, ...], list[Row]] = {}
    for row in (row for rows in numbers.values() for row in rows):
        key = tuple(row[name] for name in ("origin_city", "destination_city", "dep_date", "route_index"))
        connections.setdefault(key, []).append(row)
    return [tuple(sorted(legs, key=lambda leg: leg["segment_index"])) for legs in connections.values()]


def _faults(submission: Submission, journey: Journey, trips: Sequence[Timed]) -> Iterator[str]:
    """What of the trips is not as the timetable has it; later legs may show the whole fare, as the tools do."""
    task = submission.task
    for timed, leg, number in zip(trips, journey.legs, journey.numbers, strict=True):
        trip = timed.activity
        for word, planned, listed in (
            ("departs", _moment(task.departs, timed.start), leg["dep_datetime"][:16]),
            ("arrives", _moment(task.departs, timed.end), leg["arr_datetime"][:16]),
            ("leaves from", trip.text("from"), leg["dep_station_name"].strip()),
            ("leads to", trip.text("to"), leg["arr_station_name"].strip()),
        ):
            if planned != listed:
                yield f"Day {trip.day}: {number} {word} {listed}, not {planned}"
        if trimmed(trip.details.get("mode")).lower() not in MODES[journey.mode]:
            yield f"Day {trip.day}: {number} is a {journey.mode}, not a {trip.details.get('mode')}"
        if not any(same_price(read_number(trip.cost), price) for price in (journey.fare, leg["price"])):
            yield f"Day {trip.day}: {number} costs {journey.fare}, not {trip.cost}"
    if not journey.has_seats(task.people):
        seats = ", ".join(leg["seat_status"] for leg in journey.legs)
        yield f"Day {trips[0].activity.day}: {'/'.join(journey.numbers)} has {seats} seats for {task.people} people"


def _moment(departs: str, minutes: int) -> str:
    return f"{datetime.fromisoformat(departs) + timedelta(minutes=minutes):%Y-%m-%d %H:%M}"


def trips_as_listed(submission: Submission) -> Iterator[str]:
    """Every trip is one of the timetable on its date, with its times, stations and fare, and seats for all."""
    for booking in bookings(submission):
        yield from booking.faults


def out_and_back(submission: Submission) -> Iterator[str]:
    """One journey leads to the destination on the first day and one home on the last, and there is no other."""
    task = submission.task
    expected = Counter([(1, (task.home, task.destination)), (task.days, (task.destination, task.home))])
    planned = Counter((booking.day, booking.journey.cities) for booking in bookings(submission) if booking.journey)
    yield from (f"Day {day}: no trip from {start} to {end}" for day, (start, end) in expected - planned)
    yield from (f"Day {day}: a trip from {start} to {end}" for day, (start, end) in planned - expected)


def wished_directions(submission: Submission) -> Iterator[str]:
    """The wished trips lead where they are wished to, in the seat class that is wished."""
    task = submission.task
    ends = {"outbound": (task.home, task.destination), "inbound": (task.destination, task.home)}
    taken = [booking.journey for booking in bookings(submission) if booking.journey]
    for name, wish in task.hard_constraints.items():
        mode = name.partition("_")[0]
        for direction, cities in ends.items():
            number, seat_class = wish.get(f"{direction}_{mode}_no"), wish.get("seat_class")
            if number is not None and not any(
                (journey.mode, journey.cities) == (mode, cities)
                and number in journey.numbers
                and all(leg["seat_class"] == seat_class for leg in journey.legs if seat_class)
                for journey in taken
            ):
                yield f"The trip from {cities[0]} to {cities[1]} is not {number} {seat_class or ''}".rstrip()
