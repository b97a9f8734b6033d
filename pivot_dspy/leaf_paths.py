"""Paths to leaves of a result, through lists: `took_ms`, `items[*].took_ms`, `[0].id`, `*.at`, `"a.b"[2]`.

The part of JMESPath that names places: a key (in double quotes where it is no plain word), `[*]` for each element of a
list, `[n]` for one, `*` for each field of a record.

>>> result = {"items": [{"n": 1, "took_ms": 9}, {"n": 2}]}
>>> list(leaves(result, "items[*].took_ms")), without(result, "items[*].took_ms")
([9], {'items': [{'n': 1}, {'n': 2}]})
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from pivot_dspy.errors import ConfigurationError

Parts = tuple[str | int, ...]
"""Keys and indices from the outside in; `EACH` stands for all that are there."""

EACH = "*"

_PART = re.compile(r'(?:(?:^|(?<!^)\.)(?:(?P<key>[^.\[\]"\s]+)|"(?P<quoted>[^"]+)"))|\[(?P<index>\*|\d+)\]')


def checked(paths: Iterable[str]) -> tuple[str, ...]:
    """`paths`, if each is one.

    Raises:
        ConfigurationError: it is a single path, or one of them is none.
    """
    if isinstance(paths, str):
        raise ConfigurationError(f"volatile is a tuple of paths; write ({paths!r},)")
    paths = tuple(paths)
    for path in paths:
        if not isinstance(path, str) or not _parse(path):
            raise ConfigurationError(
                f"volatile names {path!r}, which is no path to leaves of a result; write it as in 'took_ms' or "
                "'items[*].took_ms'"
            )
    return paths


def leaves(value: Any, path: str) -> Iterator[Any]:
    """What stands at a path."""
    return _leaves(value, _parse(path))


def without(value: Any, path: str) -> Any:
    """A copy of plain data in which nothing stands at a path; elements of a list become null."""
    return _without(value, _parse(path))


def occurs(value: Any, path: str) -> bool:
    """Whether something stands at a path, or would if a list or record on the way were not empty."""
    return _occurs(value, _parse(path))


@lru_cache(maxsize=1024)
def _parse(path: str) -> Parts:
    """The parts of a path; none where it is no path."""
    parts: list[str | int] = []
    position = 0
    while position < len(path):
        part = _PART.match(path, position)
        if part is None:
            return ()
        index = part["index"]
        parts.append((part["key"] or part["quoted"]) if index is None else EACH if index == EACH else int(index))
        position = part.end()
    return tuple(parts)


def _leaves(value: Any, parts: Parts) -> Iterator[Any]:
    if not parts:
        yield value
    else:
        for key in _keys(value, parts[0]):
            yield from _leaves(value[key], parts[1:])


def _without(value: Any, parts: Parts) -> Any:
    keys = _keys(value, parts[0]) if parts else []
    if not keys:
        return value if parts else None
    copied = value.copy()
    for key in keys:
        if parts[1:] or isinstance(copied, list):
            copied[key] = _without(value[key], parts[1:])
        else:
            del copied[key]
    return copied


def _occurs(value: Any, parts: Parts) -> bool:
    if not parts or (parts[0] == EACH and value in ([], {})):
        return True
    return any(_occurs(value[key], parts[1:]) for key in _keys(value, parts[0]))


def _keys(value: Any, part: str | int) -> list[Any]:
    """The keys or indices of `value` that a part of a path names."""
    if isinstance(value, dict):
        return [key for key in value if part in (EACH, key)]
    if isinstance(value, list):
        return [index for index in range(len(value)) if part in (EACH, index)]
    return []
