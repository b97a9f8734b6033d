"""What the tests of environments share: each begins when no commit of another is under way."""

from __future__ import annotations

import time

import pytest

from pivot_dspy.environment.ownership import commits_on


@pytest.fixture(autouse=True)
def nothing_commits_meanwhile() -> None:
    """While anything commits, what is around an instance is not compared: a thread that an earlier test gave up on
    may still do so for a moment."""
    deadline = time.monotonic() + 10
    while commits_on(None) is None and time.monotonic() < deadline:
        time.sleep(0.01)
