"""The database as the evaluator looks things up in it: by name, where the last of several rows counts."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from programs.deepplanning.travel.database import Road, Row, TravelDatabase
from programs.deepplanning.travel.scoring.readings import city, read_number


class Tables:
    """Rows by name, stations' cities, and roads between named places."""

    def __init__(self, database: TravelDatabase) -> None:
        self.hotels = _by_name(database.hotels, "name")
        self.attractions = _by_name(database.attractions, "attraction_name")
        self.restaurants = _by_name(database.restaurants, "restaurant_name")
        self.trips = {
            "flight": _by_number(database.flights or (), "flight_no"),
            "train": _by_number(database.trains or (), "train_no"),
        }
        self._locations = _by_name(database.locations, "poi_name")
        self._roads = database.roads
        self._cities: dict[str, str] = {}
        for row in (*(database.flights or ()), *(database.trains or ())):
            for station, place in (("dep_station_name", "origin_city"), ("arr_station_name", "destination_city")):
                if row[station].strip() and row[place].strip():
                    self._cities[row[station].strip()] = city(row[place])

    def city_of(self, station: str) -> str | None:
        """The city that the tables give a station last; of an unknown one its first two characters, if Chinese."""
        if station in self._cities:
            return self._cities[station]
        chinese = re.match("[\u4e00-\u9fa5]{2}", station)
        return chinese[0] if chinese else None

    def is_place(self, name: str) -> bool:
        """Whether trips start or end there, or the database has it in a table of places."""
        return any(name in table for table in (self._cities, self.hotels, self.attractions, self.restaurants))

    def coordinates(self, place: str) -> str | None:
        """"latitude,longitude" of a name, or of a text that is coordinates itself."""
        if row := self._locations.get(place):
            pair = row["latitude"].strip(), row["longitude"].strip()
            if all(read_number(value) is not None for value in pair):
                return ",".join(pair)
        numbers = re.fullmatch(r"\s*([-0-9.]+)\s*,\s*([-0-9.]+)\s*", place)
        latitude, longitude = (read_number(numbers[1]), read_number(numbers[2])) if numbers else (None, None)
        return None if latitude is None or longitude is None else f"{latitude},{longitude}"

    def road(self, origin: str, destination: str) -> Road | None:
        """The road between two named places; None where the matrix has none, or a place has no coordinates."""
        start, end = self.coordinates(origin), self.coordinates(destination)
        return None if start is None or end is None else self._roads.leg(start, end)


def rounded(value: float) -> int | None:
    """To a whole number, halves to the even one; None for what is not finite."""
    try:
        return round(value)
    except (OverflowError, ValueError):
        return None


def same_price(given: object, listed: str) -> bool:
    """Whether a plan's number rounds to the table's price; a price that cannot be read is not compared."""
    price = read_number(listed)
    if price is None or rounded(price) is None:
        return True
    if not isinstance(given, (int, float)):
        return False
    number = read_number(given)
    # Also what is not finite passes: the official comparison fails on it, and that is taken for agreement.
    return number is None or rounded(number) in (None, rounded(price))


def _by_name(rows: Iterable[Row], column: str) -> dict[str, Row]:
    return {row[column].strip(): row for row in rows if row[column].strip()}


def _by_number(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    numbers = defaultdict(list)
    for row in rows:
        if row[column].strip():
            numbers[row[column].strip()].append(row)
    return dict(numbers)
