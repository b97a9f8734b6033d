"""The database of one travel task: its tables as text, and the roads between its places."""

from __future__ import annotations

import csv
import gzip
import operator
import zlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from programs.options import DataError

Language = Literal["en", "zh"]
Row = Mapping[str, str]
Rows = tuple[Row, ...]

_TRIP = (
    "origin_city", "destination_city", "dep_date", "dep_station_code", "dep_station_name", "arr_station_code",
    "arr_station_name", "dep_datetime", "arr_datetime", "duration", "seat_class", "seat_status", "price",
    "segment_index", "route_index",
)  # fmt: skip
COLUMNS: dict[str, tuple[str, ...]] = {
    "flights": (*_TRIP, "flight_no", "airline", "equip_type", "equip_size", "manufacturer"),
    "trains": (*_TRIP, "train_no", "train_type"),
    "hotels": (
        "name", "address", "latitude", "longitude", "decoration_time", "hotel_star", "price", "score", "brand",
        "services",
    ),
    "attractions": (
        "city", "attraction_name", "attraction_id", "description", "attraction_type", "address", "latitude",
        "longitude", "rating", "opening_time", "closing_time", "closing_dates", "min_visit_hours", "max_visit_hours",
        "ticket_price",
    ),
    "restaurants": (
        "restaurant_name", "latitude", "longitude", "price_per_person", "cuisine", "opening_time", "closing_time",
        "nearby_attraction_name", "query_latitude", "query_longitude", "rating", "tags",
    ),
    "locations": ("poi_name", "latitude", "longitude"),
    "roads": ("origin", "destination", "distance_meters", "duration_minutes", "cost"),
}  # fmt: skip
"""What the tools and the checks read of each table."""
FILES = {
    "flights": "flights/flights.csv",
    "trains": "trains/trains.csv",
    "hotels": "hotels/hotels.csv",
    "attractions": "attractions/attractions.csv",
    "restaurants": "restaurants/restaurants.csv",
    "locations": "locations/locations_coords.csv",
    "roads": "transportation/distance_matrix.csv",
}
"""Where a task's folder holds each table; any may be packed, with .gz after its name."""
OPTIONAL = ("flights", "trains")
_ABSENT_IF_EMPTY = ("services", "tags")
"""Columns that are left out of a table where no row has a value for them."""


class Road(NamedTuple):
    """The way from one place to another; the cost is that of one car, and 0 for a walk."""

    distance_in_meters: int
    duration_in_minutes: int
    cost: int


class RoadMatrix:
    """Roads by their two ends, which are texts "latitude,longitude"; it never changes.

    Args:
        legs: origin, destination and road; of several for one pair in one direction, the first counts.
    """

    def __init__(self, legs: Iterable[tuple[str, str, Road]] = ()) -> None:
        self._places: dict[str, int] = {}
        places, ends, figures = self._places, array("i"), array("i")
        for origin, destination, road in legs:
            ends.append(places.setdefault(origin, len(places)))
            ends.append(places.setdefault(destination, len(places)))
            figures.extend(road)
        # A place has a road to nearly every other, so that a full square is small, and quick to look up.
        self._figures = np.full((len(places), len(places), 3), -1, dtype=np.intc)
        starts, stops = np.array(ends, dtype=np.intc).reshape(-1, 2).T[:, ::-1]  # of two for one pair, the last stays
        self._figures[starts, stops] = np.array(figures, dtype=np.intc).reshape(-1, 3)[::-1]

    def knows(self, coordinates: str) -> bool:
        """Whether any road starts or ends there."""
        return coordinates in self._places

    def leg(self, origin: str, destination: str) -> Road | None:
        """The road in this direction; None where there is none."""
        start, stop = self._places.get(origin), self._places.get(destination)
        if start is None or stop is None:
            return None
        distance, minutes, cost = self._figures[start, stop].tolist()
        return None if distance < 0 else Road(distance, minutes, cost)


