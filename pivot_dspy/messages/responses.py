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

_SILENT = frozenset({
    "item_reference", "mcp_list_tools", "mcp_approval_request", "mcp_approval_response", "compaction",
    "additional_tools",
})  # fmt: skip
"""Items that are no calls, though some are named like one: what was asked of a person is followed by the call."""
_APART = frozenset({
    "function_call", "custom_tool_call", "computer_call", "local_shell_call", "shell_call", "apply_patch_call",
    "tool_search_call", "program",
})  # fmt: skip
"""Calls whose result is an item of its own; those of other tools hold theirs."""
_RESULTS = ("_call_output", "tool_search_output", "program_output")
_ABOUT = frozenset({
    "id", "type", "status", "call_id", "name", "namespace", "output", "error", "result", "results", "outputs",
    "caller", "created_by", "async_", "fingerprint",
})  # fmt: skip
_KNOWN = ("message", "reasoning", "function_call", "function_call_output")


def claims(record: Record) -> bool:
    kind = record.get("type")
    return isinstance(kind, str) and (
        kind.endswith(("_call", *_RESULTS)) or kind in ("reasoning", "program", *_SILENT)
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
        elif kind.endswith(_RESULTS):
            yield _result(kind, item)
        elif kind.endswith("_call") or kind in _APART:
            yield from _call(kind, place, item)
        elif kind not in _SILENT:
            refuse_calls(kind, place, _KNOWN)


def _texts(item: Record) -> list[str]:
    parts = [*(item.get("summary") or ()), *(item.get("content") or ())]
    return [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]


def _result(kind: str, item: Record) -> ResultEvent:
    tool = None if "call_id" in item else kind.removesuffix("_call_output")  # the local shell's names no call
    value = value_of(pick(item, "output", "result", "tools"))
    return ResultEvent(value, item.get("call_id"), tool, True if item.get("status") == "failed" else None)


def _call(kind: str, place: str, item: Record) -> Iterator[CallEvent | ResultEvent]:
    """The call, and the result where the item holds it."""
    given: Any = pick(item, "arguments", "input")
    if given is None:
        given = {name: value for name, value in item.items() if name not in _ABOUT and value is not None}
    bare = "input" if kind == "custom_tool_call" else None
    name = item.get("name") or kind.removesuffix("_call")
    call = call_of(name, given, place, call=pick(item, "call_id", "id"), bare=bare)
    yield call
    if kind not in _APART and item.get("status") in (None, "completed", "failed"):
        failed = item.get("error") is not None or item.get("status") == "failed"
        value = value_of(pick(item, "error", "output", "result", "results", "outputs"))
        yield ResultEvent(value, call.id, failed=failed or None)


FORMAT = Format("openai-responses", claims, read)
