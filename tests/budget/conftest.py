"""A cache on disk for each test, and a model whose engine counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

from tests.budget.counting import AsyncCountingEngine, CountingEngine
from tests.caching import own_cache


@pytest.fixture(autouse=True)
def disk_cache(tmp_path: Path) -> Iterator[None]:
    with own_cache(tmp_path / "cache"):
        yield


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def lm(engine: CountingEngine) -> Iterator[dspy.LM]:
    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), temperature=1.0)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm
