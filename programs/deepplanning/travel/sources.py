"""From where a planner has what it writes down: from what was read before, from what fits a wish, or by a read."""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from typing import Any

from programs.deepplanning.travel.atlas import Atlas, Sort
from programs.deepplanning.travel.environment import NEAREST
from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.planner import Planned
from programs.deepplanning.travel.reading import Reading, Wish, fits
from programs.deepplanning.travel.wishes import Fitting

Step = dict[str, Any]
_MORE = 10
"""Restaurants that are read around a place where the nearest few will not do."""


class Sources:
    """How each value of a plan is written: a literal, or bound to what fits a wish, or to a read.

    Args:
        bound: whether what fits a wish can be bound; a plain loop of calls reads it, and copies what it has seen.

    Attributes:
        reads: the steps that read what no prompt shows before planning.
    """

    def __init__(self, reading: Reading, planned: Planned, atlas: Atlas, *, bound: bool = True) -> None:
        self.reading, self.planned, self.atlas, self.bound = reading, planned, atlas, bound
        self.reads: list[Step] = []
        self._fitting = {wish["id"]: self._fits(wish) for wish in reading.wishes if wish["check"] != "budget"}
        self._read_before = {
            restaurant["id"]
            for place in atlas.attractions
            for restaurant in atlas.restaurants_near(place, NEAREST)
        }

    def _fits(self, wish: Wish) -> Fitting[Any]:
        return fits(wish, self.reading.frame, self.atlas)

    def wishes(self, *checks: str) -> list[str]:
        """The ids of the wishes that are said by one of these checks."""
        return [wish["id"] for wish in self.reading.wishes if wish["check"] in checks]

    def met_by(self, places: Iterable[str]) -> list[str]:
        """The ids of the wishes of meals and visits that one of these places can meet."""
        stops = set(places)
        return [
            key
            for key in self.wishes("meal", "visit")
            if any(record["id"] in stops for choice in self._fitting[key].choices for record in choice.among)
        ]

    def trip(self, way: Way, field: str) -> Any:
        """A trip's value: bound where a wish singles it out, else as the list of trips has it."""
        trip: Mapping[str, Any] = self.planned.out if way == "out" else self.planned.back
        for wish in self.reading.wishes if self.bound else ():
            args = wish["args"]
            if wish["check"] == "trip" and args["way"] in (way, "both") and "best" in args:
                first = next(record for record in self._fitting[wish["id"]].records if record["way"] == way)
                if first["number"] == trip["number"] and first[field] == trip[field]:  # it may stop twice in a city
                    of_way = f"[?way=='{way}'] | [0]" if args["way"] == "both" else "[0]"
                    return f"${wish['id']}{of_way}.{field}"
        return trip[field]

    def hotel(self, field: str) -> Any:
        """The hotel's value: bound to what fits a wish, or, where none is wished, to the list of hotels."""
        hotel: Mapping[str, Any] = self.planned.hotel
        bound = self._bound(hotel["id"], "hotel")
        if bound is not None:
            return f"${bound}.{field}"
        wished = [wish["args"].get("where", ()) for wish in self.reading.wishes if wish["check"] == "hotel"]
        filters = {name: value for where in wished for name, symbol, value in where if name in ("star", "brand")}
        listed = self.read("hs", "find_hotels", filters)
        return f"${listed}[?id=='{hotel['id']}'] | [0].{field}" if self.bound else hotel[field]

    def place(self, place: str, field: str) -> Any:
        """A stop's value: of a wished meal bound, of an attraction as listed, of another restaurant as it is read."""
        record: Mapping[str, Any] = self.atlas.find(place)
        bound = self._bound(place, "meal")
        if bound is not None:
            return f"${bound}.{field}"
        if place in self.atlas.attractions or (place in self._read_before and field != "name"):
            return record[field]
        listed = self._read(place)
        if listed is None:  # what the request calls by its name needs no id
            return record["name" if field == "id" else field]
        return f"${listed}[].restaurants[] | [?id=='{place}'] | [0].{field}" if self.bound else record[field]

    def _bound(self, place: str, check: str) -> str | None:
        """What of a wish gives a place: the first that fits."""
        if not self.bound:
            return None
        firsts = ((key, self._fitting[key].records[:1]) for key in self.wishes(check))
        return next((f"{key}[0]" for key, records in firsts if records and records[0]["id"] == place), None)

    def _read(self, restaurant: str) -> str | None:
        """The id of a step that reads a restaurant; None where none does, so that a wish must have named it."""
        if restaurant in self._read_before:
            return self.read("f", "find_restaurants", {})
        stops = [str(place) for stops in self.planned.days for place, *_ in stops]
        orders: tuple[Sort, ...] = ("metres", "price")
        for near in (*filter(self.atlas.attractions.get, stops), self.planned.hotel["id"], *self.atlas.attractions):
            for sort in orders:
                if any(each["id"] == restaurant for each in self.atlas.restaurants_near(near, _MORE, sort)):
                    key = self.hotel("id") if near == self.planned.hotel["id"] else near
                    return self.read("f1", "find_restaurants", {"near": key, "limit": _MORE, "sort": sort})
        return None

    def read(self, key: str, tool: str, args: Step) -> str:
        """The id of the step that reads this: the key, with a higher number where that is taken."""
        for step in self.reads:
            if (step["tool"], step["args"]) == (tool, args):
                return str(step["id"])
        name, number = key.rstrip(string.digits), len(self.reads) + 1
        free = key if all(step["id"] != key for step in self.reads) else f"{name}{number}"
        self.reads.append({"id": free, "tool": tool, "args": args})
        return free
