"""Writes one run of an agent as the logs of many libraries, by these libraries' own classes.

The versions are pinned in the extra `test`; where a library is not there, its logs are skipped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import dspy
import pytest


class Made(NamedTuple):
    """A call that the agent made."""

    tool: str
    args: dict[str, Any]
    result: str
    failed: bool = False


class Turn(NamedTuple):
    """What the model said, and the calls that it made at once."""

    text: str
    calls: tuple[Made, ...]


class Run(NamedTuple):
    """A run of an agent: what was asked, the turns, and the answer."""

    task: str
    turns: tuple[Turn, ...]
    answer: str
    restarts: bool = False
    """Whether ids are the same in each turn, as those of some models are."""

    @property
    def calls(self) -> list[Made]:
        return [call for turn in self.turns for call in turn.calls]

    def numbered(self) -> Iterator[tuple[Turn, list[tuple[str, Made]]]]:
        """The turns, with an id for each call."""
        count = 0
        for turn in self.turns:
            yield turn, [(f"k{count + index}", call) for index, call in enumerate(turn.calls)]
            count += 0 if self.restarts else len(turn.calls)


def openai_chat(run: Run) -> list[Any]:
    chat = pytest.importorskip("openai.types.chat")
    log: list[Any] = [{"role": "user", "content": run.task}]
    for turn, calls in run.numbered():
        made = [
            chat.ChatCompletionMessageToolCall(
                id=name, type="function",
                function={"name": call.tool, "arguments": json.dumps(call.args)},
            )
            for name, call in calls
        ]  # fmt: skip
        log.append(chat.ChatCompletionMessage(role="assistant", content=turn.text, tool_calls=made))
        log += [{"role": "tool", "tool_call_id": name, "content": call.result} for name, call in calls]
    return [*log, chat.ChatCompletionMessage(role="assistant", content=run.answer)]


def openai_responses(run: Run) -> list[Any]:
    types = pytest.importorskip("openai.types.responses")

    def said(text: str) -> Any:
        content = [types.ResponseOutputText(type="output_text", text=text, annotations=[])]
        return types.ResponseOutputMessage(
            id="m", type="message", role="assistant", status="completed", content=content
        )

    log: list[Any] = [{"role": "user", "content": run.task}]
    for turn, calls in run.numbered():
        log.append(types.ResponseReasoningItem(id="r", type="reasoning", summary=[]))
        log += [said(turn.text)] if turn.text else []
        log += [
            types.ResponseFunctionToolCall(
                type="function_call", call_id=name, name=call.tool, arguments=json.dumps(call.args)
            )
            for name, call in calls
        ]
        log += [{"type": "function_call_output", "call_id": name, "output": call.result} for name, call in calls]
    return [*log, said(run.answer)]


def anthropic(run: Run) -> list[Any]:
    types = pytest.importorskip("anthropic.types")

    def said(*blocks: Any) -> Any:
        usage = types.Usage(input_tokens=1, output_tokens=1)
        return types.Message(
            id="m", type="message", role="assistant", model="m", content=list(blocks), usage=usage, stop_reason=None,
            stop_sequence=None,
        )  # fmt: skip

    log: list[Any] = [{"role": "user", "content": run.task}]
    for turn, calls in run.numbered():
        text = [types.TextBlock(type="text", text=turn.text)] if turn.text else []
        made = [types.ToolUseBlock(type="tool_use", id=name, name=call.tool, input=call.args) for name, call in calls]
        log.append(said(*text, *made))
        results = [
            {"type": "tool_result", "tool_use_id": name, "content": call.result, "is_error": call.failed}
            for name, call in calls
        ]
        log.append({"role": "user", "content": results})
    return [*log, said(types.TextBlock(type="text", text=run.answer))]


def gemini(run: Run) -> list[Any]:
    types = pytest.importorskip("google.genai.types")
    log = [types.UserContent(parts=[types.Part.from_text(text=run.task)])]
    for turn in run.turns:
        parts = [types.Part.from_text(text=turn.text)] if turn.text else []
        parts += [types.Part.from_function_call(name=call.tool, args=call.args) for call in turn.calls]
        log.append(types.ModelContent(parts=parts))
        key = {True: "error", False: "result"}
        results = [
            types.Part.from_function_response(name=call.tool, response={key[call.failed]: call.result})
            for call in turn.calls
        ]
        log.append(types.UserContent(parts=results))
    return [*log, types.ModelContent(parts=[types.Part.from_text(text=run.answer)])]


def gemini_json(run: Run) -> list[Any]:
    return [json.loads(content.model_dump_json(by_alias=True, exclude_none=True)) for content in gemini(run)]


def langchain(run: Run) -> list[Any]:
    types = pytest.importorskip("langchain_core.messages")
    log = [types.HumanMessage(run.task)]
    for turn, calls in run.numbered():
        made = [{"name": call.tool, "args": call.args, "id": name} for name, call in calls]
        log.append(types.AIMessage(content=turn.text, tool_calls=made))
        log += [
            types.ToolMessage(call.result, tool_call_id=name, status="error" if call.failed else "success")
            for name, call in calls
        ]
    return [*log, types.AIMessage(content=run.answer)]


def langchain_dicts(run: Run) -> list[Any]:
    return list(pytest.importorskip("langchain_core.messages").messages_to_dict(langchain(run)))


def langchain_dumped(run: Run) -> list[Any]:
    dumpd = pytest.importorskip("langchain_core.load").dumpd
    return [dumpd(message) for message in langchain(run)]


def pydantic_ai(run: Run) -> list[Any]:
    types = pytest.importorskip("pydantic_ai.messages")
    log: list[Any] = [types.ModelRequest(parts=[types.UserPromptPart(run.task)])]
    for turn, calls in run.numbered():
        text = [types.TextPart(turn.text)] if turn.text else []
        made = [types.ToolCallPart(call.tool, call.args, name) for name, call in calls]
        log.append(types.ModelResponse(parts=[*text, *made]))
        outcome = {True: "failed", False: "success"}
        results = [
            types.ToolReturnPart(call.tool, call.result, name, outcome=outcome[call.failed]) for name, call in calls
        ]
        log.append(types.ModelRequest(parts=results))
    return [*log, types.ModelResponse(parts=[types.TextPart(run.answer)])]


def pydantic_ai_json(run: Run) -> list[Any]:
    adapter = pytest.importorskip("pydantic_ai.messages").ModelMessagesTypeAdapter
    return list(adapter.dump_python(pydantic_ai(run), mode="json"))


def smolagents(run: Run) -> list[Any]:
    memory, monitoring = pytest.importorskip("smolagents.memory"), pytest.importorskip("smolagents.monitoring")
    log = [memory.TaskStep(task=run.task)]
    timing = monitoring.Timing(start_time=0.0, end_time=1.0)
    for number, (turn, calls) in enumerate(run.numbered(), start=1):
        made = [memory.ToolCall(name=call.tool, arguments=call.args, id=name) for name, call in calls]
        observations = "\n".join(call.result for call in turn.calls)
        log.append(
            memory.ActionStep(
                number, timing, tool_calls=made, model_output=turn.text, observations=observations
            )
        )
    final = memory.ToolCall(name="final_answer", arguments={"answer": run.answer}, id="end")
    return [*log, memory.ActionStep(99, timing, tool_calls=[final], action_output=run.answer, is_final_answer=True)]


def smolagents_dicts(run: Run) -> list[Any]:
    return [step.dict() for step in smolagents(run)]


def atif(run: Run) -> dict[str, Any]:
    """As Harbor's models write it; see `logs/atif.json` for one that they did write."""
    steps: list[dict[str, Any]] = [{"step_id": 1, "source": "user", "message": run.task}]
    for turn, calls in run.numbered():
        made = [{"tool_call_id": name, "function_name": call.tool, "arguments": call.args} for name, call in calls]
        results = [{"source_call_id": name, "content": call.result} for name, call in calls]
        steps.append({
            "step_id": len(steps) + 1, "source": "agent", "message": turn.text, "tool_calls": made,
            "observation": {"results": results},
        })  # fmt: skip
    steps.append({"step_id": len(steps) + 1, "source": "agent", "message": run.answer})
    agent = {"name": "counter", "version": "1"}
    return {"schema_version": "ATIF-v1.8", "session_id": "s", "agent": agent, "steps": steps}


