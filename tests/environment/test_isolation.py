"""What is real is compared before and after a run: what is no leak is not taken for one, and commits are told apart."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cached_property, lru_cache, partial
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.ownership import real_instance_lock
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import IsolationError
from tests.environment.running import run, values

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


def watched(source: SessionFactory, use: Callable[[Session], Any]) -> None:
    session = source.open(None, watched=True)
    with session.family.watched():
        use(session)


def reads(session: Session) -> None:
    run(session, ("price", {"name": "cap"}), ("price", {"name": "cap"}))


@pytest.mark.parametrize("environment", [Shop, Shop(), lambda: Shop(), Live()])
def test_what_reads_leave_in_caches_is_no_leak(environment: Any) -> None:
    def use(session: Session) -> None:
        reads(session)
        session.begin_checks([("R1", "asked", {})])
        reads(session)

    for _ in range(2):
        watched(SessionFactory(environment), use)


def test_what_runs_write_in_copies_is_no_leak() -> None:
    shop = Shop()
    for environment in (shop, Shop, lambda: Shop()):
        watched(SessionFactory(environment), lambda session: run(session, ("add", {"name": "cap"})))
    assert shop.items == []


def test_a_leak_is_named_with_its_remedy_and_what_the_run_raised() -> None:
    def fails(session: Session) -> None:
        run(session, ("sell", {}))
        raise LookupError("no model")

    with pytest.raises(IsolationError, match=r"Shop\.sold \(changed\); keep .* on self.* `shared`") as caught:
        watched(SessionFactory(Shop()), fails)
    assert caught.value.paths == ("Shop.sold",)
    assert isinstance(caught.value.__context__, LookupError)


def test_what_is_declared_as_shared_may_change() -> None:
    class Declared(Shop):
        shared = ("SEEN", "sold")

    watched(SessionFactory(Declared()), lambda session: run(session, ("note", {}), ("sell", {})))
    with pytest.raises(IsolationError, match="SEEN"):
        watched(SessionFactory(Shop()), lambda session: run(session, ("note", {})))


def test_a_commit_beside_a_run_is_no_leak_of_it() -> None:
    shop = Shop()
    source = SessionFactory(shop)

    def commits(session: Session) -> None:
        real = source.open_real(None)
        run(real, ("add", {"name": "cap"}), ("sell", {}), ("note", {}))
        real.family.close()

    watched(source, commits)
    with pytest.raises(IsolationError, match=r"self\.items\[1\] \(added\)"):
        watched(source, lambda session: shop.add("by hand"))

    def by_hand(session: Session) -> None:
        with real_instance_lock(shop):
            shop.add("by hand")

    watched(source, by_hand)
    assert len(shop.items) == 3


def test_one_failed_copy_changes_nothing_for_later_runs(caplog: pytest.LogCaptureFixture) -> None:
    failing = threading.Event()

    class Sometimes(Shop):
        def fork(self) -> Environment:
            if failing.is_set():
                raise RuntimeError("dictionary changed size during iteration")
            return super().fork()

    for environment in (Sometimes(), Sometimes):
        source = SessionFactory(environment)
        failing.set()
        assert source.open(None).family.tier == "live"
        failing.clear()
        assert source.open(None).family.tier == "fork"
    assert "cannot be forked" in caplog.text


def test_a_copy_is_tried_again_while_a_commit_is_in_its_way() -> None:
    tries: list[int] = []

    class Busy(Shop):
        def fork(self) -> Environment:
            tries.append(1)
            if len(tries) == 1:
                raise RuntimeError("dictionary changed size during iteration")
            return super().fork()

    source = SessionFactory(Busy())
    real = source.open_real(None)
    assert source.open(None).family.tier == "fork" and len(tries) == 2
    real.family.close()


def test_a_run_on_the_real_thing_may_not_change_what_stood_there() -> None:
    class Spends(Live):
        @tool(effect="read")
        def spend(self) -> int:
            self.items.pop()
            return len(self.items)

    shop = Spends()
    shop.items = ["a", "b"]
    with pytest.raises(IsolationError, match=r"self\.items\[1\] \(removed\)"):
        watched(SessionFactory(shop), lambda session: values(run(session, ("spend", {}))))


def reopened(source: SessionFactory, call: tuple[str, dict[str, Any]], session: Session) -> None:
    run(source.reopen(session, None), call)


def test_what_making_an_instance_changes_is_no_leak() -> None:
    opened: list[Environment] = []

    class Counted(Shop):
        made = 0

        def __init__(self) -> None:
            super().__init__()
            type(self).made += 1

        def fork(self) -> Environment:
            return type(self)()

    def make() -> Environment:
        opened.append(Counted())
        return opened[-1]

    for environment in (Counted, Counted(), make):
        source = SessionFactory(environment)
        watched(source, partial(reopened, source, ("price", {"name": "cap"})))
    with pytest.raises(IsolationError, match=r"SEEN\[\d\] \(added\)") as caught:
        watched(source, partial(reopened, source, ("note", {})))
    assert len(caught.value.paths) == 1
