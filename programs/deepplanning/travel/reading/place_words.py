"""How requests speak of meals and visits."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.reading import cuisines
from programs.deepplanning.travel.reading.lexemes import PLACE, Entry
from programs.deepplanning.travel.reading.names import MENTION
from programs.deepplanning.travel.reading.phrases import NUMBER, entry, numbered, pick

_LISTED = r"must[- ](?:eat|try|dine)(?: dining)?\W{0,2} lists?|top (?:ten|10)(?: must-\w+)?"
_QUEUE = r"online queu\w+|queue (?:number )?online|virtual queue(?: number)?(?: online)?|queue virtually"
_TAGS = (
    ("Private Room", "有包间", r"private (?:dining )?rooms?|有?包间"),
    ("Must-Eat Top 10", "必吃榜top10", rf"{_LISTED}|必吃榜(?:前十|top ?10)?|前十"),
    ("Online Queue", "线上取号排队", rf"{_QUEUE}|线上取号(?:排队)?"),
    ("Outdoor Seating", "户外座位", r"outdoor (?:seating|seats|dining)|户外座位"),
    ("Birthday Package", "生日套餐服务", r"birthday (?:set )?(?:menus?|meals?|packages?)|生日套餐"),
    ("Waiting Area", "有等位区", r"waiting areas?|有?等位区"),
)
_TYPES = (
    ("Historical and Cultural", "历史文化", r"historical (?:and|&) cultural|历史文化"),
    ("Natural Scenery", "自然风光", r"natural ?(?:scenery|landscapes?|风光)|自然风光"),
    ("Leisure Experience", "休闲体验", r"leisure experiences?|leisure-oriented|休闲(?:体验|类)"),
    ("City Landmark", "城市地标", r"(?:city|urban) landmarks?|城市地标"),
    ("Art Exhibition", "艺术展览", r"art exhibitions?|艺术展览"),
)
_MEAL = r"\b(?:restaurants?|meals?|din(?:e|ing|ner)|lunch|eat(?:ing)?|foods?|cuisines?|dish(?:es)?)\b|[餐吃饭菜]"
_VISIT = r"\b(?:visit(?:ing)?|see(?:ing)?|explor(?:e|ing)|tour(?:ing)?|go to)\b|[逛玩]|打卡|转转|[想要]去|一定要|的时候"
_VISIT_IT = r"\bvisit(?:ing)? (?:that|this|the) (?:area|attraction|place)|[玩逛]完(?:那边|那里|那儿)|去这个景点"
_ALL = r"\ball (?:of (?:them|these|those)|recommended|free)|\b(?:these|those|of this type)\b|所有|[这那]些|都"


def vocabulary(language: Language, served: Iterable[str]) -> list[Entry]:
    """The phrases, by precedence.

    Args:
        served: the cuisines of the tables, the longest names first.
    """

    def place(kind: str, pattern: str, value: Any = None) -> Entry:
        return entry(kind, pattern, value, PLACE)

    top, best = r"(?:highest|best|top)[- ]rated", r"(?:评分|分数)(?:特别)?最高"
    return [
        place("mention", MENTION, lambda match: match[1]),
        *(place("tag", pattern, pick(language, *names)) for *names, pattern in _TAGS),
        *(place("cuisine", cuisines.pattern(name), name) for name in served if cuisines.is_cuisine(name)),
        place("top", rf"\btop ({NUMBER})(?: {top})?|({NUMBER}) {top}", numbered()),
        place("top", rf"\bwhich ({NUMBER}) are the most popular", numbered()),
        place("top", rf"{best}的({NUMBER})个|({NUMBER})个{best}|最受欢迎的({NUMBER})个", numbered()),
        *(place("type", pattern, pick(language, *names)) for *names, pattern in _TYPES),
        place("free", r"\bfree (?:attractions?|sights?|spots?)|\bfree of charge|免费的?(?:景点|地方)"),
        place("closest", r"\b(?:closest|nearest)\b|(?<=⟧)最近的?|离\w{0,6}最近的?|最近的(?=一?家?餐)"),
        entry("visit it", _VISIT_IT),
        entry("praise", r"\bmust[- ](?:eat|try)s?\b"),
        place("meal", _MEAL),
        place("sight", r"\b(?:attractions?|sightseeing|sights?|spots?|scenic|places)\b|景[点区]|地方"),
        entry("near", r"\b(?:near(?:by)?|around|in (?:that|the) area|there)\b|附近|那边|那里|那儿"),
        entry("visit", _VISIT),
        entry("include", r"\binclud(?:e|ed|ing)\b|\bmust-(?:see|visit)s?|安排"),
        entry("all", _ALL),
        entry("one", r"\bone\b|一个"),
    ]
