"""Why a request is left out."""

from __future__ import annotations


class ReadingError(ValueError):
    """A request says something that no rule reads; the message quotes it."""
