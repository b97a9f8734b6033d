"""What the tests of environments share: each begins when no commit of another is under way."""

from __future__ import annotations

import gc

import pytest

from pivot_dspy.environment.ownership import commits_on


@pytest.fixture(autouse=True)
def nothing_commits_meanwhile() -> None:
    """While anything commits, what is around an instance is not compared: a session on the real thing that an earlier
    test did not close counts as one until it is collected."""
    if commits_on(None) is None:
        gc.collect()
