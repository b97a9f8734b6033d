"""Reads that are declared parallel are made at once, and all else is as if they were made one by one."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import dspy
import pytest
from dspy.utils.callback import BaseCallback
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pivot_dspy import CheckResult, ConfigurationError, Environment, check, from_functions, tool
from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.calls import CallResult
from pivot_dspy.environment.concurrent_calls import AT_ONCE
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_async, run_sync
from pivot_dspy.supervision import Supervisor
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory

PAUSE = 0.2
LIMIT = 2.5 * PAUSE
"""Seconds that three pauses take less than, if they overlap."""


class Slow(Environment):
    """Tools that wait, and tell where they run."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    @tool(effect="read", parallel=True)
    def wait(self, name: str) -> str:
        time.sleep(PAUSE)
        return name

    @tool(effect="read", parallel=True)
    async def wait_async(self, name: str) -> str:
        await asyncio.sleep(PAUSE)
        return name

    @tool(effect="read", parallel=True, timeout=0.3)
    def hang(self, name: str) -> str:
        time.sleep(1.5 if name == "b" else 0)
        return name

    @tool(effect="read", parallel=True, timeout=0.3)
    async def block(self, name: str) -> str:
        time.sleep(2.5 if name == "a" else 0)  # never awaits
        return name

    @tool(effect="read", parallel=True)
    def thread(self) -> int:
        return threading.get_ident()

    @tool(effect="read")
    def own_thread(self) -> int:
        return threading.get_ident()

    @tool(effect="read", parallel=True)
    def cheat(self, name: str) -> str:
        self.note(name)
        return name

    @tool(effect="read", parallel=True)
    def model(self) -> str:
        return str(dspy.settings.lm)

    @tool(effect="write")
    def note(self, name: str) -> list[str]:
        self.notes.append(name)
        return self.notes


def reads(name: str, *args: str) -> Trajectory:
    return Trajectory(steps=tuple(Step(id=f"s{n}", tool=name, args={"name": a}) for n, a in enumerate(args)))


def run(trajectory: Trajectory, *, awaited: bool = False, source: Any = Slow, **options: Any) -> Execution:
    body = execute(trajectory, SessionFactory(source, **options).open(None))
    return (asyncio.run(run_async(body)) if awaited else run_sync(body)).execution


def values(execution: Execution) -> list[Any]:
    return [o.value if o.ok else o.fault and o.fault.kind for o in execution.observations]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("name", ["wait", "wait_async"])
@pytest.mark.parametrize("timeout", [30.0, None])
def test_independent_reads_take_as_long_as_one(name: str, awaited: bool, timeout: float | None) -> None:
    began = time.perf_counter()
    execution = run(reads(name, "a", "b", "c"), awaited=awaited, timeout=timeout)
    assert time.perf_counter() - began < LIMIT
    assert values(execution) == ["a", "b", "c"]
    assert sum(o.seconds for o in execution.observations) >= 3 * PAUSE


@pytest.mark.parametrize("awaited", [False, True])
def test_the_calls_of_a_repeated_step_and_the_step_after_it_run_at_once(awaited: bool) -> None:
    names = [Step(id=f"n{name}", tool="note", args={"name": name}) for name in "ab"]
    repeated = Step(id="r", tool="wait", args={"name": "$item"}, for_each="$nb")
    plan = Trajectory(steps=(*names, repeated, *reads("wait_async", "x", "y").steps))
    began = time.perf_counter()
    pairs = [{"item": name, "result": name} for name in "ab"]
    assert values(run(plan, awaited=awaited))[2:] == [pairs, "x", "y"]
    assert time.perf_counter() - began < LIMIT


def wait_here(name: str) -> str:
    "Wait."
    time.sleep(PAUSE)
    return name


@pytest.mark.parametrize("source", [wait_here, dspy.Tool(wait_here)])
def test_functions_and_dspy_tools_take_the_declaration(source: Any) -> None:
    environment = from_functions([source], effects="read", parallel=["wait_here"])
    began = time.perf_counter()
    assert values(run(reads("wait_here", "a", "b", "c"), source=environment)) == ["a", "b", "c"]
    assert time.perf_counter() - began < LIMIT


