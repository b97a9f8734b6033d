"""What `dspy.Refine` does, done by it: N rollouts at temperature 1, with its advice in the next plan's prompt."""

from __future__ import annotations

import asyncio
import threading

import dspy
import pytest
from dspy.lm15 import AuthError, ServerError
from dspy.predict.refine import Refine
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import LMAuthError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, DspyRefine, PlanningFailed, Trajectory
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.episode.context import TaskContext, orient
from pivot_dspy.episode.record import RunRecord
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.flow import run_sync
from pivot_dspy.phases.base import empty, without
from tests.refiners.loops import LARGE, NICE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, Scripted, plan, scripted, submit
from tests.stores import Calls, Store

EMPTY = [submit(answer="p2")]
LOST = [None] * 2  # one plan: it is asked for once more, with what was wrong


def advice(text="Step a: look for size L.", module="plan.predict"):
    return {"discussion": "The plan looked for size M.", "advice": {module: text}}


def made(plans, environment=None, options=None, **scripts):
    said = [GARBAGE if one is None else plan(one, [LARGE, ONE]) for one in plans]
    lm = scripted(**{"plan": said, "feedback": lambda _: advice(), **scripts})
    return DspyRefine("request -> answer", environment or Store, timeout=None, **(options or {})), lm


def refined(plans, options=None, call=None, **scripts):
    module, lm = made(plans, options=options, **scripts)
    with dspy.context(lm=lm):
        return module(request=REQUEST, **(call or {})), lm.engine


def phases(engine):
    return [prompt.phase for prompt in engine.prompts]


def hints(engine):
    return [prompt.sections.get("hint_") for prompt in engine.prompts if prompt.phase == "plan"]


def test_the_advice_on_a_run_stands_in_the_prompt_of_the_next_plan(snapshot):
    result, engine = refined([WRONG, RIGHT])
    assert result.verified and phases(engine) == ["plan", "feedback", "plan"]
    assert hints(engine) == [None, "Step a: look for size L."]
    snapshot("refiners/dspy_refine_feedback.txt", engine.last("feedback").text)
    snapshot("refiners/dspy_refine_plan.txt", engine.last("plan").text)
    told = next(event.diagnosis for event in result.history if event.kind == "reflect")
    assert told == "The plan looked for size M.\nStep a: look for size L."
    assert result.ledger.phases["feedback"].lm_calls == 1 and result.ledger.phases["plan"].lm_calls == 2


def test_the_advice_replaces_the_one_before():
    _, engine = refined([WRONG, EMPTY, WRONG], feedback=[advice("First."), advice("Second.")])
    assert hints(engine) == [None, "First.", "Second."]


class Plain(Store):
    policy = ""
    orientation = ()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    told=st.booleans(),
    asked=st.booleans(),
    environment=st.sampled_from([Store, Plain]),
    note=st.sampled_from([None, "", "Soon."]),
    adapter=st.sampled_from([dspy.ChatAdapter(), dspy.JSONAdapter()]),
)
def test_the_hint_arrives_whichever_sections_are_left_out(told, asked, environment, note, adapter):
    lm = scripted(plan=lambda _: plan(WRONG, [LARGE] if asked else []), feedback=lambda _: advice())
    required = [{"check": "only", "args": {"count": 2}}] if told else []
    with dspy.context(lm=lm, adapter=adapter):
        made = DspyRefine("request, note -> answer", environment, timeout=None, N=2, requirements=required, threshold=1)
        made(request=REQUEST, note=note)
    if told or asked:
        assert hints(lm.engine) == [None, "Step a: look for size L."]


class Heard(BaseCallback):
    """The settings of the language model at each call."""

    def __init__(self):
        self.settings = []

    def on_lm_start(self, call_id, instance, inputs):
        self.settings.append((instance.kwargs.get("rollout_id"), instance.kwargs.get("temperature")))


def test_each_attempt_is_a_rollout_of_its_own():
    heard = Heard()
    with dspy.context(callbacks=[heard]):
        refined([WRONG, WRONG, WRONG])
    assert heard.settings == [(0, 1.0), (None, None), (1, 1.0), (None, None), (2, 1.0)]


@pytest.mark.parametrize("count", [1, 2, 4])
def test_n_attempts_are_made_and_advice_is_asked_for_between_them(count):
    result, engine = refined([WRONG] * 4, {"N": count})
    assert engine.count("plan") == count and engine.count("feedback") == count - 1
    assert not result.verified and sum(event.kind == "inspect" for event in result.history) == count


@pytest.mark.parametrize(("threshold", "plans"), [(0.0, 1), (0.4, 2), (1.0, 3)])
def test_the_threshold_is_a_reward(threshold, plans):
    result, engine = refined([EMPTY, WRONG, WRONG], {"threshold": threshold})
    rewards = [1 - event.loss.total for event in result.history if event.kind == "inspect"]
    assert len(rewards) == engine.count("plan") == plans and engine.count("feedback") == plans - 1
    assert all(reward < threshold for reward in rewards[:-1])


