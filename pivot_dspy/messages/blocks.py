"""Contents that are lists of blocks, as Anthropic writes calls and results: `tool_use` and `tool_result`.

Amazon Bedrock has the same as `{"toolUse": ...}` and `{"toolResult": ...}`.

Tools of a server (`server_tool_use`, `mcp_tool_use`) are calls like others; their results end in `tool_result`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

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
    refuse_calls,
    text_of,
    value_of,
)

_KNOWN = ("text", "thinking", "tool_use", "tool_result")
_CALLS = ("tool_use", "tool_call")
_THOUGHTS = ("thinking", "reasoning")


def claims(record: Record) -> bool:
    content = record.get("content")
    kinds = [str(_block(part).get("type", "")) for part in content] if isinstance(content, list) else []
    return record.get("role") in ("user", "assistant") and any(
        kind.endswith((*_CALLS, "tool_result")) or kind == "thinking" for kind in kinds
    )


def read_messages(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, record in entries:
        speaker: Speaker = "assistant" if record["role"] == "assistant" else "user"
        yield from read(record["content"], place, speaker, record.get("name"))


def read(content: Any, place: str, speaker: Speaker, agent: str | None = None) -> Iterator[Event]:
    """The events of the content of a message by `speaker`.

    Raises:
        TrajectoryError: it holds a block of unknown type that may be a call.
    """
    if not isinstance(content, (list, tuple)):
        if text := text_of(content):
            yield WordsEvent(speaker, text, agent)
        return
    waiting = False
    for kind, group in groupby(content, key=_kind):
        parts = list(group)
        blocks = [_block(part) for part in parts]
        if kind == "result":
            waiting = False
            yield from map(_result, blocks)
        elif kind == "call":
            waiting = True
            for block in blocks:
                given = pick(block, "input", "args", "arguments")
                yield call_of(block.get("name"), given, place, call=block.get("id"), agent=agent)
        elif kind == "thought":
            thoughts = (pick(block, "thinking", "reasoning", "text") for block in blocks)
            if text := text_of([{"text": thought} for thought in thoughts]):
                yield WordsEvent("thought", text, agent)
        else:
            for block in blocks:
                for name in [block["type"]] if "type" in block else block:
                    refuse_calls(str(name), place, _KNOWN)
            if text := text_of(parts):
                # What is said while a call waits for its result answers nothing.
                yield WordsEvent("thought" if waiting else speaker, text, agent)


def _kind(part: Any) -> str:
    """What a block holds: a `result`, a `call`, a `thought` or `words`."""
    kind = str(_block(part).get("type") or "text")
    if kind.endswith(("tool_result", "tool_call_result")):
        return "result"
    return "call" if kind.endswith(_CALLS) else "thought" if kind in _THOUGHTS else "words"


def _block(part: Any) -> Record:
    """A part as a typed block; those of Bedrock have one field, which is named by their type."""
    record = mapping(part) or {}
    if (call := mapping(record.get("toolUse"))) is not None:
        return {**call, "type": "tool_use", "id": call.get("toolUseId")}
    if (result := mapping(record.get("toolResult"))) is not None:
        held = result.get("content")
        parts = [mapping(item) or {} for item in held] if isinstance(held, list) else []
        content = parts[0]["json"] if len(parts) == 1 and "json" in parts[0] else held
        failed = {"error": True, "success": False}.get(str(result.get("status")))
        return {"type": "tool_result", "tool_use_id": result.get("toolUseId"), "content": content, "is_error": failed}
    return record


def _result(block: Record) -> ResultEvent:
    content = block.get("content")
    inner = mapping(content) or {}  # a server's tool tells its errors in a record
    failed = block.get("is_error") if isinstance(block.get("is_error"), bool) else None
    if str(inner.get("type", "")).endswith("_error") or inner.get("error_code"):
        failed = True
    return ResultEvent(value_of(content), pick(block, "tool_use_id", "tool_call_id"), block.get("name"), failed)


FORMAT = Format("anthropic", claims, read_messages)
