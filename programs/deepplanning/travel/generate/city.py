"""A small made city in the published tables: trips to and from it, hotels, sights, restaurants, roads."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta

from programs.deepplanning.travel.database import Language, Road, RoadMatrix, TravelDatabase
from programs.deepplanning.travel.generate.words import WORDS

Row = dict[str, str]
Tables = dict[str, list[Row]]

_ATTRACTIONS, _HOTELS, _RESTAURANTS = 10, 9, 36
_NEAR = 6
"""Restaurants that are listed around each place."""
_CENTRE = (31.0, 118.0)
_SPREAD = 0.05
"""Degrees from the centre within which the city lies."""
_KILOMETRES = (111.0, 95.0)
"""Of a degree of latitude and of longitude."""
_WALK = 2000
"""Metres up to which one walks."""

class City:
    """One made city, and the ways to it from another on two days.

    Attributes:
        tables: the published tables by their names in `database.COLUMNS`, but for the roads.
    """

    def __init__(self, rng: random.Random, language: Language, depart: date, back: date) -> None:
        self.rng, self.language, self.words = rng, language, WORDS[language]
        self.origin, self.destination = rng.sample(self.words.cities, 2)
        self._places: dict[str, tuple[float, float]] = {}
        ends = [self._ends(self.origin, (_CENTRE[0] + 4, _CENTRE[1] + 1)), self._ends(self.destination, _CENTRE)]
        attractions = [*self._attractions()]
        hotels = [*self._hotels()]
        restaurants = [*self._restaurants()]
        around = [*(row["attraction_name"] for row in attractions), *(row["name"] for row in hotels), *ends[1]]
        self.tables: Tables = {
            "trains": [*self._trips("train", depart, back, [stations[0] for stations in ends])],
            "flights": [*self._trips("flight", depart, back, [stations[1] for stations in ends])],
            "hotels": hotels,
            "attractions": attractions,
            "restaurants": [*self._listed_around(around, restaurants)],
            "locations": [{"poi_name": name, **self._coordinates(name)} for name in self._places],
        }

    @property
    def legs(self) -> Iterator[tuple[str, str, Road]]:
        """The roads between any two places of one city."""
        at = {name: ",".join(self._coordinates(name).values()) for name in self._places}
        for start in self._places:
            for stop in self._places:
                metres = self._metres(start, stop)
                if start != stop and metres < 100_000:
                    yield at[start], at[stop], _road(metres)

    @property
    def database(self) -> TravelDatabase:
        return TravelDatabase.of(self.language, RoadMatrix(self.legs), **self.tables)

    def _ends(self, city: str, centre: tuple[float, float]) -> tuple[str, str]:
        """The station and the airport of a city."""
        names = self.words.station.format(city), self.words.airport.format(city)
        for name, away in zip(names, (1, 3), strict=True):
            self._put(name, centre, away)
        return names

    def _put(self, name: str, centre: tuple[float, float] = _CENTRE, away: float = 1) -> Row:
        """A place within the city, or farther out; its coordinates as text."""
        angle, distance = self.rng.uniform(0, 2 * math.pi), _SPREAD * away * math.sqrt(self.rng.uniform(0.05, 1))
        self._places[name] = (centre[0] + distance * math.sin(angle), centre[1] + distance * math.cos(angle))
        return self._coordinates(name)

    def _coordinates(self, name: str) -> Row:
        latitude, longitude = self._places[name]
        return {"latitude": f"{latitude:.6f}", "longitude": f"{longitude:.6f}"}

    def _metres(self, start: str, stop: str) -> int:
        ends = zip(self._places[start], self._places[stop], _KILOMETRES, strict=True)
        return round(1300 * math.hypot(*((one - other) * degree for one, other, degree in ends)))

    def _attractions(self) -> Iterator[Row]:
        rng, words = self.rng, self.words
        kinds = [(kind, last) for kind, lasts in words.sights.items() for last in lasts]
        ratings = rng.sample(range(38, 50), _ATTRACTIONS)
        for first, (kind, last), rating in zip(words.firsts, rng.sample(kinds, _ATTRACTIONS), ratings, strict=False):
            name = f"{first} {last}" if self.language == "en" else first + last
            least = rng.choice((0.5, 1.0, 1.5, 2.0))
            opens, closes = rng.choice((("09:00", "17:00"), ("08:00", "18:00"), (words.always_open,) * 2))
            yield {
                "city": self.destination, "attraction_name": name, "attraction_id": f"{rng.getrandbits(32):08X}",
                "description": name, "attraction_type": kind, **self._put(name), "rating": f"{rating / 10:.1f}",
                "opening_time": opens, "closing_time": closes,
                "closing_dates": rng.choice(words.weekdays) if rng.random() < 0.2 else "",
                "min_visit_hours": str(least), "max_visit_hours": str(least + rng.choice((1.0, 1.5, 2.0))),
                "ticket_price": str(rng.choice((0.0, 20.0, 30.0, 45.0, 60.0))),
            }  # fmt: skip

    def _hotels(self) -> Iterator[Row]:
        rng, words = self.rng, self.words
        names = [(brand, inn) for brand in words.brands for inn in words.inns]
        for (brand, inn), price in zip(rng.sample(names, _HOTELS), rng.sample(range(140, 700), _HOTELS), strict=True):
            name = f"{brand} {inn}" if self.language == "en" else brand + inn
            yield {
                "name": name, "address": "", **self._put(name), "decoration_time": str(rng.randint(2016, 2025)),
                "hotel_star": str(rng.choice((2, 3, 3, 4, 4, 5))), "price": str(price),
                "score": f"{rng.randint(40, 50) / 10:.1f}", "brand": brand,
                "services": ";".join(rng.sample(words.services, rng.randint(1, 3))),
            }  # fmt: skip

    def _restaurants(self) -> Iterator[Row]:
        rng, words = self.rng, self.words
        names = [(first, last) for first in words.firsts for last in words.kitchens]
        prices = rng.sample(range(15, 160), _RESTAURANTS)
        for (first, last), price in zip(rng.sample(names, _RESTAURANTS), prices, strict=True):
            name = f"{first} {last}" if self.language == "en" else first + last
            opens, closes = rng.choice((("10:00", "22:00"), ("09:00", "21:00"), ("11:00", "23:00"), ("17:00", "01:00")))
            cuisine = [rng.choice(words.cuisines), words.common_cuisine]
            yield {
                "restaurant_name": name, **self._put(name), "price_per_person": f"{price}.0",
                "cuisine": ";".join(cuisine[rng.random() < 0.5 :]), "opening_time": opens, "closing_time": closes,
                "rating": f"{rng.randint(32, 49) / 10:.1f}",
                "tags": ";".join(rng.sample(words.tags, rng.randint(1, 2))),
            }  # fmt: skip

    def _listed_around(self, places: Sequence[str], restaurants: Sequence[Row]) -> Iterator[Row]:
        """A row for each of the nearest restaurants of each place, as the published table has it."""
        for place in places:
            query = {f"query_{column}": text for column, text in self._coordinates(place).items()}
            nearest = sorted(restaurants, key=lambda row: self._metres(place, row["restaurant_name"]))
            yield from ({**row, "nearby_attraction_name": place, **query} for row in nearest[:_NEAR])

    def _trips(self, mode: str, depart: date, back: date, stations: Sequence[str]) -> Iterator[Row]:
        """Those of both ways on their days, the first of each at a decent hour."""
        rng, words = self.rng, self.words
        cities = (self.origin, self.destination)
        for way, day in enumerate((depart, back)):
            hours = rng.sample(range(6, 20), 6)
            prices = rng.sample(range(200, 320) if mode == "train" else range(400, 900), 6)
            for route, (hour, price) in enumerate(zip((9 + 6 * way, *hours), prices, strict=False)):
                leaves = datetime.combine(day, time(hour, 5 * rng.randrange(12)))
                minutes = rng.randint(90, 239) if mode == "train" else rng.randint(60, 130)
                number = f"{'G' if mode == 'train' else 'KN'}{rng.randint(100, 9999)}"
                yield {
                    "origin_city": cities[way], "destination_city": cities[1 - way], "dep_date": day.isoformat(),
                    "dep_station_name": stations[way], "arr_station_name": stations[1 - way],
                    "dep_datetime": f"{leaves}", "arr_datetime": f"{leaves + timedelta(minutes=minutes)}",
                    "duration": str(minutes), "seat_class": words.seats[2 if mode == "flight" else rng.random() < 0.4],
                    "seat_status": rng.choice(("1", "7", words.enough, words.enough)) if route else words.enough,
                    "price": str(price), "segment_index": "1", "route_index": f"{way}{route}",
                    f"{mode}_no": number, "train_type": rng.choice(words.train_types),
                    "airline": rng.choice(words.airlines), "manufacturer": rng.choice(words.makers),
                    "equip_type": "A1", "equip_size": "",
                }  # fmt: skip


def _road(metres: int) -> Road:
    """A walk is free; a drive costs by its length."""
    if metres <= _WALK:
        return Road(metres, max(5, metres // 75), 0)
    return Road(metres, 5 + metres // 600, 8 + metres * 2 // 1000)
