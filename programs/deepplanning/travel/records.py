"""Trips and places as records with ids and numbers, read from the rows of the published tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, cast

from typing_extensions import NotRequired, TypedDict

from programs.deepplanning.travel.database import Row

Mode = Literal["train", "flight"]
Leg = TypedDict(
    "Leg",
    {
        "number": str,
        "from": str,  # stations
        "to": str,
        "date": str,  # YYYY-MM-DD
        "dep": str,  # HH:MM
        "arr": str,
        "arr_day": int,  # days after `date`
        "minutes": int,
        "seat_class": str,
        "seats": int | str,  # how many are left, or the published text for enough
        "airline": NotRequired[str],
        "manufacturer": NotRequired[str],
        "aircraft": NotRequired[str],
        "train_type": NotRequired[str],
    },
)


class Trip(Leg):
    """A train or flight, at the fare of one person; with changes, texts of the legs stand together as "G1/G2"."""

    mode: Mode
    direct: bool
    price: float
    legs: NotRequired[list[Leg]]  # with changes only


class Hotel(TypedDict):
    """A hotel, at the price of one room for one night."""

    id: str
    name: str
    star: int | None
    brand: str
    price: float
    score: float | None
    renovated: int | None
    services: list[str]


class Attraction(TypedDict):
    """An attraction; its hours are HH:MM, or one of `ALWAYS_OPEN`."""

    id: str
    name: str
    type: str
    rating: float | None
    open: str
    close: str
    closed: list[int]  # weekdays, Monday is 1
    closed_text: str  # as published
    min_hours: float | None
    max_hours: float | None
    ticket: float


class Restaurant(TypedDict):
    """A restaurant, at the price for one person; `metres` and `minutes` lead to it from the place that it is near."""

    id: str
    name: str
    price: float
    cuisine: list[str]
    open: str
    close: str
    rating: float | None
    tags: list[str]
    metres: NotRequired[int | None]
    minutes: NotRequired[int | None]


class Location(TypedDict):
    """A station, or another place of which only the coordinates are published."""

    id: str
    name: str
    kind: str


Place = Attraction | Hotel | Restaurant | Location
ALWAYS_OPEN = ("Open 24 Hours", "全天开放")
_WEEKDAYS = {
    name: number
    for names in (
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        ("周一", "周二", "周三", "周四", "周五", "周六", "周日"),  # in the English tables, too
    )
    for number, name in enumerate(names, start=1)
}
_NUMBER: dict[Mode, str] = {"flight": "flight_no", "train": "train_no"}
_TEXTS: dict[Mode, dict[str, str]] = {
    "flight": {"airline": "airline", "manufacturer": "manufacturer", "aircraft": "equip_type"},
    "train": {"train_type": "train_type"},
}


def trip(mode: Mode, rows: Sequence[Row], enough: str) -> Trip:
    """A trip of one row for each leg. `enough` is what an empty number of seats means."""
    legs = [_leg(mode, row, enough) for row in rows]
    whole: dict[str, Any] = {"mode": mode, "direct": len(legs) == 1, "price": _price(rows[0]["price"])}
    if len(legs) > 1:
        for key in ("number", "seat_class", *_TEXTS[mode]):
            whole[key] = "/".join(dict.fromkeys(cast(Any, leg)[key] for leg in legs))
        start, end = _moment(rows[0]["dep_datetime"]), _moment(rows[-1]["arr_datetime"])
        left = [leg["seats"] for leg in legs if isinstance(leg["seats"], int)]
        whole |= {
            "to": legs[-1]["to"],
            "arr": legs[-1]["arr"],
            "arr_day": (end.date() - start.date()).days,
            "minutes": int((end - start).total_seconds()) // 60,
            "seats": min(left, default=legs[0]["seats"]),
            "legs": legs,
        }
    return cast(Trip, legs[0] | whole)


def _leg(mode: Mode, row: Row, enough: str) -> Leg:
    start, end = _moment(row["dep_datetime"]), _moment(row["arr_datetime"])
    seats = row["seat_status"].strip() or enough
    leg: Leg = {
        "number": row[_NUMBER[mode]].strip(),
        "from": row["dep_station_name"].strip(),
        "to": row["arr_station_name"].strip(),
        "date": f"{start:%Y-%m-%d}",
        "dep": f"{start:%H:%M}",
        "arr": f"{end:%H:%M}",
        "arr_day": (end.date() - start.date()).days,
        "minutes": int(row["duration"]),
        "seat_class": row["seat_class"],
        "seats": int(seats) if seats.isdecimal() else seats,
    }
    return cast(Leg, leg | {key: row[column] for key, column in _TEXTS[mode].items()})


def seats_for(trip: Trip, people: int) -> bool:
    """Whether seats are left for so many; a text means enough."""
    return not isinstance(trip["seats"], int) or trip["seats"] >= people


def hotel(key: str, row: Row) -> Hotel:
    """The record of a hotel under an id."""
    return {
        "id": key,
        "name": row["name"].strip(),
        "star": _whole(row["hotel_star"]),
        "brand": row["brand"],
        "price": _price(row["price"]),
        "score": _number(row["score"]),
        "renovated": _whole(row["decoration_time"]),
        "services": _parts(row["services"]),
    }


def attraction(key: str, row: Row) -> Attraction:
    """The record of an attraction under an id."""
    return {
        "id": key,
        "name": row["attraction_name"].strip(),
        "type": row["attraction_type"],
        "rating": _number(row["rating"]),
        "open": row["opening_time"].strip(),
        "close": row["closing_time"].strip(),
        "closed": [
            _WEEKDAYS[day] for day in _parts(row["closing_dates"].lower(), ",") if day in _WEEKDAYS
        ],
        "closed_text": row["closing_dates"],
        "min_hours": _number(row["min_visit_hours"]),
        "max_hours": _number(row["max_visit_hours"]),
        "ticket": _price(row["ticket_price"]),
    }


def restaurant(key: str, row: Row) -> Restaurant:
    """The record of a restaurant under an id."""
    return {
        "id": key,
        "name": row["restaurant_name"].strip(),
        "price": _price(row["price_per_person"]),
        "cuisine": _parts(row["cuisine"]),
        "open": row["opening_time"].strip(),
        "close": row["closing_time"].strip(),
        "rating": _number(row["rating"]),
        "tags": _parts(row["tags"]),
    }


def _parts(text: str, marks: str = ";|") -> list[str]:
    """The different parts of a text, in order.

    >>> _parts("Cafe;Cafe|Bar;")
    ['Cafe', 'Bar']
    """
    return list(dict.fromkeys(part for piece in re.split(f"[{marks}]", text) if (part := piece.strip())))


def _number(text: str) -> float | None:
    """A whole one as such, so that it is shown without a point; None for an empty cell."""
    if not text.strip():
        return None
    number = float(text)
    return int(number) if number.is_integer() else number


def _whole(text: str) -> int | None:
    return int(text) if text.strip() else None


def _price(text: str) -> float:
    return _number(text) or 0


def _moment(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d %H:%M:%S")
