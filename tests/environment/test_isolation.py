"""What is real is compared before and after a run: what is no leak is not taken for one."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import IsolationError
from tests.environment.running import run, values
from tests.environment.shop import Live, Shop, reads, watched


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
    with pytest.raises(IsolationError, match=r"SEEN\[\d+\] \(added\)") as caught:
        watched(source, partial(reopened, source, ("note", {})))
    assert len(caught.value.paths) == 1
