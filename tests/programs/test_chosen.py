"""Which tasks `--tasks` takes, and what it says of one that is not there."""

from __future__ import annotations

import pytest

from programs.options import DataError, chosen

MANY = [f"task_{number}" for number in range(200)]


def test_ids_in_the_order_that_was_asked_for_and_each_once() -> None:
    assert chosen(MANY, "task_7, task_3,task_7") == ["task_7", "task_3"]
    assert chosen(MANY, None) == MANY and chosen(MANY, "2") == MANY[:2]


def test_one_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(DataError, match="no task is called x; tasks: a, b$"):
        chosen(["a", "b"], "a,x")
    with pytest.raises(DataError, match="task_15.* and 190 more$"):
        chosen(MANY, "task15")
    with pytest.raises(DataError, match="at least 1"):
        chosen(MANY, "0")
