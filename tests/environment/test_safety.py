"""Nothing irreversible, and in the live tier no write, runs before commit: one test for each way round it."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest

from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Execution, Step, Trajectory
from tests.environment.payments import DONE, Bank, run


@pytest.fixture(autouse=True)
def nothing_done() -> None:
    DONE.clear()


class Reopened(Bank):
    forkable = False


class Real(Bank):
    forkable = False
    reopenable = False


TIERS = [(Bank, "fork"), (Reopened, "replay"), (Real, "live"), (Bank(), "fork"), (Reopened(), "live")]


def statuses(execution: Execution) -> list[str]:
    return [observation.status for observation in execution.observations]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("timeout", [None, 5.0])
@pytest.mark.parametrize(("environment", "tier"), TIERS)
def test_what_cannot_be_undone_waits_in_every_tier_however_it_is_called(
    environment: Any, tier: str, timeout: float | None, awaited: bool
) -> None:
    session = SessionFactory(environment, timeout=timeout).open(None)
    execution = run(
        session,
        Step(id="a", tool="list_drafts"),
        Step(id="b", tool="pay", args={"amount": 1}),
        Step(id="c", tool="pay", args={"amount": "$item"}, for_each="$a"),
        Step(id="d", tool="apay", args={"amount": "$a[0]"}),
        Step(id="e", tool="apay", args={"amount": "$item"}, for_each="$a"),
        Step(id="f", tool="fail"),
        Step(id="g", tool="draft", args={"amount": "$b"}),
        Step(id="h", tool="pay", args={"amount": "lots"}),
        Step(id="i", tool="pay", args={"amount": 2}),
        Step(id="j", tool="draft", args={"amount": "$f"}),
        awaited=awaited,
    )
    assert execution.tier == tier
    assert statuses(execution) == [
        "ok", "withheld", "withheld", "withheld", "withheld", "error", "withheld", "error", "withheld", "blocked",
    ]  # fmt: skip
    assert execution.withheld == ("b", "c", "d", "e", "g", "i")
    assert execution.by_step["d"].args == {"amount": 10}  # it is known what will be asked
    assert execution.discrepancies[1].kind == "bad_arguments"  # and that what does not fit will fail
    assert execution.tool_calls == 2 and DONE == []
    session.family.close()


@pytest.mark.parametrize(("environment", "tier"), TIERS)
def test_writes_run_only_where_they_can_be_dropped(environment: Any, tier: str) -> None:
    session = SessionFactory(environment).open(None)
    execution = run(
        session,
        Step(id="a", tool="draft", args={"amount": 1}),
        Step(id="b", tool="draft", args={"amount": "$item"}, for_each="[`1`, $a]"),
        Step(id="c", tool="list_drafts"),
    )
    held = ["withheld", "withheld", "ok"]
    assert statuses(execution) == (held if tier == "live" else ["ok"] * 3)
    assert DONE == [] if tier == "live" else len(DONE) == 3
    if isinstance(environment, Bank):
        assert environment.drafts == [10, 20]
    session.family.close()


@pytest.mark.parametrize("given", ["an instance", "a factory", "a factory for each task"])
def test_functions_that_write_wait_also_when_a_factory_makes_them(given: str) -> None:
    def send(text: str) -> None:
        DONE.append(text)

    async def asend(text: str) -> None:
        DONE.append(text)

    def made() -> Environment:
        return from_functions([send, asend])

    source = SessionFactory({"an instance": made(), "a factory": made}.get(given, lambda task: made()))
    session = source.open(None)
    steps = (Step(id="a", tool="send", args={"text": "x"}), Step(id="b", tool="asend", args={"text": "x"}))
    for opened in (session, source.reopen(session, None)):
        execution = run(opened, *steps)
        assert (execution.tier, statuses(execution)) == ("live", ["withheld", "withheld"])
    assert DONE == []


@pytest.mark.parametrize(("environment", "tier"), TIERS)
def test_a_preview_stands_in_until_commit(environment: Any, tier: str) -> None:
    source = SessionFactory(environment)
    step = Step(id="a", tool="buy", args={"amount": 3})
    session = source.open(None)
    assert run(session, step).observations[0].value == "bought 3" and DONE == []
    real = source.open_real(None)
    assert run(real, step).observations[0].value == "bought 3" and DONE == ["bought"]
    session.family.close()
    real.family.close()


def test_a_session_calls_nothing_that_has_to_wait_even_if_asked_directly() -> None:
    session = SessionFactory(Real).open(None)
    for name in ("pay", "apay", "draft"):
        with pytest.raises(ConfigurationError, match=f"{name} may not run before commit"):
            run_sync(session.call(session.toolbox.tools[name], {"amount": 1}))
    assert DONE == []


def test_a_fork_of_a_session_keeps_its_limits() -> None:
    session = SessionFactory(Bank).open(None).fork().fork()
    assert statuses(run(session, Step(id="a", tool="pay", args={"amount": 1}))) == ["withheld"]
    real = SessionFactory(Bank).open_real(None)
    assert statuses(run(real.fork(), Step(id="a", tool="pay", args={"amount": 1}))) == ["withheld"]
    assert DONE == []


def test_no_step_of_a_base_run_is_trusted_to_have_been_allowed() -> None:
    source = SessionFactory(Reopened)
    plan = Trajectory(steps=(Step(id="a", tool="pay", args={"amount": 1}), Step(id="b", tool="list_drafts")))
    base = run_sync(execute(plan, source.open_real(None)))
    assert DONE == ["paid"]
    again = run_sync(execute(plan, source.open(None), base=base))
    assert statuses(again.execution) == ["withheld", "ok"] and DONE == ["paid"]


def test_a_check_that_writes_all_the_same_does_so_on_a_copy() -> None:
    session = SessionFactory(Bank).open(None)
    place = session.fork()  # as requirements are evaluated
    assert place.check(place.toolbox.checks["spends"], {}).holds
    assert (session.describe(), place.describe()) == ("[10, 20]", "[]")


def test_a_write_that_hangs_cannot_reach_what_goes_on() -> None:
    bank = Bank()
    session = SessionFactory(bank).open(None)
    execution = run(session, Step(id="a", tool="slow_draft"), Step(id="b", tool="list_drafts"))
    time.sleep(0.4)
    assert statuses(execution) == ["error", "ok"]
    assert execution.by_step["b"].value == bank.drafts == [10, 20]


@pytest.mark.parametrize("awaited", [False, True])
def test_once_committed_a_batch_ends_at_its_first_failure(awaited: bool) -> None:
    class Till(Environment):
        @tool(effect="irreversible")
        def take(self, amount: int) -> int:
            if amount == 2:
                raise ValueError("no change")
            DONE.append(f"took {amount}")
            return amount

        @tool(effect="irreversible")
        async def atake(self, amount: int) -> int:
            return self.take(amount)

    for name in ("take", "atake"):
        DONE.clear()
        real = SessionFactory(Till).open_real(None)
        step = Step(id="b", tool=name, args={"amount": "$item"}, for_each="[`1`, `2`, `3`, length($a)]")
        (_, observation) = run(real, Step(id="a", tool="take", args={"amount": 0}), step, awaited=awaited).observations
        assert DONE == ["took 0"]  # `length` of a number is no list: the step is refused before its first call
        step = Step(id="b", tool=name, args={"amount": "$item"}, for_each="[`1`, `2`, `3`, $a]")
        (_, observation) = run(real, Step(id="a", tool="take", args={"amount": 0}), step, awaited=awaited).observations
        assert DONE == ["took 0", "took 0", "took 1"]
        assert (observation.status, observation.calls) == ("error", 2)
        assert observation.fault and "1 of 2 calls failed, and 2 were not made" in observation.fault.message


def test_one_bad_item_stops_a_batch_before_its_first_call() -> None:
    real = SessionFactory(Bank).open_real(None)
    step = Step(id="b", tool="pay", args={"amount": "$item"}, for_each="[$a[0], `\"many\"`]")
    execution = run(real, Step(id="a", tool="list_drafts"), step)
    assert statuses(execution) == ["ok", "error"] and DONE == []


def test_the_users_own_instance_is_closed_by_nobody_else() -> None:
    class Connection(Real):
        def close(self) -> None:
            DONE.append("closed")

    connection = Connection()
    source = SessionFactory(connection)
    for session in (source.open(None), source.open_real(None)):
        run(session, Step(id="a", tool="list_drafts"))
        session.family.close()
    del session
    gc.collect()
    assert DONE == []
