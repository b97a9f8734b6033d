"""What all tests share: texts to compare with, a cache for each, that no test is timed, and a small heap."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from dspy.clients.base_lm import GLOBAL_HISTORY
from hypothesis import settings

from tests.caching import own_cache

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # else LiteLLM waits for a network
# A loaded machine is no failure. A test whose property needs more examples says so.
settings.register_profile("untimed", deadline=None, max_examples=50)
settings.load_profile("untimed")
gc.disable()  # until all tests are collected: what modules and tests are made of stays anyway

SNAPSHOTS = Path(__file__).parent / "snapshots"


def pytest_collection_finish() -> None:
    """From here on the collector looks at what tests make: libraries and tests would be a half million objects more."""
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def fresh_cache() -> Iterator[None]:
    """No test finds what another, or an earlier run, has asked a model; nor does DSPy keep ten thousand prompts."""
    with own_cache():
        yield
    GLOBAL_HISTORY.clear()


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
