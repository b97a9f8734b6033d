"""Waiting for models and tools ends when the seconds of the budget are spent, in sync and in async code."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import dspy
import pytest
from dspy.lm15 import RateLimitError
from dspy.utils.callback import BaseCallback

from pivot_dspy import Budget, PlanningFailed, ReAct, Requirement
from pivot_dspy.environment.base import Environment, check, tool
from programs.comparison.ablations import PivotWithoutPatches
from tests.acting import call
from tests.refiners.loops import LARGE, MENDED, NICE, ONE, REQUEST, RIGHT, UNCHANGED, WRONG
from tests.scripted import AsyncScripted, Scripted, plan, scripted, step, submit
from tests.stores import Store

SECONDS = 1.0
MARGIN = 2.0
"""What a loaded machine may take beside the waiting."""


@pytest.fixture(scope="module", autouse=True)
def _imported():
    """What DSPy loads at the first call is no part of any deadline."""
    with dspy.context(lm=scripted(plan=plan(RIGHT, [LARGE]))):
        PivotWithoutPatches("request -> answer", Store)(request=REQUEST)
    turns = [call("find", color="red", size="L"), call("finish")]
    with dspy.context(lm=scripted(settle={"requirements": []}, react=turns, extract={"answer": "p1"})):
        ReAct("request -> answer", Store)(request=REQUEST)


class Hanging(Scripted):
    """Answers each phase but one, in which it waits until it is let go."""

    def __init__(self, hangs: str, **scripts: Any) -> None:
        super().__init__(**scripts)
        self.hangs = hangs
        self.let_go = threading.Event()
        self.hung = threading.Event()
        self.done = threading.Event()

    def complete(self, request):
        response = super().complete(request)
        if self.prompts[-1].phase == self.hangs:
            self.hung.set()
            self.let_go.wait(20)
            self.done.set()
        return response


class AsyncHanging(AsyncScripted):
    async def complete(self, request):
        response = Scripted.complete(self.engine, request)
        if self.engine.prompts[-1].phase == self.engine.hangs:
            self.engine.hung.set()
            await asyncio.sleep(20)
        return response


def timed(module, lm, awaited=False, seconds=SECONDS, **inputs):
    began = time.monotonic()
    try:
        with dspy.context(lm=lm):
            result = asyncio.run(module.acall(**inputs)) if awaited else module(**inputs)
    finally:
        elapsed = time.monotonic() - began
        assert elapsed < seconds + MARGIN, elapsed
    return result


def model(engine: Hanging) -> dspy.LM:
    return dspy.LM("scripted/model", engine=engine, async_engine=AsyncHanging(engine), cache=False, num_retries=0)


NEVER = Requirement(id="L", test=lambda run: False)
CASES = [
    ("evolve", {"plan": plan(WRONG, [LARGE, ONE])}, []),
    ("judge", {"plan": plan(RIGHT, [NICE])}, []),
    ("compose", {"plan": plan([*RIGHT[:3], submit()], [LARGE])}, []),
    ("localise", {"plan": plan(RIGHT), "evolve": UNCHANGED}, [NEVER]),
    ("audit", {"plan": plan(WRONG, [LARGE]), "evolve": UNCHANGED}, []),
]


@pytest.mark.parametrize(
    ("phase", "scripts", "required", "awaited"), [*((*case, False) for case in CASES), (*CASES[0], True)]
)
def test_a_model_that_hangs_is_given_up_with_the_best_so_far(phase, scripts, required, awaited):
    engine = Hanging(phase, **{"audit": {"changes": []}, **scripts})
    pivot = PivotWithoutPatches("request -> answer", Store, requirements=required, budget=Budget(seconds=SECONDS))
    threads = threading.active_count()
    result = timed(pivot, model(engine), awaited, request=REQUEST)
    assert engine.hung.is_set() and not result.verified and result.exhausted.startswith("seconds: 1")
    booked = {"judge": "verify", "localise": "inspect"}.get(phase, phase)
    assert result.failures[-1].startswith(f"{booked}: LMTimeoutError: given up")
    assert result.ledger.usage.lm_calls == engine.count()
    engine.let_go.set()
    assert awaited or engine.done.wait(5)
    deadline = time.monotonic() + 5
    while threading.active_count() > threads and time.monotonic() < deadline:
        time.sleep(0.01)
    assert result.ledger.usage.lm_calls == engine.count()


@pytest.mark.parametrize("awaited", [False, True])
def test_before_there_is_a_plan_it_is_a_planning_failure(awaited):
    pivot = PivotWithoutPatches("request -> answer", Store, budget=Budget(seconds=SECONDS))
    with pytest.raises(PlanningFailed, match="no plan: plan: LMTimeoutError: given up") as raised:
        timed(pivot, model(Hanging("plan", plan=plan(RIGHT))), awaited, request=REQUEST)
    assert raised.value.ledger.usage.lm_calls == 1


@pytest.mark.parametrize("awaited", [False, True])
def test_the_wait_that_a_provider_asks_for_is_not_waited_out(awaited):
    lm = scripted(plan=plan(WRONG, [LARGE, ONE]), evolve=RateLimitError("slow down", retry_after=60), audit={})
    lm.num_retries = 3
    pivot = PivotWithoutPatches("request -> answer", Store, budget=Budget(seconds=SECONDS))
    result = timed(pivot, lm, awaited, request=REQUEST)
    assert result.answer == "p1" and result.exhausted and result.ledger.usage.lm_calls == 2


@pytest.mark.parametrize("hangs", ["react", "extract"])
def test_a_loop_that_hangs_gives_back_what_it_did(hangs):
    turns = [call("find", color="red", size="L"), call("add", product_id="p2"), call("finish")]
    engine = Hanging(hangs, settle={"requirements": [LARGE]}, react=turns)
    if hangs == "react":
        engine.scripts["react"] = turns[:2]
        engine.hangs = ""
        answered = engine.scripts["react"]
        engine.scripts["react"] = [*answered[:1], lambda prompt: setattr(engine, "hangs", "react") or answered[1]]
    seconds = 3 * SECONDS  # a settling and a turn come before the one that hangs
    react = ReAct("request -> answer", Store, budget=Budget(seconds=seconds))
    result = timed(react, model(engine), seconds=seconds, request=REQUEST)
    assert [step.tool for step in result.trajectory.steps][:1] == ["find"] and result.exhausted
    engine.let_go.set()


class Slow(Environment):
    """A tool that hangs, with a timeout of its own that is longer than anybody waits."""

    @tool(effect="write", timeout=60)
    def wait(self) -> str:
        """Waits."""
        time.sleep(9)
        return "done"

    @tool(effect="read", timeout=60)
    async def rest(self) -> str:
        """Waits without blocking."""
        await asyncio.sleep(9)
        return "done"


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize(("name", "timeout"), [("wait", 30), ("wait", None), ("rest", 30)])
def test_a_tool_call_gets_what_is_left_of_the_seconds(name, timeout, awaited):
    steps = [step("a", name), submit(answer="done")]
    pivot = PivotWithoutPatches("request -> answer", Slow, timeout=timeout, budget=Budget(seconds=SECONDS))
    began = time.monotonic()
    with dspy.context(lm=scripted(plan=plan(steps))):
        result = asyncio.run(pivot.acall(request="x")) if awaited else pivot(request="x")
    assert time.monotonic() - began < SECONDS + 1 + MARGIN  # an async tool gets a second to end
    assert not result.verified and result.exhausted.startswith("seconds: ")
    assert result.execution.by_step["a"].fault.kind == "timeout"


class HangingChecks(Store):
    """Each check hangs."""

    @check
    def only(self, count: int) -> bool:
        """The cart holds so many products."""
        time.sleep(SECONDS / 2)
        return True


def test_checks_that_hang_do_so_for_one_timeout_in_all():
    """Ten of them, each with a timeout of half of the seconds."""
    wanted = [{"id": f"R{n}", "check": "only", "args": {"count": n}} for n in range(10)]
    timeout = SECONDS / 3
    pivot = PivotWithoutPatches("request -> answer", HangingChecks, timeout=timeout, budget=Budget(seconds=SECONDS))
    began = time.monotonic()
    with dspy.context(lm=scripted(plan=plan(RIGHT, wanted), evolve=UNCHANGED, audit={"changes": []})):
        result = pivot(request=REQUEST)
    assert time.monotonic() - began < SECONDS + timeout + MARGIN and not result.verified


def test_what_is_asked_in_time_sees_the_context_and_is_booked_as_ever():
    class Seen(BaseCallback):
        def __init__(self):
            self.kinds = []

        def on_module_start(self, call_id, instance, inputs):
            self.kinds.append(type(instance).__name__)

        def on_lm_end(self, call_id, outputs, exception=None):
            self.kinds.append("lm")

    runs = []
    for budget in (Budget(), Budget(seconds=100)):
        seen, trace = Seen(), []
        lm = scripted(plan=plan(WRONG, [LARGE, ONE]), evolve=MENDED)
        with dspy.context(lm=lm, callbacks=[seen], trace=trace), dspy.track_usage() as usage:
            result = PivotWithoutPatches("request -> answer", Store, budget=budget)(request=REQUEST)
        phases = {name: used.model_dump() for name, used in result.ledger.phases.items()}
        runs.append((seen.kinds, [inputs for _, inputs, _ in trace], usage.get_total_tokens(), phases, len(lm.history)))
    assert runs[0] == runs[1] and runs[0][0].count("lm") == 2 and len(runs[0][1]) >= 2


def test_no_thread_is_paid_for_without_seconds(monkeypatch):
    began = []
    monkeypatch.setattr(threading.Thread, "start", lambda self: began.append(self.name))
    with dspy.context(lm=scripted(plan=plan(RIGHT, [LARGE]))):
        assert PivotWithoutPatches("request -> answer", Store, timeout=None)(request=REQUEST).verified
    assert not began


def test_who_is_given_up_asks_no_more_and_leaves_no_trace():
    """A phase whose first answer cannot be read would ask again; nobody waits for that any more."""
    engine = Hanging("evolve", plan=plan(WRONG, [LARGE, ONE]), evolve="I would rather talk.", audit={"changes": []})
    trace: list[Any] = []
    with dspy.context(trace=trace):
        pivot = PivotWithoutPatches("request -> answer", Store, budget=Budget(seconds=SECONDS))
        result = timed(pivot, model(engine), request=REQUEST)
    known, calls = len(trace), engine.count()
    engine.let_go.set()
    engine.done.wait(5)
    time.sleep(0.2)
    assert engine.count() == calls == 2 and len(trace) == known and result.ledger.usage.lm_calls == 2
