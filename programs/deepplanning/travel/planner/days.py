"""Which stops lie on which day and in which order: the wished ones first, then what the days still need."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from programs.deepplanning.travel.atlas import Atlas, Sort
from programs.deepplanning.travel.clock import DAY, clock, read_clock
from programs.deepplanning.travel.environment import NEAREST
from programs.deepplanning.travel.itinerary import Itinerary
from programs.deepplanning.travel.planner.needs import BETWEEN_MEALS, FULL_DAY, Need
from programs.deepplanning.travel.slots import Move, Night, Slot, Visit, Wait

DayStops = tuple[tuple[str | float | None, ...], ...]
"""The stops of a day as `day` takes them: `[place, start?, hours?]` each."""
Stops = tuple[tuple[str, float | None], ...]
"""Places in their order, with the hours of those that last longer than they must."""
Days = tuple[Stops, ...]
_LUNCH, _DINNER = 11 * 60, 17 * 60
"""From when on one likes to eat."""
_MEALS = ((_LUNCH, _DINNER, 0.0), (0, _DINNER, 60.0), (0, 0, 120.0))
"""Before when the meals of a day do not start, and how many minutes of road it counts for to eat at other times."""
_MORNING = 10 * 60
"""When a day has begun that begins at the hotel; it counts as waiting to begin it later."""
_LATEST = DAY - 30
"""By when one is at the hotel."""
_MARGIN = 5
"""Minutes of visits beyond a full day's, since the benchmark cuts fractions."""
_VISIT = 0.5
"""Hours of a visit that has no minimum."""
_STEP = 30
"""Meals begin at full and half hours."""
_BREADTH = 6
"""Ways to place one stop that are followed."""
_STEPS = 2000
"""Stops that are placed before the search gives up."""
_RESTAURANTS = 10
"""Those around a place that are looked at."""
_WAIT = 0.25
"""Minutes of road that a minute of waiting counts for."""
_SECOND_CHOICE = 1000.0
"""Minutes of road that it counts for to take another place than the best of those that will do."""


class Placed(NamedTuple):
    """A day as it can be done.

    Args:
        effort: minutes of road, and what else counts for such.
        sights: minutes of visits, with the roads to and from them.
    """

    stops: DayStops
    effort: float
    meals: int
    visits: int
    sights: int


