"""A cache of one's own, in memory, in the place of DSPy's: nothing is read from or left on the machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import dspy


@contextmanager
def own_cache() -> Iterator[None]:
    before = vars(dspy).get("cache")
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    try:
        yield
    finally:
        if before is None:
            del dspy.cache
        else:
            dspy.cache = before