def test_the_best_attempt_is_returned():
    result, _ = refined([WRONG, EMPTY, EMPTY])
    losses = [event.loss.total for event in result.history if event.kind == "inspect"]
    assert result.loss.total == losses[0] == min(losses) < losses[1]


def test_what_is_asked_beside_the_plan_is_not_hinted():
    steps = [*RIGHT[:3], submit()]
    result, engine = refined(
        [], plan=lambda prompt: plan(steps if "hint_" in prompt.sections else EMPTY, [LARGE, NICE]),
        compose={"considerations": "x", "answer": "It is p2."},
    )  # fmt: skip
    assert result.verified and phases(engine) == ["plan", "feedback", "plan", "compose", "judge"]
    assert "hint_" in engine.last("plan").sections
    assert "hint_" not in engine.last("compose").text and "hint_" not in engine.last("judge").text
    assert not [event for event in result.history if event.kind == "failure"]


@pytest.mark.parametrize(("calls", "asked"), [(1, ["plan"]), (2, ["plan", "feedback"])])
def test_the_budget_stops_it_before_the_next_call_also_where_dspy_makes_it(calls, asked):
    result, engine = refined([WRONG, RIGHT], {"budget": Budget(lm_calls=calls)})
    assert phases(engine) == asked and result.exhausted and result.answer == "p1"


@pytest.mark.parametrize("broken", [GARBAGE, ServerError("500")])
def test_advice_that_cannot_be_had_is_on_record_and_costs_no_attempt(broken):
    result, engine = refined([WRONG, RIGHT], feedback=broken)
    assert result.verified and hints(engine) == [None, None]
    assert [event.message[:10] for event in result.history if event.kind == "failure"] == ["feedback: "]


def test_nothing_hides_before_the_first_plan_that_the_model_cannot_be_reached_at_all():
    with pytest.raises(LMAuthError):
        refined([], plan=AuthError("no such key"))


@pytest.mark.parametrize("phase", ["feedback", "judge"])
def test_a_lasting_error_after_the_first_plan_ends_it_with_the_best_so_far(phase):
    written = plan(RIGHT, [NICE]) if phase == "judge" else plan(WRONG, [LARGE])
    result, engine = refined([], **{"plan": lambda _: written, phase: AuthError("no such key")})
    assert not result.verified and phases(engine) == ["plan", phase] and "LMAuthError" in result.failures[0]


def test_plans_that_cannot_be_read_are_passed_over_as_often_as_fail_count_allows():
    result, engine = refined([*LOST, WRONG, RIGHT])
    assert result.verified and engine.count("plan") == 4
    result, _ = refined([WRONG, *LOST, *LOST, *LOST], {"N": 4})
    assert result.answer == "p1"  # by the default no number of failures loses the best so far
    result, engine = refined([WRONG, *LOST, RIGHT], {"fail_count": 0})
    assert result.answer == "p1" and engine.count("plan") == 3
    with pytest.raises(PlanningFailed) as raised:
        refined(LOST * 3)
    assert raised.value.ledger.usage.lm_calls == 6 and raised.value.__cause__ is not None


def test_a_trajectory_that_is_given_is_the_first_attempt():
    first = Trajectory.model_validate({"steps": WRONG})
    result, engine = refined([RIGHT], call={"trajectory": first}, settle={"requirements": [LARGE, ONE]})
    assert result.verified and phases(engine) == ["settle", "feedback", "plan"]
    shown = engine.last("feedback")
    assert shown.section("program_trajectory") == "[]" and '"size": "M"' in shown.section("program_outputs")
    assert hints(engine) == ["Step a: look for size L."]


def test_the_trace_of_the_caller_holds_the_best_attempt():
    with dspy.context(trace=[]):
        refined([WRONG, RIGHT])
        feedback, (_, shown, best) = dspy.settings.trace
    assert "advice" in feedback[2] and best.steps[0]["args"]["size"] == "L" and "hint_" in shown
    with dspy.context(trace=None):
        assert refined([WRONG, RIGHT])[0].verified


LOOPS: list[object] = []
"""The event loops in which a `Lamp` was looked at."""


class Lamp(Environment):
    """An async tool that tells the loop that it runs in."""

    shared = ("LOOPS",)

    @tool(effect="read")
    async def look(self) -> int:
        LOOPS.append(asyncio.get_running_loop())
        return 1


async def test_awaited_its_tools_and_events_stay_in_the_loop():
    where = []
    module, lm = made([], Lamp, {"on_event": lambda event: where.append(threading.current_thread())},
                      plan=lambda _: plan([{"id": "a", "tool": "look"}]))  # fmt: skip
    with dspy.context(lm=lm):
        result = await module.acall(request=REQUEST)
    assert hints(lm.engine) == [None, "Step a: look for size L.", "Step a: look for size L."]
    assert not result.verified and set(LOOPS) == {asyncio.get_running_loop()}
    assert set(where) == {threading.current_thread()}


