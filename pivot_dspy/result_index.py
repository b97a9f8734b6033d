"""Where values stand in a result: looked up for the few that are asked about, since most never are."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from pivot_dspy.required_calls import comparable
from pivot_dspy.told import Told

_KEY = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class Record(NamedTuple):
    """A record in a result."""

    fields: Mapping[str, Any]
    others: Sequence[Any]
    """The list that it stands in; empty where it stands in none."""


class Leaf(NamedTuple):
    """A text or number inside of data, or the name of a field, which may be a name or an id."""

    path: str
    key: str
    """The field that holds it; empty where it is the whole."""
    records: tuple[Record, ...]
    """Those that hold it, the outermost first."""
    value: Any

    @property
    def is_word(self) -> bool:
        """Whether it is the name of a field that is a plain word."""
        return self.path.startswith("keys(") and _KEY.fullmatch(self.value) is not None


class ResultIndex:
    """What stands in plain JSON data, and where.

    >>> index = ResultIndex({"rooms": [{"id": 7, "name": "Blue"}, {"id": 8, "name": "BLUE"}]})
    >>> meaning("blue") in index, [leaf.path for leaf in index.places(meaning("blue"), "$a")]
    (True, ['$a.rooms[0].name', '$a.rooms[1].name'])
    """

    def __init__(self, value: Any) -> None:
        self._value = value

    def __contains__(self, same: str) -> bool:
        return same in self._meanings

    def places(self, same: str, path: str) -> list[Leaf]:
        """Those of its leaves that mean the same, in their order; `path` is that of the whole."""
        if same not in self:
            return []
        spellings = {leaf for leaf, meant in self._distinct.items() if meant == same}
        return [*leaves(self._value, path, among=spellings)]

    @cached_property
    def texts(self) -> Sequence[tuple[str, Told]]:
        """Those of its leaves that are texts, and what they tell."""
        return [(leaf, Told(leaf)) for leaf in self._distinct if isinstance(leaf, str)]

    @cached_property
    def _meanings(self) -> frozenset[str]:
        return frozenset(self._distinct.values())

    @cached_property
    def _distinct(self) -> dict[Any, str]:
        """What each of its leaves means. One dictionary of texts, and no object for each leaf: results are large, and
        the garbage collector would visit all of these again and again."""
        written: set[Any] = set()
        pending = [self._value]
        while pending:
            value = pending.pop()
            if isinstance(value, dict):
                written.update(value)
                pending.extend(value.values())
            elif isinstance(value, list):
                pending.extend(value)
            elif value is not None and not isinstance(value, bool):
                written.add(value)
        return {leaf: meaning(leaf) for leaf in written}


def leaves(
    value: Any, path: str, key: str = "", records: tuple[Record, ...] = (), others: Sequence[Any] = (), *,
    among: Collection[Any] | None = None,
) -> Iterator[Leaf]:  # fmt: skip
    """Every leaf inside of plain data, in their order.

    Args:
        path: of the whole; `key`, `records` and `others` are what is around it.
        among: the only ones that are wanted; None for all.
    """
    if isinstance(value, dict):
        records = (*records, Record(value, others))
        for name, item in value.items():
            if among is None or name in among:
                yield Leaf(f"keys({path})", "id", records, name)
            if among is None or isinstance(item, (dict, list)) or item in among:
                yield from leaves(item, member(path, name), name, records, among=among)
    elif isinstance(value, list):
        for place, item in enumerate(value):
            if among is None or isinstance(item, (dict, list)) or item in among:
                yield from leaves(item, f"{path}[{place}]", key, records, value, among=among)
    elif value is not None and not isinstance(value, bool) and (among is None or value in among):
        yield Leaf(path, key, records, value)


def member(path: str, key: str) -> str:
    """The path of a field."""
    return f"{path}.{key}" if _KEY.fullmatch(key) else f'{path}."{key}"'


def meaning(value: Any) -> str:
    """Equal for values that mean the same: texts without regard to case, numbers by value, dates in whatever form."""
    return str(comparable(value)).casefold()
