"""The travel domain as an environment: what a planner reads, the rules and wishes that it is held to, and the start."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date
from typing import Any, Literal

from pivot_dspy import CheckResult, Environment, Requirement, ToolError, check, tool
from programs.deepplanning.travel import prompt_tables, rules, shown_records, wishes
from programs.deepplanning.travel.atlas import Atlas, Attraction, Hotel, Mode, Restaurant, Sort, Trip
from programs.deepplanning.travel.database import TravelDatabase
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.prompt_tables import number
from programs.deepplanning.travel.request import Journey, read_journey, read_people
from programs.deepplanning.travel.rules import About, Held
from programs.deepplanning.travel.scoring.tables import Tables
from programs.deepplanning.travel.wishes import Fitting

POLICY = """\
Trips between the cities are direct and have seats for all. Out on the first day, back on the last, one hotel for all \
nights.
A day without a trip: at least 2 meals, and 2 attractions or 4 hours of visits. Day of arrival: before 10:00 2 meals, \
before 15:00 at least 1, later at most 1; before 12:00 also 1 attraction. Day of departure: trip before 9:00 no meal, \
before 15:00 at most 1, later at least 1; after 16:00 also 1 attraction.
Between two meals of a day at least 2 hours pass. A meal lasts 0.5 to 2.5 hours, a visit between the attraction's min \
and max hours, both inside opening hours. No restaurant and no attraction twice in the whole trip; one meal may serve \
several wishes.
After a train 30 minutes pass until one can leave the station, after a flight 45; before boarding it is 30 and 60.
Where a wish leaves several that fit: the cheapest trip, the cheapest and then best rated hotel, the best rated \
restaurant."""

WISHES = """\
Each wish of the request is a requirement said by one of these, with values as `known` lists them. What start says \
needs none, nor does the policy, nor a mood (relaxed, classic, convenient).
where: a list of [field, op, value], all of which hold; op: == != > >= < <= contains in; field: of the type. best: \
["min" or "max", field]. A visit without best: all that fit are visited; with best the best one, with top the n best.
Example: {"id": "R2", "check": "meal", "args": {"near": "A5", "where": [["tags", "contains", "Private Room"]], "best": \
["max", "rating"]}}, bound in a day as ["$R2[0].id", "18:00"]."""

NEAREST = 3
"""Restaurants that are read around each place before planning."""
NAMED = 4
"""Records that the evidence of a wish names."""


BEST = 2
"""Records that are shown of what was looked up."""
LINES: Mapping[str, Callable[[Any], str]] = {
    "trip": lambda trip: f"{trip['way']}: {prompt_tables.trip_line(trip)}",
    "hotel": prompt_tables.hotel_line,
    "meal": prompt_tables.restaurant_line,
    "visit": lambda place: f"{place['id']} {place['name']} {place['rating']}",
}
"""How a record that fits a wish is shown, by the wish's check."""


class World:
    """What all lives of one task share: its tables, which nothing changes."""

    def __init__(self, database: TravelDatabase) -> None:
        self.database = database
        self.atlas = Atlas(database)
        self.tables = Tables(database)

    def __deepcopy__(self, memo: dict[int, Any]) -> World:
        return self


