"""Messages of Pydantic AI: `kind` is `request` or `response`, with `parts` told apart by `part_kind`.

Of a call that a person changed before it ran (`ToolApproved(override_args=...)`) they keep what the model asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.messages.events import (
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    call_of,
    records,
    refuse_calls,
    text_of,
    value_of,
)

_FAILED = frozenset({"failed", "denied", "interrupted", "retried"})
_SILENT = frozenset({"tool-availability-delta", "text", "user-prompt"})


def claims(record: Record) -> bool:
    return record.get("kind") in ("request", "response") and isinstance(record.get("parts"), (list, tuple))


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, message in entries:
        for part in records(message["parts"], place):
            yield from _part(str(part.get("part_kind")), part, place)


def _part(kind: str, part: Record, place: str) -> Iterator[Event]:
    name, call, content = part.get("tool_name"), part.get("tool_call_id"), part.get("content")
    if kind.endswith("tool-call"):
        yield call_of(name, part.get("args"), place, call=call)
    elif kind.endswith("tool-return"):
        outcome = part.get("outcome") or "success"
        yield ResultEvent(value_of(content), call, name, outcome in _FAILED, ran=outcome != "denied")
    elif kind == "retry-prompt":
        if name:  # else it is about the answer
            yield ResultEvent(text_of(content) or str(content), call, name, failed=True)
    elif kind in ("text", "thinking"):
        if isinstance(content, str) and content.strip():
            yield WordsEvent("assistant" if kind == "text" else "thought", content.strip())
    elif kind in ("user-prompt", "system-prompt"):
        yield WordsEvent("user" if kind == "user-prompt" else "system", text_of(content))
    elif kind not in _SILENT:
        refuse_calls(kind, place, ("tool-call", "tool-return", "retry-prompt"))


FORMAT = Format("pydantic-ai", claims, read)
