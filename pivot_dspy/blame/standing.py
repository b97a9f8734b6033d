"""Whether a value stands somewhere: in what was asked, told or read, in whatever form it is written there.

A value stands where each of its words and numbers does. This finds too much rather than too little, so that what is
said to stand nowhere does not.

>>> told = tokens("On May 10th at 9:30 pay 1,200 and 30 to mark@eve-blog.com")
>>> [holds(told, value) for value in ["2024-05-10", "05-10T09:30", 1230.0, "https://eve-blog.com", "mary@eve-blog.com"]]
[True, True, True, True, False]

Where a script sets no words apart, each two letters beside each other count as a word:

>>> [holds(tokens("我11月12号从福州去苏州"), value) for value in ["福州", "苏州", "杭州", "11月"]]
[True, True, False, True]
"""

from __future__ import annotations

import calendar
import json
import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise
from typing import Any

Tokens = frozenset[str | float]
"""The words of a text, without regard to case, and its numbers."""

_TOKEN = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?(?![^\W_])|[^\W_]+")
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]+"
)
"""A run of letters of a script that sets no words apart, such as Chinese: its words may be any part of it."""
_GLUED = re.compile(r"(?<=\d)(?:t(?=\d)|(?:st|nd|rd|th|am|pm)\b)")
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")
_YEAR = re.compile(r"\b(?:19|20)\d\d-(?=\d\d-\d\d)")
"""Of a date, which may be told without it."""
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NAMED: dict[str, float] = {
    **{name.casefold(): float(number) for number, name in enumerate(calendar.month_name)},
    **{name.casefold(): float(number) for number, name in enumerate(calendar.month_abbr)},
    **{name: float(number) for number, name in enumerate(_NUMBERS, start=1)},
    **{"pm": 12.0, "noon": 12.0, "hour": 1.0, "tomorrow": 1.0, "yesterday": 1.0, "week": 7.0},
}
"""Words that stand for a number."""
_NOISE = frozenset({"t", "st", "nd", "rd", "th", "am", "pm", "http", "https", "www"})
"""Words that a date, time or address has in one form and not in another."""


def holds(told: Tokens, value: Any) -> bool:
    """Whether each word and number of a scalar is among what was told. A number may be the sum or difference of two."""
    unknown = set(_split(_YEAR.sub("", str(value)))) - told - _NOISE
    numbers = [token for token in told if unknown and isinstance(token, float)]
    for token in unknown:
        number = _NAMED.get(token) if isinstance(token, str) else token
        if number is None or not any(round(abs(number - one), 9) in told or number + one in told for one in numbers):
            return False
    return True


def tokens(value: Any) -> Tokens:
    """The words and numbers of a text, or of all keys and values of JSON data: numbers also in their groups of digits,
    and those that words stand for."""
    text = value if isinstance(value, str) else _ESCAPE.sub(" ", json.dumps(value, ensure_ascii=False, default=str))
    return _tokens(text)


@lru_cache(maxsize=64)  # a request and the tools are looked at once for each requirement
def _tokens(text: str) -> Tokens:
    found = set(_split(text))
    groups = map(float, set(re.findall(r"\d+", text)))
    return frozenset([*found, *groups, *(number for word, number in _NAMED.items() if word in found)])


def _split(text: str) -> Iterator[str | float]:
    plain = _GLUED.sub(r" \g<0> ", unicodedata.normalize("NFC", text).casefold())
    for run in set(_UNSPACED.findall(plain)):
        yield from run
        yield from map("".join, pairwise(run))
    plain = _UNSPACED.sub(" ", plain)
    for token in set(_TOKEN.findall(plain)):
        digits = token.replace(",", "")
        yield float(digits) if digits.replace(".", "").isdecimal() else token
