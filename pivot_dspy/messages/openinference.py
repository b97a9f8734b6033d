"""Spans with OpenInference's attributes: `openinference.span.kind`, and messages flattened into dotted names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy.messages import chat
from pivot_dspy.messages.events import CallEvent, Event, PlacedRecord, Record, ResultEvent, call_of, value_of
from pivot_dspy.messages.genai import NOT_KEPT, TraceSpan, decoded

_KIND = "openinference.span.kind"


def claims(attributes: Record) -> bool:
    return _KIND in attributes


def span(place: str, attributes: Record, *, start: str, error: str | None, agent: str | None) -> TraceSpan:
    """One span of a model or of a tool; of neither, where it is another."""
    kind = str(attributes[_KIND]).upper()
    if kind == "TOOL":
        return TraceSpan(place, start, is_call=True, answer=_executed(place, attributes, error, agent))
    if kind == "LLM":
        history, answer = (
            tuple(_messages(attributes, f"llm.{side}_messages.", place, agent)) for side in ("input", "output")
        )
        return TraceSpan(place, start, is_chat=True, failed=error is not None, history=history, answer=answer)
    return TraceSpan(place, start)


def _executed(place: str, attributes: Record, error: str | None, agent: str | None) -> tuple[Event, ...]:
    name, call = attributes.get("tool.name"), attributes.get("tool_call.id", attributes.get("tool.id"))
    given = decoded(attributes.get("input.value"))
    made = call_of(name, given if isinstance(given, Mapping) else None, place, call=call, agent=agent)
    if not isinstance(given, Mapping):
        told = "" if given is None else f" as an object: {given!r:.200}"
        made = CallEvent(made.tool, {}, made.id, f"{NOT_KEPT}{told}", agent)
    value = error if error is not None else value_of(attributes.get("output.value"))
    return made, ResultEvent(value, made.id, made.tool, failed=error is not None)


def _messages(attributes: Record, prefix: str, place: str, agent: str | None) -> Iterator[Event]:
    tree: dict[str, Any] = {}
    for outer, held in attributes.items():
        for name, value in _flat(outer, held):
            if name.startswith(prefix):
                _put(tree, name.removeprefix(prefix).split("."), value)
    yield from chat.read([PlacedRecord(place, _message(message, agent)) for message in _in_order(tree)])


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """An attribute by its dotted names, where an export has put them together again."""
    if isinstance(value, list) and all(isinstance(item, Mapping) for item in value):
        value = dict(enumerate(value))
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, item in value.items():
        yield from _flat(f"{name}.{key}", item)


def _put(tree: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = tree.setdefault(part, {})
        if not isinstance(inner, dict):
            return
        tree = inner
    tree[path[-1]] = value


def _in_order(tree: Any) -> list[dict[str, Any]]:
    items = tree if isinstance(tree, dict) else {}
    return [items[key] for key in sorted((key for key in items if key.isdigit()), key=int)]


def _message(tree: Mapping[str, Any], agent: str | None) -> dict[str, Any]:
    """A flattened message in the form of OpenAI's chat."""
    message = tree.get("message", {})
    contents = [content.get("message_content", {}) for content in _in_order(message.get("contents"))]
    calls = [call.get("tool_call", {}) for call in _in_order(message.get("tool_calls"))]
    if message.get("function_call_name"):
        arguments = message.get("function_call_arguments_json")
        calls.append({"function": {"name": message["function_call_name"], "arguments": arguments}})
    role = message.get("role")
    if role not in chat.ROLES:  # only an assistant calls something
        role = "assistant" if calls or role in ("model", "ai", "agent", None) else "user"
    return {
        "role": role,
        "content": message.get("content") or contents or None,
        "tool_call_id": message.get("tool_call_id"),
        "name": message.get("name") if role == "tool" else agent if role == "assistant" else None,
        "tool_calls": calls,
    }
