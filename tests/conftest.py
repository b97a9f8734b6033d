"""What all tests share: texts to compare with, a cache for each, and that no test is timed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.caching import own_cache

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else LiteLLM waits for a network
settings.register_profile("untimed", deadline=None)  # a loaded machine is no failure
settings.load_profile("untimed")

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    """No test finds what another, or an earlier run, has asked a model."""
    with own_cache():
        yield


@pytest.fixture(autouse=True)
def logged_as_by_default() -> Iterator[None]:
    """A program that a test runs may quieten the package: the tests after it still read the warnings."""
    logger = logging.getLogger("pivot_dspy")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture
def snapshot():
    """Compares a text with the file of that name under `tests/snapshots`; UPDATE_SNAPSHOTS=1 writes the file."""

    def compare(name: str, text: str) -> None:
        path = SNAPSHOTS / name
        if os.environ.get("UPDATE_SNAPSHOTS"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", encoding="utf-8")
        assert path.exists(), f"{path.name} is missing; UPDATE_SNAPSHOTS=1 writes it"
        assert path.read_text(encoding="utf-8") == text + "\n", "the prompt changed; UPDATE_SNAPSHOTS=1 accepts it"

    return compare
