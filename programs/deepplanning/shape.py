"""A result of the shop in a line: how many, within which bounds. Its steps choose by bindings, which need no more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from pivot_dspy.prompts.truncation import compact_json, truncate

CAP = 200
FEW = 4
"""Different numbers in a column up to which each is told, with its count."""


def shape(value: Any) -> str:
    """The shape and a few values of a result, in one line of at most `CAP` characters.

    >>> shape({"ids": ["a", "b", "c", "d"], "total": 4})
    'ids: 4 [a, b, c, …], total: 4'
    >>> shape([{"price": price, "name": "Cap"} for price in (10, 20, 30, 40, 50)])
    '5 (price 10..50; name)'
    """
    if isinstance(value, Mapping):
        text = ", ".join(f"{key}: {_part(item)}" for key, item in value.items()) or "{}"
    else:
        text = _part(value)
    return truncate(" ".join(text.split()), CAP)


def _part(value: Any) -> str:
    if isinstance(value, list):
        return _records(value) if value and all(isinstance(item, Mapping) for item in value) else _values(value)
    return truncate(_text(value), 100)


def _values(values: list[Any]) -> str:
    shown = ", ".join(truncate(_text(value), 30) for value in values[:3])
    return f"{len(values)} [{shown}{', …' if len(values) > 3 else ''}]"


def _records(records: Sequence[Mapping[str, Any]]) -> str:
    """Bounds of numbers, or counts where there are few of them, and the names of the other fields."""
    numbers, others = [], []
    for key in records[0]:
        column: list[Any] = [record.get(key) for record in records]
        if not all(isinstance(item, (int, float)) and not isinstance(item, bool) for item in column):
            others.append(str(key))
            continue
        counts = Counter(column)
        told = ", ".join(f"{number}×{count}" for number, count in sorted(counts.items()))
        numbers.append(f"{key} {told if len(counts) <= FEW else f'{min(column)}..{max(column)}'}")
    return f"{len(records)} ({'; '.join([*numbers[:3], *([', '.join(others[:6])] if others else [])])})"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else compact_json(value)
