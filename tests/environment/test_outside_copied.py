"""A factory whose instances act on one outside world, which each can copy: trials act on copies, as of an instance."""

from __future__ import annotations

from typing import Any

from pivot_dspy import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from tests.environment.running import run, values
from tests.episode.committing import refined
from tests.scripted import step, submit


class World:
    """What lies outside; each copy of an environment has one of its own."""

    def __init__(self, rows: list[str]) -> None:
        self.rows = rows

    def __deepcopy__(self, memo: Any) -> World:
        return World(list(self.rows))


def ledger(world: World, closed: list[World]) -> type[Environment]:
    class Ledger(Environment):
        reopenable = False

        def __init__(self) -> None:
            self.world = world

        @tool(effect="write")
        def add(self, text: str) -> int:
            self.world.rows.append(text)
            return len(self.world.rows)

        def close(self) -> None:
            closed.append(self.world)

    return Ledger


def test_what_a_run_writes_stays_in_its_copies() -> None:
    world, closed = World(["a"]), list[World]()
    source = SessionFactory(ledger(world, closed))
    for _ in range(2):  # that it can be copied is known the second time
        session = source.open(None)
        assert session.family.tier == "fork" and session.environment.world is not world  # type: ignore[attr-defined]
        again = source.reopen(session, None)
        assert values(run(session, ("add", {"text": "b"}))) == values(run(again, ("add", {"text": "b"}))) == [2]
        session.family.close()
    assert world.rows == ["a"] and closed.count(world) == 4 and len(closed) >= 8


def test_a_commit_acts_on_what_is_outside() -> None:
    world, closed = World([]), list[World]()
    result = refined(ledger(world, closed), [step("a", "add", text="x"), submit(answer="Done.")], status="judged")
    assert world.rows == []
    result.commit()
    assert world.rows == ["x"]
