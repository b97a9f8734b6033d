"""The places and trips of one travel task, indexed once and shared by all forks."""

from __future__ import annotations

import difflib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import Any, Literal, TypeVar

from programs.deepplanning.travel import records
from programs.deepplanning.travel.database import Road, Row, TravelDatabase
from programs.deepplanning.travel.records import (
    ALWAYS_OPEN,
    Attraction,
    Hotel,
    Leg,
    Location,
    Mode,
    Place,
    Restaurant,
    Trip,
    seats_for,
)
from programs.deepplanning.travel.scoring.readings import city
from programs.deepplanning.travel.wording import WORDINGS

__all__ = [
    "ALWAYS_OPEN", "Atlas", "Attraction", "Hotel", "Leg", "Location", "Mode", "Place", "Restaurant",
    "Sort", "Trip", "seats_for",
]  # fmt: skip

Sort = Literal["metres", "rating", "price"]
_ORDERS: dict[Sort, Callable[[Restaurant], float]] = {
    "metres": lambda place: math.inf if place["metres"] is None else place["metres"],
    "rating": lambda place: -(place["rating"] or 0),
    "price": lambda place: place["price"],
}
_STATION_KINDS: dict[Mode, str] = {"flight": "airport", "train": "train_station"}
_SHOWN_NAMES = 5
_T = TypeVar("_T")
_K = TypeVar("_K", bound=Hashable)


class Atlas:
    """The records of one database; whoever asks for one shares it, and leaves it as it is.

    Of several rows of one name the last counts, as in the official evaluator. This concerns restaurants, which have a
    row for each place that they are near, and the table of locations.
    """

    def __init__(self, database: TravelDatabase) -> None:
        self.attractions = _by_id("A", database.attractions, "attraction_name", records.attraction)
        self.hotels = _by_id("H", database.hotels, "name", records.hotel)
        self.restaurants = _by_id("R", database.restaurants, "restaurant_name", records.restaurant)
        tables: dict[Mode, Iterable[Row]] = {"flight": database.flights or (), "train": database.trains or ()}
        self._trips = _trips(tables, WORDINGS[database.language].seats_left)
        self.routes = tuple(self._trips)
        """Of which there are trips: the city of departure, that of arrival, and the day as YYYY-MM-DD."""
        self.cities = tuple(dict.fromkeys(name for *ends, _ in self._trips for name in ends))
        self.dates = tuple(sorted({date for *_, date in self._trips}))
        listed: list[Place] = [*self.attractions.values(), *self.hotels.values(), *self.restaurants.values()]
        listed += _locations(tables, database.locations, but={place["name"] for place in listed})
        # Where a name is in two tables, as of a restaurant that is a sight, too, the first table has it.
        self._by_name = {place["name"]: place for place in reversed(listed)}
        self._by_id = {place["id"]: place for place in listed}
        self._restaurant_ids = {place["name"]: key for key, place in self.restaurants.items()}
        self._near = _grouped(database.restaurants, lambda row: row["nearby_attraction_name"].strip())
        self._around = _grouped(database.restaurants, lambda row: f"{row['query_latitude']},{row['query_longitude']}")
        self._roads = database.roads
        self._coordinates = {
            row[column].strip(): _coordinates(row)
            for rows, column in (
                (database.restaurants, "restaurant_name"), (database.hotels, "name"),
                (database.attractions, "attraction_name"), (database.locations, "poi_name"),
            )
            for row in rows
        }  # fmt: skip

    def __copy__(self) -> Atlas:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Atlas:
        return self

    def trips(self, origin: str, destination: str, date: str, mode: Mode | None = None) -> list[Trip]:
        """All trips between two cities on a day (YYYY-MM-DD), those with changes too, in the order of the tables."""
        trips = self._trips.get((city(origin), city(destination), date), ())
        return [trip for trip in trips if mode in (None, trip["mode"])]

    def find(self, place: str) -> Place:
        """The record of a place by its id or exact name.

        Raises:
            LookupError: there is none; the message names the nearest names.
        """
        key = place.strip()
        record = self._by_id.get(key) or self._by_name.get(key)
        if record is None:
            raise LookupError(f"no place {place!r}; nearest names: {nearest(key, self._by_name)}")
        return record

    def coordinates(self, place: str) -> str | None:
        """"latitude,longitude" of a place by id or exact name; None where they are not published, as of some stations.

        Raises:
            LookupError: there is no such place.
        """
        return self._coordinates.get(self.find(place)["name"])

    def road(self, origin: str, destination: str) -> Road | None:
        """The road between two places by id or exact name, all zero at one place; None where there is none.

        Raises:
            LookupError: there is no such place.
        """
        if self.find(origin) is self.find(destination):
            return Road(0, 0, 0)
        return self._road(self.coordinates(origin), self.coordinates(destination))

    def restaurants_near(
        self,
        place: str,
        limit: int | None = 5,
        sort: Sort = "metres",
        tag: str | None = None,
        cuisine: str | None = None,
    ) -> list[Restaurant]:
        """What the published tool recommends around an attraction, a hotel or a station, with the road from there.

        Raises:
            LookupError: there is no such place.
        """
        name, coordinates = self.find(place)["name"], self.coordinates(place)
        rows = self._around.get(coordinates or "", [])
        # Two attractions at one point share their restaurants; where the rows differ, that of the place counts.
        rows = sorted(rows, key=lambda row: row["nearby_attraction_name"].strip() == name)
        around = [
            restaurant for restaurant in self._with_roads(coordinates, rows)
            if _listed(tag, restaurant["tags"]) and _listed(cuisine, restaurant["cuisine"])
        ]  # fmt: skip
        return sorted(around, key=_ORDERS[sort])[:limit]

    def restaurants_of(self, place: str) -> list[Restaurant]:
        """The restaurants that the table lists under a place as near it, with the road from there.

        Raises:
            LookupError: there is no such place.
        """
        return self._with_roads(self.coordinates(place), self._near.get(self.find(place)["name"], []))

    def _with_roads(self, coordinates: str | None, rows: Iterable[Row]) -> list[Restaurant]:
        around: dict[str, Restaurant] = {}
        for row in rows:
            key = self._restaurant_ids[row["restaurant_name"].strip()]
            road = self._road(coordinates, _coordinates(row))
            around[key] = {
                **records.restaurant(key, row),
                # A meal is judged by the hours of the last row, whichever place the restaurant was found near.
                "open": self.restaurants[key]["open"],
                "close": self.restaurants[key]["close"],
                "metres": road and road.distance_in_meters,
                "minutes": road and road.duration_in_minutes,
            }
        return list(around.values())

    def _road(self, origin: str | None, destination: str | None) -> Road | None:
        if origin is None or destination is None:
            return None
        road = self._roads.leg(origin, destination)
        return Road(0, 0, 0) if road is None and origin == destination else road


