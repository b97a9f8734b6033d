from __future__ import annotations

import copy
import logging
import re
import threading
from typing import Any

import dspy
import pytest

from pivot_dspy import Pivot, Requirement
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import FunctionEnvironment, from_functions
from pivot_dspy.environment.session import Session
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Step, Trajectory
from tests.scripted import plan, scripted, submit


class Counter(Environment):
    def __init__(self, start: int = 0) -> None:
        self.count = start

    @tool(effect="write")
    def add(self) -> int:
        self.count += 1
        return self.count


class Locked(Counter):
    """Cannot be copied: a lock has no copy."""

    reopenable = True

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self.lock = threading.Lock()


class ForTask(Counter):
    def __init__(self, task: dspy.Example) -> None:
        super().__init__(task.start)


class Falsy(Counter):
    def __len__(self) -> int:
        return 0


def add(session: Session) -> Any:
    run = run_sync(execute(Trajectory(steps=(Step(id="a", tool="add"),)), session))
    return run.execution.observations[0].value


def counter_for(task: dspy.Example) -> Counter:
    return Counter(task.start)


def any_counter() -> Any:
    return Counter()


def untyped():  # type: ignore[no-untyped-def]
    return Counter(7)


TASK = dspy.Example(start=7)


@pytest.mark.parametrize(
    ("environment", "first", "tier"),
    [
        (Counter, 1, "fork"),
        (ForTask, 8, "fork"),
        (counter_for, 8, "fork"),
        (untyped, 8, "fork"),
        (lambda: Counter(2), 3, "fork"),
        (Counter(5), 6, "fork"),
        (Falsy(5), 6, "fork"),
        (Locked, 1, "replay"),
        (Locked(5), None, "live"),
    ],
)
def test_whatever_opens_an_environment_gives_fresh_sessions(environment: Any, first: Any, tier: str) -> None:
    source = SessionFactory(environment)
    session = source.open(TASK)
    assert session.family.tier == tier
    assert [add(session), add(source.reopen(session, TASK)), add(source.open(TASK))] == [first] * 3
    real = source.open_real(TASK)
    if isinstance(environment, Counter):
        assert environment.count == 5
        assert add(real) == environment.count == 6  # commit acts on the thing itself
    else:
        assert add(real) == first
    real.family.close()
    session.family.close()


def test_the_toolbox_is_known_before_opening_where_the_class_is() -> None:
    for environment in (Counter, Counter(), counter_for):
        known = SessionFactory(environment).toolbox
        assert known is not None and list(known.tools) == ["add"]
    assert SessionFactory(any_counter).toolbox is None


def test_each_session_calls_the_tools_of_its_own_environment() -> None:
    def made() -> FunctionEnvironment:
        count: list[int] = []

        def add() -> int:
            count.append(1)
            return len(count)

        return from_functions([add], isolated=True)

    source = SessionFactory(made)
    session = source.open(None)
    assert session.family.tier == "replay"
    assert [add(session), add(session), add(source.reopen(session, None))] == [1, 2, 1]


def test_a_tier_lost_to_an_error_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        SessionFactory(Locked).open(None)
    assert "Locked cannot be forked (TypeError: cannot pickle" in caplog.text
    assert "so the tier is replay; override fork, or set reopenable = True" in caplog.text


def test_a_factory_that_returns_the_same_instance_twice_is_refused() -> None:
    shared = Counter()
    source = SessionFactory(lambda: shared)
    session = source.open(None)
    with pytest.raises(ConfigurationError, match="returned the instance that it returned before; pass the instance"):
        source.reopen(session, None)
    reading = from_functions([lambda_free], effects="read")
    source = SessionFactory(lambda: reading)
    assert source.open(None).family.tier == source.open(None).family.tier == "fork"


def lambda_free() -> int:
    return 1


def plain_tool(amount: int) -> int:
    raise AssertionError("a tool given in place of an environment must not be called")


async def coroutine() -> Counter:
    return Counter()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (dict, "dict is no subclass of pivot_dspy.Environment"),
        (7, "must be an Environment class, an instance of one, or a plain function.* got 7"),
        ([plain_tool], "make one of tools with pivot_dspy.from_functions"),
        (dspy.Tool(plain_tool), "make one of tools with pivot_dspy.from_functions"),
        (plain_tool, "says that it returns <class 'int'>; .*must return an Environment"),
        (coroutine, "must be an Environment class.* a plain function"),
    ],
)
def test_what_is_no_environment_is_refused_at_once(environment: Any, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        SessionFactory(environment)


def test_other_mistakes_are_named() -> None:
    for timeout in (0, -1, float("nan")):
        with pytest.raises(ConfigurationError, match="timeout is in seconds and above 0, or None"):
            SessionFactory(Counter, timeout=timeout)
    with pytest.raises(ConfigurationError, match="returned int; it must return an Environment"):
        SessionFactory(lambda: 1).open(None)  # type: ignore[arg-type,return-value]

    def broken() -> Counter:
        raise OSError("no database")

    with pytest.raises(OSError, match="no database"):
        SessionFactory(broken).open(None)


def test_a_copy_of_a_refiner_shares_its_source() -> None:
    source = SessionFactory(Counter)
    assert copy.deepcopy([source])[0] is source


def test_a_fork_that_is_no_copy_is_refused_where_something_writes() -> None:
    class Same(Counter):
        def fork(self) -> Environment:
            return self

    with pytest.raises(ConfigurationError, match="fork of Same returned the instance itself"):
        SessionFactory(Same).open(None)


def read_it() -> int:
    """What there is."""
    return 1


def write_it() -> int:
    """Change it."""
    return 2


class Unforkable(Environment):
    forkable = False

    @tool(effect="write")
    def put(self) -> int:
        """Change it."""
        return 1


class Holding(Unforkable):
    forkable = True

    def __init__(self) -> None:
        self.lock = threading.Lock()


def functions(**options: Any) -> Environment:
    return from_functions([read_it, write_it], effects={"read_it": "read", "write_it": "write"}, **options)


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (lambda: functions(isolated=True), r"a new one, lambda: from_functions\(..., isolated=True\)"),
        (functions, "write an Environment class whose state can be copied"),
        (Unforkable, "override fork"),
        (Holding, "cannot be forked .TypeError: cannot pickle"),
    ],
)
def test_that_changes_wait_for_commit_is_said_once_when_the_refiner_is_made_and_in_the_result(
    make: Any, remedy: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "pivot_dspy.environment.factory"):
        refiner = Pivot("q -> answer", make(), requirements=[Requirement(id="R", test=lambda run: True)])
        assert len(caplog.records) == 1 and re.search(remedy, caplog.text) and "tier is live" in caplog.text
        for _ in range(2):
            with dspy.context(lm=scripted(plan=plan([submit(answer="x")]))):
                result = refiner(q="?")
    assert len(caplog.records) == 1 and result.tier == "live"
    assert [event.message for event in result.history if event.kind == "note"] == [caplog.records[0].getMessage()]


@pytest.mark.parametrize("made", [Unforkable, lambda: functions(isolated=True)])
def test_nothing_is_said_of_what_is_made_anew(made: Any, caplog: pytest.LogCaptureFixture) -> None:
    Pivot("q -> answer", lambda: made())
    assert not caplog.records
