"""Single days of a valid trip changed for the worse: each mutant has one step that puts a day together another way."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pivot_dspy import Execution, Trajectory
from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.clock import DAY, clock, read_clock

KINDS = (
    "dropped meal", "dropped visit", "repeated meal", "repeated visit", "too long", "too short", "closed",
    "swapped order", "meals together", "late start",
)  # fmt: skip
_MEAL_TOO_LONG, _MEAL_TOO_SHORT = 3.0, 0.25
_LATE = ("19:30", "21:00")
_HOUR = 60

Stops = list[list[Any]]


class Change(NamedTuple):
    """A day's stops another way, and what was done; the rest is as of the mutant."""

    stops: Stops
    words: str
    lost: str | None = None
    twin: str | None = None


Changed = Iterator[Change]


@dataclass(frozen=True)
class Mutant:
    """A trajectory with one day changed."""

    kind: str
    """One of `KINDS`."""
    trajectory: Trajectory
    step: str
    """Id of the step that was changed."""
    day: int
    change: str
    """What was done, in words."""
    twin: str | None = None
    """Id of the step of the day that has the same place, where one was repeated: it may as well be the one at fault."""
    lost: str | None = None
    """Id of the place that the day has no more."""


@dataclass(frozen=True)
class Day:
    """A day as a step of the trajectory puts it together.

    Args:
        written: the stops as the step has them, bindings and all.
        places: their places, by id.
    """

    step: str
    number: int
    written: Stops
    places: tuple[str, ...]

    def stop(self, position: int, start: Any = None, hours: Any = None) -> list[Any]:
        """A stop with another start and length."""
        return [self.written[position][0], start, hours]

    def start(self, position: int) -> Any:
        """When a stop begins at the earliest, as it is written."""
        return next(iter(self.written[position][1:2]), None)

    def with_stop(self, position: int, *stops: list[Any]) -> Stops:
        """All stops, with these in the place of one."""
        changed = copy.deepcopy(self.written)
        changed[position : position + 1] = stops
        return changed


class Mutator:
    """Makes mutants of a valid trajectory; what it draws depends on `rng` only.

    Args:
        execution: of the trajectory, which shows what bindings stand for.
    """

    def __init__(self, atlas: Atlas, execution: Execution, rng: random.Random) -> None:
        self._atlas, self._trajectory, self._rng = atlas, execution.trajectory, rng
        self._days = list(_days(atlas, execution))
        self._makers: Mapping[str, Callable[[Day], Changed]] = {
            "dropped meal": lambda day: self._dropped(day, meals=True),
            "dropped visit": lambda day: self._dropped(day, meals=False),
            "repeated meal": lambda day: self._repeated(day, meals=True),
            "repeated visit": lambda day: self._repeated(day, meals=False),
            "too long": lambda day: self._lengths(day, longer=True),
            "too short": lambda day: self._lengths(day, longer=False),
            "closed": self._closed,
            "swapped order": self._swapped,
            "meals together": self._together,
            "late start": self._late,
        }

    def mutants(self, each: int) -> Iterator[Mutant]:
        """At most `each` different mutants of each kind."""
        for kind, make in self._makers.items():
            all_of_kind = [(day, change) for day in self._days for change in make(day)]
            for day, change in self._rng.sample(all_of_kind, min(each, len(all_of_kind))):
                steps = tuple(
                    step.model_copy(update={"args": {**step.args, "stops": change.stops}})
                    if step.id == day.step
                    else step
                    for step in self._trajectory.steps
                )
                yield Mutant(
                    kind=kind,
                    trajectory=Trajectory(steps=steps),
                    step=day.step,
                    day=day.number,
                    change=f"day {day.number}: {change.words}",
                    twin=change.twin,
                    lost=change.lost,
                )

    def _positions(self, day: Day, *, meals: bool) -> list[int]:
        return [at for at, place in enumerate(day.places) if (place in self._atlas.restaurants) == meals]

    # -- the kinds

    def _dropped(self, day: Day, *, meals: bool) -> Changed:
        for at in self._positions(day, meals=meals):
            yield Change(day.with_stop(at), f"{day.places[at]} dropped", lost=day.places[at])

    def _repeated(self, day: Day, *, meals: bool) -> Changed:
        """In the place of a stop one of another day of the same kind."""
        for other in self._days:
            for there in self._positions(other, meals=meals) if other.step != day.step else ():
                for at in self._positions(day, meals=meals):
                    stop = [other.places[there], day.start(at)]
                    words = f"{other.places[there]} again, for {day.places[at]}"
                    yield Change(day.with_stop(at, stop), words, lost=day.places[at], twin=other.step)

    def _lengths(self, day: Day, *, longer: bool) -> Changed:
        for at, place in enumerate(day.places):
            hours = _MEAL_TOO_LONG if longer else _MEAL_TOO_SHORT
            if attraction := self._atlas.attractions.get(place):
                least, most = attraction["min_hours"] or 0, attraction["max_hours"]
                if most is None or (not longer and least <= 0.5):
                    continue
                hours = most + 1 if longer else least / 2
            stop = day.stop(at, day.start(at), hours)
            yield Change(day.with_stop(at, stop), f"{place} for {hours:g} hours")

    def _closed(self, day: Day) -> Changed:
        """A start at which the place is about to close."""
        for at, place in enumerate(day.places):
            record = self._atlas.attractions.get(place) or self._atlas.restaurants.get(place)
            closes = read_clock(record["close"]) if record else None
            opens = read_clock(record["open"]) if record else None
            if closes is not None and opens is not None and opens < closes < DAY - _HOUR:
                start = clock(closes - 10)
                yield Change(day.with_stop(at, day.stop(at, start)), f"{place} at {start}")

    def _swapped(self, day: Day) -> Changed:
        for at in range(len(day.places) - 1):
            stops = day.with_stop(at)
            stops.insert(at + 1, copy.deepcopy(day.written[at]))
            yield Change(stops, f"{day.places[at]} after {day.places[at + 1]}")

    def _together(self, day: Day) -> Changed:
        """The second meal at once after the first."""
        meals = self._positions(day, meals=True)
        if len(meals) > 1:
            stops = day.with_stop(meals[1])
            stops.insert(meals[0] + 1, day.stop(meals[1]))
            yield Change(stops, f"{day.places[meals[1]]} at once after {day.places[meals[0]]}")

    def _late(self, day: Day) -> Changed:
        for start in _LATE:
            yield Change(day.with_stop(0, day.stop(0, start)), f"begun at {start}")


def _days(atlas: Atlas, execution: Execution) -> Iterator[Day]:
    """The days with stops; of several steps for one day the last counts."""
    days: dict[int, Day] = {}
    for step, observation in zip(execution.trajectory.steps, execution.observations, strict=True):
        args = observation.args or {}
        if step.tool == "day" and observation.ok and args.get("stops"):
            places: Sequence[str] = [atlas.find(stop[0])["id"] for stop in args["stops"]]
            written = step.args["stops"] if isinstance(step.args["stops"], list) else args["stops"]
            days[args["day"]] = Day(step.id, args["day"], copy.deepcopy(written), tuple(places))
    yield from days.values()
