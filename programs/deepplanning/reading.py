"""Reads an annotated shopping request by rule, with no model: it stands in for a capable model's reading of a request
in the simulator. It sees the request's words only, never the gold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from programs.deepplanning.conditions import DELIVERY, Condition

COLORS = (
    "Light Grey", "Light Blue", "Navy Blue", "Dark Green", "Olive Green", "Wine Red", "Black", "White", "Grey", "Blue",
    "Green", "Red", "Yellow", "Beige", "Camel", "Brown", "Khaki", "Pink", "Coffee", "Burgundy", "Orange", "Purple",
    "Gold", "Silver",
)  # fmt: skip
SEASONS = ("Spring/Autumn", "Summer", "Winter", "All Seasons")
DEMOGRAPHICS = ("Women", "Men", "Unisex", "Youth", "Kids")


class ReadingError(ValueError):
    """A sub-query has a clause that no rule reads; the message quotes it."""


@dataclass(frozen=True)
class Reading:
    """What a request demands: each item's conditions in the order of the sub-queries, the total price in yuan
    (low, high) if one is set, and whether coupons are to be used."""

    items: list[list[Condition]]
    budget: tuple[float, float] | None
    coupons: bool


def read(query: str, sub_queries: Sequence[str], user: Mapping[str, Any]) -> Reading:
    """Reads each sub-query, and the request itself where it is more exact or sets a budget; coupons count where the
    buyer owns any. Raises ReadingError for a sub-query with a clause that no rule reads."""
    request = _plain(query)
    items = [_item(text) for text in sub_queries]
    unexplained = [mention for mention in _numeric(request) if not any(mention in item for item in items)]
    items = [[_as_requested(condition, unexplained) for condition in item] for item in items]
    for condition in _for_everything(request):
        for item in items:
            if all(other[0] != condition[0] for other in item):
                item.append(condition)
    return Reading(items, _budget(request), any(number > 0 for number in user.get("coupons", {}).values()))


def _any(*alternatives: str) -> str:
    return "(?:" + "|".join(alternatives) + ")"


_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBER = rf"(?P<number>\d[\d,]*(?:\.\d+)?\b|(?:{'|'.join(_WORDS)}|a single)\b)"
_OPERATORS = {
    ">=": _any("at least", "(?:no|not) (?:less|fewer|lower) than", "a minimum of"),
    "<=": _any("at most", "(?:no|not) (?:more|greater|higher) than", "up to", "within", "a maximum of"),
    ">": _any("(?:more|greater|higher|larger) than", "over", "above", "exceed(?:s|ing)?"),
    "<": _any("(?:less|fewer|lower|smaller) than", "under", "below"),
    "==": _any("exactly", "precisely", "equal to", "just", "only"),
}
_OPERATOR = _any(*(f"(?P<op{index}>{phrase})" for index, phrase in enumerate(_OPERATORS.values())))
_UNIT = r"(?: (?:days?|reviews?|ratings?|stars?|units?|pieces?|yuan)\b)?"
_IS = r"(?:(?: (?:that|which))? (?:is|are|of|being|(?:must|should) be|has to be))?"
_FIELDS = {
    "rating.distribution": r"(?:(?:number|count) of )?(?P<stars>[1-5]|one|two|three|four|five)[- ]star\b"
    r"(?: (?:reviews?|ratings?))?(?: (?:counts?|distribution))?",
    "rating.total_reviews": r"total (?:number of )?reviews?(?: counts?)?|number of (?:total )?reviews|reviews in total",
    "rating.average_score": r"average (?:rating )?(?:score|rating)|rating (?:average )?score",
    "sales_volume.monthly": r"monthly sales(?: volume)?",
    "sales_volume.total": r"total sales(?: volume)?",
    "stock_quantity": r"(?:units in )?stock(?: quantity)?",
    DELIVERY: r"(?:transport|delivery|shipping|transit) time",
    "price": r"price",
}
_NUMERIC = [
    (field, re.compile(pattern, re.I))
    for field, phrase in _FIELDS.items()
    for pattern in (
        rf"\b{_OPERATOR} {_NUMBER} (?:of (?:them|which) (?:are |being ))?(?:{phrase})",
        rf"\b(?:{phrase}){_IS} (?:{_OPERATOR} )?{_NUMBER}{_UNIT}",
    )
] + [
    (DELIVERY, re.compile(pattern, re.I))
    for pattern in (
        rf"\b(?:arrives?|delivered|ships?|shipped|transported|get (?:here|to me)) (?:in )?{_OPERATOR} {_NUMBER}{_UNIT}",
        rf"\b{_NUMBER}-day (?:transport|delivery|shipping)(?: time)?",
        r"\b(?P<sameday>same-day) (?:transport|delivery|shipping)(?: time)?",
        rf"\b{_FIELDS[DELIVERY]}{_IS} (?P<sameday>same-day)",
    )
]

_QUOTE_END = r"(?=[,.;!?]|$| (?:in|and|from|with|for|that|where|has|is)\b)"
_QUOTED = rf"""(?<!\w)(?P<quote>['"])(?P<text>\S(?:.*?\S)?)(?P=quote){_QUOTE_END}"""
_BARE = r"(?P<bare>[^,;]+?)(?=[,;]|\.?$| and (?:the|it|has|have|there|with|they)\b)"
_NAME = r"(?:product )?name"
_NAMES = [
    ("contains", re.compile(rf"\b{_NAME}(?: that)? (?:contains|containing|includes|including|has) {_QUOTED}", re.I)),
    ("contains", re.compile(rf"(?:\bcontain(?:s|ing)? )?{_QUOTED} in (?:the|its) {_NAME}", re.I)),
    ("==", re.compile(rf"\b(?:{_NAME} (?:is|of)|named|called) {_QUOTED}", re.I)),
    ("contains", re.compile(rf"\b{_NAME}(?: that)? (?:contains|containing|includes|including) {_BARE}", re.I)),
    ("==", re.compile(rf"\b{_NAME} is {_BARE}", re.I)),
]

_BRANDED = r"[A-Z][\w&-]*(?:['.][\w&-]+)*"
_BRAND = rf"['\"]?(?P<value>{_BRANDED}(?: {_BRANDED})*)['\"]?"
_SIZE = r"['\"]?(?P<value>(?:X{0,4}[SL]|M|\d{2}(?:\.5)?|One Size)\b)['\"]?"
_VALUE = r"['\"]?(?P<value>{})\b['\"]?"
_COLOR = _VALUE.format("|".join(COLORS))
_SEASON = _VALUE.format("|".join((*SEASONS, "Spring(?:,? (?:and|or) |/)Autumn", "All[- ]Seasons?")))
_GROUP = _VALUE.format("|".join(DEMOGRAPHICS))
_TEXTS = [
    ("brand", re.compile(rf"\b(?i:(?:from |of )?(?:the )?brand(?: is| of)?) {_BRAND}")),
    ("brand", re.compile(rf"\b(?:from|by) {_BRAND}")),
    ("color", re.compile(rf"\b(?:colou?r(?: is| of)?|in) {_COLOR}(?: colou?r)?", re.I)),
    ("size", re.compile(rf"\bsizes?(?: is| of)? {_SIZE}")),
    (
        "suitable_season",
        re.compile(rf"\b(?:season(?: is| of)?|(?:for|in)(?: the)?) {_SEASON}(?: (?:season|weather))?", re.I),
    ),
    (
        "target_demographic",
        re.compile(rf"\b(?:target demographic(?: is| of)?|for(?: the)?) {_GROUP}(?: target demographic)?", re.I),
    ),
    ("target_demographic", re.compile(rf"\b{_GROUP}'s(?= (?:products?|items?)\b)", re.I)),
]
_FILLER = frozenset(
    {"find", "show", "me", "i", "i'm", "am", "looking", "for", "any", "some", "product", "products", "item", "items"}
    | {"a", "an", "the", "where", "with", "that", "which", "and", "but", "also", "it", "it's", "its", "they", "there"}
    | {"is", "are", "be", "has", "have", "having", "of", "in", "suitable", "available"}
)


def _item(sub_query: str) -> list[Condition]:
    """The conditions of one sub-query; every word must be read or be mere filler."""
    rest = _plain(sub_query)
    conditions: list[Condition] = []
    for symbol, pattern in _NAMES:
        while found := pattern.search(rest):
            groups = found.groupdict()
            conditions.append(["name", symbol, (groups.get("text") or groups["bare"]).strip()])
            rest = _without(rest, found)
    for field, pattern in _NUMERIC:
        while found := pattern.search(rest):
            conditions.append(_number(field, found))
            rest = _without(rest, found)
    for field, pattern in _TEXTS:
        while found := pattern.search(rest):
            conditions.append([field, "==", _canonical(field, found["value"])])
            rest = _without(rest, found)
    for clause in re.split(r"[,;]|\.(?:\s|$)", rest):
        if unread := [word for word in re.findall(r"[^\s|]+", clause) if word.lower() not in _FILLER]:
            raise ReadingError(f"no rule reads {' '.join(unread)!r} in the sub-query {sub_query!r}")
    if not conditions:
        raise ReadingError(f"the sub-query {sub_query!r} names no condition")
    return conditions


def _as_requested(condition: Condition, mentions: Sequence[Condition]) -> Condition:
    """The condition with the request's own operator, where the request gives its number only with another one."""
    field, _, value = condition
    symbols = {mention[1] for mention in mentions if mention[0] == field and mention[2] == value}
    return [field, symbols.pop(), value] if len(symbols) == 1 else condition


def _for_everything(request: str) -> Iterator[Condition]:
    """Conditions on every item: what a sentence that speaks of everything says of the delivery."""
    for sentence in re.split(r"(?<=[.!?]) ", request):
        if everything := re.search(r"\beverything\b", sentence, re.I):
            yield from (found for found in _numeric(sentence[everything.end() :]) if found[0] == DELIVERY)


def _budget(request: str) -> tuple[float, float] | None:
    for sentence in re.split(r"(?<=[.!?]) ", request):
        if not re.search(r"\b(?:budget|spend(?:ing)?|total price|total cost|costs?)\b", sentence, re.I):
            continue
        number = r"¥?(\d[\d,]*(?:\.\d+)?)"
        if both := re.search(
            rf"\b(?:(?:between|from|of|range of|(?:no|not) less than|at least) {number}"
            rf"(?: yuan)?(?: and| to|,| but|-)+ (?:(?:no|not) more than |at most )?{number})",
            sentence,
            re.I,
        ):
            return _value(both[1]), _value(both[2])
        upper = r"\b(?:budget (?:of|is)|under|within|up to|at most|(?:no|not) more than)"
        if top := re.search(rf"{upper} {number}\b(?! (?:day|star))", sentence, re.I):
            return 0.0, _value(top[1])
    return None


def _numeric(text: str) -> Iterator[Condition]:
    for field, pattern in _NUMERIC:
        yield from (_number(field, found) for found in pattern.finditer(text))


def _number(field: str, found: re.Match[str]) -> Condition:
    groups = found.groupdict()
    if groups.get("sameday"):
        return [DELIVERY, "<=", 1]  # what the benchmark's users mean by same-day
    if stars := groups.get("stars"):
        field = f"{field}.{stars if stars.isdigit() else _WORDS.index(stars.lower())}_star"
    symbol = next((name for index, name in enumerate(_OPERATORS) if groups.get(f"op{index}")), "==")
    value = _value(groups["number"])
    return [field, symbol, int(value) if value == int(value) else value]


def _value(text: str) -> float:
    word = text.lower()
    return float(_WORDS.index(word)) if word in _WORDS else 1.0 if word == "a single" else float(text.replace(",", ""))


def _canonical(field: str, text: str) -> str:
    known = {"color": COLORS, "suitable_season": SEASONS, "target_demographic": DEMOGRAPHICS}.get(field)
    if known is None:
        return text
    letters = re.sub(r"\W|\b(?:and|or)\b", "", text).lower()
    return next(name for name in known if re.sub(r"\W", "", name).lower().rstrip("s") == letters.rstrip("s"))


def _plain(text: str) -> str:
    for curly, straight in (("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"')):
        text = text.replace(curly, straight)
    return " ".join(text.split())


def _without(text: str, found: re.Match[str]) -> str:
    return f"{text[: found.start()]}|{text[found.end() :]}"
