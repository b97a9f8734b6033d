"""What may run at this moment: a tool that changes something refuses to run inside a call that may not.

The check at construction sees what a method calls through its instance by name; this sees the rest: `getattr`, an
alias, a call through the class.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_granted: ContextVar[frozenset[str] | None] = ContextVar("pivot_dspy_granted", default=None)


@contextmanager
def allowing(effects: frozenset[str] | None) -> Iterator[None]:
    """Let only tools of these effects run inside; None lets all run, as outside of any session."""
    token = _granted.set(effects)
    try:
        yield
    finally:
        _granted.reset(token)


def enforced(function: Callable[..., Any], effect: str) -> Callable[..., Any]:
    """`function`, which raises PermissionError where a tool of `effect` may not run."""

    def require() -> None:
        granted = _granted.get()
        if granted is not None and effect not in granted:
            raise PermissionError(f"{function.__name__} is {effect}, and was called by what may not call it")

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            require()
            return await function(*args, **kwargs)

        return awaited

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        require()
        return function(*args, **kwargs)

    return called
