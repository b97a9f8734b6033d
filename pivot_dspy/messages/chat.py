"""Chat messages of OpenAI's kind: `role` and `content`, calls in `tool_calls` or the older `function_call`.

What many other libraries write, too: names and arguments may stand in `function` or in the call itself, arguments as
JSON text or as an object.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy.messages import blocks
from pivot_dspy.messages.events import (
    USER,
    CallEvent,
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

ROLES: Mapping[str, Speaker] = {
    "assistant": "assistant", "user": "user", "system": "system", "developer": "system",
    "tool": "user", "function": "user",
}  # fmt: skip
_RESULTS = ("tool", "function")
_FIELDS = frozenset({"tool_calls", "function_call", "tools", "functions", "content", "role"})
"""Fields that are read, or hold no call; of others, none that is named like a list of calls is passed over."""


def claims(record: Record) -> bool:
    if "parts" in record or "kind" in record:
        return False
    role = record.get("role")
    return role in ROLES or (role is None and ("tool_calls" in record or "function_call" in record))


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, record in entries:
        yield from _message(place, record)


def _message(place: str, record: Record) -> Iterator[Event]:
    role, content = record.get("role") or "assistant", record.get("content")
    for name in record.keys() - _FIELDS:
        if record[name] and not isinstance(record[name], (str, int, float)):
            refuse_calls(name, place, _FIELDS)
    if role in _RESULTS:
        name = pick(record, "name", "tool_name")
        yield ResultEvent(value_of(content), record.get("tool_call_id"), name, _has_failed(record))
        return
    if role == "assistant" and record.get("action"):
        refuse_calls("function call in 'action'", place, _FIELDS)  # of SWE-agent, whose content is what it answered
    agent = record.get("name")
    thought = record.get("reasoning_content") or record.get("reasoning")
    if isinstance(thought, str) and thought.strip():
        yield WordsEvent("thought", thought.strip(), agent)
    caller = agent or (USER if role == "user" else None)
    yield from beside(list(calls_of(record, place, caller)), blocks.read(content, place, ROLES[role], agent))


def _has_failed(result: Record) -> bool | None:
    """Whether a result's fields say that the call failed; None where none of them tells."""
    flags = [result[name] for name in ("is_error", "error") if name in result]
    told = [flag for flag in flags if isinstance(flag, bool) or flag]
    return bool(told[0]) if told else None


def beside(calls: Sequence[CallEvent], content: Iterable[Event]) -> Iterator[Event]:
    """What a content holds, then the calls beside it: what stands in both is one call."""
    ids = {call.id for call in calls}
    yield from (event for event in content if not (isinstance(event, CallEvent) and event.id in ids))
    yield from calls


def calls_of(record: Record, place: str, agent: str | None = None) -> Iterator[CallEvent]:
    """The calls that stand beside the content of a message."""
    more = mapping(record.get("additional_kwargs")) or {}  # of LlamaIndex
    logged = pick(record, "tool_calls", "function_call") or pick(more, "tool_calls", "function_call") or []
    if not isinstance(logged, (list, tuple)):
        logged = [logged]
    for call in records(logged, place):
        own = mapping(call.get("function")) or mapping(call.get("custom")) or call
        arguments: Any = own.get("arguments", own.get("args", own.get("input")))
        bare = "input" if "custom" in call else None
        name = own.get("name", call.get("function"))  # Inspect has the name itself there
        yield call_of(name, arguments, place, call=call.get("id"), agent=agent, bare=bare)


FORMAT = Format("openai", claims, read)
