"""Ways to leak before commit: none is silent."""

from __future__ import annotations

import pytest

from programs.trust.leaks import attempt
from programs.trust.leaky import WAYS


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # a `__del__` that is refused
@pytest.mark.parametrize("name", WAYS)
def test_no_way_to_leak_is_silent(name: str) -> None:
    row = attempt(name)
    assert row.outcome != "SILENT", row
    assert row.outcome != "named" or row.what
