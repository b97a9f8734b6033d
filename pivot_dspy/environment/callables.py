"""What Python tells of a callable of any kind: function, method, object or `functools.partial`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def unwrapped(function: Any) -> Any:
    """What a `functools.partial` calls in the end; anything else as it is."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def annotated(function: Any) -> Any:
    """The function that carries the annotations of a callable."""
    function = unwrapped(function)
    return function if inspect.isroutine(function) else type(function).__call__


def documentation(function: Callable[..., Any]) -> str:
    """The docstring of a callable, in one line: of an object that of its `__call__`, or else of its class.

    >>> class Search:
    ...     "An index of documents."
    ...     def __call__(self, query: str) -> list[str]:
    ...         return []
    >>> documentation(Search())
    'An index of documents.'
    """
    function = unwrapped(function)
    if inspect.isroutine(function):
        text = inspect.getdoc(function)
    else:  # `getdoc` of a method without a docstring gives "Call self as a function."
        text = type(function).__call__.__doc__ or type(function).__doc__
    return " ".join((text or "").split())
