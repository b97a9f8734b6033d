"""Traces: spans with OpenTelemetry's GenAI attributes or with OpenInference's, as exported by OTLP or by the SDK.

A call may stand in a trace several times: in the answer of the model that asked for it, in the history that later
models are shown, and as the span of the tool. It is one call, told by its id; without ids, what a model answers is
new, and a history adds only what nothing before it holds.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages import genai, openinference
from pivot_dspy.messages.events import Call, Entry, Event, Format, Record, Result, Words, mapping
from pivot_dspy.messages.genai import Span

_NUMBERS = ("intValue", "doubleValue", "boolValue", "stringValue", "bytesValue")


def claims(record: Record) -> bool:
    if "resourceSpans" in record or "resource_spans" in record:
        return True
    return "attributes" in record and bool(record.keys() & {"context", "spanId", "span_id", "traceId", "trace_id"})


def read(entries: Sequence[Entry]) -> Iterator[Event]:
    spans = sorted(
        (span for place, record in entries for span in _spans(place, record)), key=lambda span: span.start
    )
    known = [span for span in spans if span.is_call or span.is_chat]
    if not known:
        raise TrajectoryError(
            f"none of {len(spans)} spans is of a model or a tool, by gen_ai.operation.name or openinference.span.kind"
        )
    yield from _merged(known)


def _spans(place: str, record: Record) -> Iterator[Span]:
    batches = record.get("resourceSpans", record.get("resource_spans"))
    if batches is None:
        yield _span(place, record)
        return
    for batch in batches:
        for scope in batch.get("scopeSpans", batch.get("scope_spans")) or ():
            for number, span in enumerate(scope.get("spans") or (), start=1):
                yield _span(f"span {number} of {place}", span)


def _span(place: str, record: Record) -> Span:
    attributes = record["attributes"]
    if isinstance(attributes, (list, tuple)):  # OTLP
        attributes = {str(entry["key"]): _otlp(entry.get("value")) for entry in attributes}
    start = record.get("startTimeUnixNano", record.get("start_time_unix_nano", record.get("start_time", 0)))
    status = mapping(record.get("status")) or {}
    failed = status.get("status_code", status.get("code")) in ("ERROR", "STATUS_CODE_ERROR", 2)
    error = str(status.get("description") or status.get("message") or attributes.get("error.type") or "it failed")
    read_span = openinference.span if openinference.claims(attributes) else genai.span
    return read_span(place, attributes, start=str(start).rjust(20, "0"), error=error if failed else None)


def _otlp(value: Any) -> Any:
    """A value of OTLP's JSON, without the wrapper that names its type."""
    if not isinstance(value, Mapping):
        return value
    if "arrayValue" in value:
        return [_otlp(item) for item in (value["arrayValue"].get("values") or ())]
    if "kvlistValue" in value:
        return {str(entry["key"]): _otlp(entry.get("value")) for entry in (value["kvlistValue"].get("values") or ())}
    kind = next((name for name in _NUMBERS if name in value), None)
    if kind == "intValue":
        return int(value[kind])
    return None if kind is None else value[kind]


def _merged(spans: Sequence[Span]) -> Iterator[Event]:
    """The events of all spans, each call and each result once."""
    made: Counter[str] = Counter()
    answered: set[str] = set()
    open_calls: list[Call] = []
    complete = {_key(call) for span in spans if span.is_chat for call in _calls([*span.history, *span.answer])}
    for span in spans:
        if span.is_call:
            call, result = span.answer
            if not isinstance(call, Call) or not isinstance(result, Result):
                raise TrajectoryError(f"{span.place} is of a tool, and holds no call")
            asked = _asked(call, open_calls)
            if asked is None and _key(call) not in made:
                made[_key(call)] += 1
                yield call
            elif asked is not None:
                open_calls.remove(asked)
            answered.add(_key(asked or call))
            if asked is not None and asked.id != call.id:
                result = Result(result.value, asked.id, call.tool, result.failed)
            yield result
            continue
        if not span.history and not span.answer and not complete:
            if not any(other.is_call for other in spans):
                raise TrajectoryError(f"{span.place} keeps no messages; switch the capture of message content on")
            continue
        seen: Counter[str] = Counter()
        for event in span.history:
            if isinstance(event, Call):
                seen[_key(event)] += 1
                if seen[_key(event)] > made[_key(event)]:
                    made[_key(event)] += 1
                    open_calls.append(event)
                    yield event
            elif isinstance(event, Result):
                name = event.call or ""
                if name and f"#{name}" in answered:
                    continue
                waiting = next((call for call in open_calls if name and call.id == name), None)
                if waiting is not None or (not name and open_calls):
                    waiting = waiting or open_calls[0]
                    open_calls.remove(waiting)
                    answered.add(_key(waiting))
                    yield event
            elif event.speaker in ("user", "system") and not made:
                yield event
        for event in span.answer:
            if isinstance(event, Call):
                if event.id is not None and made[_key(event)]:
                    continue
                made[_key(event)] += 1
                open_calls.append(event)
            yield event


def _calls(events: Sequence[Event]) -> Iterator[Call]:
    return (event for event in events if isinstance(event, Call))


def _key(call: Call) -> str:
    """What tells one call from another: the id, else what is called with what."""
    if call.id is not None:
        return f"#{call.id}"
    return f"{call.tool} {json.dumps(call.arguments, sort_keys=True, default=str)}"


def _asked(call: Call, waiting: Sequence[Call]) -> Call | None:
    """Which call that a model asked for is the one that a tool's span made."""
    same = [other for other in waiting if other.id is not None and other.id == call.id]
    if not same and call.id is None:
        same = [other for other in waiting if other.tool == call.tool and other.arguments == call.arguments]
        same = same or [other for other in waiting if other.tool == call.tool and call.problem is not None]
    return same[0] if same else None


FORMAT = Format("spans", claims, read)

__all__ = ["FORMAT", "Words"]
