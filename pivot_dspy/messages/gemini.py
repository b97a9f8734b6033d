"""Contents of Gemini: `parts` with `function_call` and `function_response`, in snake case or in camel case."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.messages.events import (
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    Speaker,
    WordsEvent,
    call_of,
    mapping,
    pick,
    records,
    refuse_calls,
    value_of,
)

_PARTS = frozenset({
    "text", "thought", "function_call", "functionCall", "function_response", "functionResponse", "executable_code",
    "executableCode", "code_execution_result", "codeExecutionResult", "inline_data", "inlineData", "file_data",
    "fileData", "video_metadata", "videoMetadata", "thought_signature", "thoughtSignature", "media_resolution",
    "mediaResolution", "part_metadata", "partMetadata", "tool_call", "toolCall", "tool_response", "toolResponse",
})  # fmt: skip


def claims(record: Record) -> bool:
    if record.get("role") not in ("model", "user", "function", "tool", "system", None) or "kind" in record:
        return False
    parts = record.get("parts")
    return isinstance(parts, list) and not any("type" in (mapping(part) or {}) for part in parts)


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, content in entries:
        speaker: Speaker = "assistant" if content.get("role") in ("model", None) else "user"
        for part in records(content.get("parts"), place):
            yield from _part(part, place, speaker)


def _part(part: Record, place: str, speaker: Speaker) -> Iterator[Event]:
    for name in part.keys() - _PARTS:
        if part[name] is not None:
            refuse_calls(name, place, _PARTS)
    text = part.get("text")
    if isinstance(text, str) and text.strip():
        yield WordsEvent("thought" if part.get("thought") else speaker, text.strip())
    call = mapping(pick(part, "function_call", "functionCall"))
    if call is not None:
        yield call_of(call.get("name"), call.get("args"), place, call=call.get("id"))
    served = mapping(pick(part, "tool_call", "toolCall"))  # of a tool on Gemini's side
    if served is not None:
        yield call_of(_type_of(served), served.get("args"), place, call=served.get("id"))
    code = mapping(pick(part, "executable_code", "executableCode"))
    if code is not None:
        yield call_of("code_execution", {"code": code.get("code")}, place, call=code.get("id"))
    response = mapping(pick(part, "function_response", "functionResponse"))
    if response is not None:
        yield _result(response)
    answered = mapping(pick(part, "tool_response", "toolResponse"))
    if answered is not None:
        yield ResultEvent(value_of(answered.get("response")), answered.get("id"), _type_of(answered))
    ran = mapping(pick(part, "code_execution_result", "codeExecutionResult"))
    if ran is not None:
        failed = not str(ran.get("outcome") or "OUTCOME_OK").endswith("OUTCOME_OK")
        yield ResultEvent(ran.get("output"), ran.get("id"), "code_execution", failed)


def _type_of(served: Record) -> str:
    kind = pick(served, "tool_type", "toolType")
    return str(getattr(kind, "value", kind) or "tool").lower()


def _result(response: Record) -> ResultEvent:
    """By Gemini's convention the value stands under `output` or `result`, or an error under `error`; else it is all."""
    value = response.get("response")
    failed = isinstance(value, dict) and value.get("error") is not None
    if isinstance(value, dict) and len(value) == 1:
        value = next(iter(value.values())) if {*value} <= {"output", "result", "error"} else value
    return ResultEvent(value_of(value), response.get("id"), response.get("name"), failed)


FORMAT = Format("gemini", claims, read)
