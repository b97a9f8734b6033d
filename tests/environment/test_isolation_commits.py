"""What commits change is told apart from leaks of the runs beside them, and what cannot be told apart is said."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dspy
import pytest

from pivot_dspy import Pivot, Step, Trajectory
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.ownership import commits_on, real_instance_lock
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import IsolationError
from pivot_dspy.flow import run_sync
from pivot_dspy.simulator import offline_lm
from tests.environment.running import run
from tests.environment.shop import SEEN, Live, Shop, reads, watched


def test_a_commit_beside_a_run_is_no_leak_of_it(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    source = SessionFactory(shop)

    def commits(session: Session) -> None:
        real = source.open_real(None)
        run(real, ("add", {"name": "cap"}), ("sell", {}), ("note", {}))
        real.family.close()

    [unclear] = watched(source, commits)
    assert "a run, or a commit that was at work meanwhile, has changed what is real: self.items[0] (added)" in unclear
    assert "Shop.sold (changed)" in unclear and "SEEN" in unclear and unclear in caplog.text
    with pytest.raises(IsolationError, match=r"self\.items\[1\] \(added\)"):
        watched(source, lambda session: shop.add("by hand"))

    def by_hand(session: Session) -> None:
        with real_instance_lock(shop):
            shop.add("by hand")

    assert "self.items[2] (added)" in watched(source, by_hand)[0]
    assert len(shop.items) == 3


LEAKS = [("sell", r"Shop\.sold \(changed\)"), ("note", r"SEEN\[\d+\] \(added\)")]


@pytest.mark.parametrize(("leak", "path"), LEAKS)
@pytest.mark.parametrize("stage", ["opened", "held", "between calls", "after a fault"])
@pytest.mark.parametrize("environment", [Shop, Shop()])
def test_an_open_session_on_the_real_thing_hides_no_leak(environment: Any, stage: str, leak: str, path: str) -> None:
    source = SessionFactory(environment)
    for real in (source.open_real(None), SessionFactory(Live()).open_real(None)):
        if stage == "held":
            run_sync(real.hold())
        if stage != "opened":
            run(real, ("price", {"name": "cap" if stage != "after a fault" else "none such"}))
        with pytest.raises(IsolationError, match=path):
            watched(source, lambda session: run(session, (leak, {})))
        real.family.close()


def test_a_session_that_nobody_closed_hides_no_leak() -> None:
    real: Any = SessionFactory(Shop()).open_real(None)
    real.cycle = real  # only the collector ends it
    run(real, ("price", {"name": "cap"}))
    del real
    with pytest.raises(IsolationError, match="sold"):
        watched(SessionFactory(Shop()), lambda session: run(session, ("sell", {})))


class Slow(Shop):
    """Sells in a call that lasts until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go, self.sold_one = threading.Event(), threading.Event(), threading.Event()

    def fork(self) -> Environment:
        return Slow()

    @tool(effect="irreversible", preview="as_if")
    def sell_slowly(self) -> None:
        self.begun.set()
        self.go.wait(10)
        self.items.append("sold")
        type(self).sold += 1
        self.sold_one.set()

    def as_if(self) -> None:
        """Changes nothing."""


@contextmanager
def selling(shop: Slow, timeout: float | None = None) -> Iterator[threading.Thread]:
    """Sell for real in a thread; in the block the call is at work."""
    real = SessionFactory(shop, timeout=timeout).open_real(None)
    thread = threading.Thread(target=lambda: run(real, ("sell_slowly", {})))
    thread.start()
    try:
        assert shop.begun.wait(10)
        yield thread
    finally:
        shop.go.set()
        thread.join(10)
        real.family.close()


def test_a_call_of_a_commit_that_ends_in_a_run_is_no_leak_of_it() -> None:
    def ends(session: Session) -> None:
        shop.go.set()
        thread.join(10)

    shop = Slow()
    with selling(shop) as thread:
        [unclear] = watched(SessionFactory(shop), ends)
    assert "self.items[0] (added), Slow.sold (" in unclear


def test_a_call_of_a_commit_that_begins_in_a_run_is_no_leak_of_it() -> None:
    def begins(session: Session) -> None:
        stack.enter_context(selling(shop))
        shop.items.append("sold")  # as the call may have done by now

    shop = Slow()
    with ExitStack() as stack:
        [unclear] = watched(SessionFactory(shop), begins)
    assert "self.items[0] (added)" in unclear
    with pytest.raises(IsolationError, match="SEEN"):
        watched(SessionFactory(shop), lambda session: run(session, ("note", {})))


