"""Programs over the tools in our sessions: what they did is a trajectory like any other, and nothing is done twice."""

from __future__ import annotations

import asyncio
import sys

import dspy
import pytest
from dspy.lm15 import ContextLengthError, ServerError

from pivot_dspy import Budget, CodeActing, ConfigurationError, ObservationBudget, PlanningFailed, Trajectory
from pivot_dspy.environment.base import Environment, tool
from tests.refiners import agents
from tests.refiners.agents import tools
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.refiners.test_base import state_of
from tests.scripted import GARBAGE
from tests.stores import Calls, Store


def turn(program, thought="I go on."):
    """A turn as the model writes it."""
    return {"thought": thought, "program": program}


LOOK = turn("found = find(color='red', size='L')\nprint(found['ids'])", "First I look.")
BUY = turn(
    "best = min(details(ids=found['ids']), key=lambda item: item['price'])\n"
    "cart = add(product_id=best['id'])\nsubmit(answer=cart['items'][0])\nprint('never')",
    "Then I buy the cheapest.",
)
BOUGHT = [LOOK, BUY]


def made(turns, *args, **scripts):
    return agents.made(CodeActing, *args, **{"code": turns, **scripts})


def acted(turns, *args, **scripts):
    return agents.acted(CodeActing, *args, **{"code": turns, **scripts})


def output_of(engine, number):
    return engine.last("code").section(f"output_{number}")


def test_what_programs_called_is_a_trajectory_with_literal_arguments(snapshot):
    result, engine, calls = acted(BOUGHT)
    assert result.verified and result.answer == "p2" and tools(result) == ["find", "details", "add", "submit"]
    assert [step.args for step in result.trajectory.steps][1:] == [
        {"ids": ["p2", "p4"]}, {"product_id": "p2"}, {"answer": "p2"},
    ]  # fmt: skip
    assert [prompt.phase for prompt in engine.prompts] == ["settle", "code", "code", "judge"]
    once = ["find", "details", "add p2"]
    assert calls == ["colors", *once, *once]  # by the programs, and by the verification from the start
    phases = result.ledger.phases
    assert phases["act"].lm_calls == 2 and phases["act"].tool_calls == 3
    assert phases["inspect"].tool_calls == 0 and phases["inspect"].tool_calls_reused == 3
    snapshot("refiners/code_acting.txt", engine.last("code").text)


def test_a_prompt_begins_with_the_one_before_it():
    _, engine, _ = acted([LOOK, turn("print(1)"), BUY])
    first, second, third = (prompt.text for prompt in engine.prompts if prompt.phase == "code")
    start = first.rindex("[[ ## trajectory ## ]]")
    assert start > 1500 and second[:start] == first[:start]
    shared = second.rindex("Respond with")
    assert third[:shared].rstrip() == second[:shared].rstrip()


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("add(product_id='p9')", "| line 1: RuntimeError: add: LookupError: no product is called 'p9'"),
        ("find(hue=1)", "RuntimeError: find: hue: not a parameter; expected find("),
        ("find('red', color='red')", "RuntimeError: find: give the arguments by name, each once"),
        ("fly()", "RuntimeError: fly: "),
        ("submit(price=1)", "RuntimeError: submit: price: not an output field; expected submit(answer)"),
        ("find(color={1})", "RuntimeError: find: "),
        ("print(1 / 0)", "ZeroDivisionError: division by zero"),
        ("if True print(1)", "SyntaxError"),
        ("print(open('/etc/passwd').read())", "PermissionError"),
        ("import os\nos.environ", "not supported"),
        ("import socket", "ModuleNotFoundError"),
        ("x = [0] * 10**9", "MemoryError"),
    ],
)
def test_what_fails_is_shown_and_is_no_part_of_the_trajectory(program, message):
    result, engine, calls = acted([turn(program), *BOUGHT])
    assert message in output_of(engine, 0) and all(
        line.startswith("| ") or line in ("It failed:", "Nothing was printed.")
        for line in output_of(engine, 0).splitlines()
    )
    assert result.verified and tools(result) == ["find", "details", "add", "submit"] and "add p9" not in calls[4:]


def test_a_program_that_does_not_end_is_stopped(monkeypatch):
    monkeypatch.setattr("pivot_dspy.sandbox.SECONDS", 0.2)
    result, engine, _ = acted([turn("x = 1\nfind(color='red')\nwhile True: pass"), turn("print(x)"), *BOUGHT])
    assert "TimeoutError" in output_of(engine, 0) and "The variables are gone" in output_of(engine, 0)
    assert "NameError" in output_of(engine, 1) and result.verified and tools(result)[0] == "find"


def test_a_program_can_handle_a_call_that_fails_and_give_arguments_by_position():
    program = "try:\n    add('p9')\nexcept RuntimeError as error:\n    print(error)"
    result, engine, _ = acted([turn(program), *BOUGHT])
    assert output_of(engine, 0).startswith("| add: LookupError") and tools(result)[0] == "find"


def test_programs_in_fences_are_read_and_a_long_output_is_cut():
    long = turn("```python\nprint('x' * 9000)\n```")
    result, engine, _ = acted([long, *BOUGHT], options={"observations": ObservationBudget(turn=100)})
    shown = output_of(engine, 0)
    assert result.verified and "characters)" in shown and len(shown) < 500


