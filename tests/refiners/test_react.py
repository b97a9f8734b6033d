"""The loop of `dspy.ReAct` in our sessions: what it did is a trajectory like any other, and nothing is done twice."""

from __future__ import annotations

import asyncio

import dspy
import pytest
from dspy.lm15 import AuthError, ContextLengthError, ServerError
from dspy.utils.exceptions import LMAuthError

from pivot_dspy import Budget, PlanningFailed, ReAct, Trajectory
from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.errors import ConfigurationError
from tests.acting import call
from tests.refiners import agents
from tests.refiners.agents import tools
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, scripted
from tests.stores import Calls, Store

FOUND = [call("find", color="red", size="L"), call("details", ids=["p2", "p4"])]
BOUGHT = [*FOUND, call("add", product_id="p2"), call("finish")]
ANSWER = {"reasoning": "p2 is cheaper.", "answer": "p2"}


def made(turns, *args, **scripts):
    return agents.made(ReAct, *args, **{"react": turns, "extract": ANSWER, **scripts})


def reacted(turns, *args, **scripts):
    return agents.acted(ReAct, *args, **{"react": turns, "extract": ANSWER, **scripts})


def test_what_the_loop_did_is_a_trajectory_with_literal_arguments(snapshot):
    result, engine, calls = reacted(BOUGHT)
    assert result.verified and result.answer == "p2" and tools(result) == ["find", "details", "add", "submit"]
    assert [step.args for step in result.trajectory.steps][1:3] == [{"ids": ["p2", "p4"]}, {"product_id": "p2"}]
    assert [step.why for step in result.trajectory.steps] == ["I call find.", "I call details.", "I call add.", None]
    assert [prompt.phase for prompt in engine.prompts] == ["settle", *["react"] * 4, "extract", "judge"]
    once = ["find", "details", "add p2"]
    assert calls == ["colors", *once, *once]  # in the loop, and by the verification from the start
    phases = result.ledger.phases
    assert phases["act"].lm_calls == 4 and phases["act"].tool_calls == 3 and phases["extract"].lm_calls == 1
    assert phases["inspect"].tool_calls == 0 and phases["inspect"].tool_calls_reused == 3
    snapshot("refiners/react_act.txt", engine.last("react").text)
    snapshot("refiners/react_extract.txt", engine.last("extract").text)


def test_a_call_that_fails_is_shown_and_is_no_part_of_the_trajectory():
    result, engine, calls = reacted([call("add", product_id="p9"), call("find", hue=1), *BOUGHT])
    shown = engine.last("react")
    assert shown.section("observation_0") == "Execution error in add: LookupError: no product is called 'p9'"
    assert shown.section("observation_1").startswith("Execution error in find: find: hue: not a parameter; expected f")
    assert result.verified and tools(result) == ["find", "details", "add", "submit"] and calls.count("add p9") == 1


class Jar(Environment):
    """A tool that does half of its work before it fails."""

    def __init__(self) -> None:
        self.coins = 0

    @tool(effect="write")
    def put(self, coins: int) -> int:
        self.coins += coins
        if coins > 5:
            raise ValueError("too many")
        return self.coins

    @check
    def holds(self, coins: int) -> tuple[bool, str]:
        return self.coins == coins, f"{self.coins} coins"


@pytest.mark.parametrize("forkable", [True, False])
def test_what_a_failed_call_did_before_it_failed_is_dropped(forkable):
    jar = type("Jar", (Jar,), {"forkable": forkable})
    turns = [call("put", coins=1), call("put", coins=9), call("put", coins=2), call("finish")]
    asked = {"requirements": [{"check": "holds", "args": {"coins": 3}}]}
    result, engine, _ = reacted(turns, jar, settle=asked, extract={"reasoning": "x", "answer": "3"})
    assert [step.args for step in result.trajectory.steps] == [{"coins": 1}, {"coins": 2}, {"answer": "3"}]
    assert result.tier == ("fork" if forkable else "replay") and result.loss.requirements == 0
    assert engine.last("react").section("observation_2") == ("3" if forkable else "12")


def test_max_iters_ends_the_loop_and_the_outputs_are_extracted():
    result, engine, _ = reacted([FOUND[0]] * 9, options={"max_iters": 3})
    assert engine.count("react") == 3 and engine.count("extract") == 1
    assert tools(result) == ["find", "find", "find", "submit"]


