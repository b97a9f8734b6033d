"""Traces: spans with OpenTelemetry's GenAI attributes or with OpenInference's, as exported by OTLP or by the SDK.

A call may stand in a trace several times: in the answer of the model that asked for it, in the history that later
models are shown, and as the span of the tool. It is one call, told by its id and what it calls; what a model answers is
new, but for spans around its own, and a history adds only what nothing before it holds.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages import genai, openinference
from pivot_dspy.messages.events import (
    CallEvent,
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    mapping,
    pick,
)
from pivot_dspy.messages.genai import TraceSpan

_CONVERSATION = "gen_ai.conversation.id"
_NUMBERS = ("intValue", "doubleValue", "boolValue", "stringValue", "bytesValue")


def claims(record: Record) -> bool:
    if "resourceSpans" in record or "resource_spans" in record:
        return True
    return "attributes" in record and bool(record.keys() & {"context", "spanId", "span_id", "traceId", "trace_id"})


def by_trace(entries: Sequence[PlacedRecord]) -> dict[str, list[PlacedRecord]]:
    """The spans of each trace by its id; traces of one conversation (`gen_ai.conversation.id`) are one.

    A span that names no trace is of the first one. Where each span is a trace of its own, nothing was around the run
    that would tell its spans from others': then they are one.
    """
    spans = [span for entry in entries for span in _single(entry)]
    first = next((trace for span in spans if (trace := _trace_of(span.record))), "")
    placed = [(_trace_of(span.record) or first, span) for span in spans]
    conversations: dict[str, Any] = {}
    for trace, span in placed:
        if named := _attributes(span.record).get(_CONVERSATION):
            conversations.setdefault(trace, named)
    heads: dict[Any, str] = {}
    grouped: dict[str, list[PlacedRecord]] = {}
    for trace, span in placed:
        grouped.setdefault(heads.setdefault(conversations.get(trace, trace), trace), []).append(span)
    return {first: spans} if len(grouped) == len(spans) else grouped


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    placed = [span for entry in entries for span in _single(entry)]
    agents = _agents([span.record for span in placed])
    spans = sorted((_span(place, record, agents) for place, record in placed), key=lambda span: span.start)
    known = [span for span in spans if span.is_call or span.is_chat]
    if not known:
        raise TrajectoryError(
            f"none of {len(spans)} spans is of a model or a tool, by gen_ai.operation.name or openinference.span.kind"
        )
    if len(placed) > 1 and len({_trace_of(record) for _, record in placed}) == len(placed):
        tasks = {next(_task_of(span), None) for span in known if span.is_chat} - {None}
        if len(tasks) > 1:
            raise TrajectoryError(
                f"no trace holds more than one of the {len(placed)} spans, which tell of {len(tasks)} tasks; give the "
                "spans of one run, or have a span around each"
            )
    yield from _merged(known)


def _task_of(span: TraceSpan) -> Iterator[Any]:
    return (event.value for event in span.history if isinstance(event, WordsEvent) and event.speaker == "user")


def _single(entry: PlacedRecord) -> Iterator[PlacedRecord]:
    """The spans of an entry, which may be a whole export."""
    place, record = entry
    batches = record.get("resourceSpans", record.get("resource_spans"))
    if batches is None:
        yield entry
        return
    for batch in batches:
        for scope in batch.get("scopeSpans", batch.get("scope_spans")) or ():
            for number, span in enumerate(scope.get("spans") or (), start=1):
                yield PlacedRecord(f"span {number} of {place}", span)


def _agents(records: Sequence[Record]) -> dict[str, str]:
    """By the id of each span its agent: its own, or that of the nearest span around it that names one."""
    parents = {
        _id_of(record): str(pick(record, "parent_id", "parentSpanId", "parent_span_id") or "") for record in records
    }
    own = {_id_of(record): pick(_attributes(record), "gen_ai.agent.name", "agent.name") for record in records}
    agents = {}
    for span in own:
        above, met = span, set[str]()
        while above in own and not own[above] and above not in met:
            met.add(above)
            above = parents[above]
        if own.get(above):
            agents[span] = str(own[above])
    return agents


def _id_of(record: Record) -> str:
    return str(pick(mapping(record.get("context")) or record, "span_id", "spanId") or "")


def _trace_of(record: Record) -> str:
    return str(pick(mapping(record.get("context")) or record, "trace_id", "traceId") or "")


def _attributes(record: Record) -> Record:
    attributes = record["attributes"]
    if isinstance(attributes, (list, tuple)):  # OTLP
        return {str(entry["key"]): _otlp(entry.get("value")) for entry in attributes}
    return mapping(attributes) or {}


def _span(place: str, record: Record, agents: Mapping[str, str]) -> TraceSpan:
    attributes = _attributes(record)
    start = record.get("startTimeUnixNano", record.get("start_time_unix_nano", record.get("start_time", 0)))
    status = mapping(record.get("status")) or {}
    failed = status.get("status_code", status.get("code")) in ("ERROR", "STATUS_CODE_ERROR", 2)
    error = str(status.get("description") or status.get("message") or attributes.get("error.type") or "it failed")
    read_span = openinference.span if openinference.claims(attributes) else genai.span
    agent = agents.get(_id_of(record))
    return read_span(place, attributes, start=str(start).rjust(20, "0"), error=error if failed else None, agent=agent)


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


def _merged(spans: Sequence[TraceSpan]) -> Iterator[Event]:
    """The events of all spans, each call and each result once.

    Raises:
        TrajectoryError: calls may be missing, since what a model answered was not captured.
    """
    trace = _Trace()
    for number, span in enumerate(spans):
        if span.is_call:
            yield from trace.executed(span)
            continue
        told_elsewhere = any(other.is_call or other.history for other in spans[number:])
        if not (span.answer or span.failed or told_elsewhere):
            raise TrajectoryError(
                f"{span.place} is of a model, and keeps no messages; switch on that their content is captured"
            )
        yield from trace.shown(span.history)
        yield from trace.answered(span.answer)


class _Trace:
    """What was read of a trace until now."""

    def __init__(self) -> None:
        self._made: Counter[str] = Counter()
        self._waiting: list[CallEvent] = []
        """Calls without a result."""
        self._done: dict[str | None, list[CallEvent]] = defaultdict(list)
        """Calls with a result, by their ids."""

    def shown(self, events: Sequence[Event]) -> Iterator[Event]:
        """What is new in what a model was shown."""
        seen: Counter[str] = Counter()
        for event in events:
            if isinstance(event, CallEvent):
                seen[_key(event)] += 1
                if seen[_key(event)] > self._made[_key(event)]:
                    yield self._make(event)
            elif isinstance(event, ResultEvent):
                call = next((call for call in self._waiting if event.call in (call.id, None)), None)
                if call is not None:
                    self._finish(call)
                    yield event
                elif event.call is not None and event.call not in self._done:
                    yield event  # its call stands nowhere
            elif event.speaker in ("user", "system") and not self._made:
                yield event

    def answered(self, events: Sequence[Event]) -> Iterator[Event]:
        """What a model answered; spans around a model's own may tell of the same calls once more."""
        for event in events:
            if isinstance(event, CallEvent):
                # Once it has its result, the same id is another call: some models number the calls of each turn.
                if event.id is None or all(_key(event) != _key(call) for call in self._waiting):
                    yield self._make(event)
            else:
                yield event

    def executed(self, span: TraceSpan) -> Iterator[Event]:
        """The result of a tool, and the call where no model was seen to ask for it."""
        call, result = span.answer
        if not isinstance(call, CallEvent) or not isinstance(result, ResultEvent):
            raise TrajectoryError(f"{span.place} is of a tool, and holds no call")
        asked = next((other for other in self._waiting if _is_same(call, other)), None)
        if asked is None:
            if call.id is not None and self._is_done(call):
                return  # a span around the tool's own
            asked = call
            yield self._make(call)
        self._finish(asked)
        yield replace(result, call=asked.id)

    def _make(self, call: CallEvent) -> CallEvent:
        self._made[_key(call)] += 1
        self._waiting.append(call)
        return call

    def _finish(self, call: CallEvent) -> None:
        self._waiting.remove(call)
        self._done[call.id].append(call)

    def _is_done(self, call: CallEvent) -> bool:
        return any(call.problem is not None or _key(call) == _key(other) for other in self._done.get(call.id, ()))


def _key(call: CallEvent) -> str:
    """What tells one call from another: the id, and what is called with what."""
    return f"{call.id} {call.tool} {json.dumps(call.arguments, sort_keys=True, default=str)}"


def _is_same(made: CallEvent, asked: CallEvent) -> bool:
    """Whether the call of a tool's span is one that a model asked for: its arguments may have had defaults added."""
    if made.id is not None and asked.id is not None:
        return made.id == asked.id
    if made.tool != asked.tool:
        return False
    return made.problem is not None or made.arguments.items() >= asked.arguments.items()


FORMAT = Format("spans", claims, read)
