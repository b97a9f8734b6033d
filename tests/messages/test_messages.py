from __future__ import annotations

import asyncio
import json
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import messages
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_functions import from_functions
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Trajectory

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

TEXT = st.text(alphabet=st.characters(exclude_categories=("Cs",)) | st.sampled_from("$'\"\\`c1"), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def called(name: str, arguments: Any, **extra: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    call = {"id": "call_1", "type": "function", "function": {"name": name, "arguments": text}}
    return {"role": "assistant", "content": None, "tool_calls": [call], **extra}


def turn(thought: str, *calls: tuple[str, dict[str, Any]]) -> dict[str, str]:
    listed = [{"name": name, "args": args} for name, args in calls]
    return {"next_thought": thought, "tool_calls": json.dumps({"tool_calls": listed})}


@UNHURRIED
@given(st.lists(VALUES, min_size=1, max_size=4), TEXT.filter(str.strip))
def test_arguments_of_a_log_run_literally(values: list[Any], words: str) -> None:
    got: list[Any] = []

    def take(value: Any) -> int:
        got.append(value)
        return len(got)

    log = [called("take", {"value": value}) for value in values]
    trajectory = Trajectory.from_messages([*log, {"role": "assistant", "content": words}], output="answer")
    session = SessionFactory(from_functions([take], effects="read"), timeout=None).open(None)
    execution = run_sync(execute(trajectory, session, outputs={"answer": str})).execution
    assert got == values
    assert execution.outputs == {"answer": words.strip()}


def test_the_history_of_a_react_v2_run_becomes_its_trajectory() -> None:
    def search(query: str) -> list[int]:
        """Find numbers."""
        return [1, 2]

    lm = DummyLM(
        [
            turn("It may cost $c1.", ("search", {"query": "costs $c1"}), ("nope", {})),
            turn("Now submit.", ("submit", {})),
            turn("I forgot the answer.", ("submit", {"answer": "$5"})),
        ]
    )
    with dspy.context(lm=lm):
        history = dspy.ReActV2("question -> answer", tools=[search])(question="What?").history
    trajectory = Trajectory.from_messages(history)
    assert [(step.id, step.tool, step.why) for step in trajectory.steps] == [
        ("c1", "search", "It may cost $c1."),
        ("c2", "nope", None),
        ("submit", "submit", "I forgot the answer."),
    ]
    session = SessionFactory(from_functions([search], effects="read")).open(None)
    execution = run_sync(execute(trajectory, session, outputs={"answer": str})).execution
    assert execution.by_step["c1"].args == {"query": "costs $c1"}
    assert execution.outputs == {"answer": "$5"}
    reloaded = dspy.History.model_validate_json(history.model_dump_json())
    assert Trajectory.from_messages(reloaded) == trajectory
    session.family.close()


def test_an_async_react_v2_run_gives_the_same_history() -> None:
    async def search(query: str) -> int:
        """Find a number."""
        return 1

    async def run() -> dspy.History:
        with dspy.context(lm=DummyLM([turn("", ("search", {"query": "x"})), turn("", ("submit", {"answer": "1"}))])):
            return (await dspy.ReActV2("question -> answer", tools=[search]).acall(question="What?")).history

    trajectory = Trajectory.from_messages(asyncio.run(run()))
    assert [step.tool for step in trajectory.steps] == ["search", "submit"]


def test_the_forms_in_which_calls_are_logged() -> None:
    forms = [
        called("a", {"x": 1}),
        {"role": "assistant", "function_call": {"name": "a", "arguments": '{"x": 1}'}},
        {"type": "function_call", "call_id": "1", "name": "a", "arguments": '{"x": 1}'},
        {"tool_calls": {"tool_calls": [{"name": "a", "args": {"x": 1}}]}},
        {"role": "assistant", "tool_calls": [{"name": "a", "args": {"x": 1}}]},
    ]
    for form in forms:
        assert [(call.tool, call.arguments) for call in messages.read([form]).calls] == [("a", {"x": 1})], form


def test_thoughts_and_last_words() -> None:
    log = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Book."},
        {"role": "assistant", "content": [{"type": "text", "text": "Let me look."}]},
        called("a", {}, content="Looking."),
        {"role": "tool", "content": "done"},
        {"role": "assistant", "content": [{"type": "text", "text": "All"}, {"type": "text", "text": "done."}]},
        {"role": "user", "content": "Thanks."},
    ]
    assert messages.read(log).final_text == "All done."
    assert messages.read(log).calls[0].why == "Looking."
    assert messages.read(log[:-2]).final_text is None  # what was said before a call is not the answer
    assert Trajectory.from_messages(log).submit is None
    trajectory = Trajectory.from_messages([*log, called("submit", {"answer": "x"})], output="answer")
    assert [step.id for step in trajectory.steps] == ["c1", "submit"] and trajectory.steps[1].args == {"answer": "x"}


@pytest.mark.parametrize("arguments", ["{", "[1]", "1", "null", ""])
def test_arguments_that_cannot_be_read_make_a_step_that_says_so(arguments: str) -> None:
    step = Trajectory.from_messages([called("a", arguments)]).steps[0]
    assert (step.problem is None) == (arguments in ("null", ""))


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ("text", "takes a list of chat messages .* not str"),
        ({"role": "user"}, "this dict is not a log"),
        (None, "not NoneType"),
        ([1], "message 0 is int"),
        ([{"role": "assistant", "tool_calls": [7]}], "a tool call or part of message 0 is int"),
        ([{"role": "assistant", "tool_calls": [{"function": {}}]}], "has no 'name'"),
        ([called("submit", {}), called("a", {})], "call 2 of the log comes after submit"),
        ([{"tool_calls": [{"name": "a", "args": {"x": object()}}]}], "call 1 have no JSON form"),
    ],
)
def test_what_is_no_log_is_refused_with_its_place(log: Any, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        Trajectory.from_messages(log)


def test_a_result_that_is_no_record_did_not_fail() -> None:
    logged = {"tool_calls": [{"name": "f", "args": {}}], "tool_call_results": {"tool_call_results": ["x"]}}
    [call] = messages.read([{"role": "assistant", "tool_calls": logged}]).calls
    assert call.tool == "f" and not call.failed