class TravelEnvironment(Environment):
    """What both forms of an answer have in common. A subclass says how the plan as it stands comes about."""

    policy = POLICY
    vocabulary = WISHES
    shared = ("world",)

    def __init__(self, world: World, request: str = "") -> None:
        self.world = world
        self.journey = read_journey(request, world.atlas)
        self.people = read_people(request)
        self.frame: Frame | None = None
        self._held: Held | None = None
        self.orientation = _orientation(self.journey)

    def fork(self) -> TravelEnvironment:
        return copy.copy(self)  # nothing that it holds is changed, only replaced

    def plan(self) -> dict[str, Any]:
        """The plan as it stands, in the evaluator's form."""
        raise NotImplementedError

    # -- what a planner reads

    @tool(effect="read", returns=list[shown_records.Trip])
    def find_trips(self, origin: str, destination: str, date: str, mode: Mode | None = None) -> list[Trip]:
        """Direct trips; date: YYYY-MM-DD."""
        return [trip for trip in self.world.atlas.trips(origin, destination, date, mode) if trip["direct"]]

    @tool(effect="read")
    def find_hotels(self, star: int | None = None, brand: str | None = None) -> list[Hotel]:
        """Hotels of the destination."""
        return [
            hotel
            for hotel in self.world.atlas.hotels.values()
            if star in (None, hotel["star"]) and brand in (None, hotel["brand"])
        ]

    @tool(effect="read", returns=list[shown_records.Attraction])
    def find_attractions(self, type: str | None = None) -> list[Attraction]:
        """Attractions of the destination."""
        return [place for place in self.world.atlas.attractions.values() if type in (None, place["type"])]

    @tool(effect="read")
    def find_restaurants(
        self, near: str | None = None, limit: int = NEAREST, sort: Sort = "metres", tag: str | None = None,
        cuisine: str | None = None,
    ) -> list[shown_records.Around]:  # fmt: skip
        """Restaurants around an attraction, hotel or station; without near: around each attraction."""
        places = [near] if near is not None else list(self.world.atlas.attractions)
        found = self.world.atlas.restaurants_near
        return [{"near": place, "restaurants": found(place, limit, sort, tag, cuisine)} for place in places]

    @tool(effect="read")
    def roads(self, places: list[str] | None = None) -> dict[str, dict[str, int | None]]:
        """Minutes between places; without places: between the attractions and to the stations of the direct trips."""
        chosen = self._usual_places() if places is None else places
        return {
            place: {
                other: None if (road := self.world.atlas.road(place, other)) is None else road.duration_in_minutes
                for other in chosen[position + 1 :]
            }
            for position, place in enumerate(chosen[:-1])
        }

    def _usual_places(self) -> list[str]:
        if self.journey is None:
            return [*self.world.atlas.attractions]
        origin, destination, depart, back = self.journey
        arrivals = [trip["to"] for trip in self.find_trips(origin, destination, depart)]
        departures = [trip["from"] for trip in self.find_trips(destination, origin, back)]
        return [*dict.fromkeys([*arrivals, *departures]), *self.world.atlas.attractions]

    @tool(effect="write")
    def start(self, origin: str, destination: str, depart: date, back: date, people: int = 1, rooms: int = 1) -> str:
        """First step of all."""
        if self.people not in (None, people):
            raise ToolError(f"the request speaks of {self.people} people, not of {people}")
        self.frame = Frame(origin, destination, depart, back, people, rooms)
        self._changed()
        nights = self.frame.nights
        return f"{self.frame.days} days, {nights} night{'s' if nights > 1 else ''}, {self.frame.cars} car(s)"

    def _changed(self) -> None:
        self._held = None

    # -- wishes: what the request asks for

    @check(fits=shown_records.Trip)
    def trip(
        self, way: Literal["out", "back", "both"], mode: Mode | None = None, where: list[Any] | None = None,
        best: list[str] | None = None,
    ) -> CheckResult:  # fmt: skip
        """Trips with seats for all; both: first those out, then those back."""
        if self.frame is None:
            return CheckResult(False, "the trip is not started")
        fitting = wishes.trip(self.world.atlas, self.frame, way, mode, where or (), best)
        return _wish(fitting, self.held.trips, LINES["trip"], "number", chosen=bool(where or best))

    @check(fits=Hotel)
    def hotel(self, where: list[Any] | None = None, best: list[str] | None = None) -> CheckResult:
        """The hotel of all nights."""
        fitting = wishes.hotel(self.world.atlas, where or (), best)
        return _wish(fitting, self.held.hotels, LINES["hotel"], chosen=bool(where or best))

    @check(fits=Restaurant)
    def meal(
        self, near: str | None = None, where: list[Any] | None = None, best: list[str] | None = None
    ) -> CheckResult:
        """One meal at a restaurant that fits, of those listed near an attraction where one is named."""
        fitting = wishes.meal(self.world.atlas, near, where or (), best)
        return self._on_a_day(_wish(fitting, self.held.meals, LINES["meal"], chosen=bool(where or best)))

    @check(fits=shown_records.Attraction)
    def visit(
        self, where: list[Any] | None = None, best: list[str] | None = None, top: int | None = None
    ) -> CheckResult:
        """Visits to attractions."""
        fitting = wishes.visit(self.world.atlas, where or (), best, top)
        return self._on_a_day(_wish(fitting, self.held.visits, LINES["visit"]))

    @check
    def budget(self, max: float) -> CheckResult:
        """The whole trip costs at most so much."""
        total, where = self.costs()
        over = wishes.excess(total, max)
        evidence = f"total {number(total)}, limit {number(max)}"
        return CheckResult(not over, f"{evidence}, {number(over)} too much | {where}" if over else evidence)

    @check(listed=False)
    def plan_rules(self, about: About) -> CheckResult:
        """The rules about something."""
        if self.frame is None:
            return CheckResult(False, "the trip is not started")
        reasons = rules.broken(about, self.held)
        days = list(dict.fromkeys(day for reason in reasons for day in rules.days_of(reason, self.held)))
        evidence = "; ".join(reasons) or self.describe()
        return CheckResult(not reasons, evidence, self.proposal(days), tuple(map(day_name, days)))

    # -- the plan as it stands

    @property
    def held(self) -> Held:
        """What the plan holds as it stands."""
        if self.frame is None:
            nothing: frozenset[Any] = frozenset()
            return Held(nothing, nothing, nothing, nothing, None, "the trip is not started")
        if self._held is None:
            object.__setattr__(self, "_held", rules.read_plan(self.plan(), self.frame, self.world.tables))
        return self._held  # type: ignore[return-value]

    def costs(self) -> tuple[float, str]:
        """What the plan costs, and where, in words."""
        raise NotImplementedError

    def nearest_stop(self, place: str) -> tuple[int, str] | None:
        """The day that comes nearest to a place, and how near, in words; None where no day goes anywhere."""
        return None

    def _on_a_day(self, answer: CheckResult) -> CheckResult:
        """What lacks a place is about the day that comes nearest to it, where there is one."""
        nearest = self.nearest_stop(answer.about[0]) if answer.about and not answer.holds else None
        if nearest is None:
            return answer
        day, how = nearest
        return answer._replace(evidence=f"{answer.evidence} ({how})", about=(day_name(day),))

    def proposal(self, days: Sequence[int]) -> str:
        """What arithmetic alone says of these days."""
        return ""

    # -- words for prompts

    def summarise(self, tool: str, value: Any) -> str | None:
        tables: Mapping[str, Callable[[Any], str]] = {
            "find_trips": prompt_tables.trips, "find_hotels": prompt_tables.hotels,
            "find_attractions": prompt_tables.attractions, "find_restaurants": prompt_tables.restaurants,
            "roads": prompt_tables.roads,
        }  # fmt: skip
        if tool == "find_restaurants" and len(value) > 1:
            return f"{prompt_tables.facets(self.world.atlas.restaurants.values())}\n{prompt_tables.restaurants(value)}"
        if tool in LINES:  # of what fits a wish, the best
            lines = [LINES[tool](record) for record in value[:BEST]]
            return "\n".join(lines + [f"... {len(value)} in all"] * (len(value) > BEST)) or "nothing"
        return tables[tool](value) if tool in tables else None


