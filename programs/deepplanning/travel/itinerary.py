"""An itinerary: the trips, the hotel and the stops of each day, from which times, costs and the plan follow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from programs.deepplanning.travel.atlas import Atlas, Hotel, Trip
from programs.deepplanning.travel.builder import DayTask, place_day
from programs.deepplanning.travel.costs import Costs, costs_of
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.day_line import day_line
from programs.deepplanning.travel.frame import Frame, Way
from programs.deepplanning.travel.home import HomeCity
from programs.deepplanning.travel.plan_form import plan_of
from programs.deepplanning.travel.slots import Note, PlacedDay, Slot
from programs.deepplanning.travel.stops import Stop, read_stops


@dataclass(frozen=True, eq=False)
class Itinerary:
    """What was chosen so far. It never changes: each choice gives a new itinerary, which shares all that stays.

    The stops of the first day lie after the outbound trip, those of the last day before the return trip. Only where the
    first day begins with restaurants in the city of departure do these lie before the trip, and where the last day ends
    with such, they lie after it.

    Args:
        stops: of each day, in order; a day without any is empty.
    """

    atlas: Atlas = field(repr=False)
    frame: Frame
    home: HomeCity = field(repr=False)
    stops: tuple[tuple[Stop, ...], ...]
    out: Trip | None = None
    back: Trip | None = None
    hotel: Hotel | None = None

    @classmethod
    def start(cls, atlas: Atlas, frame: Frame) -> Itinerary:
        """An empty itinerary."""
        return cls(atlas, frame, HomeCity(atlas, frame), ((),) * frame.days)

    def __deepcopy__(self, memo: dict[int, Any]) -> Itinerary:
        return self

    def with_trip(self, way: Way, trip: Trip) -> Itinerary:
        """With a trip of the atlas as the way out, on the first day, or back, on the last.

        Raises:
            ValueError: there is no such way.
        """
        if way == "out":
            return replace(self, out=trip)
        if way == "back":
            return replace(self, back=trip)
        raise ValueError(f"way {way!r} must be 'out' or 'back'")

    def with_hotel(self, place: str) -> Itinerary:
        """With a hotel for all nights, by its id or exact name.

        Raises:
            ValueError: there is no such place, or it is no hotel.
        """
        try:
            record = self.atlas.find(place)
        except LookupError as error:
            raise ValueError(str(error)) from error
        hotel = self.atlas.hotels.get(record["id"])
        if hotel is None:
            raise ValueError(f"{place} ({record['name']}) is no hotel; ids of hotels begin with H")
        return replace(self, hotel=hotel)

    def with_day(self, day: int, stops: Sequence[Sequence[Any]]) -> Itinerary:
        """With these stops on a day, in this order, in the place of those it had.

        Args:
            stops: [place, start?, hours?] each. The place is an id or exact name of an attraction or restaurant.
                start, 'HH:MM', means not before; None or left out: as soon as one can be there and it is open, but
                not before 09:00 for the first stop of a day that begins at the hotel, and just in time for the way out
                for the first stop of all, where it lies before that. hours: the attraction's minimum by default, or
                0.5 where that is 0, and 1 for a meal.

        Raises:
            ValueError: there is no such day, or a stop is no such stop; the message says what would be.
        """
        index = self._index(day)
        read = read_stops(self.atlas, stops)
        return replace(self, stops=(*self.stops[:index], read, *self.stops[index + 1 :]))

    def placed(self, day: int) -> tuple[Slot, ...]:
        """The slots of a day with their times, in order.

        Raises:
            ValueError: there is no such day.
        """
        return self.days[self._index(day)].slots

    @cached_property
    def days(self) -> tuple[PlacedDay, ...]:
        """All days, placed."""
        days: list[PlacedDay] = []
        overrun = 0
        for day in range(1, self.frame.days + 1):
            before, trip, after = self._sides(day)
            task = DayTask(
                day=day,
                date=self.frame.date_of(day),
                items=[*before, *([trip] if trip else []), *after],
                begin=self.hotel if day > 1 else None,
                end=self.hotel if day < self.frame.days else None,
                overrun=overrun,
            )
            days.append(place_day(self.atlas, task))
            overrun = days[-1].overrun
        return tuple(days)

    @cached_property
    def notes(self) -> tuple[Note, ...]:
        """What did not go as asked, by day."""
        days = enumerate(self.days, start=1)
        return tuple(note for day, placed in days for note in (*placed.notes, *self._astray(day)))

    @cached_property
    def costs(self) -> Costs:
        """What everything costs, for all people, rooms and cars."""
        return costs_of(self.frame, self.hotel, [day.slots for day in self.days])

    @property
    def total(self) -> float:
        return self.costs.total

    def to_plan(self, language: Language = "en") -> dict[str, Any]:
        """The plan as the benchmark's evaluator reads it."""
        return plan_of(self.frame, self.hotel, [day.slots for day in self.days], self.costs, language)

    def render_day(self, day: int) -> str:
        """A day in one line, such as "day 2 Thu: (62 min) 09:30-11:30 A2 (5 min) 11:35-12:35 R15 (64 min) 13:39 hotel".

        Raises:
            ValueError: there is no such day.
        """
        return day_line(day, self.frame.weekday(day), self.placed(day))

    def _sides(self, day: int) -> tuple[Sequence[Stop], Trip | None, Sequence[Stop]]:
        """The stops before the trip of a day, the trip, and those after it."""
        stops = self.stops[day - 1]
        if day == 1 and self.out is not None:
            cut = self._leading_home(stops)
            return stops[:cut], self.out, stops[cut:]
        if day == self.frame.days and self.back is not None:
            cut = len(stops) - self._leading_home(stops[::-1])
            return stops[:cut], self.back, stops[cut:]
        return ((), None, stops) if day == 1 else (stops, None, ())

    def _astray(self, day: int) -> Iterator[Note]:
        """Restaurants of the city of departure that lie among stops at the destination."""
        before, _, after = self._sides(day)
        for stop in after if day == 1 else before:
            if self._at_home(stop):
                remedy = f"have it first on day 1 or last on day {self.frame.days}"
                yield Note(day, stop.id, f"{stop.id} lies in {self.frame.origin}: {remedy}", problem=True)

    def _leading_home(self, stops: Sequence[Stop]) -> int:
        """How many of the first stops lie in the city of departure."""
        return next((n for n, stop in enumerate(stops) if not self._at_home(stop)), len(stops))

    def _at_home(self, stop: Stop) -> bool:
        return stop.kind == "meal" and self.home.holds(stop.id)

    def _index(self, day: int) -> int:
        if not 1 <= day <= self.frame.days:
            raise ValueError(f"day {day}: the trip has the days 1 to {self.frame.days}")
        return day - 1
