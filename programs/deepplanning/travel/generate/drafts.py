"""Wishes for a made city, drawn at random, with what a request says of each."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.generate.sentences import MODES, PHRASES, STARS, WAYS

Args = dict[str, Any]


class Draft(NamedTuple):
    """A wish.

    Args:
        kind: of the gold's constraint, without its subject, such as "cheapest_star".
        said: what the wish's sentence names, by slot.
    """

    check: str
    kind: str
    args: Args
    said: Mapping[str, Any]


@dataclass(frozen=True)
class Drawer:
    """Draws wishes; whether anything fits them, and singles out what is meant, is for others to see."""

    rng: random.Random
    atlas: Atlas
    frame: Frame
    language: Language

    def trip(self) -> Draft:
        mode, way = self.rng.choice(("train", "flight")), self.rng.choice(("out", "back"))
        said = {"mode": MODES[mode][self.language], "way": WAYS[way][self.language]}
        kind = self.rng.choice(
            ("earliest_departure_direct", "latest_arrival_direct", "cheapest_direct", "shortest_duration_direct",
             "departure_time_range", "seat_class", "cheapest_airline_direct")
        )  # fmt: skip
        best = {"earliest_departure_direct": ["min", "dep"], "latest_arrival_direct": ["max", "arr"],
                "shortest_duration_direct": ["min", "minutes"]}.get(kind, ["min", "price"])  # fmt: skip
        ways = {"earliest_departure_direct": "out", "latest_arrival_direct": "back"}
        where: list[list[Any]] = []
        if kind == "departure_time_range":
            hour = self.rng.randint(6, 16)
            where = [["dep", ">=", f"{hour:02}:00"], ["dep", "<=", f"{hour + 4:02}:00"]]
            said |= _hours(hour, self.language)
            way = "out"
        elif kind == "seat_class":
            where = [["seat_class", "==", {"en": "First Class Seat", "zh": "一等座"}[self.language]]]
            mode, way = "train", "both"
        elif kind == "cheapest_airline_direct":
            listed = self.atlas.trips(self.frame.origin, self.frame.destination, self.frame.depart.isoformat())
            airline = self.rng.choice([trip["airline"] for trip in listed if "airline" in trip])
            where, mode, way = [["airline", "==", airline]], "flight", "out"
            said |= {"airline": airline}
        args = {"way": ways.get(kind, way), "mode": mode, **({"where": where} if where else {}), "best": best}
        return Draft("trip", f"{mode}_{kind}", args, said)

    def hotel(self) -> Draft:
        like = self.rng.choice(list(self.atlas.hotels.values()))
        star, brand, price = ["star", "==", like["star"]], ["brand", "==", like["brand"]], int(like["price"])
        cheapest, highest = ["min", "price"], ["max", "score"]
        service = self.rng.choice(like["services"])
        year = self.rng.randint(2019, 2023)
        kinds: dict[str, tuple[list[list[Any]], list[str]]] = {
            "cheapest_brand": ([brand], cheapest),
            "cheapest_star": ([star], cheapest),
            "highest_rated": ([], highest),
            "star_highest_rated": ([star], highest),
            "newest_decoration": ([["renovated", ">=", year]], ["max", "renovated"]),
            "price_range": ([["price", ">=", price - 20], ["price", "<=", price + 30]], cheapest),
            "star_service_required": ([star, ["services", "contains", service]], cheapest),
        }
        kind = self.rng.choice(list(kinds))
        where, best = kinds[kind]
        said = {
            "star": STARS[self.language][(like["star"] or 2) - 2], "brand": like["brand"], "year": year,
            "low": price - 20, "high": price + 30, "service": PHRASES.get(service, service),
        }  # fmt: skip
        return Draft("hotel", kind, {**({"where": where} if where else {}), "best": best}, said)

    def meal(self) -> Draft:
        near = self.rng.choice(list(self.atlas.attractions.values()))["name"]
        like = self.rng.choice(self.atlas.restaurants_of(near))
        tag, cuisine = self.rng.choice(like["tags"]), like["cuisine"][0]
        rated = ["max", "rating"]
        kinds: dict[str, Args] = {
            "cheapest_nearby_attraction": {"near": near, "best": ["min", "price"]},
            "highest_rated": {"near": near, "best": rated},
            "closest_to_attraction": {"near": near, "best": ["min", "metres"]},
            "specific_tag_nearby": {"near": near, "where": [["tags", "contains", tag]], "best": rated},
            "must_eat_named": {"where": [["name", "==", like["name"]]]},
        }
        if cuisine in PHRASES:
            wished = {"near": near, "where": [["cuisine", "contains", cuisine]], "best": rated}
            kinds["specific_cuisine_nearby"] = wished
        kind = self.rng.choice(list(kinds))
        said = {"near": near, "name": like["name"], "tag": PHRASES.get(tag, tag), "cuisine": PHRASES.get(cuisine)}
        return Draft("meal", kind, kinds[kind], said)

    def visit(self) -> Draft:
        first, second = self.rng.sample(list(self.atlas.attractions.values()), 2)
        of_type, best = [["type", "==", first["type"]]], ["max", "rating"]
        kinds: dict[str, Args] = {
            "must_visit_named": {"where": [["name", "in", [first["name"], second["name"]]]]},
            "all_of_type": {"where": of_type},
            "top_rated_must_visit": {"best": best, "top": 3},
            "all_free_attractions": {"where": [["ticket", "==", 0]]},
            "type_highest_rated": {"where": of_type, "best": best},
        }
        kind = self.rng.choice(list(kinds))
        return Draft(
            "visit", kind, kinds[kind], {"first": first["name"], "second": second["name"], "type": first["type"]}
        )


def _hours(hour: int, language: Language) -> dict[str, str]:
    """Four hours, as a request says when they begin and end."""
    word: Callable[[int], str] = _english_hour if language == "en" else _chinese_hour
    return {"from": word(hour), "until": word(hour + 4)}


def _english_hour(hour: int) -> str:
    """
    >>> _english_hour(9), _english_hour(12), _english_hour(20)
    ('9:00 AM', '12:00 PM', '8:00 PM')
    """
    return f"{(hour - 1) % 12 + 1}:00 {'AM' if hour < 12 else 'PM'}"


def _chinese_hour(hour: int) -> str:
    """
    >>> _chinese_hour(9), _chinese_hour(12), _chinese_hour(20)
    ('上午9点', '中午12点', '晚上8点')
    """
    half = "上午" if hour < 12 else "中午" if hour == 12 else "下午" if hour < 18 else "晚上"
    return f"{half}{(hour - 1) % 12 + 1}点"