def test_what_is_irreversible_runs_at_commit_and_only_then():
    ordered = {"id": "R3", "text": "It is ordered.", "call": {"tool": "order", "args": {}}}
    settled = {"requirements": [LARGE, ONE, ordered]}
    result, engine, calls = reacted([*BOUGHT[:3], call("order"), call("finish")], settle=settled)
    assert "waits for commit" in engine.last("react").section("observation_3")
    assert result.verified and result.verdict.withheld == ("c4",) and "order" not in calls
    result.commit()
    assert calls[-4:] == ["find", "details", "add p2", "order"]


def test_in_the_live_tier_nothing_is_written():
    calls = Calls()
    store = Store(calls)
    store.forkable = False
    result, engine, _ = reacted(BOUGHT, store)
    assert result.tier == "live" and "add p2" not in calls and not result.verified
    assert "waits for commit" in engine.last("react").section("observation_2")


def test_dollars_are_text():
    result, _, _ = reacted([call("find", color="$a.ids"), call("finish")], extract={"reasoning": "x", "answer": "$c1"})
    assert result.execution.observations[0].args == {"color": "$a.ids"} and result.answer == "$c1"


def test_the_budget_stops_it_with_what_was_done():
    result, engine, _ = reacted(BOUGHT, options={"budget": Budget(lm_calls=3)})
    assert engine.count() == 3 and result.exhausted and tools(result) == ["find", "details"]
    result, engine, calls = reacted(BOUGHT, options={"budget": Budget(tool_calls=2)})
    assert calls == ["colors", "find"] and engine.count("react") == 1 and result.exhausted
    result, engine, _ = reacted(BOUGHT, options={"budget": Budget(lm_calls=1)})
    assert engine.count() == 1 and result.exhausted and not result.trajectory.steps


def test_an_answer_that_cannot_be_read_is_asked_for_once_more():
    result, engine, _ = reacted([BOUGHT[0], GARBAGE, GARBAGE, *BOUGHT[1:]])
    assert result.verified and engine.prompts[4].temperature == 1.0


@pytest.mark.parametrize("broken", [[GARBAGE] * 4, [ServerError("500")]])
def test_a_model_that_fails_leaves_what_was_done(broken):
    result, _, _ = reacted([*BOUGHT[:3], *broken])
    assert tools(result) == ["find", "details", "add"] and not result.verified
    assert [event.message[:5] for event in result.history if event.kind == "failure"][:1] == ["act: "]
    with pytest.raises(PlanningFailed, match="no call: act: ") as raised:
        reacted(broken)
    assert raised.value.__cause__ is not None
    with pytest.raises(PlanningFailed, match="no requirements"):
        reacted(BOUGHT, settle=broken[0])


def test_outputs_that_cannot_be_extracted_are_composed():
    result, _, _ = reacted(BOUGHT, extract=GARBAGE, compose={"considerations": "x", "answer": "p2"})
    assert result.verified and result.trajectory.operator == "compose"


def test_a_prompt_that_is_too_long_loses_its_oldest_call():
    def react(prompt):
        number = len([name for name in prompt.sections if name.startswith("thought_")])
        if number > 1:
            return ContextLengthError("too long")
        return call("find", color="red")

    result, engine, _ = reacted(react, options={"max_iters": 4})
    assert tools(result) == ["find"] * 4 + ["submit"]
    assert "observation_0" not in engine.last("react").text and "observation_2" in engine.last("react").text


@pytest.mark.parametrize("phase", ["settle", "react"])
def test_nothing_hides_that_the_model_cannot_be_reached_at_all(phase):
    scripts = {"turns": BOUGHT, "turns" if phase == "react" else phase: AuthError("no such key")}
    with pytest.raises(LMAuthError):
        reacted(**scripts)


def test_what_was_called_comes_back_where_the_model_can_be_reached_no_more():
    result, _, _ = reacted(BOUGHT, extract=AuthError("no such key"))
    assert tools(result) and not result.verified and result.failures[0].startswith("extract: LMAuthError")