def day_name(day: int) -> str:
    """How a result, and what a broken rule is about, name a day: as nothing else is named."""
    return f"day {day}"


def _orientation(journey: Journey | None) -> tuple[str | tuple[str, Mapping[str, Any]], ...]:
    """What every plan needs to read, with the cities and dates of the request where a rule can read them."""
    trips: list[tuple[str, Mapping[str, Any]]] = []
    if journey is not None:
        origin, destination, depart, back = journey
        trips = [
            ("find_trips", {"origin": origin, "destination": destination, "date": depart}),
            ("find_trips", {"origin": destination, "destination": origin, "date": back}),
        ]
    return (*trips, "find_hotels", "find_attractions", "find_restaurants", "roads")


def _wish(
    fitting: Fitting[Any], held: Collection[Any], line: Callable[[Any], str], key: str = "id", *, chosen: bool = True
) -> CheckResult:
    """How a wish stands: what fits it, best first, and what of it the plan lacks.

    Args:
        chosen: whether it says what to choose by; otherwise that several fit is no sign of anything.
    """
    lacking = wishes.missing(fitting, held)
    wanted = [record for choice in fitting.choices for record in choice.among] or fitting.records
    named = "; ".join(line(record) for record in wanted[:NAMED]) + ("; ..." if len(wanted) > NAMED else "")
    about = tuple(record[key] for record in lacking)
    return CheckResult(
        holds=wishes.satisfied(fitting, held),
        evidence=(f"{named} | lacking: {', '.join(about)}" if about and fitting.choices else named) or "nothing",
        about=about[:NAMED],
        fits=fitting.records,
        tied=fitting.tied if chosen else min(1, fitting.tied),
    )


def standing_rules() -> list[Requirement]:
    """The rules that any plan must keep, as requirements that no model alters."""
    return [Requirement(id=about, check="plan_rules", args={"about": about}) for about in rules.ABOUT]