@dataclass
class Search:
    """The search with one pair of trips and one hotel.

    Args:
        empty: the itinerary with these, and no stops.
        saving: minutes of road that a yuan is worth.
    """

    atlas: Atlas
    empty: Itinerary
    needs: Sequence[Need]
    saving: float
    _placed: dict[tuple[int, Stops], Placed | None] = field(default_factory=dict)
    _steps: int = 0

    def plans(self, wished: Sequence[tuple[str, ...]]) -> Iterator[tuple[DayStops, ...]]:
        """The stops of all days; those of little effort come first, as far as one stop after another can tell.

        Args:
            wished: for each stop the places that will do, the best first.
        """
        for arranged in self._arranged(list(wished), ((),) * len(self.needs)):
            filled = self._filled(arranged)
            if filled is not None:
                placed = [self.placed(day, stops) for day, stops in enumerate(filled, start=1)]
                yield tuple(each.stops for each in placed if each is not None)

    def _arranged(self, wished: list[tuple[str, ...]], days: Days) -> Iterator[Days]:
        """The days with all wished stops. What has the fewest ways left is placed next."""
        if not wished:
            yield days
            return
        self._steps += 1
        if self._steps > _STEPS:
            return
        ways = {position: self._longer(places, days) for position, places in enumerate(wished)}
        next_ = min(ways, key=lambda position: len(ways[position]))
        others = [*wished[:next_], *wished[next_ + 1 :]]
        for longer in ways[next_][:_BREADTH]:
            yield from self._arranged(others, longer)

    def _longer(self, places: Iterable[str], days: Days, on: Iterable[int] | None = None) -> list[Days]:
        """The days with one more stop at one of these places, by effort."""
        taken = {place for stops in days for place, _ in stops}
        options = [
            (effort + _SECOND_CHOICE * rank * (on is None), longer)
            for rank, place in enumerate(places)
            if place not in taken
            for day in (on or range(1, len(days) + 1))
            for effort, longer in self._inserted(place, day, days)
        ]
        return [longer for _, longer in sorted(options, key=lambda option: option[0])]

    def _inserted(self, place: str, day: int, days: Days) -> Iterator[tuple[float, Days]]:
        stops = days[day - 1]
        before = self.placed(day, stops)
        for position in range(len(stops) + 1):
            longer: Stops = (*stops[:position], (place, self._hours(place)), *stops[position:])
            after = self.placed(day, longer)
            if before is not None and after is not None:
                yield after.effort - before.effort, _replaced(days, day, longer)

    def _hours(self, place: str) -> float | None:
        """How long to stay where a visit has no minimum and the place is not open for long; None leaves the default."""
        attraction = self.atlas.attractions.get(place)
        if attraction is None or attraction["min_hours"]:
            return None
        opens, closes = read_clock(attraction["open"]), read_clock(attraction["close"])
        if opens is None or closes is None or closes < opens:
            return None
        return min(attraction["max_hours"] or _VISIT, (closes - opens) / 60, _VISIT)

    def _filled(self, days: Days) -> Days | None:
        """The days with what they need beside the wished stops; None where nothing will do."""
        for day, need in enumerate(self.needs, start=1):
            while not self._has_seen(day, days, need):
                enough = next(islice(self._with_sights(day, days), 1), None)
                if enough is None:
                    return None
                days = enough
        for day, need in enumerate(self.needs, start=1):
            while (placed := self.placed(day, days[day - 1])) is not None and placed.meals < need.least_meals:
                ways = (self._longer(places, days, on=[day]) for places in self._restaurants(days[day - 1]))
                fed = next(filter(None, ways), None)
                if fed is None:
                    return None
                days = fed[0]
        return days

    def _has_seen(self, day: int, days: Days, need: Need) -> bool:
        placed = self.placed(day, days[day - 1])
        if placed is None:
            return False
        return placed.visits >= need.visits or (need.visits > 1 and placed.sights >= FULL_DAY + _MARGIN)

    def _with_sights(self, day: int, days: Days) -> Iterator[Days]:
        """The days with one more visit on a day; where there are too few sights for all days, with longer visits."""
        longer = self._longer(self.atlas.attractions, days, on=[day])
        lacking = sum(max(0, need.visits - self._visits(each, days)) for each, need in enumerate(self.needs, start=1))
        if lacking > len(self.atlas.attractions) - sum(map(self._visits, range(1, len(days) + 1), [days] * len(days))):
            yield from (full for each in (days, *longer) if (full := self._stretched(day, each)) is not None)
        yield from longer

    def _visits(self, day: int, days: Days) -> int:
        return sum(place in self.atlas.attractions for place, _ in days[day - 1])

    def _stretched(self, day: int, days: Days) -> Days | None:
        """The days with visits so long that they are enough for a day; None where they cannot be."""
        stops = days[day - 1]
        for position, (place, _) in enumerate(stops):
            hours = self.atlas.attractions[place]["max_hours"] if place in self.atlas.attractions else None
            if hours:
                longer: Stops = (*stops[:position], (place, hours), *stops[position + 1 :])
                if self.placed(day, longer) is not None:
                    stops = longer
                    if self._has_seen(day, _replaced(days, day, stops), self.needs[day - 1]):
                        return _replaced(days, day, stops)
        return None

    def _restaurants(self, stops: Stops) -> Iterator[list[str]]:
        """Restaurants to eat at on a day, the likely ones first: those that are read before planning, around the sights
        of the day and around all sights, and what more there is around those of the day."""
        sights = list(self.atlas.attractions)
        of_day = [place for place, _ in stops if place in sights]
        if not self.saving:
            yield self._around(of_day, NEAREST)
        yield self._around(sights, NEAREST)
        hotel = [] if self.empty.hotel is None else [self.empty.hotel["id"]]
        yield self._around([*(of_day or sights), *hotel], _RESTAURANTS)

    def _around(self, places: Iterable[str], limit: int) -> list[str]:
        orders: list[Sort] = ["metres", "price"] if self.saving and limit > NEAREST else ["metres"]
        found = [
            self.atlas.restaurants_near(place, limit, order) for place in places for order in orders
        ]
        return list(dict.fromkeys(each["id"] for listed in found for each in listed))

    def placed(self, day: int, stops: Stops) -> Placed | None:
        """A day with these stops in this order; None where it cannot be done."""
        if (day, stops) not in self._placed:
            ways = [placed for meals in _MEALS if (placed := self._at(day, stops, *meals)) is not None]
            self._placed[day, stops] = min(ways, key=lambda placed: placed.effort, default=None)
        return self._placed[day, stops]

    def _at(self, day: int, stops: Stops, lunch: int, dinner: int, bother: float) -> Placed | None:
        """The day with its meals not before these minutes; an only meal is a lunch."""
        meals = [position for position, (place, _) in enumerate(stops) if place in self.atlas.restaurants]
        if len(meals) > self.needs[day - 1].most_meals:
            return None
        starts = dict(zip(meals, (lunch, dinner), strict=False))
        itinerary = self._with(day, stops, starts)
        if len(meals) > 1:  # the second not too soon after the first
            first, second = (slot for slot in itinerary.placed(day) if _is_meal(slot))
            if second.start - first.end < BETWEEN_MEALS:
                starts[meals[1]] = -(-(first.end + BETWEEN_MEALS) // _STEP) * _STEP
                if starts[meals[1]] >= DAY:
                    return None
                itinerary = self._with(day, stops, starts)
        return self._judged(day, stops, starts, itinerary, bother)

    def _with(self, day: int, stops: Stops, starts: Mapping[int, int]) -> Itinerary:
        return self.empty.with_day(day, _written(stops, starts))

    def _judged(
        self, day: int, stops: Stops, starts: Mapping[int, int], itinerary: Itinerary, bother: float
    ) -> Placed | None:
        placed = itinerary.days[day - 1]
        late = any(isinstance(slot, Night) and slot.start > _LATEST for slot in placed.slots)
        if placed.problems or (stops and late):
            return None
        roads = [slot for slot in placed.slots if isinstance(slot, Move)]
        visits = [slot for slot in placed.slots if isinstance(slot, Visit) and slot.stop.kind == "attraction"]
        names = {visit.stop.name for visit in visits}
        waits = sum(slot.minutes for slot in placed.slots if isinstance(slot, Wait))
        if day > 1 and stops:
            waits += max(0, next(slot.start for slot in placed.slots if isinstance(slot, Visit)) - _MORNING)
        costs = itinerary.costs.days[day - 1]
        spent = costs.meals + costs.tickets + costs.road_total
        return Placed(
            stops=_written(stops, starts),
            effort=bother + sum(road.minutes for road in roads) + _WAIT * waits + self.saving * spent,
            meals=sum(map(_is_meal, placed.slots)),
            visits=len(visits),
            sights=sum(slot.minutes for slot in visits)
            + sum(road.minutes for road in roads if {road.origin.name, road.destination.name} & names),
        )


def _is_meal(slot: Slot) -> bool:
    return isinstance(slot, Visit) and slot.stop.kind == "meal"


def _written(stops: Stops, starts: Mapping[int, int]) -> DayStops:
    """As `day` takes them, with no more than has to be said."""
    written = []
    for position, (place, hours) in enumerate(stops):
        start = clock(starts[position]) if starts.get(position) else None
        written.append((place, start, hours) if hours else (place, start) if start else (place,))
    return tuple(written)


def _replaced(days: Days, day: int, stops: Stops) -> Days:
    return (*days[: day - 1], stops, *days[day:])
