"""Spans with OpenTelemetry's GenAI attributes (`gen_ai.*`), semantic conventions 1.37 and later.

Messages, arguments and results are only there where their capture was switched on.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pivot_dspy.messages.events import (
    CallEvent,
    Event,
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

_CHATS = frozenset({"chat", "generate_content", "text_completion"})
_SPEAKERS: Mapping[str, Speaker] = {"assistant": "assistant", "model": "assistant", "user": "user", "system": "system"}
NOT_KEPT = "the trace does not keep its arguments"


@dataclass(frozen=True)
class TraceSpan:
    """What one span tells of a run."""

    place: str
    start: str
    """Sorts by time."""
    is_chat: bool = False
    is_call: bool = False
    failed: bool = False
    history: tuple[Event, ...] = ()
    """What the model was shown."""
    answer: tuple[Event, ...] = ()
    """What the model answered; of a tool's span, the call and its result."""


def span(place: str, attributes: Record, *, start: str, error: str | None, agent: str | None) -> TraceSpan:
    """One span of a model or of a tool; of neither, where it is another."""
    operation = attributes.get("gen_ai.operation.name")
    if operation == "execute_tool":
        answer = _executed(place, attributes, error, agent)
        return TraceSpan(place, start, is_call=True, answer=answer)
    if operation in _CHATS or "gen_ai.output.messages" in attributes and operation != "invoke_agent":
        history = tuple(_messages(attributes.get("gen_ai.input.messages"), place, agent))
        answer = tuple(_messages(attributes.get("gen_ai.output.messages"), place, agent))
        return TraceSpan(place, start, is_chat=True, failed=error is not None, history=history, answer=answer)
    return TraceSpan(place, start)


def _executed(place: str, attributes: Record, error: str | None, agent: str | None) -> tuple[Event, ...]:
    arguments, call = attributes.get("gen_ai.tool.call.arguments"), attributes.get("gen_ai.tool.call.id")
    made = call_of(attributes.get("gen_ai.tool.name"), decoded(arguments), place, call=call, agent=agent)
    if arguments is None:
        made = CallEvent(made.tool, {}, made.id, NOT_KEPT, agent)
    value = error if error is not None else value_of(attributes.get("gen_ai.tool.call.result"))
    return made, ResultEvent(value, made.id, made.tool, failed=error is not None)


def decoded(value: Any) -> Any:
    """What an attribute holds as JSON text, else the attribute."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (json.JSONDecodeError, RecursionError):
        return value


def _messages(logged: Any, place: str, agent: str | None) -> Iterator[Event]:
    for message in records(decoded(logged), place):
        speaker = _SPEAKERS.get(str(message.get("role")), "user")
        name = pick(message, "name") or agent
        for part in records(message.get("parts"), place):
            yield from _part(part, place, speaker, name if speaker == "assistant" else None)


def _part(part: Record, place: str, speaker: Speaker, agent: str | None) -> Iterator[Event]:
    kind, content = str(part.get("type")), part.get("content")
    if kind == "tool_call":
        yield call_of(part.get("name"), decoded(part.get("arguments")), place, call=part.get("id"), agent=agent)
    elif kind == "server_tool_call":
        inner = mapping(part.get("server_tool_call")) or {}
        given = inner.get("arguments", {key: value for key, value in inner.items() if key != "type"})
        yield call_of(part.get("name"), given, place, call=part.get("id"), agent=agent)
    elif kind in ("tool_call_response", "server_tool_call_response"):
        yield ResultEvent(value_of(pick(part, "response", "result", "server_tool_call_response")), part.get("id"))
    elif kind in ("text", "reasoning"):
        if isinstance(content, str) and content.strip():
            yield WordsEvent("thought" if kind == "reasoning" else speaker, content.strip(), agent)
    else:
        refuse_calls(kind, place, ("tool_call", "tool_call_response", "text", "reasoning"))
