"""Facts: what requirements ask of a field and what steps select by, in one form, so that they can be compared.

A requirement says `["brand", "==", "Nike"]`; a step says `filter_by_brand(brand_names=["Nike"])` or
`$p.products[?brand=='Nike']`. All three give a `Fact` whose field has the word `brand`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.requirements import Requirement

OPERATORS: dict[str, str] = {
    "==": "==", "=": "==", "eq": "==", "!=": "!=", "ne": "!=", ">": ">", "gt": ">", ">=": ">=", "gte": ">=",
    "<": "<", "lt": "<", "<=": "<=", "lte": "<=", "contains": "contains", "in": "in",
}  # fmt: skip
ANYHOW = "~"
"""The operator of `seats: 8`: only the check knows whether it asks for as many, at least or at most."""
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\dA-Z_]+|\d+")
# Words that say how an argument is given rather than what it is about: brand_names, product_id, condition_key.
_GENERIC = frozenset({"name", "id", "value", "list", "key"})


class Relation(IntEnum):
    """How what a step selects by stands to what a requirement asks; the lower, the better they agree."""

    SAME = 0
    TIGHTER = 1
    LOOSER = 2
    DIFFERS = 3
    CONTRADICTS = 4


class Predicate(NamedTuple):
    """A comparison of a field with a value that is written out.

    Attributes:
        value: text in lower case, numbers as float, lists as frozen sets.
        written: the value as it was written, lists as tuples.
    """

    path: tuple[str, ...]
    op: str
    value: Any
    written: Any = None

    @property
    def words(self) -> frozenset[str]:
        return words(self.path)

    def __str__(self) -> str:
        op = ":" if self.op == ANYHOW else f" {self.op}"
        return f"{'.'.join(self.path)}{op} {show(self.written)}"


class Order(NamedTuple):
    """A choice of the least (`min`) or greatest (`max`) by a field."""

    path: tuple[str, ...]
    direction: str


def show(written: Any) -> str:
    """A value as a model writes it."""
    return json.dumps(written, ensure_ascii=False, default=str)


@lru_cache(maxsize=8192)
def words(path: tuple[str, ...]) -> frozenset[str]:
    """The words of a field's path, in the singular, without those that only say how it is given.

    >>> sorted(words(("rating", "distribution", "2_star"))), sorted(words(("brand_names",)))
    (['2', 'distribution', 'rating', 'star'], ['brand'])
    """
    found: set[str] = set()
    for segment in path:
        parts = [singular(word.lower()) for word in WORD.findall(segment)]
        found.update([word for word in parts if word not in _GENERIC] or parts)
    return frozenset(found)


def singular(word: str) -> str:
    """`word` without its plural s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def overlap(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether all words of one are among those of the other."""
    return bool(a and b) and (a <= b or b <= a)


def same_field(mine: Predicate | Order, wanted: Predicate | Order) -> bool:
    """Whether both are about one field: the words of one path are among the words of the other."""
    return overlap(words(mine.path), words(wanted.path))


def canonical(value: Any) -> Any:
    """A scalar as facts hold it: text lower case, numbers as float."""
    if isinstance(value, str):
        return value.strip().casefold()
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def make(path: tuple[str, ...], op: str, value: Any) -> Predicate | None:
    """The fact, or None where the value is none that can be compared."""
    if isinstance(value, (bool, Mapping)) or value is None:
        return None
    if not isinstance(value, (list, tuple)):
        return Predicate(path, "==" if op == "in" else op, canonical(value), value)
    kept = tuple(item for item in value if isinstance(item, (str, int, float)) and not isinstance(item, bool))
    if not kept:
        return None
    op = "in" if op == "==" else op
    if op == "in" and len(kept) == 1:
        return Predicate(path, "==", canonical(kept[0]), kept[0])
    return Predicate(path, op, frozenset(canonical(item) for item in kept), kept)


@lru_cache(maxsize=16384)
def relation(mine: Predicate, wanted: Predicate) -> Relation:
    """How `mine`, what a step selects by, stands to `wanted`, on the same field.

    >>> relation(Predicate(("price",), "<", 10.0), Predicate(("price",), "<=", 20.0)).name
    'TIGHTER'
    """
    if mine[1:3] == wanted[1:3]:
        return Relation.SAME
    if isinstance(wanted.value, str) and wanted.value.startswith("$"):
        return Relation.SAME  # a value that is only known where the check runs
    if wanted.op == ANYHOW:
        return _by_mention(mine, wanted)
    a, b = _members(mine), _members(wanted)
    if "!=" in (mine.op, wanted.op):
        return _by_exclusion(mine, wanted, a, b)
    if "contains" in (mine.op, wanted.op):
        return _by_text(mine, wanted)
    if a is not None and b is not None:
        if a <= b:
            return Relation.TIGHTER
        return Relation.LOOSER if a & b else Relation.CONTRADICTS
    first, second = _interval(mine), _interval(wanted)
    if first is None or second is None:
        return Relation.DIFFERS
    return _by_interval(first, second)


def _by_mention(mine: Predicate, wanted: Predicate) -> Relation:
    mine_values = mine.value if isinstance(mine.value, frozenset) else frozenset({mine.value})
    wanted_values = wanted.value if isinstance(wanted.value, frozenset) else frozenset({wanted.value})
    if mine_values == wanted_values:
        return Relation.SAME
    return Relation.LOOSER if mine_values & wanted_values else Relation.DIFFERS


def _members(fact: Predicate) -> frozenset[Any] | None:
    if fact.op == "==":
        return frozenset({fact.value})
    return fact.value if fact.op == "in" and isinstance(fact.value, frozenset) else None


def _by_text(mine: Predicate, wanted: Predicate) -> Relation:
    mine_texts, wanted_texts = _texts(mine), _texts(wanted)
    if not mine_texts or not wanted_texts:
        return Relation.DIFFERS
    if wanted.op == "contains":
        held = [all(text in whole for text in wanted_texts) for whole in mine_texts]
        if all(held):
            return Relation.TIGHTER
        if any(held):
            return Relation.LOOSER
    if mine.op == "contains" and any(text in whole for text in mine_texts for whole in wanted_texts):
        return Relation.LOOSER
    return Relation.DIFFERS if mine.op == wanted.op else Relation.CONTRADICTS


def _texts(fact: Predicate) -> list[str]:
    values = fact.value if isinstance(fact.value, frozenset) else (fact.value,)
    return [value for value in values if isinstance(value, str)]


def _by_exclusion(mine: Predicate, wanted: Predicate, a: frozenset[Any] | None, b: frozenset[Any] | None) -> Relation:
    if mine.op == wanted.op or (a is None and b is None):
        return Relation.DIFFERS
    if a is not None:
        if wanted.value not in a:
            return Relation.TIGHTER
        return Relation.CONTRADICTS if len(a) == 1 else Relation.LOOSER
    if b is None or mine.value not in b:
        return Relation.DIFFERS if b is None else Relation.LOOSER
    return Relation.CONTRADICTS if len(b) == 1 else Relation.DIFFERS


Interval = tuple[tuple[float, int], tuple[float, int]]


def _interval(fact: Predicate) -> Interval | None:
    """Ends of the allowed numbers; the second part of an end moves it by less than any number, where it is open."""
    value = fact.value
    if not isinstance(value, float):
        return None
    low, high = (float("-inf"), 0), (float("inf"), 0)
    ends: dict[str, Interval] = {
        "==": ((value, 0), (value, 0)), ">": ((value, 1), high), ">=": ((value, 0), high),
        "<": (low, (value, -1)), "<=": (low, (value, 0)),
    }  # fmt: skip
    return ends.get(fact.op)


def _by_interval(mine: Interval, wanted: Interval) -> Relation:
    if mine[1] < wanted[0] or wanted[1] < mine[0]:
        return Relation.CONTRADICTS
    if wanted[0] <= mine[0] and mine[1] <= wanted[1]:
        return Relation.TIGHTER
    if mine[0] <= wanted[0] and wanted[1] <= mine[1]:
        return Relation.LOOSER
    return Relation.DIFFERS


def of_requirement(requirement: Requirement) -> tuple[Predicate, ...]:
    """The facts in a requirement's arguments: `[field, op, value]` triples, and `key: value`."""
    return tuple(_of_data(requirement.args, ()))


def _of_data(value: Any, path: tuple[str, ...]) -> Iterator[Predicate]:
    found = triple(value)
    if found is not None:
        yield found
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _of_data(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)) and any(isinstance(item, (list, tuple, Mapping)) for item in value):
        for item in value:
            yield from _of_data(item, path)
    elif path:
        fact = make(path, "==", value)
        if fact is not None:
            yield fact if isinstance(value, str) else fact._replace(op=ANYHOW)


def triple(value: Any) -> Predicate | None:
    """The fact in a list `[field, op, value]`, if it is one."""
    if isinstance(value, (list, tuple)) and len(value) == 3 and isinstance(value[0], str):
        op = OPERATORS.get(value[1]) if isinstance(value[1], str) else None
        if op is not None:
            return make(tuple(value[0].split(".")), op, value[2])
    return None