@dataclass(frozen=True, eq=False)
class TravelDatabase:
    """What the tools of one task look up: rows in the order of the files, whose cells are texts, empty where missing.

    It never changes: a copy of it, a deep one too, is the object itself, so that all forks share it.

    Args:
        language: of the names and of the tools' answers.
        flights: None where the task has no such table; the same for `trains`.
    """

    language: Language
    flights: Rows | None = field(repr=False)
    trains: Rows | None = field(repr=False)
    hotels: Rows = field(repr=False)
    attractions: Rows = field(repr=False)
    restaurants: Rows = field(repr=False)
    locations: Rows = field(repr=False)
    roads: RoadMatrix = field(repr=False)

    @classmethod
    def of(
        cls,
        language: Language,
        roads: RoadMatrix,
        *,
        hotels: Iterable[Row],
        attractions: Iterable[Row],
        restaurants: Iterable[Row],
        locations: Iterable[Row],
        flights: Iterable[Row] | None = None,
        trains: Iterable[Row] | None = None,
    ) -> TravelDatabase:
        """A database of rows in memory; a column of `COLUMNS` that a row leaves out is empty."""
        return cls(
            language,
            flights=None if flights is None else _completed("flights", flights),
            trains=None if trains is None else _completed("trains", trains),
            hotels=_completed("hotels", hotels),
            attractions=_completed("attractions", attractions),
            restaurants=_completed("restaurants", restaurants),
            locations=_completed("locations", locations),
            roads=roads,
        )

    @classmethod
    def read(cls, folder: Path, language: Language) -> TravelDatabase:
        """The database in a task's folder, such as database_en/id_0.

        Raises:
            DataError: files are missing, or one is broken; the message names the folder and the files.
        """
        if missing := missing_files(folder):
            raise DataError(f"{folder}: no {', '.join(missing)}; unpack database_{language}.zip again")
        present = {name: file for name in FILES if (file := _file(folder, name))}
        roads = RoadMatrix(_legs(present.pop("roads")))
        tables = {name: _rows(name, file) for name, file in present.items()}
        return cls.of(language, roads, **tables)

    def __copy__(self) -> TravelDatabase:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> TravelDatabase:
        return self


def missing_files(folder: Path) -> list[str]:
    """The files that a task's folder has to hold and does not."""
    return [FILES[name] for name in FILES if name not in OPTIONAL and _file(folder, name) is None]


def _file(folder: Path, table: str) -> Path | None:
    plain = folder / FILES[table]
    return next((file for file in (plain, plain.with_name(f"{plain.name}.gz")) if file.is_file()), None)


def _completed(table: str, rows: Iterable[Row]) -> Rows:
    empty = dict.fromkeys(COLUMNS[table], "")
    return tuple({**empty, **row} for row in rows)


def _rows(table: str, file: Path) -> Iterator[Row]:
    lines = _lines(file)
    header = next(lines)
    _check(table, file, header)
    for line in lines:
        yield dict(zip(header, line, strict=True))


def _legs(file: Path) -> Iterator[tuple[str, str, Road]]:
    lines = _lines(file)
    header = next(lines)
    _check("roads", file, header)
    pick = operator.itemgetter(*map(header.index, COLUMNS["roads"]))
    for number, line in enumerate(lines, start=2):
        origin, destination, distance, minutes, cost = pick(line)
        try:
            road = Road(int(distance), int(minutes), int(cost))
        except ValueError as error:
            raise DataError(f"{file}, line {number}: expected whole numbers, but {error}") from error
        yield origin, destination, road


def _check(table: str, file: Path, header: Sequence[str]) -> None:
    missing = [name for name in COLUMNS[table] if name not in header and name not in _ABSENT_IF_EMPTY]
    if missing:
        raise DataError(f"{file}: no column {', '.join(missing)}")


def _lines(file: Path) -> Iterator[list[str]]:
    """The header and the rows of a CSV file, plain or packed; those in Chinese start with a byte order mark."""
    width = None
    opened = gzip.open if file.suffix == ".gz" else open
    try:
        with opened(file, "rt", encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            for line in reader:
                if not line:
                    continue
                width = width or len(line)
                if len(line) != width:
                    raise DataError(f"{file}, line {reader.line_num}: {len(line)} cells, but the header has {width}")
                yield line
    except (OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        raise DataError(f"{file}: cannot be read ({error})") from error
    if width is None:
        raise DataError(f"{file}: empty; expected a header")
