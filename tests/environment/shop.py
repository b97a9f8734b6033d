"""A shop that caches what it reads and can be told to leak, and runs in it that are watched."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Any

from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from tests.environment.running import run

SEEN: list[str] = []


@lru_cache
def squared(number: int) -> int:
    return number * number


class Shop(Environment):
    """Caches what it reads, and counts in its class where it is told to."""

    sold = 0

    def __init__(self) -> None:
        self.items: list[str] = []
        self.found: dict[str, int] = {}
        self.connection: Any = None

    @cached_property
    def catalogue(self) -> dict[str, int]:
        return {"cap": 3}

    @tool(effect="read")
    def price(self, name: str) -> int:
        self.connection = self.connection or "open"
        self.found[name] = squared(self.catalogue[name])
        return self.found[name]

    @tool(effect="write")
    def add(self, name: str) -> int:
        self.items.append(name)
        return len(self.items)

    @tool(effect="write")
    def sell(self) -> None:
        type(self).sold += 1

    @tool(effect="write")
    def note(self) -> None:
        SEEN.append("noted")

    @check
    def asked(self) -> bool:
        return True

    def begin_checks(self, checks: Any) -> None:
        self.checks = list(checks)


class Live(Shop):
    forkable = reopenable = False


def watched(source: SessionFactory, use: Callable[[Session], Any]) -> list[str]:
    """What is unclear after a run that uses a session so."""
    session = source.open(None, watched=True)
    with session.family.watched():
        use(session)
    return list(session.family.unclear)


def reads(session: Session) -> None:
    run(session, ("price", {"name": "cap"}), ("price", {"name": "cap"}))
