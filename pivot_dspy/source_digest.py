"""What tells whether a function, or an object with methods, is still the one that some work was begun with."""

from __future__ import annotations

import functools
import hashlib
import json
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from pivot_dspy.environment.own_code import is_library

_OF_CLASSES = ("__module__", "__qualname__", "__doc__", "__firstlineno__", "__static_attributes__")
DEEPEST = 30
"""Objects in each other that are looked into."""


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that change with any part of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def source_digest(value: Any) -> str:
    """A digest of what a function does or an object holds and does: code, defaults, what it closes over, its helpers.

    Names, values and the code of the user's own functions and classes count, wherever they stand in `value` or are
    called by name; comments, line numbers, the code of libraries and lists and dictionaries that a function closes over
    do not. Another version of Python compiles code otherwise, and so gives another digest.

    >>> mine = {"__name__": "my_metrics"}
    >>> first, second = (eval(f"lambda gold, pred: {score}", mine) for score in (1.0, 0.0))
    >>> source_digest(first) == source_digest(second)
    False
    """
    return digest(_described(value, set(), DEEPEST))


def _described(value: Any, seen: set[int], depth: int) -> Any:
    """JSON data that says what `value` is; of code that is met again, or lies too deep, no more than its kind."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, complex)):
        return repr(value)
    if id(value) in seen or depth == 0:
        return type(value).__name__
    if isinstance(value, (types.FunctionType, type)):  # which live on, so that no other can have their id
        seen.add(id(value))

    def inner(part: Any) -> Any:
        return _described(part, seen, depth - 1)

    if isinstance(value, types.CodeType):
        constants = [inner(constant) for constant in value.co_consts]
        return [value.co_code.hex(), value.co_names, value.co_varnames, constants]
    if isinstance(value, types.FunctionType):
        return _of_function(value, inner)
    if isinstance(value, types.MethodType):
        return [inner(value.__func__), inner(value.__self__)]
    if isinstance(value, functools.partial):
        return [inner(value.func), inner(value.args), inner(value.keywords)]
    if isinstance(value, type):
        name = f"{value.__module__}.{value.__qualname__}"
        return [name, *map(inner, _members(value))]
    if isinstance(value, Mapping):
        return {str(key): inner(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(str(inner(item)) for item in value)
    if isinstance(value, (list, tuple)):
        return [inner(item) for item in value]
    held = dict(value) if isinstance(value, BaseModel) else getattr(value, "__dict__", {})
    return [inner(type(value)), inner(held) if not is_library(type(value).__module__) or held else None]


def _of_function(function: types.FunctionType, inner: Any) -> list[Any]:
    held = [cell.cell_contents for cell in function.__closure__ or () if cell != types.CellType()]
    # A list or a dictionary there is as a rule a counter or a cache, which changes while the function is used.
    cells = [None if isinstance(content, (list, dict, set)) else inner(content) for content in held]
    if is_library(function.__module__):
        return [f"{function.__module__}.{function.__qualname__}", cells]  # which may hold what is the user's own
    helpers = (function.__globals__.get(name) for name in _names(function.__code__))
    own = [helper for helper in helpers if isinstance(helper, (types.FunctionType, type)) and not _foreign(helper)]
    defaults = [function.__defaults__, function.__kwdefaults__]
    return [function.__qualname__, inner(function.__code__), cells, inner(defaults), *map(inner, own)]


def _names(code: types.CodeType) -> Iterator[str]:
    """The names that code looks up, that of the functions inside of it too."""
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _names(constant)


def _members(kind: type) -> Iterable[Any]:
    """What a class and its own ancestors define."""
    for base in kind.__mro__:
        if _foreign(base):
            continue
        for name, member in sorted(vars(base).items()):
            if isinstance(member, (staticmethod, classmethod)):
                member = member.__func__
            if isinstance(member, property):
                member = member.fget
            if isinstance(member, (types.FunctionType, bool, int, float, str)) and name not in _OF_CLASSES:
                yield [name, member]


def _foreign(part: Any) -> bool:
    return is_library(part.__module__)
