"""What a request says in words that a rule can read: two cities and two dates of the tables, and how many travel."""

from __future__ import annotations

import re
import unicodedata
from datetime import date
from typing import NamedTuple

from programs.deepplanning.travel.atlas import Atlas

_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip

_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIGNS = "一二三四五六七八九十"
_NUMBERS = {word: number for words in (_WORDS, _SIGNS) for number, word in enumerate(words, 1)} | {"两": 2}
_PEOPLE = (
    rf"\b(\d+|{'|'.join(_WORDS)})[- ](?:people|persons?|travell?ers?|adults?|of us)\b",
    rf"(\d+|[{_SIGNS}两])\s*个?[人位]",
)


class Journey(NamedTuple):
    """A way there and back of which the tables have trips."""

    origin: str
    destination: str
    depart: str
    """YYYY-MM-DD, as of `return_`."""
    return_: str


def read_journey(request: str, atlas: Atlas) -> Journey | None:
    """The one journey between two cities of a request on days that it names; None where it names none or several."""
    request = _plain(request)
    named = [name for name in atlas.cities if _names(request, _plain(name))]
    ways = [
        (there, back)
        for there in atlas.routes
        for back in atlas.routes
        if there[0] in named and there[1] in named and back[:2] == (there[1], there[0]) and there[2] < back[2]
    ]
    said = [(there, back) for there, back in ways if _names_day(request, there[2], whole=True)]
    exact = [(there, back) for there, back in said if _names_day(request, back[2])] or said
    if len(exact) != 1:
        return None
    (origin, destination, depart), (_, _, return_) = exact[0]
    return Journey(origin, destination, depart, return_)


def read_people(request: str) -> int | None:
    """How many travel; None where a request names no number of people, or several.

    >>> read_people("There are three of us."), read_people("我们4个人一起去"), read_people("My wife and I.")
    (3, 4, None)
    """
    named = {found.lower() for form in _PEOPLE for found in re.findall(form, request, re.IGNORECASE)}
    numbers = {int(word) if word.isdigit() else _NUMBERS[word] for word in named}
    return numbers.pop() if len(numbers) == 1 else None


def _plain(text: str) -> str:
    """The text without accents, which a request and the tables set in different ways."""
    return "".join(letter for letter in unicodedata.normalize("NFKD", text) if not unicodedata.combining(letter))


def _names(request: str, city: str) -> bool:
    """Whether a request has a city's name; as the beginning of a word where words are set apart."""
    return city in request if not city.isascii() else re.search(rf"(?<!\w){re.escape(city)}", request) is not None


def _names_day(request: str, day: str, *, whole: bool = False) -> bool:
    """Whether a request names a day: with its month, or by its number alone unless it has to be `whole`."""
    at = date.fromisoformat(day)
    month = _MONTHS[at.month - 1]
    forms = [day, rf"{month} {at.day}\b", rf"{at.day}(?:st|nd|rd|th)? (?:of )?{month}", rf"{at.month}月{at.day}[号日]"]
    if not whole:
        forms += [rf"\b{at.day}(?:st|nd|rd|th)\b", rf"(?<!\d){at.day}[号日]"]
    return any(re.search(form, request) for form in forms)
