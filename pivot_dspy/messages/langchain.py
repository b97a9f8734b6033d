"""Messages of LangChain: the objects, what `messages_to_dict` and `dumpd` write of them.

A person may change or refuse calls (`HumanInTheLoopMiddleware`). The call that never ran stays in `tool_calls`; which
one did stands only in the text of its result.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy.messages import blocks
from pivot_dspy.messages.chat import ROLES, beside, calls_of
from pivot_dspy.messages.events import (
    CallEvent,
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    Speaker,
    call_of,
    mapping,
    records,
    value_of,
)

_TYPES: Mapping[str, Speaker] = {"ai": "assistant", "human": "user", "system": "system", "remove": "system"}
_RESULTS = ("tool", "function")
_EDITED = re.compile(r"[^\n]*\bExecuted instead: (?P<tool>\S+) with arguments (?=\{)")
_RESPONSE = "\n\nTool response:"
_DECISION = "hitl_interrupt_decision"


def claims(record: Record) -> bool:
    return _plain(record) is not None


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, entry in entries:
        record = _plain(entry)
        if record is not None:
            yield from _message(place, record)


def _plain(record: Record) -> Record | None:
    """The message's fields with its type, whichever way it was written; None where it is no message of LangChain's."""
    kind, fields = str(record.get("type")), record
    if record.get("lc") and isinstance(record.get("kwargs"), Mapping) and isinstance(record.get("id"), list):
        kind, fields = str(record["id"][-1]), record["kwargs"]
    elif isinstance(record.get("data"), Mapping):
        fields = record["data"]
    kind = kind.removesuffix("Chunk").removesuffix("Message").lower()
    if "content" not in fields or "role" in fields and kind != "chat":
        return None
    return {**fields, "type": kind} if kind in (*_TYPES, *_RESULTS, "chat") else None


def _message(place: str, record: Record) -> Iterator[Event]:
    kind, content = record["type"], record["content"]
    if kind in _RESULTS:
        yield _result(place, record)
        return
    speaker = ROLES.get(str(record.get("role")), "user") if kind == "chat" else _TYPES[kind]
    agent = record.get("name") if speaker == "assistant" else None
    calls = [*_calls(record, place, agent)] or [*calls_of(record.get("additional_kwargs") or {}, place, agent)]
    yield from beside(calls, blocks.read(content, place, speaker, agent))


def _calls(record: Record, place: str, agent: str | None) -> Iterator[CallEvent]:
    for call in records(record.get("tool_calls"), place):
        yield call_of(call.get("name"), call.get("args"), place, call=call.get("id"), agent=agent)
    for call in records(record.get("invalid_tool_calls"), place):
        read_call = call_of(call.get("name") or "unknown", call.get("args"), place, call=call.get("id"), agent=agent)
        problem = read_call.problem or call.get("error") or "arguments cannot be read"
        yield CallEvent(read_call.tool, {}, read_call.id, str(problem), agent)


def _result(place: str, record: Record) -> ResultEvent:
    name, call = record.get("name"), record.get("tool_call_id")
    failed = {"error": True}.get(str(record.get("status")))  # a failure that a tool tells itself counts as success
    about = mapping(record.get("additional_kwargs")) or {}
    decision = (mapping(about.get("lc_data")) or {}).get("decision") if about.get("lc_source") == _DECISION else None
    value, instead = _edited(record["content"], place)
    return ResultEvent(value_of(value), call, name, failed, ran=decision != "reject", instead=instead)


def _edited(content: Any, place: str) -> tuple[Any, CallEvent | None]:
    """The result, and the call that ran where a person changed it before."""
    first, rest = (content[0], content[1:]) if isinstance(content, list) and content else (content, None)
    text = (mapping(first) or {}).get("text") if rest is not None else first
    notice = _EDITED.match(text) if isinstance(text, str) else None
    if notice is None or not isinstance(text, str):
        return content, None
    try:
        arguments, end = json.JSONDecoder().raw_decode(text, notice.end())
    except json.JSONDecodeError:
        return content, None
    after = text[end:].removeprefix(".")
    if after.strip() and not after.startswith(_RESPONSE):
        return content, None
    value = after.removeprefix(_RESPONSE).removeprefix("\n")
    return (rest if rest else value), call_of(notice["tool"], arguments, place)


FORMAT = Format("langchain", claims, read)
