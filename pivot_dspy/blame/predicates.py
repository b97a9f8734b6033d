"""Predicates: what requirements ask of a field and what steps select by, in one form, so that they can be compared.

A requirement says `["brand", "==", "Nike"]`; a step says `filter_by_brand(brand_names=["Nike"])` or
`$p.products[?brand=='Nike']`. All three give a `Predicate` whose field has the word `brand`.
"""

from __future__ import annotations

import json
import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping
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
_TESTS: dict[str, Callable[[Any, Any], Any]] = {
    "==": operator.eq, ANYHOW: operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt,
    ">=": operator.ge, "in": lambda value, several: value in several, "contains": operator.contains,
}  # fmt: skip
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
    """A comparison of a field with a value that is written out."""

    path: tuple[str, ...]
    op: str
    value: Any
    """Text in lower case, numbers as float, lists as frozen sets."""
    written: Any = None
    """The value as it was written, lists as tuples."""

    @property
    def field(self) -> str:
        return ".".join(self.path)

    @property
    def words(self) -> frozenset[str]:
        return words(self.path)

    @property
    def values(self) -> frozenset[Any]:
        """The value, or those of the list that it is."""
        return self.value if isinstance(self.value, frozenset) else frozenset({self.value})

    @property
    def deferred(self) -> bool:
        """Whether the value is one that is only known where the check runs, such as `$user.size`."""
        return isinstance(self.value, str) and self.value.startswith("$")

    def admits(self, value: Any) -> bool:
        """Whether a value in its canonical form meets it."""
        try:
            return self.deferred or bool(_TESTS[self.op](value, self.value))
        except TypeError:  # no order, or no parts, between such types
            return False

    def __str__(self) -> str:
        op = ":" if self.op == ANYHOW else f" {self.op}"
        return f"{self.field}{op} {show(self.written)}"


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
    kept: set[str] = set()
    for segment in path:
        parts = {singular(word.lower()) for word in WORD.findall(segment)}
        kept |= parts - _GENERIC or parts
    return frozenset(kept)


def singular(word: str) -> str:
    """`word` without its plural s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def overlap(a: frozenset[str], b: frozenset[str]) -> bool:
    """Whether all words of one are among those of the other."""
    return bool(a and b) and (a <= b or b <= a)


def same_field(mine: Predicate | Order, wanted: Predicate | Order) -> bool:
    """Whether both are about one field: the words of one path are among the words of the other."""
    return overlap(words(mine.path), words(wanted.path))


@lru_cache(maxsize=16384)
def compare(mine: Predicate, wanted: Predicate) -> Relation | None:
    """How two predicates stand to each other, None where they are about different fields."""
    if not same_field(mine, wanted):
        return None
    # A number that is passed as `quantity=2` is compared with a bound only where the names are alike.
    passed = mine.op == "==" and isinstance(mine.value, float) and wanted.op in ("<", "<=", ">", ">=")
    return None if passed and words(mine.path[-1:]) != words(wanted.path[-1:]) else relation(mine, wanted)


def relation(mine: Predicate, wanted: Predicate) -> Relation:
    """How `mine`, what a step selects by, stands to `wanted`, on the same field.

    >>> relation(Predicate(("price",), "<", 10.0), Predicate(("price",), "<=", 20.0)).name
    'TIGHTER'
    """
    same_values = wanted.op == ANYHOW and mine.values == wanted.values
    if mine[1:3] == wanted[1:3] or same_values or wanted.deferred:
        return Relation.SAME
    if wanted.op == ANYHOW:
        return Relation.DIFFERS if mine.values.isdisjoint(wanted.values) else Relation.LOOSER
    samples = _samples(mine.values | wanted.values)
    selected = {value for value in samples if mine.admits(value)}
    required = {value for value in samples if wanted.admits(value)}
    if selected.isdisjoint(required):
        return Relation.CONTRADICTS
    if selected <= required:
        return Relation.TIGHTER
    return Relation.LOOSER if mine.op == "in" or selected >= required else Relation.DIFFERS


def _samples(named: frozenset[Any]) -> set[Any]:
    """The named values and those beside them: enough to tell apart what predicates that name them admit."""
    samples = set(named)
    texts = [value for value in named if isinstance(value, str)]
    for value in named:
        if isinstance(value, str):
            samples |= {"", f"{value}\0", *(value + other for other in texts)}
        elif isinstance(value, float):
            samples |= {math.nextafter(value, -math.inf), math.nextafter(value, math.inf)}
    return samples


def canonical(value: Any) -> Any:
    """A scalar as predicates hold it: text lower case, numbers as float where they are not too large for one."""
    if isinstance(value, str):
        return value.strip().casefold()
    try:
        return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value
    except OverflowError:
        return value


def make(path: tuple[str, ...], op: str, value: Any) -> Predicate | None:
    """The predicate, or None where the value is none that can be compared."""
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
    return Predicate(path, op, frozenset(map(canonical, kept)), kept)


def value_at(record: Any, path: tuple[str, ...]) -> Any:
    """What a record has at a path of fields; None where it has nothing there."""
    for part in path:
        record = record.get(part) if isinstance(record, Mapping) else None
    return record


def meets(record: Any, wanted: Predicate) -> bool | None:
    """Whether a record meets a predicate; None where it has no such field."""
    value = value_at(record, wanted.path)
    if isinstance(value, (list, tuple)):
        return any(canonical(item) == wanted.value for item in value)
    if value is None or isinstance(value, (bool, Mapping)):
        return None
    return wanted.admits(canonical(value))


def of_requirement(requirement: Requirement) -> tuple[Predicate, ...]:
    """The predicates in a requirement's arguments: `[field, op, value]` triples, and `key: value`."""
    found = (triple(value) or _passed(path, value) for path, value in leaves(requirement.args))
    return tuple(predicate for predicate in found if predicate is not None)


def _passed(path: tuple[str, ...], value: Any) -> Predicate | None:
    predicate = make(path, "==", value)
    return predicate if predicate is None or isinstance(value, str) else predicate._replace(op=ANYHOW)


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The scalars, plain lists and triples inside arguments, with the names that lead there."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*path, str(key)))
    elif isinstance(value, (list, tuple)) and triple(value) is None and any(map(_is_container, value)):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def _is_container(value: Any) -> bool:
    return isinstance(value, (list, tuple, Mapping))


def triple(value: Any) -> Predicate | None:
    """The predicate in a list `[field, op, value]`, if it is one."""
    if not isinstance(value, (list, tuple)) or len(value) != 3:
        return None
    field, op, compared = value
    if not isinstance(field, str) or not isinstance(op, str) or op not in OPERATORS:
        return None
    return make(tuple(field.split(".")), OPERATORS[op], compared)