def nearest(text: str, texts: Iterable[str]) -> list[str]:
    """Those that are spelled most like a text."""
    return difflib.get_close_matches(text, list(texts), _SHOWN_NAMES, cutoff=0)


def _listed(text: str | None, texts: Iterable[str]) -> bool:
    return text is None or text.casefold() in map(str.casefold, texts)


def _by_id(letter: str, rows: Iterable[Row], column: str, record: Callable[[str, Row], _T]) -> dict[str, _T]:
    """A record a name, numbered as the names first appear."""
    last = {row[column].strip(): row for row in rows}
    return {f"{letter}{n}": record(f"{letter}{n}", row) for n, row in enumerate(last.values(), start=1)}


def _trips(tables: Mapping[Mode, Iterable[Row]], enough: str) -> dict[tuple[str, str, str], list[Trip]]:
    """The trips from a city to another on a day; the rows of one route are its legs."""
    trips = defaultdict(list)
    for mode, rows in tables.items():
        routes = _grouped(
            rows,
            lambda row: (city(row["origin_city"]), city(row["destination_city"]), row["dep_date"], row["route_index"]),
        )
        for (origin, destination, date, _), legs in routes.items():
            legs = sorted(legs, key=lambda row: int(row["segment_index"]))
            trips[origin, destination, date].append(records.trip(mode, legs, enough))
    return dict(trips)


def _locations(
    tables: Mapping[Mode, Iterable[Row]], locations: Iterable[Row], but: Iterable[str]
) -> Iterator[Location]:
    """The stations of the trips, and whatever else has coordinates but no row in the tables of places."""
    kinds = {
        row[end].strip(): _STATION_KINDS[mode]
        for mode, rows in tables.items()
        for row in rows
        for end in ("dep_station_name", "arr_station_name")
    }
    kinds |= {row["poi_name"].strip(): row.get("poi_type", "") for row in locations}
    counts: Counter[str] = Counter()
    for name, kind in kinds.items():
        if name not in but:
            letter = "S" if kind in _STATION_KINDS.values() else "L"
            counts[letter] += 1
            yield {"id": f"{letter}{counts[letter]}", "name": name, "kind": kind}


def _grouped(rows: Iterable[Row], key: Callable[[Row], _K]) -> dict[_K, list[Row]]:
    groups = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _coordinates(row: Row) -> str:
    return f"{row['latitude'].strip()},{row['longitude'].strip()}"