def test_max_iters_ends_the_loop_and_the_outputs_are_composed():
    composed = {"considerations": "x", "answer": "p2"}
    result, engine, _ = acted([LOOK] * 9, options={"max_iters": 3}, settle={"requirements": []}, compose=composed)
    assert engine.count("code") == 3 and tools(result) == ["find", "find", "find", "submit"]


def test_what_is_irreversible_runs_at_commit_and_only_then():
    ordered = {"id": "R3", "text": "It is ordered.", "call": {"tool": "order", "args": {}}}
    buy = turn(BUY["program"].replace("submit(", "print(order())\nif False: submit("))
    end = turn("submit(answer='p2')")
    result, engine, calls = acted([LOOK, buy, end], settle={"requirements": [LARGE, ONE, ordered]})
    assert "waits for commit" in output_of(engine, 1)
    assert result.verified and result.verdict.withheld == ("c4",) and "order" not in calls
    result.commit()
    assert calls[-4:] == ["find", "details", "add p2", "order"]


def test_in_the_live_tier_nothing_is_written():
    calls = Calls()
    store = Store(calls)
    store.forkable = False
    result, engine, _ = acted([LOOK, turn("print(add(product_id='p2'))"), turn("submit(answer='p2')")], store)
    assert result.tier == "live" and "add p2" not in calls and not result.verified
    assert "waits for commit" in output_of(engine, 1)


def test_dollars_are_text():
    result, _, _ = acted([turn("find(color='$a.ids')\nsubmit(answer='$c1')")])
    assert result.execution.observations[0].args == {"color": "$a.ids"} and result.answer == "$c1"


def test_the_budget_stops_it_with_what_was_done():
    result, engine, _ = acted(BOUGHT, options={"budget": Budget(lm_calls=2)})
    assert engine.count() == 2 and result.exhausted and tools(result) == ["find"]
    result, engine, calls = acted(BOUGHT, options={"budget": Budget(tool_calls=3)})
    assert calls == ["colors", "find", "details"] and result.exhausted and tools(result) == ["find", "details"]


def test_an_answer_that_cannot_be_read_is_asked_for_once_more():
    result, engine, _ = acted([LOOK, GARBAGE, GARBAGE, BUY])
    assert result.verified and engine.prompts[4].temperature == 1.0


@pytest.mark.parametrize("broken", [[GARBAGE] * 4, [ServerError("500")]])
def test_a_model_that_fails_leaves_what_was_done(broken):
    result, _, _ = acted([LOOK, *broken])
    assert tools(result) == ["find"] and not result.verified
    with pytest.raises(PlanningFailed, match="no call: act: "):
        acted(broken)


def test_a_prompt_that_is_too_long_loses_its_oldest_program():
    def code(prompt):
        number = len([name for name in prompt.sections if name.startswith("thought_")])
        return ContextLengthError("too long") if number > 1 else turn("find(color='red')")

    _, engine, _ = acted(code, options={"max_iters": 4})
    assert "output_0" not in engine.last("code").text and "output_2" in engine.last("code").text


def test_a_trajectory_that_is_given_is_run_and_the_loop_begins_only_if_it_falls_short():
    result, engine, _ = acted(BOUGHT, called={"trajectory": Trajectory.model_validate({"steps": RIGHT})})
    assert result.verified and engine.count("code") == 0
    result, engine, _ = acted(BOUGHT, called={"trajectory": Trajectory.model_validate({"steps": WRONG})})
    assert result.verified and engine.count("code") == 2 and result.trajectory.operator == "code"


LOOPS: list[object] = []
"""The event loops in which a `Bulb` was looked at."""


class Bulb(Environment):
    shared = ("LOOPS",)

    @tool(effect="read")
    async def look(self) -> int:
        LOOPS.append(asyncio.get_running_loop())
        return 1


async def test_async_tools_run_in_the_loop_of_the_caller_which_a_program_does_not_hold_up(monkeypatch):
    monkeypatch.setattr("pivot_dspy.sandbox.SECONDS", 0.3)
    module, lm = made([turn("while True: pass"), turn("submit(answer=str(look()))")], Bulb, settle={"requirements": []})
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(0.01)
            ticks += 1

    ticking = asyncio.create_task(tick())
    with dspy.context(lm=lm):
        result = await module.acall(request=REQUEST)
    ticking.cancel()
    assert tools(result) == ["look", "submit"] and set(LOOPS) == {asyncio.get_running_loop()} and ticks > 10


def test_instructions_and_demonstrations_are_saved_and_used(tmp_path):
    module, lm = made(BOUGHT)
    predict = module.program.predict
    predict.signature = predict.signature.with_instructions("Buy with care.")
    predict.demos = [dspy.Example(request="Buy a hat.", trajectory="", thought="A hat.", program="submit('p7')")]
    module.save(tmp_path / "module.json")
    loaded, _ = made(BOUGHT)
    loaded.load(tmp_path / "module.json")
    for copy in (loaded, loaded.deepcopy()):
        module, lm = made(BOUGHT)
        before = state_of(copy)
        with dspy.context(lm=lm):
            assert copy(request=REQUEST).verified
        assert "Buy with care." in lm.engine.last("code").text and "submit('p7')" in lm.engine.last("code").text
        assert state_of(copy) == before


def test_what_cannot_work_is_refused(monkeypatch):
    with pytest.raises(ConfigurationError, match="max_iters is at least 1"):
        CodeActing("request -> answer", Store, max_iters=0)
    monkeypatch.setitem(sys.modules, "pydantic_monty", None)
    with pytest.raises(ConfigurationError, match=r"pivot_dspy\[code\]"):
        acted(BOUGHT)