def test_requirements_of_the_task_are_not_settled_again_and_the_model_sees_those_of_the_user():
    result, engine, _ = reacted(BOUGHT, called={"requirements": [LARGE]})
    assert result.verified and engine.count("settle") == 0
    assert engine.last("react").section("user_requirements") == 'R1: item {"color": "red", "size": "L"}'


def test_a_trajectory_that_is_given_is_run_and_the_loop_begins_only_if_it_falls_short():
    result, engine, _ = reacted(BOUGHT, called={"trajectory": Trajectory.model_validate({"steps": RIGHT})})
    assert result.verified and engine.count("react") == 0
    result, engine, _ = reacted(BOUGHT, called={"trajectory": Trajectory.model_validate({"steps": WRONG})})
    assert result.verified and engine.count("react") == 4 and result.trajectory.operator == "react"
    result, _, _ = reacted(ServerError("500"), called={"trajectory": Trajectory.model_validate({"steps": WRONG})})
    assert result.answer == "p1" and not result.verified


LOOPS: list[object] = []
"""The event loops in which a `Bulb` was looked at."""


class Bulb(Environment):
    shared = ("LOOPS",)

    @tool(effect="read")
    async def look(self) -> int:
        LOOPS.append(asyncio.get_running_loop())
        return 1


async def test_async_tools_run_in_the_loop_of_the_caller():
    module, lm = made([call("look"), call("finish")], Bulb, settle={"requirements": []})
    with dspy.context(lm=lm):
        result = await module.acall(request=REQUEST)
    assert tools(result) == ["look", "submit"] and set(LOOPS) == {asyncio.get_running_loop()}


async def test_a_tool_that_may_not_be_called_from_here_is_no_observation():
    async def look() -> int:
        return 1

    # A tool of an MCP session is bound to the loop that it was made in; a sync call would wait for itself there.
    environment = from_functions([look], effects="read")
    spec = environment.toolbox.tools["look"]
    object.__setattr__(spec, "home", asyncio.get_running_loop())
    module, lm = made([call("look"), call("finish")], environment)
    with dspy.context(lm=lm), pytest.raises(ConfigurationError, match="needs this event loop"):
        module(request=REQUEST)


def test_instructions_that_an_optimizer_wrote_are_used_where_the_tools_were_known():
    module, lm = made(BOUGHT, Store)
    module.react.signature = module.react.signature.with_instructions("Buy with care.")
    module.extract.predict.demos = [dspy.Example(request="Buy a hat.", reasoning="It is a hat.", answer="p7")]
    with dspy.context(lm=lm):
        assert module(request=REQUEST).verified
    assert "Buy with care." in lm.engine.last("react").text and "p7" in lm.engine.last("extract").text
    unknown, lm = made(BOUGHT, lambda: Store())
    unknown.react.signature = unknown.react.signature.with_instructions("Buy with care.")
    with dspy.context(lm=lm), pytest.raises(ConfigurationError, match="rewritten before its tools were known"):
        unknown(request=REQUEST)


def test_the_trace_names_the_predictors_of_the_module():
    module, lm = made(BOUGHT, Store)
    with dspy.context(lm=lm, trace=[]):
        module(request=REQUEST)
        names = {id(predictor): name for name, predictor in module.named_predictors()}
        assert [names[id(one)] for one, _, _ in dspy.settings.trace] == [
            "settle.predict", *["react"] * 4, "extract.predict", "verify.predict",
        ]  # fmt: skip


def test_inputs_may_have_the_names_of_our_own_parameters():
    lm = scripted(settle={"requirements": [LARGE, ONE]}, react=BOUGHT, extract=ANSWER)
    with dspy.context(lm=lm):
        module = ReAct("request, phase, history, episode -> answer", Store, timeout=None)
        assert module(request=REQUEST, phase="one", history="none", episode="first").verified
    assert lm.engine.last("react").section("history") == "none"


class Finishing(Environment):
    @tool(effect="read")
    def finish(self) -> int:
        return 1


def test_what_cannot_work_is_refused():
    with pytest.raises(ConfigurationError, match="max_iters is at least 1"):
        ReAct("request -> answer", Store, max_iters=0)
    with pytest.raises(ConfigurationError, match="'max_iters' has a name that dspy.ReAct uses"):
        ReAct("max_iters -> answer", Store)
    with pytest.raises(ConfigurationError, match="rename the tool"):
        ReAct("request -> answer", Finishing)
