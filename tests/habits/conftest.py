"""A cache of its own for each test, in memory only."""

from __future__ import annotations

from collections.abc import Iterator

import dspy
import pytest


@pytest.fixture(autouse=True)
def own_cache() -> Iterator[None]:
    before = vars(dspy).get("cache")
    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=True)
    yield
    if before is None:
        del dspy.cache
    else:
        dspy.cache = before
