"""A cache on disk for each test, and a model whose engine counts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest

from pivot_dspy.budget import Ledger, Usage
from tests.budget.counting import AsyncCountingEngine, CountingEngine
from tests.caching import own_cache


@pytest.fixture(autouse=True)
def disk_cache(tmp_path: Path) -> Iterator[None]:
    with own_cache(tmp_path / "cache"):
        yield


@pytest.fixture(autouse=True)
def told_by_providers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a ledger reads off the prompts has tests of its own; the others compare with what the engine counted."""
    if request.module.__name__.rpartition(".")[2] != "test_budget_prompts":
        monkeypatch.setattr(Ledger, "_compare", lambda self, messages: Usage())


@pytest.fixture
def engine() -> CountingEngine:
    return CountingEngine()


@pytest.fixture
def lm(engine: CountingEngine) -> Iterator[dspy.LM]:
    lm = dspy.LM("counting/model", engine=engine, async_engine=AsyncCountingEngine(engine), temperature=1.0)
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        yield lm