async def test_many_can_be_awaited_at_once():
    module, lm = made([], plan=lambda prompt: plan(RIGHT if "hint_" in prompt.sections else WRONG, [LARGE, ONE]))
    with dspy.context(lm=lm, async_max_workers=2):
        results = await asyncio.gather(*(module.acall(request=REQUEST) for _ in range(12)))
    assert all(result.verified for result in results)


async def test_a_call_that_is_cancelled_makes_no_further_attempt():
    begun, release = threading.Event(), threading.Event()

    def slow(prompt):
        begun.set()
        release.wait(1)  # whole: it holds the event loop
        return plan(WRONG, [LARGE])

    module, lm = made([], plan=slow)
    with dspy.context(lm=lm):
        task = asyncio.create_task(module.acall(request=REQUEST))
        await asyncio.to_thread(begun.wait, 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    release.set()
    await asyncio.sleep(0.1)
    assert phases(lm.engine) == ["plan"]


class Demanding(dspy.ChatAdapter):
    def __init__(self, model):
        super().__init__()


def test_the_hint_arrives_through_an_adapter_that_takes_arguments():
    module, lm = made([WRONG, RIGHT])
    with dspy.context(lm=lm, adapter=Demanding("x")):
        assert module(request=REQUEST).verified
    assert hints(lm.engine) == [None, "Step a: look for size L."]


class PlanOnce(dspy.Module):
    """A program around PLAN, for `dspy.Refine` itself."""

    def __init__(self, plan, planning):
        super().__init__()
        self.plan, self.planning = plan, planning

    def forward(self, **inputs):
        return dspy.Prediction(trajectory=self.plan(planning=self.planning).trajectory, loss=1.0)


def test_a_plan_is_asked_for_as_dspy_refine_itself_asks():
    module, lm = made([], options={"N": 2, "requirements": [LARGE]}, plan=lambda _: plan(WRONG, []))
    with dspy.context(lm=lm, adapter=dspy.ChatAdapter()):
        module(request=REQUEST)
    context = TaskContext.open(module.session_factory, module.signature, {"request": REQUEST}, required=[LARGE])
    run_sync(orient(context, RunRecord(Budget())))
    planning = context.planning_input("")
    told = planning.fields() | {"also_read": "", "tried": ""}
    module.plan.predict.signature = without(module.plan.predict.signature, empty(told))
    program = PlanOnce(module.plan, planning)
    theirs = scripted(plan=lambda _: plan(WRONG, []), feedback=lambda _: advice())
    with dspy.context(lm=theirs, adapter=dspy.ChatAdapter(), trace=[]):
        Refine(program, 2, lambda inputs, prediction: 1.0 - prediction.loss, 1.0)(request=REQUEST)
    context.close()
    assert phases(theirs.engine) == phases(lm.engine) == ["plan", "feedback", "plan"]
    assert [prompt.text for prompt in theirs.engine.prompts if prompt.phase == "plan"] == [
        prompt.text for prompt in lm.engine.prompts if prompt.phase == "plan"
    ]
    for section in ("modules_defn", "program_inputs", "program_trajectory", "module_names", "target_threshold"):
        assert theirs.engine.last("feedback").section(section) == lm.engine.last("feedback").section(section)


def test_what_cannot_work_is_refused():
    for bad in ({"N": 0}, {"threshold": 2}, {"fail_count": -1}):
        with pytest.raises(ConfigurationError, match=rf"{next(iter(bad))} (is at least [01]|lies in \[0, 1\]); got"):
            DspyRefine("request -> answer", Store, **bad)
    with pytest.raises(ConfigurationError, match="rename it"):
        DspyRefine("hint_ -> answer", Store)
    module, lm = made([RIGHT])
    with dspy.context(lm=None), pytest.raises(ConfigurationError, match="needs a dspy.LM"):
        module(request=REQUEST)
    assert isinstance(lm.engine, Scripted) and not lm.engine.prompts


def test_the_models_that_are_set_on_the_module_are_asked_for_advice_too():
    module, lm = made([WRONG, RIGHT])
    module.set_lm(lm)
    with dspy.context(lm=None):
        assert module(request=REQUEST).verified
    assert phases(lm.engine) == ["plan", "feedback", "plan"]


def test_a_model_that_is_set_on_plan_alone_is_asked_for_plans_and_advice_alone():
    module, planner = made([], plan=lambda _: plan([*RIGHT[:3], submit()], [LARGE, ONE]))
    module.plan.set_lm(planner)
    other = scripted(compose={"considerations": "x", "answer": "p2"})
    with dspy.context(lm=other):
        assert module(request=REQUEST).verified
    assert phases(planner.engine) == ["plan"] and phases(other.engine) == ["compose", "judge"]


def test_tools_are_not_run_for_what_was_run():
    calls = Calls()
    module, lm = made([WRONG, RIGHT], lambda: Store(calls))
    with dspy.context(lm=lm):
        result = module(request=REQUEST)
    assert result.verified and calls.count("find") == 3  # two attempts and the verification
