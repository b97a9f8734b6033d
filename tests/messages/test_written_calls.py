"""Calls that models write into their text: read, or refused, and never taken for an answer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution


def said(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def written(name: str, **arguments: Any) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def response(value: Any) -> str:
    return f"<tool_response>\n{json.dumps(value)}\n</tool_response>"


CALLS = f"<think>\nLook it up.\n</think>\n\nI look.\n{written('count', item='flour')}\n{written('weigh', item='eggs')}"


@pytest.mark.parametrize(
    "results",
    [
        [{"role": "user", "content": f"{response({'n': 3})}\n{response({'g': 9})}"}],  # as Qwen's template has them
        [{"role": "tool", "content": response({"n": 3})}, {"role": "tool", "content": response({"g": 9})}],
        [{"role": "tool", "tool_call_id": "x", "content": '{"n": 3}'}, {"role": "tool", "content": '{"g": 9}'}],
    ],
)
def test_the_text_of_hermes_and_qwen_is_read_as_calls(results: list[Any]) -> None:
    asked = {"role": "user", "content": "Count."}
    log = messages.read([asked, said(CALLS), *results, said("<think>So.</think>Three.")])
    assert [(call.tool, call.arguments, call.value) for call in log.calls] == [
        ("count", {"item": "flour"}, {"n": 3}), ("weigh", {"item": "eggs"}, {"g": 9}),
    ]  # fmt: skip
    assert (log.answer, log.task, log.calls[0].why) == ("Three.", "Count.", "I look.")


def test_a_log_that_ends_with_a_written_call_has_no_answer() -> None:
    execution = Execution.from_messages([said(CALLS.removesuffix("\n</tool_call>"))])
    assert execution.missing_outputs == ("answer",)
    assert [step.tool for step in execution.trajectory.steps] == ["count", "weigh"]


def test_a_call_that_stands_in_the_text_and_beside_it_is_one() -> None:
    function = {"name": "count", "arguments": '{"item": "flour"}'}
    both = said(f"I look. {written('count', item='flour')}") | {"tool_calls": [{"id": "k", "function": function}]}
    [call] = messages.read([both]).calls
    assert (call.id, call.why) == ("k", "I look.")


@given(name=st.text(min_size=1), arguments=st.dictionaries(st.text(), st.text() | st.integers()), around=st.text())
def test_no_written_call_is_lost(name: str, arguments: dict[str, Any], around: str) -> None:
    held = json.dumps({"name": name, "arguments": arguments}).replace("<", "\\u003c")
    try:
        calls = messages.read([said(f"{around}<tool_call>{held}</tool_call>{around}")]).calls
    except TrajectoryError:  # what is around it may look like the beginning of one
        assert "<" in around or "\n" in around
        return
    assert [(call.tool, call.arguments) for call in calls] == [(name, arguments)]


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function=count>\n<parameter=item>\nflour\n</parameter>\n</function>\n</tool_call>",
        "<tool_call>count\n<arg_key>item</arg_key>\n<arg_value>flour</arg_value>\n</tool_call>",
        '<tool_call>{"tool": "count"}</tool_call>',
        '<tool_call>{"name": "count", "argum',
        '[TOOL_CALLS] [{"name": "count", "arguments": {}}]',
        '<|python_tag|>{"name": "count", "parameters": {}}',
        '<function=count>{"item": "flour"}</function>',
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.count:0",
        'I look.\nAction: count\nAction Input: {"item": "flour"}',
        '<function_calls>\n<invoke name="count">',
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(TrajectoryError, match="cannot be read"):
        messages.read([said(text)])


def test_who_speaks_of_such_marks_calls_nothing() -> None:
    text = "Qwen writes a <tool_call> tag, Mistral [TOOL_CALLS], and a user's turn holds a <tool_response>."
    log = messages.read([{"role": "user", "content": text}, said(text)])
    assert (log.calls, log.answer, log.task) == ((), text, text)
