"""Trips and places as a prompt shows them: a line each, no word that the line above it has said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from programs.deepplanning.travel.atlas import Attraction, Hotel, Restaurant, Trip
from programs.deepplanning.travel.records import ALWAYS_OPEN

SHOWN_HOTELS = 8
"""Hotels up to which each is shown; of more, only what they can be chosen by."""
SHOWN_CUISINES = 30
"""Kinds of cuisine that are named, the most frequent first."""
_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def trips(listed: Sequence[Trip]) -> str:
    """Trips by kind and departure."""
    if not listed:
        return "none"
    kinds: dict[str, list[Trip]] = {}
    for each in sorted(listed, key=lambda each: each["dep"]):
        kinds.setdefault(_kind(each), []).append(each)
    lines = [f"{len(listed)} direct trips: number dep-arr from - to, price (seats where few are left)"]
    for kind, trips_of in kinds.items():
        lines += [f"  {kind}:", *(f"  {_trip(each)}" for each in trips_of)]
    return "\n".join(lines)


def trip_line(each: Trip) -> str:
    return f"{_trip(each)}, {_kind(each)}"


def _trip(each: Trip) -> str:
    arrival = each["arr"] + (f"+{each['arr_day']}" if each["arr_day"] else "")
    left = f" ({each['seats']} seats)" if isinstance(each["seats"], int) else ""
    return f"{each['number']} {each['dep']}-{arrival} {each['from']} - {each['to']}, {number(each['price'])}{left}"


def _kind(each: Trip) -> str:
    kinds = [str(each.get(key)) for key in ("train_type", "airline", "manufacturer") if each.get(key)]
    return ", ".join([each["seat_class"], *kinds])


def hotels(listed: Sequence[Hotel]) -> str:
    """The hotels, or what they can be chosen by."""
    if not listed:
        return "none"
    if len(listed) <= SHOWN_HOTELS:
        head = "id name | star brand | price | score | renovated | services"
        return "\n".join([head, *(f"  {hotel_line(each)}" for each in listed)])
    services = dict.fromkeys(name for each in listed for name in each["services"])
    brands = dict.fromkeys(each["brand"] for each in listed if each["brand"])
    stars = sorted({each["star"] for each in listed if each["star"] is not None})
    prices = sorted(each["price"] for each in listed)
    return (
        f"{len(listed)} hotels: brands {', '.join(brands)}; star {', '.join(map(str, stars))}; "
        f"services {', '.join(services)}; price {number(prices[0])} to {number(prices[-1])}"
    )


def hotel_line(each: Hotel) -> str:
    star = "" if each["star"] is None else f"{each['star']} star "
    parts = (
        f"{each['id']} {each['name']}", f"{star}{each['brand']}".strip(), number(each["price"]), f"{each['score']}",
        f"{each['renovated']}", ", ".join(each["services"]),
    )  # fmt: skip
    return " | ".join(parts)


def attractions(listed: Sequence[Attraction]) -> str:
    """The attractions with what limits a visit."""
    if not listed:
        return "none"
    head = f"{len(listed)} attractions (id name | type | rating | hours | visit min-max h | ticket)"
    return "\n".join([head, *(f"  {attraction_line(each)}" for each in listed)])


def attraction_line(each: Attraction) -> str:
    closed = ", ".join(_WEEKDAYS[day - 1] for day in each["closed"])
    hours = opening(each) + (f" closed {closed}" if closed else "")
    least, most = number(each["min_hours"] or 0), number(each["max_hours"] or 0)
    parts = (
        f"{each['id']} {each['name']}", each["type"], f"{each['rating']}", hours, f"{least}-{most}",
        number(each["ticket"]),
    )  # fmt: skip
    return " | ".join(parts)


def restaurants(groups: Sequence[Mapping[str, Any]]) -> str:
    """Restaurants around one place as they are, around several what a day is planned by."""
    if len(groups) == 1:
        head = "id name | price | rating | hours | tags | minutes"
        lines = [f"  {restaurant_line(each)} | {_minutes(each)}" for each in groups[0]["restaurants"]]
        return "\n".join([head, *lines])
    known: set[str] = set()
    lines = ["id price rating hours minutes; by place, nearest first"]
    for group in groups:
        named = []
        for each in group["restaurants"]:
            about = "" if each["id"] in known else f" {number(each['price'])} {each['rating']} {opening(each)}"
            named.append(f"{each['id']}{about} {_minutes(each)}")
            known.add(each["id"])
        lines.append(f"  {group['near']}: {'; '.join(named) or 'none'}")
    return "\n".join(lines)


def facets(listed: Iterable[Restaurant]) -> str:
    """What restaurants can be chosen by: their tags, and the kinds of cuisine that most have."""
    tags: Counter[str] = Counter()
    cuisines: Counter[str] = Counter()
    for each in listed:
        tags.update(each["tags"])
        cuisines.update(each["cuisine"])
    kinds = [kind for kind, _ in cuisines.most_common(SHOWN_CUISINES)]
    return f"tags: {', '.join(sorted(tags)) or 'none'}; cuisine: {', '.join(kinds)}"


def _minutes(near: Restaurant) -> str:
    return "? min" if near.get("minutes") is None else f"{near['minutes']} min"


def restaurant_line(each: Restaurant) -> str:
    tags = ", ".join(each["tags"])
    return " | ".join([f"{each['id']} {each['name']}", number(each["price"]), f"{each['rating']}", opening(each), tags])


def roads(minutes: Mapping[str, Mapping[str, int | None]]) -> str:
    """Minutes between places; those of a pair stand once."""
    lines = ["minutes by road, about the same both ways"]
    for place, others in minutes.items():
        known = [f"{other} {there}" for other, there in others.items() if there is not None]
        if known:
            lines.append(f"  {place}: {', '.join(known)}")
    return "\n".join(lines)


def opening(place: Attraction | Restaurant) -> str:
    return "24h" if place["open"] in ALWAYS_OPEN else f"{place['open']}-{place['close']}"


def number(value: float) -> str:
    return f"{value:g}" if value < 1e6 else str(value)
