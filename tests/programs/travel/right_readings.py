"""The wish that a right reading of a request states, for each kind of hard constraint of DeepPlanning's gold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from programs.deepplanning.travel import wishes
from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.wishes import Fitting

NOT_SINGLED_OUT = ("time_range", "cuisine", "budget")
"""Kinds that leave the choice to further words of the request."""
_BEST = {
    "cheapest": ["min", "price"], "earliest_departure": ["min", "dep"], "latest_arrival": ["max", "arr"],
    "shortest_duration": ["min", "minutes"],
}  # fmt: skip
_SAME = {
    "airline": "airline", "manufacturer": "manufacturer", "train_type": "train_type", "seat_class": "seat_class",
}  # fmt: skip


def named(gold: Mapping[str, Any]) -> set[Any]:
    """What the gold asks to find in a plan, as `wishes.missing` names it."""
    ways = {"outbound": "out", "inbound": "back"}
    trips = {(ways[key.split("_")[0]], value) for key, value in gold.items() if key.endswith(("train_no", "flight_no"))}
    places = {gold[key] for key in ("hotel_name", "restaurant_name") if key in gold}
    return trips | places | set(gold.get("attraction_names", ()))


def fitting(kind: str, gold: Mapping[str, Any], atlas: Atlas, frame: Frame) -> Fitting[Any]:
    """What fits the wish. Where the gold does not repeat a word of the request, such as the brand, that of its own
    choice stands for it."""
    subject, _, what = kind.partition("_")
    if subject == "hotel":
        return _hotel(what, gold, atlas)
    if subject == "restaurant":
        return _meal(what, gold, atlas)
    if subject == "attraction":
        return _visit(what, gold, atlas)
    return _trip(subject, what, gold, atlas, frame)


def _hotel(what: str, gold: Mapping[str, Any], atlas: Atlas) -> Fitting[Any]:
    own: Any = atlas.find(gold["hotel_name"])
    brand, star = ["brand", "==", own["brand"]], ["star", "==", gold.get("hotel_star")]
    service = gold.get("required_service_cn") or gold.get("required_service")
    cheapest, highest_rated = ["min", "price"], ["max", "score"]
    where, best = {
        "cheapest_brand": ([brand], cheapest),
        "cheapest_star": ([star], cheapest),
        "highest_rated": ([], highest_rated),
        "brand_highest_rated": ([brand], highest_rated),
        "star_highest_rated": ([star], highest_rated),
        "newest_decoration": ([["renovated", ">=", gold.get("year_threshold")]], ["max", "renovated"]),
        "price_range": ([["price", ">=", gold.get("min_price")], ["price", "<=", gold.get("max_price")]], None),
        "star_service_required": ([star, ["services", "contains", service]], None),
    }[what]
    return wishes.hotel(atlas, where, best)


def _meal(what: str, gold: Mapping[str, Any], atlas: Atlas) -> Fitting[Any]:
    if what == "must_eat_named":
        return wishes.meal(atlas, where=[["name", "==", gold["restaurant_name"]]])
    tag = gold.get("required_tag_cn") or gold.get("required_tag")
    where, best = {
        "cheapest_nearby_attraction": ([], ["min", "price"]),
        "highest_rated": ([], ["max", "rating"]),
        "closest_to_attraction": ([], ["min", "metres"]),
        "specific_tag_nearby": ([["tags", "contains", tag]], ["max", "rating"]),
    }[what]
    return wishes.meal(atlas, gold["attraction_name"], where, best)


def _visit(what: str, gold: Mapping[str, Any], atlas: Atlas) -> Fitting[Any]:
    kind = ["type", "==", gold.get("attraction_type")]
    return {
        "must_visit_named": lambda: wishes.visit(atlas, [["name", "in", gold["attraction_names"]]]),
        "all_of_type": lambda: wishes.visit(atlas, [kind]),
        "all_free_attractions": lambda: wishes.visit(atlas, [["ticket", "==", 0]]),
        "type_highest_rated": lambda: wishes.visit(atlas, [kind], ["max", "rating"]),
        "top_rated_must_visit": lambda: wishes.visit(atlas, best=["max", "rating"], top=3),
    }[what]()


def _trip(mode: Any, what: str, gold: Mapping[str, Any], atlas: Atlas, frame: Frame) -> Fitting[Any]:
    numbers = dict(named(gold))
    way: Any = "both" if len(numbers) == 2 else next(iter(numbers))
    best = next((order for word, order in _BEST.items() if what.startswith(word)), None)
    own: Any = next(trip for trip in wishes.trip(atlas, frame, way, mode).records if trip["number"] in numbers.values())
    where = [[field, "==", own[field]] for word, field in _SAME.items() if word in what]
    return wishes.trip(atlas, frame, way, mode, where, best)
