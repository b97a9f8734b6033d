"""Pieces of patterns that several topics share, for English and Chinese alike, and the phrases of any topic."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.reading.lexemes import Entry, Topic

_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_SIGNS = "零一二三四五六七八九十"
NUMBER = rf"(?:\d+|\b(?:a single|single|{'|'.join(_WORDS[1:])})\b|[{_SIGNS[1:]}两俩])"
AMOUNT = r"¥?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?"
MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"


def number(text: str) -> int:
    """
    >>> number("12"), number("Three"), number("a single"), number("两")
    (12, 3, 1, 2)
    """
    text = text.lower().replace("两", "二").replace("俩", "二")
    if text.endswith("single"):
        return 1
    return int(text) if text.isdecimal() else _WORDS.index(text) if text in _WORDS else _SIGNS.index(text)


def amount(text: str) -> float:
    """
    >>> amount("¥13,000"), amount("99.5")
    (13000, 99.5)
    """
    value = float(text.lstrip("¥").replace(",", ""))
    return int(value) if value.is_integer() else value


def entry(kind: str, pattern: str, value: Any = None, topic: Topic | None = None) -> Entry:
    return Entry(kind, re.compile(pattern, re.IGNORECASE), value, topic)


def numbered(read: Callable[[str], Any] = number) -> Callable[[re.Match[str]], Any]:
    """The value of the first group that matched."""
    return lambda match: read(next(group for group in match.groups() if group))


def pick(language: Language, english: str, chinese: str) -> str:
    """How the tables of a language have it."""
    return english if language == "en" else chinese


CHEAPEST, HIGHEST = "cheapest", "highest"
ANYWHERE = [
    entry(
        CHEAPEST,
        r"(?:cheapest|most (?:affordable|economical|budget-friendly|cost-effective|inexpensive)|lowest[- ]"
        r"(?:possible )?(?:priced?|fares?|rates?|average (?:spending|cost))(?: per person)?|"
        r"low(?:est)? average (?:spending|cost) per person|(?:least|most) expensive)"
        r"|(?:价格|人均消费|票价|人均|消费|房价)?(?:最便宜|最低|最实惠|最划算|越便宜越好|越低越好)|性价比最高",
    ),
    entry(
        HIGHEST,
        r"(?:highest|top|best)[- ](?:rated|rating|scor\w+|reviewed)|high(?:est)? (?:rating|score)s?|best reviews?"
        r"|(?:评分|分数|评价|口碑|好评率?)(?:是)?(?:最高|最好)|高?评分最?高",
    ),
]
"""What is best, of whatever the clause is about."""
REASONS = [
    entry(
        "reason",
        r"\bso that\b[^,.;—!?]*|\bso (?:I|we)(?:'ll|'d)? (?:can|could|may|won't|don't|still|have)\b[^,.;—!?]*"
        r"|(?:这样(?!的)|毕竟)[^，。！？；]*",
    ),
]
"""Clauses that say why, and wish nothing that is not said elsewhere."""
MOODS = [
    entry(
        "mood",
        r"\bmost (?:of|iconic|worthwhile|recommended|authentic|popular|distinctive|convenient)\b|\bat (?:the )?latest\b"
        r"|\bmake the most of\b|最(?:好|精华|值得|有特色|后|具|主要|想|喜欢|经典)|最近(?!的|一家)",
    ),
]
"""Words that look like a superlative and measure nothing."""
