"""Who travels, on which days, in how many rooms, and for how much money at most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from programs.deepplanning.travel.reading.lexemes import Lexeme
from programs.deepplanning.travel.reading.phrases import AMOUNT, MONTH, NUMBER, amount, entry, number, numbered
from programs.deepplanning.travel.reading.problem import ReadingError


def _and_one(text: str) -> int:
    return number(text) + 1


_PERSON = r"(?:people|peole|persons?|travell?ers?|adults?|guests?)"
_COMPANION = r"(?:friend|wife|husband|partner|girlfriend|boyfriend|colleague|mother|father|sister|brother)"
_WITH_COMPANION = rf"\b(?:my )?{_COMPANION} and (?:I|me)\b|\b(?:I|me) and my {_COMPANION}\b|我和(?:我的?)?朋友"
_DAY = rf"(?:{MONTH} \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?|the \d{{1,2}}(?:st|nd|rd|th)|\d{{4}}-\d{{2}}-\d{{2}})"
_TRAVELS = r"\b(?:depart\w*|leav\w*|return\w*|starting|back|until|till)\b[\w\s]{0,24}?"
_CHINESE_DAY = r"(?:(?:\d{4}年)?\d{1,2}月|(?<!\d))\d{1,2}[号日](?:是周[一二三四五六日])?"
_BEFORE = r"(?:一?直?(?:待|玩|呆)?到|回来的时间是|时间(?:定在|是)|回程是|想?在)"
_AFTER = r"(?:晚上|早上|上午|下午)?[就再]?(?:(?:返回|回程|回来|出发|回|走)(?!的|麻烦|随意)了?)?"
_SPENDING = rf"(?:开销|花销|花费|预算)[^。！？，\d]{{0,12}}?({AMOUNT})元(?:以内|之内|左右)?(?!到|之间)"
VOCABULARY = [
    entry("date", rf"(?:{_TRAVELS})?(?:\b(?:on|in the evening of) )?{_DAY}(?: is \w+day)?"),
    entry("date", r"\bin \d{4}(?=,? depart)"),
    entry("date", rf"{_BEFORE}?{_CHINESE_DAY}{_AFTER}"),
    entry("length", rf"(?:{NUMBER}|\ba|\bfull)[- ](?:full )?(?:days?|nights?)\b(?: trip)?"),
    entry("length", rf"{NUMBER}[天晚](?![^，。]*?元)"),
    entry("people", rf"\bI and (?:my )?({NUMBER}) friends|我和({NUMBER})个朋友", numbered(_and_one)),
    entry("people", rf"({NUMBER}) (?:of us\b|{_PERSON}\b)|\b(?:group|party|family) of ({NUMBER})", numbered()),
    entry("people", rf"({NUMBER})(?:个人|位)(?!朋友)|({NUMBER})人(?!均)", numbered()),
    entry("people", r"\b(?:travell?ing|going|staying) (?:alone|solo)\b|\bby myself\b|我?一个人", 1),
    entry("companion", _WITH_COMPANION),
    entry("rooms", rf"({NUMBER}) rooms?\b|({NUMBER})(?:间|个房间)", numbered()),
    entry("budget", rf"budget [^.,，。]{{0,40}}?({AMOUNT}) yuan(?! (?:per|a|each) night)", numbered(amount)),
    entry("budget", _SPENDING, numbered(amount)),
]


class Party(NamedTuple):
    """What a request says of itself as a whole."""

    people: int
    rooms: int
    budget: float | None


def read_party(lexemes: Iterable[Lexeme]) -> Party:
    """Where nothing is said of people there is one; where nothing is said of rooms, two share one.

    Raises:
        ReadingError: two different numbers are said.
    """
    said: dict[str, list[float]] = {"people": [], "rooms": [], "budget": [], "companion": []}
    for lexeme in lexemes:
        if lexeme.kind in said:
            said[lexeme.kind].append(lexeme.value)
    for kind in ("people", "rooms", "budget"):
        if len(set(said[kind])) > 1:
            raise ReadingError(f"{kind}: {' or '.join(map(str, sorted(set(said[kind]))))}?")
    people = int(next(iter(said["people"]), 2 if said["companion"] else 1))
    rooms = int(next(iter(said["rooms"]), -(-people // 2)))
    return Party(people, rooms, next(iter(said["budget"]), None))