def react_trajectory(run: Run) -> dict[str, Any]:
    """As `dspy.ReAct` keeps it, one call a turn."""
    log: dict[str, Any] = {}
    for number, call in enumerate(run.calls):
        log |= {f"thought_{number}": "t", f"tool_name_{number}": call.tool, f"tool_args_{number}": call.args}
        log[f"observation_{number}"] = call.result
    end = len(run.calls)
    return log | {f"thought_{end}": "t", f"tool_name_{end}": "finish", f"tool_args_{end}": {}}


def react_history(run: Run) -> Any:
    """As `dspy.ReActV2` keeps it."""
    turns = []
    for turn, calls in run.numbered():
        results = [
            {"call_id": name, "name": call.tool, "value": call.result, "is_error": call.failed} for name, call in calls
        ]
        made = [{"name": call.tool, "args": call.args} for call in turn.calls]
        turns.append({
            "next_thought": turn.text,
            "tool_calls": {"tool_calls": made, "tool_call_results": {"tool_call_results": results}},
        })  # fmt: skip
    return dspy.History(messages=turns)


def opentelemetry(run: Run) -> list[Any]:
    """Spans by OpenTelemetry's own helper: of the model with all that it was shown, and of each tool."""
    types = pytest.importorskip("opentelemetry.util.genai.types")
    handler, exported = _telemetry()
    shown: list[Any] = [types.InputMessage(role="user", parts=[types.TextPart(content=run.task)])]
    for turn, calls in run.numbered():
        parts = [types.TextPart(content=turn.text)] if turn.text else []
        parts += [types.ToolCallRequestPart(arguments=call.args, name=call.tool, id=name) for name, call in calls]
        _infer(handler, types, shown, parts)
        shown.append(types.InputMessage(role="assistant", parts=parts))
        for name, call in calls:
            try:
                with handler.tool(call.tool) as tool:
                    tool.tool_call_id, tool.arguments, tool.tool_result = name, call.args, call.result
                    if call.failed:
                        raise RuntimeError(call.result)
            except RuntimeError:
                pass  # what the span is to tell of
        results = [types.ToolCallResponsePart(response=call.result, id=name) for name, call in calls]
        shown.append(types.InputMessage(role="tool", parts=results))
    _infer(handler, types, shown, [types.TextPart(content=run.answer)])
    return list(exported.get_finished_spans())


