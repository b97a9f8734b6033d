"""Logs in the form of libraries that are not installed here, after their documentation: read, or refused."""

from __future__ import annotations

from typing import Any

import pytest

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError


def test_bedrocks_blocks_are_calls_and_results() -> None:
    log = messages.read([
        {"role": "user", "content": [{"text": "Count."}]},
        {"role": "assistant", "content": [
            {"text": "I look."}, {"toolUse": {"toolUseId": "a", "name": "count", "input": {"item": "flour"}}},
            {"toolUse": {"toolUseId": "b", "name": "weigh", "input": {}}},
        ]},
        {"role": "user", "content": [
            {"toolResult": {"toolUseId": "a", "content": [{"json": {"n": 3}}], "status": "success"}},
            {"toolResult": {"toolUseId": "b", "content": [{"text": "it is broken"}], "status": "error"}},
        ]},
        {"role": "assistant", "content": [{"text": "Three."}]},
    ])  # fmt: skip
    assert [(call.tool, call.arguments, call.value, call.failed) for call in log.calls] == [
        ("count", {"item": "flour"}, {"n": 3}, False), ("weigh", {}, "it is broken", True),
    ]  # fmt: skip
    assert (log.answer, log.task, log.calls[0].why) == ("Three.", "Count.", "I look.")


def test_calls_of_llamaindex_and_inspect() -> None:
    call = {"id": "a", "function": {"name": "count", "arguments": '{"item": "flour"}'}}
    of_llamaindex = {"role": "assistant", "content": None, "additional_kwargs": {"tool_calls": [call]}}
    of_inspect = {"role": "assistant", "content": "", "tool_calls": [
        {"id": "a", "function": "count", "arguments": {"item": "flour"}, "type": "function"},
    ]}  # fmt: skip
    for message in (of_llamaindex, of_inspect):
        [read] = messages.read([message]).calls
        assert (read.tool, read.arguments) == ("count", {"item": "flour"})
    failed = {"role": "tool", "tool_call_id": "a", "content": "", "error": {"type": "timeout", "message": "late"}}
    assert messages.read([of_inspect, failed]).calls[0].failed


def test_the_calls_of_a_user_are_not_the_agents() -> None:
    def called(role: str, tool: str, call: str, failed: bool) -> list[dict[str, Any]]:
        asked = {"role": role, "content": None, "tool_calls": [{"id": call, "name": tool, "arguments": {}}]}
        return [asked, {"role": "tool", "id": call, "content": "done", "error": failed}]

    log = [
        {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "It is slow."},
        *called("user", "toggle", "u", False), *called("assistant", "reset", "a", True),
        {"role": "assistant", "content": "It is fast."},
    ]  # fmt: skip
    with pytest.raises(TrajectoryError, match=r"user \(1 call\), assistant \(1 call\); choose one with agent="):
        messages.read(log)
    read = messages.read(log, agent="assistant")
    assert ([call.tool for call in read.calls], read.answer) == (["reset"], "It is fast.")
    assert read.calls[0].failed and not messages.read(log, agent="user").calls[0].failed
    assert messages.read(log[:2]).answer == "Hi."


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"role": "assistant", "content": [{"tool_call": {"tool_name": "count"}}]}, "holds a 'tool_call'"),  # Haystack
        ({"role": "assistant", "content": "ls", "action": "ls"}, "in 'action'"),  # SWE-agent
        ({"type": "user", "message": {"role": "user", "content": "x"}}, r"\[entry\['message'\] for entry in log\]"),
        ({"type": "response_item", "payload": {"type": "message"}}, r"\[entry\['payload'\] for entry in log\]"),
        ({"from": "gpt", "value": "x"}, "is of no format"),
    ],
)
def test_what_cannot_be_read_says_so(entry: Any, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        messages.read([entry])
