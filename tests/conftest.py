"""What all tests share: the repository on the path, and no cache or model of the machine that runs them."""

from __future__ import annotations

import sys
from pathlib import Path

import dspy
import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

SNAPSHOTS = Path(__file__).parent / "snapshots"


@pytest.fixture
def no_lm():
    """No language model is configured, so that a call of one fails."""
    with dspy.context(lm=None):
        yield