@pytest.mark.parametrize("awaited", [False, True])
def test_a_call_that_hangs_leaves_the_results_of_the_others(awaited: bool) -> None:
    execution = run(reads("hang", "a", "b", "c"), awaited=awaited)
    assert values(execution) == ["a", "timeout", "c"]
    first = Step(id="n", tool="note", args={"name": "a"})
    more = [Step(id=f"n{name}", tool="note", args={"name": name}) for name in "bc"]
    each = Step(id="r", tool="hang", args={"name": "$item"}, for_each="$nc")
    last = run(Trajectory(steps=(first, *more, each)), awaited=awaited).observations[-1]
    assert [pair["result"] for pair in last.value] == ["a", "c"]
    assert last.fault is not None
    assert (last.status, last.calls, last.fault.kind) == ("error", 3, "timeout")


def test_a_coroutine_that_never_awaits_takes_nothing_from_the_others() -> None:
    assert values(run(reads("block", "a", "b", "c"))) == ["timeout", "b", "c"]


def test_a_batch_that_is_cancelled_is_left_behind() -> None:
    async def cancelled() -> float:
        body = execute(reads("hang", "b", "b", "b"), SessionFactory(Slow).open(None))
        began = time.perf_counter()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(run_async(body), 0.05)
        return time.perf_counter() - began

    assert asyncio.run(cancelled()) < 0.25


def test_what_is_not_declared_stays_in_the_thread_of_its_environment() -> None:
    plan = Trajectory(steps=tuple(Step(id=f"s{n}", tool="own_thread") for n in range(3)))
    assert len(set(values(run(plan)))) == 1
    apart = Trajectory(steps=tuple(Step(id=f"s{n}", tool="thread") for n in range(3)))
    assert len(set(values(run(apart)))) == 3


def test_no_more_run_at_once_than_the_limit() -> None:
    plan = Trajectory(steps=tuple(Step(id=f"s{n}", tool="thread") for n in range(2 * AT_ONCE)))
    assert len(set(values(run(plan)))) == AT_ONCE


@pytest.mark.parametrize("awaited", [False, True])
def test_a_parallel_read_may_not_write(awaited: bool) -> None:
    execution = run(reads("cheat", "a", "b"), awaited=awaited)
    faults = [o.fault.message for o in execution.observations if o.fault is not None]
    assert len(faults) == 2
    assert all("PermissionError" in fault for fault in faults)


def test_the_context_reaches_the_threads() -> None:
    plan = Trajectory(steps=tuple(Step(id=f"s{n}", tool="model") for n in range(2)))
    with dspy.context(lm="this one"):
        assert values(run(plan)) == ["this one", "this one"]


def test_callbacks_hear_of_each_call_in_turn() -> None:
    heard: list[str] = []

    class Listener(BaseCallback):  # type: ignore[misc]
        def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
            heard.append(f"start {inputs['kwargs']['name']}")

        def on_tool_end(self, call_id: str, outputs: Any, exception: Exception | None = None) -> None:
            heard.append(f"end {outputs}")

    with dspy.context(callbacks=[Listener()]):
        run(reads("hang", "a", "c"))
    assert heard == ["start a", "end a", "start c", "end c"]


@pytest.mark.parametrize("option", ["parallel", "pure"])
def test_only_reads_may_be_declared(option: str) -> None:
    with pytest.raises(ConfigurationError, match=f'{option} is for tools that only read.*declare effect="read"'):
        tool(effect="write", **{option: True})  # type: ignore[call-overload, unused-ignore]
    with pytest.raises(ConfigurationError, match=f"{option} is for tools that only read.*'wait_here' is write"):
        from_functions([wait_here], **{option: ["wait_here"]})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=f"{option} names other, which is no tool"):
        from_functions([wait_here], effects="read", **{option: ["other"]})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"write \['wait_here'\]"):
        from_functions([wait_here], effects="read", **{option: "wait_here"})  # type: ignore[arg-type]
    declared = from_functions([wait_here], **{option: True}).toolbox  # type: ignore[arg-type]
    assert not getattr(declared.tools["wait_here"], option)


def test_planners_are_told_nothing_of_it() -> None:
    plain = from_functions([wait_here], effects="read").toolbox
    declared = from_functions([wait_here], effects="read", parallel=True, pure=True).toolbox
    assert declared.render_tools() == plain.render_tools()


# ------------------------------------------------------------------------------------------- as if made one by one