def test_a_call_that_took_too_long_is_at_work_until_it_ends() -> None:
    def ends(session: Session) -> None:
        shop.go.set()
        assert shop.sold_one.wait(10)

    shop = Slow()
    with selling(shop, timeout=0.02) as thread:
        thread.join(10)
        assert not shop.sold_one.is_set() and commits_on(shop) is None  # it was given up, and goes on
        [unclear] = watched(SessionFactory(shop), ends)
    assert "self.items[0] (added)" in unclear


def test_a_commit_beside_a_run_that_changes_nothing_is_not_spoken_of(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    with real_instance_lock(shop):
        assert watched(SessionFactory(shop), reads) == watched(SessionFactory(Shop), reads) == []
    assert not caplog.text


def test_what_a_commit_does_to_one_instance_excuses_no_leak_into_another() -> None:
    class Leaky(Shop):
        def fork(self) -> Environment:
            copied = Leaky()
            copied.items = self.items
            return copied

    def sells_beside(session: Session) -> None:
        run(session, ("add", {"name": "cap"}))
        with real_instance_lock(Shop()):
            Shop.sold += 1

    with pytest.raises(IsolationError) as caught:
        watched(SessionFactory(Leaky()), sells_beside)
    assert caught.value.paths == ("self.items[0]",)


def test_making_and_closing_what_is_committed_on_is_a_commits_doing() -> None:
    class Counted(Shop):
        def __init__(self) -> None:
            super().__init__()
            SEEN.append("made")

        def close(self) -> None:
            SEEN.append("closed")

    def open_and_close(session: Session) -> None:
        real = SessionFactory(Counted).open_real(None)
        real.family.close()

    assert "SEEN" in watched(SessionFactory(Shop()), open_and_close)[0]


def test_what_checks_in_a_commit_set_is_a_commits_doing() -> None:
    shop = Shop()
    real = SessionFactory(shop).open_real(None)
    [unclear] = watched(SessionFactory(shop), lambda session: real.begin_checks([("R1", "asked", {})]))
    assert "self.checks (added)" in unclear
    real.family.close()


def test_what_a_commit_changes_while_another_instance_is_made_excuses_no_leak() -> None:
    class Busy(Shop):
        def fork(self) -> Environment:
            if SEEN[-1:] == ["noted"]:  # once the run has leaked: another is made, beside a commit
                with real_instance_lock(Shop()):
                    SEEN.append("sold")
            return Busy()

    SEEN.clear()
    [unclear] = watched(SessionFactory(Busy()), lambda session: run(session, ("note", {})))
    assert "SEEN[0] (added)" in unclear


def test_a_preview_beside_a_commit_is_not_blamed_for_it() -> None:
    class Spot(Slow):
        forkable = reopenable = False

        def as_if(self) -> None:
            self.go.set()
            threads[0].join(10)

    shop, threads = Spot(), []
    with selling(shop) as thread:
        threads.append(thread)
        before, _ = watched(SessionFactory(shop), lambda session: run(session, ("sell_slowly", {})))
    assert "the preview of sell_slowly, or a commit" in before and shop.items == ["sold"]


def test_what_cannot_be_read_beside_a_commit_is_said() -> None:
    class Unreadable:
        pass

    shop = Shop()
    shop.connection = Unreadable()
    Unreadable.__slots__ = [None]  # type: ignore[attr-defined]  # no name, as nothing that is read expects
    with real_instance_lock(shop):
        [unclear] = watched(SessionFactory(shop), reads)
    assert "what changed while it was read" in unclear


def test_a_result_names_what_its_run_may_have_changed() -> None:
    shop = Shop()
    plan = Trajectory(steps=(Step(id="a", tool="sell"), Step(id="end", tool="submit", args={"answer": "done"})))
    with dspy.context(lm=offline_lm([])):
        pivot = Pivot("request -> answer", shop, requirements=[{"check": "asked"}])
        with real_instance_lock(Shop()):
            result = pivot(request="Sell it.", trajectory=plan)
        assert [event.message for event in result.history if event.kind == "unclear"] == [
            "a run, or a commit that was at work meanwhile, has changed what is real: Shop.sold (changed)"
        ]
        with pytest.raises(IsolationError, match="Shop.sold"):
            pivot(request="Sell it.", trajectory=plan)


def test_a_copy_is_tried_again_while_a_commit_is_in_its_way() -> None:
    tries: list[int] = []

    class Busy(Shop):
        def fork(self) -> Environment:
            tries.append(1)
            if len(tries) == 1:
                raise RuntimeError("dictionary changed size during iteration")
            return super().fork()

    busy = Busy()
    with real_instance_lock(busy):
        assert SessionFactory(busy).open(None).family.tier == "fork" and len(tries) == 2
