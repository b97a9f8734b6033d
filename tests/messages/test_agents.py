"""Agents that ran for real, with scripted models: what their libraries keep of calls that fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Trajectory

ATIF = Path(__file__).parent / "logs" / "atif.json"
"""Written by the models of harbor 0.26.0 (`harbor.models.trajectories`, which wants Python 3.12): a `Trajectory` of
five `Step`s with `ToolCall`s and `ObservationResult`s, by `to_json_dict()`."""


def search(query: str) -> list[str]:
    """Find something."""
    if query == "bad":
        raise ValueError("nothing fits")
    return ["1", "2"]


def reacted(*calls: tuple[str, dict[str, Any]]) -> dspy.Prediction:
    turns = [{"next_thought": f"t{n}", "next_tool_name": name, "next_tool_args": args}
             for n, (name, args) in enumerate([*calls, ("finish", {})])]  # fmt: skip
    with dspy.context(lm=DummyLM([*turns, {"reasoning": "r", "answer": "one"}])):
        return dspy.ReAct("question -> answer", tools=[search])(question="What?")


def test_the_trajectory_of_a_react_run() -> None:
    prediction = reacted(("search", {"query": "x"}), ("search", {"query": "bad"}))
    for log in (prediction, prediction.trajectory, {"trajectory": dict(prediction.trajectory)}):
        execution = Execution.from_messages(log)
        ran = execution.trajectory.steps[:2]
        assert [(step.tool, step.args, step.why) for step in ran] == [
            ("search", {"query": "x"}, "t0"), ("search", {"query": "bad"}, "t1"),
        ]  # fmt: skip
        assert execution.observations[0].value == ["1", "2"]
        assert [one.message for one in execution.discrepancies] == ["ValueError: nothing fits"]
    assert Execution.from_messages(prediction).outputs == {"answer": "one"}
    assert Execution.from_messages(prediction.trajectory).missing_outputs == ("answer",)


def test_a_react_run_that_put_a_call_right_needs_no_rewrite() -> None:
    prediction = reacted(("search", {"query": "bad"}), ("search", {"query": "bada"}))
    execution = Execution.from_messages(prediction)
    assert [step.id for step in execution.trajectory.steps] == ["c2", "submit"] and not execution.discrepancies
    assert "tried before" in str(execution.trajectory.steps[0].why)
    assert len(messages.read(prediction).calls) == 2


def smolagent(*turns: Any) -> Any:
    agents, models = pytest.importorskip("smolagents"), pytest.importorskip("smolagents.models")

    @agents.tool
    def count(item: str) -> int:
        """Count.

        Args:
            item: what to count.
        """
        if item == "bad":
            raise ValueError("no such item")
        return 3

    class Scripted(models.Model):  # type: ignore[misc, name-defined]
        left = iter(turns)

        def generate(self, *_: Any, **__: Any) -> Any:
            turn = next(self.left)
            if isinstance(turn, str):
                return models.ChatMessage(role="assistant", content=turn)
            calls = [
                models.ChatMessageToolCall(
                    id=f"i{n}", type="function",
                    function=models.ChatMessageToolCallFunction(name=name, arguments=arguments),
                )
                for n, (name, arguments) in enumerate(turn)
            ]  # fmt: skip
            return models.ChatMessage(role="assistant", content="I look.", tool_calls=calls)

    kind = agents.CodeAgent if isinstance(turns[0], str) else agents.ToolCallingAgent
    agent = kind([count], Scripted(model_id="scripted"), verbosity_level=0)
    agent.run("How many?")
    return agent


def test_steps_of_smolagents_whose_tool_raised_keep_their_calls() -> None:
    agent = smolagent(
        [("count", {"item": "flour"}), ("count", {"item": "eggs"})],
        [("count", {"item": "flour"}), ("count", {"item": "bad"})],
        [("final_answer", {"answer": "three"})],
    )
    for steps in (agent.memory, agent.memory.steps, agent.memory.get_full_steps()):
        log = messages.read(steps)
        assert [call.arguments["item"] for call in log.calls] == ["flour", "eggs", "flour", "bad"]
        assert [call.failed for call in log.calls] == [False, False, False, True]
        assert [call.answered for call in log.calls] == [True, True, False, True]  # what came of the third is not kept
        assert "no such item" in log.calls[3].error
        assert (log.answer, log.task) == ("three", "How many?")


def test_the_code_of_a_code_agent_is_one_call() -> None:
    agent = smolagent("<code>\nprint(count('flour'))\n</code>", "<code>\nfinal_answer(3)\n</code>")
    log = messages.read(agent.memory.get_full_steps())
    assert [(call.tool, call.arguments) for call in log.calls] == [
        ("python_interpreter", {"code": "print(count('flour'))"}), ("python_interpreter", {"code": "final_answer(3)"}),
    ]  # fmt: skip
    assert log.answer == 3


@pytest.mark.parametrize("minor", range(9))
def test_every_version_of_atif(minor: int) -> None:
    document = json.loads(ATIF.read_text()) | {"schema_version": f"ATIF-v1.{minor}"}
    log = messages.read(document)
    assert [(call.tool, call.arguments, call.value) for call in log.calls] == [
        ("count", {"item": "flour"}, {"n": 3}), ("count", {"item": "eggs"}, "12345"),
        ("weigh", {"item": "flour"}, "Error: it is broken"),
    ]  # fmt: skip
    assert [call.failed for call in log.calls] == [False, False, True] and log.answer == "Three."


def test_what_atif_holds_of_other_agents_is_not_lost() -> None:
    document = json.loads(ATIF.read_text())
    inner = document | {"trajectory_id": "sub"}
    both = document | {"subagent_trajectories": [inner]}
    with pytest.raises(TrajectoryError, match=r"counter \(3 calls\), counter/sub \(3 calls\); choose one with agent="):
        messages.read(both)
    assert len(messages.read(both, agent="counter/sub").calls) == 3
    for wrong, message in (
        ({"schema_version": "ATIF-v2.0"}, "ATIF-v1.0 to ATIF-v1.8"),
        ({"continued_trajectory_ref": "next.json"}, "goes on in 'next.json'"),
    ):
        with pytest.raises(TrajectoryError, match=message):
            Trajectory.from_messages(document | wrong)
