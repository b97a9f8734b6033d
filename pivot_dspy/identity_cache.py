"""A cache for what is worked out of results: these are large, never change, and are asked about again and again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

R = TypeVar("R")
RESULTS_KEPT = 64
"""Results of steps of which something is kept: those of a few runs."""


def by_identity(size: int) -> Callable[[Callable[[Any], R]], Callable[[Any], R]]:
    """Keep the results of a function for the last `size` arguments, which are told apart by what they are, not by what
    they hold. The function must not change its argument, nor may anyone else.

    >>> @by_identity(8)
    ... def size_of(data):
    ...     print("counted")
    ...     return len(data)
    >>> rows = [1, 2]
    >>> size_of(rows), size_of(rows)
    counted
    (2, 2)
    """

    def decorate(function: Callable[[Any], R]) -> Callable[[Any], R]:
        kept: OrderedDict[int, tuple[Any, R]] = OrderedDict()
        lock = threading.Lock()

        @wraps(function)
        def cached(value: Any) -> R:
            key = id(value)
            with lock:
                entry = kept.get(key)  # the value is kept with it, so that no other one can have its id
                if entry is not None:
                    kept.move_to_end(key)
                    return entry[1]
            result = function(value)
            with lock:
                kept[key] = (value, result)
                while len(kept) > size:
                    kept.popitem(last=False)
            return result

        return cached

    return decorate
