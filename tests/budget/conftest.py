"""A cache of its own for each test, and a model whose engine counts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dspy
import pytest

from tests.budget.counting import AsyncCountingEngine, CountingEngine


@pytest.fixture(autouse=True)
def local_cache_and_prices(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "true")  # no download of model prices
    before = vars(dspy).get("cache")
    dspy.configure_cache(enable_disk_cache=True, enable_memory_cache=True, disk_cache_dir=str(tmp_path / "cache"))
    yield
    dspy.cache.disk_cache.close()
    if before is None:
        del dspy.cache
    else:
        dspy.cache = before


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def lm(engine: CountingEngine) -> Iterator[dspy.LM]:
    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), temperature=1.0)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm
