"""What a request says of the hotel."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.reading.lexemes import HOTEL, Clause, Entry, once
from programs.deepplanning.travel.reading.phrases import (
    AMOUNT,
    CHEAPEST,
    HIGHEST,
    NUMBER,
    amount,
    entry,
    numbered,
    pick,
)
from programs.deepplanning.travel.reading.problem import ReadingError

_BRANDS = (
    ("Home Inn", "如家", r"Home Inns?|如家"),
    ("Ji Hotel", "全季", r"All Seasons(?: Hotels?)?|\bJi Hotels?|全季"),
    ("Atour Hotel", "亚朵", r"Atour(?: Hotels?)?|亚朵"),
    ("Hanting Hotel", "汉庭", r"Hanting(?: Hotels?)?|汉庭"),
    ("Hilton", "希尔顿", r"Hilton|希尔顿"),
    ("Orange Hotel", "桔子", r"Orange Hotels?|桔子"),
    ("Jinjiang Inn", "锦江之星", r"Jinjiang Inns?|锦江之星"),
    ("Marriott", "万豪", r"Marriott|万豪"),
)
_SERVICES = (
    ("Washer and Dryer", "洗衣机和烘干机", r"washers?(?:,| and|/| &) ?dryers?|washing machines?|洗衣机|烘干机"),
    ("Free Parking", "免费停车", r"free (?:car )?parking|免费停车"),
    ("TV Casting", "电视可投屏", r"(?:TV )?screen[- ](?:mirroring|casting)(?: functionality)?|TV casting|投屏"),
    ("SPA Service", "SPA服务", r"\bspa\b(?: (?:services?|treatments?))?|SPA(?:服务)?"),
    ("Robot Service", "机器人送餐服务", r"robots? (?:(?:room|meal|food) )?(?:delivery )?services?|机器人送餐"),
    ("Swimming Pool", "泳池", r"(?:swimming )?pool|游?泳池"),
    ("Gym", "健身房", r"\bgym\b|fitness (?:cent(?:er|re)|room)|健身房"),
)
_NIGHT = r"(?:per|a|each) night"
_CHINESE_NIGHT = r"每[晚天夜][^。，\d]{0,10}"
_NOUNS = r"\b(?:hotels?|accommodations?|lodging|stay(?:ing)? (?:at|in)|nightly rate|inn)\b|酒店|住宿|住的(?:地方)?|住得"


def vocabulary(language: Language) -> list[Entry]:
    def hotel(kind: str, pattern: str, value: Any = None) -> Entry:
        return entry(kind, pattern, value, HOTEL)

    limit = r"(?:under|below|within|at most|no more than|up to)"
    renewed = r"(?:新?装修|翻新)"
    newest = r"(?:newest|most recently|latest) (?:renovat|decorat)\w+|(?:装修|翻新)(?:时间)?最[新近]|最新装修"
    return [
        *(hotel("service", pattern, pick(language, *names)) for *names, pattern in _SERVICES),
        hotel("price", rf"(?:between|from) ({AMOUNT}) (?:yuan )?(?:and|to) ({AMOUNT}) yuan(?: {_NIGHT})?", _range),
        hotel("price", rf"{_CHINESE_NIGHT}({AMOUNT})元?[到至-]({AMOUNT})元(?:之间)?", _range),
        hotel("price limit", rf"{limit} ({AMOUNT}) yuan {_NIGHT}", numbered(amount)),
        hotel("price limit", rf"{_CHINESE_NIGHT}({AMOUNT})元(?:以[内下])", numbered(amount)),
        hotel("renovated after", rf"renovated (?:after|since) (\d{{4}})|(\d{{4}})年[以之]?后{renewed}", numbered(int)),
        hotel("renovated in", rf"renovated in (\d{{4}})|(\d{{4}})年{renewed}", numbered(int)),
        hotel("newest", newest),
        hotel("star", rf"({NUMBER})[- ]stars?\b|({NUMBER})星级?", numbered()),
        *(hotel("brand", pattern, pick(language, *names)) for *names, pattern in _BRANDS),
        hotel("hotel", _NOUNS),
    ]  # fmt: skip


def _range(match: re.Match[str]) -> tuple[float, float]:
    return amount(match[1]), amount(match[2])


def read_hotel(clauses: Sequence[Clause]) -> dict[str, Any] | None:
    """The arguments of the hotel's wish; None where nothing is wished of it.

    Raises:
        ReadingError: two things are said where one can hold.
    """

    def values(kind: str) -> list[Any]:
        return once(lexeme.value for clause in clauses for lexeme in clause.of(kind))

    where: list[list[Any]] = []
    for kind in ("star", "brand"):
        if len(values(kind)) > 1:
            raise ReadingError(f"{kind} of the hotel: {' or '.join(map(str, values(kind)))}?")
        where += [[kind, "==", value] for value in values(kind)]
    for low, high in values("price"):
        where += [["price", ">=", low], ["price", "<=", high]]
    where += [["price", "<=", high] for high in values("price limit")]
    where += [["services", "contains", service] for service in values("service")]
    where += [["renovated", ">=", year] for year in values("renovated after")]
    where += [["renovated", "==", year] for year in values("renovated in")]
    orders = {CHEAPEST: ["min", "price"], HIGHEST: ["max", "score"], "newest": ["max", "renovated"]}
    said = {kind for clause in clauses if clause.topic == HOTEL for kind in orders if clause.has(kind)}
    if not said and values("renovated after"):
        said = {"newest"}  # who asks for what was renovated after a year wants it new
    if len(said) > 1:
        raise ReadingError(f"the hotel: {' or '.join(sorted(said))}?")
    if not (where or said):
        return None
    best = orders[next(iter(said), CHEAPEST)]  # of several that fit, the policy has the cheapest
    return {**({"where": where} if where else {}), "best": best}