def _telemetry() -> tuple[Any, Any]:
    handlers = pytest.importorskip("opentelemetry.util.genai.handler")
    provider, exporter = _exported()
    return handlers.TelemetryHandler(tracer_provider=provider), exporter


def _exported() -> tuple[Any, Any]:
    """A provider of tracers, and where their spans end up."""
    trace, export = map(pytest.importorskip, ("opentelemetry.sdk.trace", "opentelemetry.sdk.trace.export"))
    exporter = pytest.importorskip("opentelemetry.sdk.trace.export.in_memory_span_exporter").InMemorySpanExporter()
    provider = trace.TracerProvider()
    provider.add_span_processor(export.SimpleSpanProcessor(exporter))
    return provider, exporter


def _infer(handler: Any, types: Any, shown: list[Any], parts: list[Any]) -> None:
    with handler.inference("openai", request_model="m") as inference:
        inference.input_messages = list(shown)
        inference.output_messages = [types.OutputMessage(role="assistant", parts=parts, finish_reason="stop")]


def opentelemetry_json(run: Run) -> list[Any]:
    return [json.loads(span.to_json()) for span in opentelemetry(run)]


def otlp(run: Run) -> dict[str, Any]:
    """As an OTLP exporter writes the same spans to a file."""
    spans = [
        {
            "name": span["name"],
            "traceId": span["context"]["trace_id"],
            "spanId": span["context"]["span_id"],
            "startTimeUnixNano": str(number),
            "status": {"code": 2, "message": span["status"].get("description")} if _failed(span) else {},
            "attributes": [{"key": key, "value": _otlp(value)} for key, value in span["attributes"].items()],
        }
        for number, span in enumerate(opentelemetry_json(run), start=9)
    ]
    return {"resourceSpans": [{"scopeSpans": [{"spans": spans}]}]}


def _failed(span: Any) -> bool:
    return bool(span["status"]["status_code"] == "ERROR")


def _otlp(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_otlp(item) for item in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}


def openinference(run: Run) -> list[Any]:
    """Spans with attributes as OpenInference's helpers write them; those of tools have no id."""
    helpers = pytest.importorskip("openinference.instrumentation")
    provider, exporter = _exported()
    tracer = provider.get_tracer("test")

    def span(kind: str, **attributes: Any) -> None:
        with tracer.start_as_current_span(kind) as made:
            made.set_attributes({**helpers.get_span_kind_attributes(kind.lower()), **attributes})

    shown: list[dict[str, Any]] = [{"role": "user", "content": run.task}]
    for turn, calls in run.numbered():
        made = [{"id": name, "function": {"name": call.tool, "arguments": call.args}} for name, call in calls]
        message = {"role": "assistant", "content": turn.text, "tool_calls": made}
        span("LLM", **helpers.get_llm_attributes(input_messages=shown, output_messages=[message]))
        shown = [*shown, message]
        for name, call in calls:
            inputs = helpers.get_input_attributes(call.args)
            span("TOOL", **{"tool.name": call.tool}, **inputs, **helpers.get_output_attributes(call.result))
            shown = [*shown, {"role": "tool", "tool_call_id": name, "content": call.result}]
    answer = {"role": "assistant", "content": run.answer}
    span("LLM", **helpers.get_llm_attributes(input_messages=shown, output_messages=[answer]))
    return list(exporter.get_finished_spans())


WRITERS: dict[str, Callable[[Run], Any]] = {
    writer.__name__: writer
    for writer in (
        openai_chat, openai_responses, anthropic, gemini, gemini_json, langchain, langchain_dicts, langchain_dumped,
        pydantic_ai, pydantic_ai_json, smolagents, smolagents_dicts, atif, react_trajectory, react_history,
        opentelemetry, opentelemetry_json, otlp, openinference,
    )
}  # fmt: skip
