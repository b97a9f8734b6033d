"""What is called to explore an environment, and what is never called."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, BudgetExhausted, Environment, Ledger, from_functions, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.synthesis.explore import EACH, REPORT_CAP, Sight, _fitting, explore, report
from tests.simulator.rooms import Rooms
from tests.stores import Calls, Store


def explored(environment: Any, known: dict[str, Any] | None = None, **options: Any) -> tuple[Sight, ...]:
    session = SessionFactory(environment, timeout=None).open(None)
    return run_sync(explore(session, known, **options))


def made(sights: tuple[Sight, ...]) -> list[tuple[str, dict[str, Any]]]:
    return [(sight.tool, sight.args) for sight in sights]


def test_what_was_seen_is_passed_on_and_nothing_is_written() -> None:
    calls = Calls()
    sights = explored(lambda: Store(calls))
    assert {sight.tool for sight in sights} == {"colors", "find", "details"} == set(calls)
    assert made(sights)[:4] == [("colors", {}), ("find", {}), ("details", {"ids": ["p1"]}), ("find", {"color": "blue"})]
    assert ("find", {"size": "M"}) in made(sights)
    assert report(sights).splitlines()[1] == 'find() -> {"ids": ["p1", "p2", "p3", "… 4 in all"]}'


def test_names_that_mean_the_same_are_matched() -> None:
    sights = made(explored(Rooms, {"day": "2026-03-12"}))
    assert ("quote", {"room_id": "r1", "day": "2026-03-12"}) in sights  # from the field id of list_rooms
    assert "book_room" not in dict(sights)
    assert explored(Rooms) == ()  # no day is known


@pytest.mark.parametrize(
    ("value", "schema", "written"),
    [
        ("p1", {"type": "array", "items": {"type": "string"}}, [["p1"]]),
        (["p1"], {"type": "array", "items": {"type": "string"}}, [["p1"]]),
        (7, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, [7]),
        (True, {"type": "integer"}, []),
        ("x", {}, ["x"]),
        ("x", {"$ref": "#/$defs/Nothing"}, []),
    ],
)
def test_a_value_is_given_as_the_schema_takes_it(value: Any, schema: dict[str, Any], written: list[Any]) -> None:
    assert _fitting(value, schema) == written


class Odd(Environment):
    """Tools that fail, list their own values, or give nothing."""

    def __init__(self) -> None:
        self.calls: list[Any] = []

    @tool(effect="read")
    def sorted_by(self, key: Literal["price", "name"], up: bool) -> str:
        """What is first."""
        return f"{key} {up}"

    @tool(effect="read")
    def fails(self) -> str:
        """Never works."""
        raise LookupError("no")

    @tool(effect="read")
    def nothing(self) -> dict[str, list[str]]:
        """Gives nothing."""
        return {"ids": []}

    @tool(effect="read")
    def text(self, words: str) -> str:
        """Takes text that looks like a binding."""
        return f"$a.b {words}"

    @tool(effect="read")
    def count(self, number: int) -> str:
        """There is no number."""
        raise AssertionError("called")


def test_failures_and_empty_results_are_left_out_and_enumerations_are_used() -> None:
    sights = explored(Odd)
    assert {sight.tool for sight in sights} == {"sorted_by", "text"}
    assert made(sights)[0] == ("sorted_by", {"key": "price", "up": True})
    assert ("text", {"words": "$a.b price True"}) in made(sights)  # and no binding is read into it


def test_the_same_environment_gives_the_same_calls_sync_and_async() -> None:
    import asyncio

    session = SessionFactory(Store, timeout=None).open(None)
    assert asyncio.run(run_async(explore(session))) == explored(Store) == explored(Store)


@settings(max_examples=25, deadline=None)
@given(calls=st.integers(0, 12), each=st.dictionaries(st.sampled_from(["ids", "color", "x"]), st.text(max_size=5)))
def test_no_more_calls_than_allowed(calls: int, each: dict[str, Any]) -> None:
    seen = Calls()
    sights = explored(lambda: Store(seen), each, calls=calls)
    assert len(sights) <= len(seen) <= calls
    assert all(sum(sight.tool == name for sight in sights) <= EACH for name in ("colors", "find", "details"))


def test_a_spent_budget_ends_it() -> None:
    calls, ledger = Calls(), Ledger()

    def permit(reused: bool) -> None:
        ledger.check(Budget(tool_calls=2))
        ledger.tool_call(reused)

    explored(lambda: Store(calls), permit=permit)
    assert len(calls) == 2
    with pytest.raises(BudgetExhausted):
        permit(False)


def test_the_report_is_short_however_much_was_seen() -> None:
    def read(part: str = "a") -> list[str]:
        """A long text."""
        return [f"{n} {part} " + "x" * 3000 for n in range(9)]

    tools = [_named(read, f"read{n}") for n in range(40)]
    sights = explored(lambda: from_functions(tools, effects="read"))
    assert len(sights) == 40 and len(report(sights)) < REPORT_CAP + 200
    assert report(()) == ""


def _named(function: Any, name: str) -> Any:
    def renamed(part: str = "a") -> list[str]:
        """A long text."""
        return function(part)

    renamed.__name__ = name
    return renamed
