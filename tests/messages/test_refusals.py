"""What is no log, half a log or a log of several agents: an error that says so, and nothing lost in silence."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import messages
from pivot_dspy.errors import TrajectoryError
from pivot_dspy.trajectory import Execution, Trajectory
from tests.messages.writing import WRITERS, Made, Run, Turn

RUN = Run("Do it.", (Turn("I look.", (Made("count", {"item": "flour"}, "3"), Made("send", {}, "ok"))),), "Done.")
JSON_WRITERS = ["gemini_json", "langchain_dicts", "langchain_dumped", "pydantic_ai_json", "atif", "react_trajectory",
                "opentelemetry_json", "otlp"]  # fmt: skip


@pytest.fixture(autouse=True)
def _messages_are_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "SPAN_ONLY")
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "gen_ai_latest_experimental")


def chat(tool: str = "count", name: str | None = None, call: str = "k", **args: Any) -> dict[str, Any]:
    function = {"name": tool, "arguments": json.dumps(args)}
    return {"role": "assistant", "name": name, "tool_calls": [{"id": call, "type": "function", "function": function}]}


def result(content: Any, call: str = "k") -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call, "content": content}


def said(text: str, name: str | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text, "name": name}


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The places of everything inside plain data."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in inner for place in ((*path, key), *paths(item, (*path, key)))]


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(data=st.data(), other=st.sampled_from([None, 7, "x", "{", [], {}, [1], [None], {"x": 1}, True]))
@pytest.mark.parametrize("name", JSON_WRITERS)
def test_a_broken_log_is_read_or_refused(name: str, data: Any, other: Any) -> None:
    log = copy.deepcopy(WRITERS[name](RUN))
    *path, last = data.draw(st.sampled_from(paths(log)))
    place = log
    for key in path:
        place = place[key]
    place[last] = other
    try:
        assert Execution.from_messages(log).trajectory.operator == "messages"
    except TrajectoryError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        ([{"role": "assistant", "content": [{"type": "tool_call_delta", "index": 0}]}], "holds a 'tool_call_delta'"),
        ([{"role": "model", "parts": [{"tool_call_v2": {"name": "a"}}]}], "holds a 'tool_call_v2'"),
        ([{"type": "function_call_progress", "call_id": "1"}], "is of no format"),
        ([{"kind": "response", "parts": [{"part_kind": "tool-call-delta"}]}], "holds a 'tool-call-delta'"),
        ([{"kind": "request", "parts": 7}], "is of no format"),
        ([{"role": "assistant", "content": "", "toolCalls": [{"name": "a"}]}], "holds a 'toolCalls'"),
        ([{"task": "Count.", "trace": [{"tool": "a"}]}], "is of no format"),
        ([result("3", "gone")], "a result of 'gone', and no call"),
        ([{"event": "start"}], "message 0 has the fields event, and is of no format"),
        ([{"role": "Orchestrator (thought)", "content": "x"}], "choose the format 'turns'"),
        ({"choices": []}, "this dict is not a log"),
        ({"messages": "none"}, "this dict is not a log"),
        ([{"attributes": {"http.method": "GET"}, "context": {}}], "none of 1 spans is of a model or a tool"),
        ([{"attributes": {"gen_ai.operation.name": "chat"}, "context": {}}], "content is captured"),
        ({"schema_version": "ATIF-v3", "steps": []}, "is of 'ATIF-v3'"),
    ],
)
def test_what_may_hold_a_call_that_cannot_be_read_is_refused(log: Any, message: str) -> None:
    with pytest.raises(TrajectoryError, match=message):
        messages.read(log)


def test_a_log_of_two_agents_is_read_for_one_of_them() -> None:
    log = [
        chat(name="ann", call="a", item="flour"), result("3", "a"), said("Three.", "ann"),
        chat(name="bob", call="b", item="eggs"), result("9", "b"), said("Nine.", "bob"),
    ]  # fmt: skip
    with pytest.raises(TrajectoryError, match=r"several agents call tools in this log: ann \(1 call\), bob \(1 call\)"):
        Trajectory.from_messages(log)
    for agent, item, answer in (("ann", "flour", "Three."), ("bob", "eggs", "Nine.")):
        read = messages.read(log, agent=agent)
        assert [call.arguments for call in read.calls] == [{"item": item}] and read.answer == answer
    with pytest.raises(TrajectoryError, match="nobody is called 'eve' in this log; there are ann, bob"):
        messages.read(log, agent="eve")


def test_what_several_agents_say_to_each_other_can_be_read_as_steps() -> None:
    log = [
        {"role": "human", "content": "How many?"}, {"role": "Planner (thought)", "content": "Ask the terminal."},
        {"role": "user", "name": "Terminal", "content": "exitcode: 1 (execution failed)"},
    ]  # fmt: skip
    for named in (log, [{"role": "user", "name": entry.get("name", entry["role"]), **entry} for entry in log]):
        with pytest.raises(TrajectoryError, match="turns"):
            messages.read(named)
        execution = Execution.from_messages(named, format="turns")
        assert [step.tool for step in execution.trajectory.steps] == ["Planner (thought)", "Terminal", "submit"]
        assert [fault.step for fault in execution.discrepancies] == ["c2"]
    with pytest.raises(TrajectoryError, match="no format is called 'speech'; formats: auto, atif"):
        messages.read(log, format="speech")


def test_a_call_without_its_result_is_an_error_of_its_own() -> None:
    execution = Execution.from_messages([chat(item="flour", call="a"), result("3", "a"), chat(item="eggs", call="b")])
    assert [seen.status for seen in execution.observations] == ["ok", "error"]
    assert "nobody knows whether it ran" in execution.discrepancies[0].message
    assert execution.tier == "recorded" and execution.missing_outputs == ("answer",)


@pytest.mark.parametrize(
    ("tried", "then", "mended"),
    [
        ({"item": "flr"}, {"item": "flour"}, True),
        ({"item": "eggs"}, {"item": "flour"}, False),
        ({"user": "user_1"}, {"user": "user_2"}, False),
        ({"city": "Rome", "unit": "C"}, {"city": "Oslo", "unit": "C"}, False),
        ({"item": "W2378156"}, {"item": "#W2378156"}, True),
        ({"item": "flour", "unit": "g", "n": 1}, {"item": "flour", "unit": "g", "n": 2}, True),
        ({"item": "flour"}, {"item": "flour"}, True),
        ({}, {"item": "flour"}, True),
        ({"item": "#W2378156"}, {"item": "#W9911111"}, False),
    ],
)
def test_a_call_that_was_put_right_is_left_out(tried: dict[str, Any], then: dict[str, Any], mended: bool) -> None:
    again = [chat(call="b", **then), result("3", "b"), said("Three.")]
    log = [chat(call="a", **tried), result("Error: none", "a"), *again]
    execution = Execution.from_messages(log)
    assert [step.id for step in execution.trajectory.steps] == (["c2", "submit"] if mended else ["c1", "c2", "submit"])
    assert [fault.step for fault in execution.discrepancies] == ([] if mended else ["c1"])
    assert ("tried before" in str(execution.trajectory.steps[-2].why)) is mended
    assert len(messages.read(log).calls) == 2
    refused = [*log[:3], result("Error: again", "b")]
    assert len(Execution.from_messages(refused).discrepancies) == 2


def test_a_call_whose_form_was_wrong_was_put_right_by_the_next_of_its_tool() -> None:
    again = [chat(call="b", day="2026-11-30"), result("free", "b"), said("Free.")]
    for error, steps in (("Error: day must be an ISO date", ["c2"]), ("Error: closed", ["c1", "c2"])):
        log = [chat(call="a", day="Monday"), result(error, "a"), *again]
        assert [step.id for step in Trajectory.from_messages(log).steps] == steps


def test_the_answer_may_be_chosen() -> None:
    log = [chat(), result("3"), said("Three."), {"role": "user", "content": "thanks!"}, said("You are welcome.")]
    assert Execution.from_messages(log).outputs == {"answer": "You are welcome."}
    assert Execution.from_messages(log, output={"count": 3}).outputs == {"count": 3}
    assert Trajectory.from_messages(log, output={"count": "$1"}).steps[-1].args == {"count": "$$1"}


def test_built_in_tools_of_responses_are_calls() -> None:
    log = [
        {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "flour"}},
        {"type": "mcp_call", "id": "m", "name": "roll", "arguments": '{"n": 1}', "output": None, "error": "no dice"},
        {"type": "custom_tool_call", "call_id": "c", "name": "patch", "input": "*** Begin"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "done"},
        {"type": "local_shell_call", "id": "x", "call_id": "y", "action": {"command": ["ls"]}, "status": "completed"},
        {"type": "local_shell_call_output", "id": "z", "output": "a.txt"},
    ]
    calls = messages.read(log).calls
    assert all(call.answered for call in calls) and calls[-1].value == "a.txt"
    assert [(call.tool, call.arguments, call.failed) for call in calls] == [
        ("web_search", {"action": {"type": "search", "query": "flour"}}, False), ("roll", {"n": 1}, True),
        ("patch", {"input": "*** Begin"}, False), ("local_shell", {"action": {"command": ["ls"]}}, False),
    ]  # fmt: skip


def test_tools_on_the_side_of_gemini_are_calls() -> None:
    types = pytest.importorskip("google.genai.types")
    parts = [
        types.Part(tool_call=types.ToolCall(id="t", tool_type="GOOGLE_SEARCH_WEB", args={"queries": ["flour"]})),
        types.Part(tool_response=types.ToolResponse(id="t", tool_type="GOOGLE_SEARCH_WEB", response={"found": 1})),
        types.Part(executable_code=types.ExecutableCode(code="print(3)", language="PYTHON")),
        types.Part(code_execution_result=types.CodeExecutionResult(outcome="OUTCOME_FAILED", output="no")),
        types.Part(text="Three."),
    ]
    log = messages.read([types.ModelContent(parts=parts)])
    assert [(call.tool, call.arguments, call.value, call.failed) for call in log.calls] == [
        ("google_search_web", {"queries": ["flour"]}, {"found": 1}, False),
        ("code_execution", {"code": "print(3)"}, "no", True),
    ]
    assert log.answer == "Three."


def test_server_tools_and_calls_in_the_content_are_calls_once() -> None:
    content = [
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "x"}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": {"type": "web_search_tool_result_error"}},
        {"type": "tool_use", "id": "k", "name": "count", "input": {"item": "flour"}},
    ]
    [searched, counted] = messages.read([{"role": "assistant", "content": content}]).calls
    assert searched.failed and counted.arguments == {"item": "flour"} and not counted.answered
    both = {"type": "ai", "content": content, "tool_calls": [{"name": "count", "args": {"item": "flour"}, "id": "k"}]}
    assert sorted(call.tool for call in messages.read([both]).calls) == ["count", "web_search"]


def test_a_call_of_langchain_that_cannot_be_parsed_is_not_lost() -> None:
    types = pytest.importorskip("langchain_core.messages")
    wrong = {"name": "count", "args": "{", "id": "k", "error": None, "type": "invalid_tool_call"}
    [call] = messages.read([types.AIMessage(content="", invalid_tool_calls=[wrong])]).calls
    assert call.tool == "count" and "not valid JSON" in str(call.problem)


def test_attributes_that_an_export_put_together_again_are_read() -> None:
    function = {"tool_call.function.name": "count", "tool_call.function.arguments": '{"item": "flour"}'}
    message = {"message.role": "assistant", "message.tool_calls": [{"tool_call.id": "k", **function}]}
    attributes = {"openinference.span.kind": "LLM", "llm.output_messages": [message]}
    [call] = messages.read([{"attributes": attributes, "context": {}}]).calls
    assert (call.tool, call.arguments, call.id) == ("count", {"item": "flour"}, "k")


def test_spans_that_tell_of_one_call_twice_and_of_tools_alone() -> None:
    def span(number: int, **attributes: Any) -> dict[str, Any]:
        named = {f"gen_ai.{name.replace('__', '.')}": value for name, value in attributes.items()}
        return {"context": {}, "start_time": f"2026-01-01T00:00:0{number}Z", "attributes": named}

    part = {"type": "tool_call", "id": "k", "name": "count", "arguments": {"item": "flour"}}
    answer = json.dumps([{"role": "assistant", "parts": [part]}])
    asked = span(1, operation__name="chat", output__messages=answer)
    around = span(0, operation__name="chat", output__messages=answer)
    tool = {"operation__name": "execute_tool", "tool__name": "count", "tool__call__id": "k"}
    ran = span(2, **tool, tool__call__arguments='{"item": "flour"}', tool__call__result="3")
    log = [ran, asked, around]  # in the order in which they end, as exporters write them
    assert [(call.tool, call.arguments, call.value) for call in messages.read(log).calls] == [
        ("count", {"item": "flour"}, "3")
    ]
    others = [part | {"id": "k", "arguments": {"item": item}} for item in ("flour", "eggs")]  # numbered anew each turn
    for number, other in enumerate(others):
        answered = json.dumps([{"role": "assistant", "parts": [other]}])
        log.append(span(3 + 2 * number, operation__name="chat", output__messages=answered))
        log.append(span(4 + 2 * number, **tool, tool__call__arguments=json.dumps(other["arguments"])))
    assert [call.arguments["item"] for call in messages.read(log).calls] == ["flour", "flour", "eggs"]
    [bare] = messages.read([span(1, **tool)]).calls
    assert bare.problem == "the trace does not keep its arguments" and bare.tool == "count"
