"""Reads the published text form of a plan, in English or Chinese, into the object that the evaluator reads.

The benchmark has another model do this. A rule keeps remarks that models add to names, which that model at times drops.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from programs.deepplanning.travel.scoring.readings import ATTRACTION, BUFFER, HOTEL, MEAL, ROAD, TRIP, read_route

_MARKS = r"[\s#*>]*"
_DAY = re.compile(rf"{_MARKS}(?:Day\s*\d+|第\s*\d+\s*天)(?:\s*[（(][^）)]*[）)])?[^\d￥¥]*", re.I)
_CITY = re.compile(rf"{_MARKS}(?:Current City|当前城市)[\s*]*[:：][\s*]*(?P<value>.*)", re.I)
_ACCOMMODATION = re.compile(rf"{_MARKS}(?:Accommodation|住宿)[\s*]*[:：][\s*]*(?P<value>.*)", re.I)
_SLOT = re.compile(rf"{_MARKS}(?:- )?(\d{{1,2}}:\d{{2}})\s*[-–—~]\s*(\d{{1,2}}:\d{{2}})")
_ACTIVITY = re.compile(rf"{_SLOT.pattern}\s*[|｜]([^|｜]*)[|｜](.*)")
_TOTALS = (
    re.compile(r".*?(?:Total\s+(?:Estimated\s+)?Budget|总\w{0,4}预算|预算总计)\W*?[:：]?(?P<value>.*)", re.I),
    re.compile(r"[\s#*-]*(?:Total|总计|合计|总费用)\b(?P<value>.*)", re.I),
)
"""What the total is called; the first pattern that fits any line counts."""
_SEPARATOR = re.compile(r"\s*(?:，|,\s)\s*(?![^（(]*[)）])")
"""Between the parts of a line, but not inside brackets."""
_EDGES = " ,，()（）"
_BETWEEN = re.compile(r"\s+-\s*|\s*-\s+")
_AMOUNT = re.compile(r"\d[\d,]*(?:\.\d+)?")
_PRICE = re.compile(r"[￥¥]\s*\d.*|\d[\d,.]*\s*(?:元|RMB|CNY|yuan).*|免费.*|free\b.*", re.I)
_DURATION = re.compile(r"\d[\d.]*\s*(?:h|min|小时|分钟).*", re.I)
_DISTANCE = re.compile(r"\d[\d.]*\s*(?:km|m|公里|千米|米)", re.I)
_VEHICLE = re.compile(r"(?P<mode>.*?)\s*(?P<number>[A-Z0-9]*)", re.S)
_MODES = {"飞机": "flight", "航班": "flight", "火车": "train", "高铁": "train", "动车": "train", "列车": "train"}


@dataclass(frozen=True)
class ParsedPlan:
    """A plan out of a text.

    Args:
        plan: what the evaluator reads.
        activities: how many lines begin with a time.
        unread: those of them that are in no known form.
    """

    plan: dict[str, Any]
    activities: int
    unread: tuple[str, ...]

    @property
    def share(self) -> float:
        """The share of the activities that could be read; 0 where there are none."""
        return 1 - len(self.unread) / self.activities if self.activities else 0.0


@dataclass
class _Surroundings:
    """What helps to read a line: the names that other lines give places, where the traveller is and will be after the
    day's trip, and the hotel last named."""

    names: frozenset[str]
    cities: tuple[str, str] = ("", "")
    hotel: str = ""


def parse_plan(text: str) -> ParsedPlan:
    """Reads the days, and of the budget the total; a price that is left out is 0, as the benchmark's model has it."""
    lines = text.splitlines()
    around = _Surroundings(_names(lines))
    days: list[dict[str, Any]] = []
    timed, unread = 0, []
    for line in lines:
        if _DAY.fullmatch(line):
            days.append({"day_number": len(days) + 1, "current_city": "", "activities": []})
        elif not days:
            continue
        elif not days[-1]["activities"] and (match := _CITY.fullmatch(line)):
            days[-1]["current_city"] = match["value"].strip(" *")
            around.cities = read_route(days[-1]["current_city"]) or (days[-1]["current_city"],) * 2
        elif not days[-1]["activities"] and (match := _ACCOMMODATION.fullmatch(line)):
            name, price = _priced(match["value"].strip(" *"))
            if name.strip("-"):
                days[-1]["accommodation"] = {"name": name, "price_per_night": price}
                around.hotel = name
        elif _SLOT.match(line):
            timed += 1
            activity = _activity(line, around)
            if activity is None:
                unread.append(line)
            else:
                days[-1]["activities"].append(activity)
                if activity["type"] == TRIP:
                    around.cities = (around.cities[1],) * 2
    plan = {"budget_summary": {"total_estimated_budget": _total(lines), "currency": "CNY"}, "daily_plans": days}
    return ParsedPlan(plan, timed, tuple(unread))


