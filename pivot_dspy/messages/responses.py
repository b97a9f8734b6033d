"""Items of OpenAI's Responses interface: `function_call` and its output, messages, and the calls of built-in tools."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pivot_dspy.messages import blocks
from pivot_dspy.messages.chat import ROLES
from pivot_dspy.messages.events import (
    CallEvent,
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    call_of,
    pick,
    refuse_calls,
    text_of,
    value_of,
)

_SILENT = frozenset({"item_reference", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "compaction"})
"""Items that are no calls, though some are named like one: what was asked of a person is followed by the call."""
_ABOUT = frozenset({"id", "type", "status", "call_id", "name", "namespace", "output", "error", "results", "outputs"})
_KNOWN = ("message", "reasoning", "function_call", "function_call_output")


def claims(record: Record) -> bool:
    kind = record.get("type")
    return isinstance(kind, str) and (
        kind.endswith(("_call", "_call_output")) or kind in ("reasoning", *_SILENT)
        or (kind == "message" and "content" in record and record.get("role") in ROLES)
    )  # fmt: skip


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, item in entries:
        kind = str(item["type"])
        if kind == "message":
            yield from blocks.read(item.get("content"), place, ROLES[item["role"]])
        elif kind == "reasoning":
            if text := text_of([{"text": part} for part in _texts(item)]):
                yield WordsEvent("thought", text)
        elif kind.endswith("_call_output"):
            failed = True if item.get("status") == "failed" else None
            yield ResultEvent(value_of(item.get("output")), pick(item, "call_id", "id"), item.get("name"), failed)
        elif kind.endswith("_call"):
            yield from _call(kind, place, item)
        elif kind not in _SILENT:
            refuse_calls(kind, place, _KNOWN)


def _texts(item: Record) -> list[str]:
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _call(kind: str, place: str, item: Record) -> Iterator[CallEvent | ResultEvent]:
    """The call, and the result where the item holds it, as those of built-in tools do."""
    given: Any = pick(item, "arguments", "input")
    if given is None:
        given = {name: value for name, value in item.items() if name not in _ABOUT and value is not None}
    bare = "input" if kind == "custom_tool_call" else None
    name = item.get("name") or kind.removesuffix("_call")
    call = call_of(name, given, place, call=pick(item, "call_id", "id"), bare=bare)
    yield call
    output = pick(item, "error", "output", "results", "outputs")
    if output is not None or (kind not in ("function_call", "custom_tool_call") and item.get("status") == "failed"):
        failed = item.get("error") is not None or item.get("status") == "failed"
        yield ResultEvent(value_of(output), call.id, failed=failed or None)


FORMAT = Format("openai-responses", claims, read)
