"""An itinerary that is put together step by step: the model decides where, when and in which order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pivot_dspy import tool
from programs.deepplanning.travel import prompt_tables
from programs.deepplanning.travel.atlas import seats_for
from programs.deepplanning.travel.environment import TravelEnvironment, World, day_name
from programs.deepplanning.travel.frame import Frame, Way
from programs.deepplanning.travel.itinerary import Itinerary
from programs.deepplanning.travel.shown_records import Day, Plan


class TripBuilder(TravelEnvironment):
    """One life of a trip's itinerary."""

    def __init__(self, world: World, request: str = "") -> None:
        super().__init__(world, request)
        self.itinerary_: Itinerary | None = None

    def plan(self) -> dict[str, Any]:
        return self._begun.to_plan(self.world.database.language)

    @property
    def _begun(self) -> Itinerary:
        """The itinerary.

        Raises:
            ValueError: it is not started.
        """
        if self.itinerary_ is None:
            raise ValueError("nothing is started: the first step is start(...)")
        return self.itinerary_

    def _changed(self) -> None:
        super()._changed()
        if isinstance(self.frame, Frame) and (self.itinerary_ is None or self.itinerary_.frame != self.frame):
            self.itinerary_ = Itinerary.start(self.world.atlas, self.frame)

    @tool(effect="write", draft=True)
    def go(self, way: Way, number: str) -> str:
        """Take a trip.

        Args:
            number: of a trip of the day of departure, or of return; of several of one number the cheapest.
        """
        frame = self._begun.frame
        ends = (frame.origin, frame.destination) if way == "out" else (frame.destination, frame.origin)
        date = frame.depart if way == "out" else frame.return_
        listed = self.world.atlas.trips(*ends, date.isoformat())
        named = [trip for trip in listed if trip["number"] == number.strip()]
        if not named:
            numbers = ", ".join(dict.fromkeys(trip["number"] for trip in listed if trip["direct"]))
            where = f"from {ends[0]} to {ends[1]} on {date}"
            raise ValueError(f"no trip {number!r} {where}; direct ones: {numbers or 'none'}")
        seated = [trip for trip in named if seats_for(trip, frame.people)] or named
        trip = min(seated, key=lambda each: each["price"])
        self.itinerary_ = self._begun.with_trip(way, trip)
        self._changed()
        return prompt_tables.trip_line(trip)

    @tool(effect="write", draft=True)
    def stay(self, hotel: str) -> str:
        """Take a hotel for all nights.

        Args:
            hotel: id or exact name.
        """
        self.itinerary_ = self._begun.with_hotel(hotel)
        self._changed()
        return prompt_tables.hotel_line(self.itinerary_.hotel) if self.itinerary_.hotel else ""

    @tool(effect="write", draft=True)
    def day(self, day: int, stops: list[list[Any]]) -> Day:
        """The attractions and meals of a day, in order; a later day(n) replaces an earlier one.

        Args:
            stops: [place, start?, hours?] each; place: id or exact name of an attraction or restaurant; start 'HH:MM':
                not before then, null: as soon as one can be there and it is open (the first stop from 09:00); hours:
                default the attraction's minimum (at least 0.5), 1 for a meal. Trips, roads, waits, the hotel, fares
                and totals are put in.
        """
        self.itinerary_ = self._begun.with_day(day, stops)
        self._changed()
        notes = [note.text for note in self.itinerary_.notes if note.day == day]
        return {"day": day_name(day), "line": self.itinerary_.render_day(day), "notes": notes}

    @tool(effect="read", returns=Plan)
    def itinerary(self) -> dict[str, Any]:
        """The whole plan, to be submitted."""
        return self.plan()

    def costs(self) -> tuple[float, str]:
        costs = self._begun.costs
        return costs.total, str(costs)

    def nearest_stop(self, place: str) -> tuple[int, str] | None:
        days = () if self.itinerary_ is None else enumerate(self.itinerary_.stops, start=1)
        roads = [
            (road.duration_in_minutes, day, stop.id)
            for day, stops in days
            for stop in stops
            if (road := self.world.atlas.road(stop.id, place)) is not None
        ]
        if not roads:
            return None
        minutes, day, stop_id = min(roads)
        return day, f"{minutes} min from {stop_id} on {day_name(day)}"

    def proposal(self, days: Sequence[int]) -> str:
        notes = (str(note) for note in self._begun.notes if note.problem and (not days or note.day in days))
        return "; ".join(dict.fromkeys(notes))

    def describe(self) -> str:
        itinerary = self.itinerary_
        if itinerary is None:
            return "Nothing is started."
        days = range(1, itinerary.frame.days + 1)
        lines = [itinerary.render_day(day) for day in days]
        return "\n".join([*lines, f"total {itinerary.total} for {itinerary.frame.people} people"])

    def summarise(self, tool: str, value: Any) -> str | None:
        if tool == "itinerary":
            return "the plan as it stands"
        if tool == "day":
            return "; ".join(value["notes"]) or "placed"  # the state shows it
        return super().summarise(tool, value)
