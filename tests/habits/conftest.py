"""A cache of its own for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.caching import own_cache


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    with own_cache():
        yield
