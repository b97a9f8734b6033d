"""Which restaurants lie in the city that a trip starts from: around its stations, where one eats before the trip."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.frame import Frame


class HomeCity:
    """Tells whether a restaurant lies in the city of departure; answers are kept, and all forks share them.

    No table has a restaurant's city. It is the one of the nearest station, hotel or attraction: restaurants are listed
    around those only, and all hotels and attractions are in the destination.
    """

    def __init__(self, atlas: Atlas, frame: Frame) -> None:
        self._atlas = atlas
        out = atlas.trips(frame.origin, frame.destination, frame.depart.isoformat())
        back = atlas.trips(frame.destination, frame.origin, frame.return_.isoformat())
        self._here = _stations([trip["from"] for trip in out] + [trip["to"] for trip in back])
        stations = _stations([trip["to"] for trip in out] + [trip["from"] for trip in back])
        self._there = (*stations, *atlas.hotels, *atlas.attractions)
        self._answers: dict[str, bool] = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> HomeCity:
        return self

    def holds(self, restaurant: str) -> bool:
        """Whether the restaurant of this id lies in the city of departure."""
        if restaurant not in self._answers:
            here, there = self._metres(restaurant, self._here), self._metres(restaurant, self._there)
            self._answers[restaurant] = here is not None and (there is None or here < there)
        return self._answers[restaurant]

    def _metres(self, restaurant: str, places: Iterable[str]) -> int | None:
        roads = (self._atlas.road(restaurant, place) for place in places)
        return min((road.distance_in_meters for road in roads if road), default=None)


def _stations(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))
