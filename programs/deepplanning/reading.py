"""Reads an annotated shopping request by rule, with no model: it stands in for a capable model's reading of a request
in the simulator. It sees the request's words only, never the gold."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from programs.deepplanning import attributes, names, quantities
from programs.deepplanning.conditions import DELIVERY, Condition
from programs.deepplanning.grammar import READ, ReadingError, apply, plain

_RULES = (attributes.COUPON_RULE, *names.RULES, *quantities.RULES, *attributes.RULES)
_FILLER = frozenset(
    {"find", "show", "me", "i", "i'm", "am", "looking", "for", "any", "some", "product", "products", "item", "items"}
    | {"a", "an", "the", "where", "with", "that", "which", "and", "but", "also", "it", "it's", "its", "they", "there"}
    | {"is", "are", "be", "has", "have", "having", "of", "in", "suitable", "available"}
    | {"please", "search", "searching", "want", "need", "whose", "their", "can", "must", "should", "come", "comes"}
)


@dataclass(frozen=True)
class Reading:
    """What a request demands: each item's conditions in the order of the sub-queries, the total price in yuan
    (low, high) if one is set, and whether coupons are to be used."""

    items: list[list[Condition]]
    budget: tuple[float, float] | None
    coupons: bool


def read(query: str, sub_queries: Sequence[str], user: Mapping[str, Any]) -> Reading:
    """Reads each sub-query, and the request itself where it is more exact or sets a budget; coupons count where the
    buyer owns any. Raises ReadingError for a sub-query with a clause that no rule reads, and for a budget that none
    does."""
    request = plain(query)
    items = [_item(text) for text in sub_queries]
    mentions, _ = quantities.mentions(request)
    unexplained = [mention for mention in mentions if not any(mention in item for item in items)]
    items = [[_as_requested(condition, unexplained) for condition in item] for item in items]
    for condition in _for_everything(request):
        for item in items:
            if all(other[0] != condition[0] for other in item):
                item.append(condition)
    return Reading(items, _budget(request, items), any(number > 0 for number in user.get("coupons", {}).values()))


def _item(sub_query: str) -> list[Condition]:
    """The conditions of one sub-query; every word must be read or be mere filler."""
    try:
        conditions, rest = apply(_RULES, plain(sub_query).replace("_", " "))
        for clause in re.split(r"[,;]|\.(?:\s|$)", rest):
            if unread := [word for word in re.findall(rf"[^\s{READ}]+", clause) if word.lower() not in _FILLER]:
                raise ReadingError(f"no rule reads {' '.join(unread)!r}")
        return _consistent(conditions)
    except ReadingError as error:
        raise ReadingError(f"{error}, in the sub-query {sub_query!r}") from None


def _consistent(conditions: Sequence[Condition]) -> list[Condition]:
    """The conditions, each of them once. Raises ReadingError where they cannot all be meant."""
    once: list[Condition] = []
    for condition in conditions:
        if condition not in once:
            once.append(condition)
        if problem := quantities.problem(condition):
            raise ReadingError(problem)
    for field, symbol, value in once:
        others = [other for other in once if other[0] == field and other[2] != value]
        if any(other[1] == symbol or "==" in (symbol, other[1]) for other in others) and symbol != "contains":
            raise ReadingError(f"{field} is said in two ways, {[field, symbol, value]} and {others[0]}")
    if not once:
        raise ReadingError("no condition is named")
    return once


def _as_requested(condition: Condition, mentions: Sequence[Condition]) -> Condition:
    """The condition with the request's own operator, where the request gives its number only with another one."""
    field, _, value = condition
    symbols = {mention[1] for mention in mentions if mention[0] == field and mention[2] == value}
    return [field, symbols.pop(), value] if len(symbols) == 1 else condition


def _for_everything(request: str) -> Iterator[Condition]:
    """Conditions on every item: what a sentence that speaks of everything says of the delivery."""
    for sentence in _sentences(request):
        if everything := re.search(r"\beverything\b", sentence, re.I):
            conditions, _ = quantities.mentions(sentence[everything.end() :])
            yield from (condition for condition in conditions if condition[0] == DELIVERY)


_AMOUNT = r"¥?(\d[\d,]*(?:\.\d+)?)\b(?: yuan\b)?"
_RANGE = re.compile(
    rf"\b(?:between|from|of|is|range of|(?:no|not) less than|at least) {_AMOUNT}"
    rf"(?: (?:and|to|but)|,| ?[-–])+ ?(?:(?:no|not) more than |at most )?{_AMOUNT}",
    re.I,
)
_TOP = re.compile(rf"\b(?:budget (?:of|is)|under|within|up to|at most|(?:no|not) more than) {_AMOUNT}", re.I)
_BUDGET = re.compile(r"\b(?:budget|spend(?:ing)?|total price|total cost|costs?)\b", re.I)


def _budget(request: str, items: Sequence[Sequence[Condition]]) -> tuple[float, float] | None:
    """The total price in yuan (low, high) that the request allows, if it sets one. Raises ReadingError where it speaks
    of one in a form that is not read."""
    for sentence in filter(_BUDGET.search, _sentences(request)):
        mentions, _ = quantities.mentions(sentence)
        if any(mention[0] == "price" and mention in item for mention in mentions for item in items):
            continue  # the price of one item
        _, rest = quantities.mentions(sentence, price=False)
        match = _RANGE.search(rest) or _TOP.search(rest)
        unread = rest if match is None else f"{rest[: match.start()]}{rest[match.end() :]}"
        if re.search(r"¥ ?\d|\b\d[\d,]{2,}", unread):
            raise ReadingError(f"no rule reads the budget in the request's sentence {sentence!r}")
        if match is not None:
            *low, high = (float(quantities.number(amount)) for amount in match.groups())
            return (low[0] if low else 0.0), high
    return None


def _sentences(request: str) -> list[str]:
    return re.split(r"(?<=[.!?]) ", request)
