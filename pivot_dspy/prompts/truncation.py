"""Fitting text into a prompt: cut to a length, with fair shares of it, and said how much is left out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

MIN_SHARE = 24
"""Characters to which nothing is cut further, however much there is beside it."""
SUFFIX_ROOM = 24
"""Room for telling how much is left out; where there is little room, it is not told."""


def truncate(text: str, cap: int) -> str:
    """`text`, or its beginning and the number of characters left out, in at most `cap` characters."""
    if len(text) <= cap:
        return text
    if cap < 3 * SUFFIX_ROOM:
        return f"{text[: cap - 1]}…"
    return f"{text[: cap - SUFFIX_ROOM]}… (+{len(text) - cap + SUFFIX_ROOM} characters)"


def fair_cap(lengths: Sequence[int], cap: int) -> int:
    """The length to which the longest of several texts are to be cut so that all together take about `cap`.

    >>> fair_cap([10, 10, 500], 120)
    100
    """
    left = cap
    for position, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - position)
        if length > share:
            return max(MIN_SHARE, share)
        left -= length
    return max(lengths, default=MIN_SHARE)


def compact_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
