"""Contents that are lists of typed blocks, as Anthropic writes calls and results: `tool_use` and `tool_result`.

Tools of a server (`server_tool_use`, `mcp_tool_use`) are calls like others; their results end in `tool_result`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pivot_dspy.messages.events import (
    Entry,
    Event,
    Format,
    Record,
    Result,
    Speaker,
    Words,
    call_of,
    mapping,
    pick,
    refuse_calls,
    text_of,
    value_of,
)

_KNOWN = ("text", "thinking", "tool_use", "tool_result")
_CALLS = ("tool_use", "tool_call")


def claims(record: Record) -> bool:
    content = record.get("content")
    kinds = [str((mapping(block) or {}).get("type", "")) for block in content] if isinstance(content, list) else []
    return record.get("role") in ("user", "assistant") and any(
        kind.endswith((*_CALLS, "tool_result")) or kind == "thinking" for kind in kinds
    )


def read_messages(entries: Sequence[Entry]) -> Iterator[Event]:
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
            yield Words(speaker, text, agent)
        return
    texts: list[Any] = []
    later: list[Event] = []
    for part in content:
        block = mapping(part) or {}
        kind = str(block.get("type") or "text")
        if kind.endswith("tool_result") or kind.endswith("tool_call_result"):
            yield _result(block)
        elif kind.endswith(_CALLS):
            arguments = pick(block, "input", "args", "arguments")
            later.append(call_of(block.get("name"), arguments, place, call=block.get("id"), agent=agent))
        elif kind in ("thinking", "reasoning"):
            thought = pick(block, "thinking", "reasoning", "text")
            if isinstance(thought, str) and thought.strip():
                yield Words("thought", thought.strip(), agent)
        else:
            refuse_calls(kind, place, _KNOWN)
            texts.append(part)
    if text := text_of(texts):
        yield Words(speaker, text, agent)
    yield from later


def _result(block: Record) -> Result:
    content = block.get("content")
    inner = mapping(content) or {}  # a server's tool tells its errors in a record
    failed = block.get("is_error") if isinstance(block.get("is_error"), bool) else None
    if str(inner.get("type", "")).endswith("_error") or inner.get("error_code"):
        failed = True
    return Result(value_of(content), pick(block, "tool_use_id", "tool_call_id"), block.get("name"), failed)


FORMAT = Format("anthropic", claims, read_messages)
