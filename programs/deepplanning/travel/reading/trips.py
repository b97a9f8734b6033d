"""What a request says of the trips out and back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from programs.deepplanning.travel.clock import clock
from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.reading.lexemes import TRIP, Clause, Entry, Lexeme, once
from programs.deepplanning.travel.reading.phrases import CHEAPEST, HIGHEST, NUMBER, entry, number, pick
from programs.deepplanning.travel.reading.problem import ReadingError

_MAKERS = (("Boeing", "波音"), ("Airbus", "空客"), ("Embraer", "巴航工"), ("COMAC", "商飞"))
_TRAIN_TYPES = (
    ("High-Speed Train", "高铁", r"high-speed (?:trains?|rail)|高铁"),
    ("Electric Multiple Unit", "动车", r"electric multiple units?|\bEMU\b|动车"),
    ("Intercity Train", "城际", r"intercity trains?|城际(?:列车)?"),
    ("Regular Train", "普快", r"regular trains?|普快"),
)
_SEATS = (
    ("First Class Seat", "一等座", r"first[- ]class(?: seats?)?(?: tickets?)?|一等座"),
    ("Second Class Seat", "二等座", r"second[- ]class(?: seats?)?(?: tickets?)?|二等座"),
    ("Business Seat", "商务座", r"business[- ]class(?: seats?)?(?: tickets?)?|商务座"),
    ("Hard Seat", "硬座", r"hard seats?|硬座"),
    ("First Class", "头等舱", r"头等舱"),
    ("Economy Class", "经济舱", r"economy(?:[- ]class)?(?: seats?)?|经济舱"),
)
_CABINS = {"First Class Seat": ("First Class", "头等舱"), "Business Seat": ("公务舱", "公务舱")}
"""What a flight has where English requests use one word for both; one is not translated in the tables."""
_HALVES = {"凌晨": 0, "早上": 0, "上午": 0, "中午": 0, "下午": 12, "晚上": 12}
_TIME = r"(\d{1,2})(?::(\d{2}))? ?([AP])?\.?(?:M\b\.?)?"
_CLOCK = rf"({'|'.join(_HALVES)})?(十[一二]|{NUMBER})点"
_BEST = {
    "earliest": ("min", "dep"), "latest": ("max", "arr"), "shortest": ("min", "minutes"), CHEAPEST: ("min", "price"),
}  # fmt: skip
_MODE_OF = {"airline": "flight", "manufacturer": "flight", "train_type": "train"}
"""Fields that only one kind of trip has."""
_BOTH: tuple[Way, ...] = ("out", "back")
_AFTER = "|".join(rf"(?<=\b{vehicle} )" for vehicle in ("train", "trains", "flight", "flights", "plane", "fly"))


def vocabulary(language: Language, airlines: Iterable[str], origin: str, destination: str) -> list[Entry]:
    def trip(kind: str, pattern: str, value: Any = None) -> Entry:
        return entry(kind, pattern, value, TRIP)

    home, there = re.escape(origin), re.escape(destination)
    both = r"\bboth the outbound and(?: the)? return|\bboth (?:ways|directions)|\bround[- ]trip|\bentire journey"
    out = rf"\b(?:outbound|onward|one[- ]way|going there)\b|(?:{_AFTER})(?:there\b(?! (?:is|are))|to {there})"
    back = rf"\b(?:return|inbound|way back)\b|(?:{_AFTER})back\b|\bback (?:home|(?:in|to) {home})"
    earliest = r"(?:depart|leave|set (?:off|out))\w* as early as possible|earlier is better|越早越好"
    latest = r"\bas late as possible|\blatest(?:[- ](?:available|direct|arriving|arrival))*"
    return [
        trip("range", rf"(?:between|from) {_TIME} (?:and|to) {_TIME}", _times),
        trip("range", rf"{_CLOCK}到{_CLOCK}(?:之间)?", _chinese_times),
        trip("way", rf"{both}|往返|来回|全程(?=坐)", _BOTH),
        trip("way", rf"{out}|去程|去的时候|(?<=火车|飞机)过?去", ("out",)),
        trip("way", rf"{back}|回程|返程|(?:回来|回去|回)的时候|(?<=火车|飞机)回", ("back",)),
        *(trip("airline", _airline(name), name) for name in sorted(airlines, key=len, reverse=True)),
        *(trip("manufacturer", "|".join(names), pick(language, *names)) for names in _MAKERS),
        *(trip("seat_class", pattern, names) for *names, pattern in _SEATS),
        trip("mode", r"high-speed (?:train|rail) or (?:regular )?train|高铁或者?火车", "train"),
        *(trip("train_type", pattern, pick(language, *names)) for *names, pattern in _TRAIN_TYPES),
        trip("mode", r"\b(?:trains?|railway)\b|火车|列车|车次", "train"),
        trip("mode", r"\b(?:flights?|plane|fly)\b|飞机|航班", "flight"),
        trip("earliest", rf"{earliest}|\bearliest(?: (?:available|direct|departing|departure))*|最早(?:出发)?"),
        trip("latest", rf"{latest}|最晚(?:到达?)?|尽量晚点"),
        trip("shortest", r"\bshortest(?:[- ](?:duration|flying|travel|flight|time))*|\bfastest|时间最短|最快"),
        trip("direct", r"\bdirect\b|\bnon-?stop\b|\bno layovers?\b|直达|直飞"),
        trip("departs", r"\bdepart(?:ing|s|ure)?\b|\bleav(?:e|es|ing)\b|出发"),
        trip("arrives", r"\barriv(?:e|es|ing|al)\b|到达|(?<=之间)到"),
        trip("trip", r"\btransportation\b|\bjourney\b|交通|出行"),
    ]


def _airline(name: str) -> str:
    """An airline is also called so without the last word of its name, unless that leaves a city."""
    short = name.removesuffix(" Airlines")
    return rf"\b{re.escape(short)}(?: Airlines)?\b" if " " in short else re.escape(name)


def _times(match: re.Match[str]) -> tuple[str, str]:
    hour, past, half, until, over, other = match.groups()
    return _range(_minutes(hour, past, half or other), _minutes(until, over, other))


def _minutes(hour: str, past: str | None, half: str | None) -> int:
    hours = int(hour) if half is None else int(hour) % 12 + 12 * (half in "pP")
    return hours * 60 + int(past or 0)


def _chinese_times(match: re.Match[str]) -> tuple[str, str]:
    half, hour, other, until = match.groups()
    return _range(60 * _hours(hour, half), 60 * _hours(until, other or half))


def _hours(hour: str, half: str | None) -> int:
    hours = 10 + number(hour[1]) if hour[0] == "十" and len(hour) > 1 else number(hour)
    return hours + _HALVES[half] if half and hours < 12 else hours


def _range(start: int, end: int) -> tuple[str, str]:
    """Twelve in the evening is midnight."""
    return clock(start), clock(end) if end > start else "24:00"


@dataclass
class _Said:
    """What is said of one way."""

    modes: list[str] = field(default_factory=list)
    where: list[list[Any]] = field(default_factory=list)
    seats: list[tuple[str, str]] = field(default_factory=list)
    best: list[tuple[str, str]] = field(default_factory=list)


def read_trips(clauses: Sequence[Clause], language: Language) -> list[dict[str, Any]]:
    """The arguments of the wishes of trips; one wish for both ways where the same is said of both.

    Raises:
        ReadingError: two things are said where one can hold.
    """
    said: dict[Way, _Said] = {"out": _Said(), "back": _Said()}
    inherited: Sequence[Way] = ()
    before: Clause | None = None
    for clause in clauses:
        ways = clause.of("way")
        for lexeme in clause.lexemes:
            named = [way.value for way in ways if way.start < lexeme.start] or [way.value for way in ways[:1]]
            arrives = lexeme.kind == "range" and _arrives(lexeme, clause, before)
            for way in (named[-1] if named else inherited) or _suited(clause, before):
                _take(said[way], lexeme, clause, "arr" if arrives else "dep")
        if ways and not clause.has("date"):  # which only tells the days
            inherited = ways[-1].value
        before = clause
    out, back = (_arguments(said[way], language) for way in _BOTH)
    if out == back:
        return [{"way": "both", **out}] if out else []
    return [{"way": way, **each} for way, each in zip(_BOTH, (out, back), strict=True) if each]


def _suited(clause: Clause, before: Clause | None) -> Sequence[Way]:
    """Which way a clause is about that names none: one leaves early, and comes home late."""
    for lexeme in clause.of("earliest", "latest", "range"):
        late = lexeme.kind == "latest" or (lexeme.kind == "range" and _arrives(lexeme, clause, before))
        return ("back",) if late else ("out",)
    return _BOTH


def _arrives(times: Lexeme, clause: Clause, before: Clause | None) -> bool:
    """Whether times are those of the arrival: the nearest word says it, or the last of the clause before."""
    beside = clause.of("departs", "arrives")
    if beside:
        return min(beside, key=lambda word: max(word.start - times.end, times.start - word.end)).kind == "arrives"
    return before is not None and [word.kind for word in before.of("departs", "arrives")][-1:] == ["arrives"]


def _take(said: _Said, lexeme: Lexeme, clause: Clause, end: str) -> None:
    kind, value = lexeme.kind, lexeme.value
    if kind == "mode":
        said.modes.append(value)
    elif kind == "seat_class":
        said.seats.append(value)
    elif kind in _MODE_OF:
        said.where.append([kind, "==", value])
    elif kind == "range":
        said.where += [[end, ">=", value[0]], [end, "<=", value[1]]]
    elif kind in _BEST and (kind != CHEAPEST or clause.topic == TRIP):
        said.best.append(_BEST[kind])
    elif kind == HIGHEST and clause.topic == TRIP:
        raise ReadingError(f"{clause.text.strip()!r}: trips have no ratings")


def _arguments(said: _Said, language: Language) -> dict[str, Any]:
    """Of a wish, but for the way; empty where nothing is wished."""
    where, best = once(said.where), once(said.best)
    modes = once([*said.modes, *(_MODE_OF[name] for name, *_ in where if name in _MODE_OF)])
    for seat in once(said.seats):
        names = _CABINS.get(seat[0], seat) if modes == ["flight"] else seat
        where.append(["seat_class", "==", pick(language, *names)])
    values: dict[str, list[Any]] = {"mode": modes, "order": best}
    for name in (*_MODE_OF, "seat_class"):
        values[name] = [value for field, _, value in where if field == name]
    for name, listed in values.items():
        if len(listed) > 1:
            raise ReadingError(f"{name} of a trip: {' or '.join(map(str, listed))}?")
    if where and not best:
        best = [_BEST[CHEAPEST]]  # of several that fit, the policy has the cheapest
    return {
        **({"mode": modes[0]} if modes else {}),
        **({"where": where} if where else {}),
        **({"best": list(best[0])} if best else {}),
    }

