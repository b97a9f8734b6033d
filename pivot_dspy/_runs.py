"""Marks one run of a program among many at once, so that chance in one does not depend on the others."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CALLS: ContextVar[dict[str, int] | None] = ContextVar("pivot_dspy_run_calls", default=None)


@contextmanager
def one_run() -> Iterator[None]:
    """What is counted inside the `with` block starts at 0, and is its own."""
    token = _CALLS.set({})
    try:
        yield
    finally:
        _CALLS.reset(token)


def calls_of_run() -> dict[str, int] | None:
    """Calls of the offline model in this run, by a digest of what was asked; None outside of any."""
    return _CALLS.get()
