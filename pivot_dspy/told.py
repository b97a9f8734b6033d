"""What a text tells by rule, token by token: dates and times in whatever form, figures by value, words as they stand.

This finds too little rather than too much: what it says a text tells, stands there.

>>> told = read("On May 15th, 2024 at 10 am pay 1,200.50 to ann@x.org.")
>>> [tells(told, it) for it in ("2024-05-15 10:00", 1200.5, "Ann@x.org", "ann", "15", 2024, "x.org")]
[True, True, True, False, False, False, False]
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Collection
from datetime import datetime
from functools import cached_property, lru_cache
from typing import Any, NamedTuple

from pivot_dspy.required_calls import comparable, words_of

Day = tuple[int | None, int, int]
"""Year, month and day; the year is None where it is not told."""
Time = tuple[int, int]
"""Hour and minute."""

_LONGEST_MOMENT = 40
"""Characters of a date."""
_LEAST = 3
"""Letters and digits from which on a text may be a word among others."""
_BEGINS = r"(?<!\w)(?<!\w[-.@/:+_&=])"
_ENDS = r"(?!\w)(?![-.@/:+_&=]\w)(?!(?<=\d),\d)"
"""The edges of a token: no part of a word, number, date, address or path."""
_NUMBER = r"(?:\d{1,3}(?:,\d{3}){1,9}|\d{1,30})(?:\.\d{1,30})?"
"""Of no more digits than Python reads at once."""
_FIGURE = re.compile(rf"{_BEGINS}-?{_NUMBER}{_ENDS}")
_WRITTEN_FIGURE = re.compile(r"-?(?:0|[1-9]\d{0,29})(?:\.\d{1,30})?", re.ASCII)
_ITEM = re.compile(r"(?:^\s*|(?<=[.:;?!)*•-])\s+)\d{1,2}[.)](?=\s)")
"""The number of an item in a list."""
_MONTHS = {
    name.casefold(): number
    for names in (calendar.month_name, calendar.month_abbr)
    for number, name in enumerate(names)
    if name
}
_MONTH = rf"(?P<month>{'|'.join(sorted(_MONTHS, key=len, reverse=True))})\b\.?"
_DAY = r"(?<!\d)(?P<day>\d{1,2})(?:st|nd|rd|th)?\b"
_DAYS = tuple(
    map(
        re.compile,
        (
            r"(?<![\d-])(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?!\d)",
            rf"\b{_MONTH}\s*(?:the\s+)?{_DAY}(?:,?\s+(?P<year>\d{{4}})\b)?",
            rf"{_DAY}\s+(?:of\s+)?{_MONTH}(?:,?\s+(?P<year>\d{{4}})\b)?",
        ),
    )
)
_TIMES = tuple(
    map(
        re.compile,
        (
            r"(?<![\d:.])(?P<hour>\d{1,2})(?::(?P<minute>\d\d))?\s*(?P<half>[ap])\.?m\b\.?",
            r"(?<![\d:])(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::\d\d)?(?:\.\d+)?(?![\d:])",
            r"\b(?P<noon>noon)\b",
        ),
    )
)
_COUNTS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8}
_UNITS = {"minute": 1, "min": 1, "hour": 60, "day": 1440, "night": 1440, "week": 10080}
_DURATION = re.compile(
    rf"\b(?P<half>half\s)?(?P<count>\d+(?:\.\d+)?|{'|'.join(_COUNTS)})[\s-]+(?P<unit>{'|'.join(_UNITS)})s?\b"
    r"(?:\s+(?:and\s+)?(?:(?P<more>\d+)[\s-]+min\w*|(?P<and_half>a\s+half)))?"
)
_WORDED = {**{word: count for word, count in _COUNTS.items() if count > 1}, "nine": 9, "ten": 10, "twelve": 12}
_WORDED |= {"两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9, "十": 10}
_COUNTED = re.compile(
    rf"\b(?P<word>{'|'.join(word for word in _WORDED if word.isascii())})(?=[\s-]+(?:of us|people|[a-z]+s)\b)"
    r"|(?<![\d.十百千万亿零一二三四五六七八九])(?P<count>\d{1,9}|[两二三四五六七八九十])(?=[个间位人名天晚元])"
)
"""Counts in words before what is counted, but for "one", which counts nothing most of the time."""
_RUN_ON = re.compile(r"(?<=[a-z])\.(?=[A-Z][a-z]+\s)")
"""Where a sentence ends without a space before the next."""


class Told:
    """What stands in a text. The number of an item in a list, and those in a date or time, are no figures."""

    def __init__(self, text: str) -> None:
        self._text = text

    @cached_property
    def words(self) -> str:
        """The text, without regard to case and how it is set."""
        return _plain(_RUN_ON.sub(". ", self._text))

    @cached_property
    def figures(self) -> frozenset[str]:
        rest = _found((*_DAYS, *_TIMES), _ITEM.sub(" ", self.words))[1]
        counts = (match["word"] or match["count"] for match in _COUNTED.finditer(rest))
        counted = frozenset(comparable(_WORDED.get(count) or int(count)) for count in counts)
        return counted | frozenset(comparable(_number(figure)) for figure in _FIGURE.findall(rest))

    @cached_property
    def days(self) -> frozenset[Day]:
        return frozenset(map(_day, _found(_DAYS, self.words)[0]))

    @cached_property
    def times(self) -> frozenset[Time]:
        return frozenset(map(_time, _found(_TIMES, self.words)[0]))

    @cached_property
    def durations(self) -> frozenset[tuple[int, str]]:
        """In minutes, with the words that tell it."""
        return frozenset((_minutes(match), match[0]) for match in _DURATION.finditer(self.words))

    @cached_property
    def years(self) -> frozenset[int]:
        """Of the days."""
        return frozenset(year for year, _, _ in self.days if year is not None)


class Moment(NamedTuple):
    """A day, or a time of it."""

    at: datetime
    timed: bool


@lru_cache(maxsize=256)
def read(text: str) -> Told:
    """What stands in `text`."""
    return Told(text)


def tells(told: Told, value: Any, *, years: Collection[int] = (), times: Collection[Time] = ()) -> bool:
    """Whether a text tells a scalar.

    Args:
        years: those that a date without a year may be of.
        times: those that are told elsewhere.
    """
    if isinstance(value, bool) or value is None:
        return False
    if (figure := figure_of(value)) is not None:
        return figure in told.figures
    if (moment := moment_of(value)) is not None:
        at = moment.at
        day = (at.year, at.month, at.day) in told.days or ((None, at.month, at.day) in told.days and at.year in years)
        return day and (not moment.timed or (at.hour, at.minute) in {*told.times, *times})
    return tells_words(told, value)


def tells_words(told: Told, value: str) -> bool:
    """Whether a text stands whole in another; one of less than three letters only as all of it, or in quotes."""
    words = _plain(value)
    if words == "" or words == told.words:
        return words != ""
    sought = re.escape(words)
    if sum(map(str.isalnum, words)) < _LEAST:
        return re.search(rf"""(?<=["'`“‘]){sought}(?=["'`”’])""", told.words) is not None
    if words not in told.words:
        return False
    return re.search(f"{_BEGINS}{sought}{_ENDS}", told.words) is not None


def tells_id(told: Told, number: str) -> bool:
    """Whether a text tells a short number as an id: said to be one, or all that it says."""
    said = re.search(rf"(?:\bid_?|#|\bno\.|\bnumber)\W{{0,4}}(?:is\s|of\s)?{number}(?!\w)", told.words)
    return told.words == number or said is not None


def figure_of(value: Any) -> str | None:
    """A number, or a text that is one, so that equal ones are equal; None where it is neither."""
    if isinstance(value, str):
        text = value.strip()
        return str(comparable(_number(text))) if _WRITTEN_FIGURE.fullmatch(text) else None
    return None if isinstance(value, bool) or not isinstance(value, (int, float)) else str(comparable(value))


def moment_of(value: Any) -> Moment | None:
    """The moment that a text is; None where it is no date."""
    try:
        written = isinstance(value, str) and len(value) <= _LONGEST_MOMENT
        return Moment(datetime.fromisoformat(str(comparable(value))), ":" in value) if written else None
    except ValueError:
        return None


def _minutes(match: re.Match[str]) -> int:
    unit, count = _UNITS[match["unit"]], match["count"]
    size = float(_COUNTS.get(count) or count) * (0.5 if match["half"] else 1) + (0.5 if match["and_half"] else 0)
    return round(size * unit) + int(match["more"] or 0)


def _number(text: str) -> int | float:
    digits = text.replace(",", "")
    return float(digits) if "." in digits else int(digits)


def _found(patterns: Collection[re.Pattern[str]], text: str) -> tuple[list[re.Match[str]], str]:
    """What the patterns find, each in what the ones before it leave, and the rest."""
    found: list[re.Match[str]] = []
    for pattern in patterns:
        found.extend(pattern.finditer(text))
        text = pattern.sub(" ; ", text)
    return found, text


@lru_cache(maxsize=256)
def _plain(text: str) -> str:
    return words_of(text).casefold()


def _day(match: re.Match[str]) -> Day:
    month = match["month"]
    return int(match["year"]) if match["year"] else None, _MONTHS.get(month) or int(month), int(match["day"])


def _time(match: re.Match[str]) -> Time:
    parts = match.groupdict()
    if parts.get("noon"):
        return 12, 0
    hour = int(parts["hour"])
    if half := parts.get("half"):
        hour = hour % 12 + (12 if half == "p" else 0)
    return hour, int(parts.get("minute") or 0)