def _activity(line: str, around: _Surroundings) -> dict[str, Any] | None:
    match = _ACTIVITY.fullmatch(line)
    kind = match[3].strip(" `[]").lower() if match else ""
    if match is None or kind not in _READERS:
        return None
    return {"time_slot": f"{match[1]}-{match[2]}", "type": kind, "details": _READERS[kind](match[4].strip(), around)}


def _names(lines: list[str]) -> frozenset[str]:
    """The names of hotels, restaurants and attractions, which tell where a name with a dash in it ends."""
    names = {_priced(match["value"].strip(" *"))[0] for line in lines if (match := _ACCOMMODATION.fullmatch(line))}
    for line in lines:
        activity = _activity(line, _Surroundings(frozenset()))
        if activity and activity["type"] in (MEAL, ATTRACTION):
            names.add(activity["details"]["name"])
    return frozenset(names - {""})


def _trip(text: str, around: _Surroundings) -> dict[str, Any]:
    vehicle, rest = _first(text)
    places, cost = _priced(rest)
    start, end = _ends(places, around)
    parts = _VEHICLE.fullmatch(vehicle)
    mode, number = (parts["mode"].strip(), parts["number"]) if parts else ("", vehicle)
    return {"mode": _MODES.get(mode, mode.lower()), "number": number, "from": start, "to": end, "cost": cost}


def _road(text: str, around: _Surroundings) -> dict[str, Any]:
    rest, cost = _priced(text)
    rest, duration = _taken(rest, _DURATION)
    rest, distance = _taken(rest, _DISTANCE)
    start, end = _ends(rest, around)
    return {"from": start, "to": end, "distance": distance, "duration": duration, "cost": cost}


def _visit(text: str, around: _Surroundings) -> dict[str, Any]:
    name, cost = _priced(text)
    return {"name": name, "city": around.cities[0], "cost": cost}


def _meal(text: str, around: _Surroundings) -> dict[str, Any]:
    kind, rest = _first(text)
    name, cost = _priced(rest)
    return {"meal_type": kind, "name": name, "cost": cost}


def _stay(text: str, around: _Surroundings) -> dict[str, Any]:
    if around.hotel:
        known = rf"(?P<before>|.*[,，(（]\s*){re.escape(around.hotel)}(?P<after>\s*[,，(（)）].*|)"
        if match := re.fullmatch(known, text):
            activity = match["before"].strip(_EDGES) or match["after"].strip(_EDGES)
            return {"activity": activity, "name": around.hotel}
    activity, name = _first(text)
    return {"activity": activity, "name": name or around.hotel}


def _wait(text: str, around: _Surroundings) -> dict[str, Any]:
    return {"description": text}


_READERS: Mapping[str, Callable[[str, _Surroundings], dict[str, Any]]] = {
    TRIP: _trip, ROAD: _road, ATTRACTION: _visit, MEAL: _meal, HOTEL: _stay, BUFFER: _wait,
}  # fmt: skip


def _first(text: str) -> tuple[str, str]:
    """The first part of a line, and the rest."""
    separator = _SEPARATOR.search(text)
    return (text[: separator.start()].strip(), text[separator.end() :].strip()) if separator else (text, "")


def _taken(text: str, pattern: re.Pattern[str]) -> tuple[str, str]:
    """The text without its last part, and that part, where it fits the pattern; else the text, and nothing."""
    separators = list(_SEPARATOR.finditer(text))
    start, end = (separators[-1].start(), separators[-1].end()) if separators else (0, 0)
    return (text[:start].strip(), text[end:]) if pattern.fullmatch(text[end:]) else (text, "")


def _priced(text: str) -> tuple[str, float]:
    """The text without the price at its end, and the price; 0 where it has none.

    >>> _priced("Ji Hotel, Shangyu, ¥257/room/night"), _priced("Bund, Free"), _priced("Bund")
    (('Ji Hotel, Shangyu', 257), ('Bund', 0), ('Bund', 0))
    """
    name, price = _taken(text, _PRICE)
    return name, _amount(price) or 0


def _ends(text: str, around: _Surroundings) -> tuple[str, str]:
    """The two places of "A - B"; where names have dashes in them, those that other lines name."""
    splits = [(text[: dash.start()].strip(), text[dash.end() :].strip()) for dash in _BETWEEN.finditer(text)]
    return max(splits, key=lambda ends: sum(name in around.names for name in ends), default=(text, ""))


def _total(lines: list[str]) -> float | None:
    """The number after the last equals sign of the line that names the total, or else of the line after it."""
    filled = [line for line in lines if line.strip()]
    for label in _TOTALS:
        for line, following in reversed(list(pairwise([*filled, ""]))):
            match = None if _SLOT.match(line) else label.fullmatch(line)
            if match:
                return _amount(match["value"].rpartition("=")[2]) or _amount(following.rpartition("=")[2])
    return None


def _amount(text: str) -> float | None:
    match = _AMOUNT.search(text)
    if match is None:
        return None
    value = float(match[0].replace(",", ""))
    return int(value) if value.is_integer() else value