def shelf(parallel: bool, pure: bool) -> type[Environment]:
    class Shelf(Environment):
        def __init__(self) -> None:
            self.things = ["ball", "cup"]

        @tool(effect="read", parallel=parallel)
        def look(self, name: str = "") -> list[str]:
            return self.things

        @tool(effect="read", parallel=parallel, pure=pure)
        def spell(self, name: str) -> list[str]:
            if name == "cup":
                raise ValueError("no cups")
            return list(name)

        @tool(effect="read", parallel=parallel)
        async def find(self, name: str) -> int:
            await asyncio.sleep(0)
            return self.things.index(name)

        @tool(effect="read")
        def count(self, name: str = "") -> int:
            return len(self.things)

        @check(fits=str)
        def starting(self, name: str) -> CheckResult:
            return CheckResult(True, fits=[thing for thing in self.things if thing[:1] == name[:1]])

        @tool(effect="write")
        def put(self, name: str) -> list[str]:
            self.things.append(name)
            return self.things

        @tool(effect="irreversible")
        def burn(self, name: str = "") -> None:
            self.things.clear()

    return Shelf


class Watcher(Supervisor):
    """Notes what it is told; refuses the call of a number."""

    def __init__(self, refused: int) -> None:
        self.left = refused
        self.approved: list[Any] = []
        self.told: list[Any] = []

    def approve(self, step: str, number: int, args: Mapping[str, Any]) -> None:
        if not self.left:
            raise RuntimeError(f"refused {step}")
        self.left -= 1
        self.approved.append((step, number, dict(args)))

    def called(self, step: str, number: int, args: Mapping[str, Any], result: CallResult) -> bool:
        self.told.append((step, number, dict(args), result.value, result.fault))
        return False

    def observed(self, observation: Observation) -> None:
        self.told.append(observation.model_dump(exclude={"seconds"}))


def account(
    kind: type[Environment], plan: Trajectory, budget: int, refused: int, awaited: bool, replayed: int | None = None
) -> Any:
    """All that can be told of a run, but how long it took; with `replayed`, of one in the replay tier that goes on from
    a run of so many steps.
    """
    permits: list[bool] = []
    watcher = Watcher(refused)

    def permit(reused: bool) -> None:
        if not reused and permits.count(False) == budget:
            raise BudgetExhausted("tool_calls", "spent")
        permits.append(reused)

    source, base = SessionFactory(kind), None
    if replayed is not None:
        kind.forkable = False
        base = run_sync(execute(Trajectory(steps=plan.steps[:replayed]), source.open(None)))
    session = source.open(None) if base is None else source.reopen(base.session, None)
    body = execute(plan, session, permit=permit, supervisor=watcher, base=base)
    try:
        done = asyncio.run(run_async(body)) if awaited else run_sync(body)
    except RuntimeError as error:
        return str(error), permits, watcher.approved, watcher.told
    dumped = done.execution.model_dump()
    for observation in dumped["observations"]:
        del observation["seconds"]
    return dumped, done.reach, permits, watcher.approved, watcher.told


ARGUMENTS = st.sampled_from(["ball", "cup", "hat", "$s0", "$s0[0]", "$s1[0]", "$s2[-1]", "$s9"])
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["look", "spell", "find", "spell", "find", "count", "put", "burn", "lok", "starting"]),
        ARGUMENTS,
        st.sampled_from([None, None, "$s0", "$s1"]),
        st.sampled_from(["", "", "length(@) > `2`"]),
        st.sampled_from(["", "", "", "", "", "", "", "not sure"]),
    ),
    max_size=7,
)


# What is taken over in the replay tier is not read ahead of its turn.
TAKEN_OVER = [("spell", "cup", None, "", ""), ("spell", "ball", None, "", "")]


@settings(max_examples=60, deadline=None)
@example(drawn=TAKEN_OVER, budget=9, refused=9, pure=False, awaited=False, replayed=2)
@given(
    drawn=STEPS, budget=st.integers(0, 12), refused=st.integers(0, 20), pure=st.booleans(), awaited=st.booleans(),
    replayed=st.none() | st.integers(0, 7),
)  # fmt: skip
def test_a_run_at_once_is_a_run_one_by_one(
    drawn: Any, budget: int, refused: int, pure: bool, awaited: bool, replayed: int | None
) -> None:
    plan = Trajectory(
        steps=tuple(
            Step(
                id=f"s{n}", tool=name, args={"name": "$item" if each else given}, for_each=each, expects=expects,
                stopped=stopped,
            )
            for n, (name, given, each, expects, stopped) in enumerate(drawn)
        )
    )  # fmt: skip
    serial, parallel = (
        account(shelf(at_once, pure), plan, budget, refused, awaited, replayed) for at_once in (False, True)
    )
    assert parallel == serial


def test_a_batch_makes_no_more_calls_than_the_budget_leaves() -> None:
    plan = reads("spell", "a", "b", "c", "d")
    told = account(shelf(True, False), plan, 2, 99, False)
    assert told[1:4] == (2, [False, False], [("s0", 0, {"name": "a"}), ("s1", 0, {"name": "b"})])
