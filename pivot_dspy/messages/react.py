"""What DSPy's own agents leave: the `trajectory` of `dspy.ReAct`, and the `history` of `dspy.ReActV2`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from pivot_dspy.errors import TrajectoryError
from pivot_dspy.messages.events import (
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    call_of,
    mapping,
    records,
    value_of,
)

_KEY = re.compile(r"(thought|tool_name|tool_args|observation)_(\d+)")
_FINISH = "finish"
"""The tool by which `dspy.ReAct` ends."""


def claims(record: Record) -> bool:
    return any(_KEY.fullmatch(key) for key in record if isinstance(key, str))


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, record in entries:
        numbers = {int(key[2]) for name in record if (key := _KEY.fullmatch(name))}
        for number in sorted(numbers):
            yield from _turn(f"turn {number} of {place}", record, number)


def _turn(place: str, record: Record, number: int) -> Iterator[Event]:
    thought, name = record.get(f"thought_{number}"), record.get(f"tool_name_{number}")
    if thought:
        yield WordsEvent("thought", str(thought))
    if name == _FINISH:
        return
    call = call_of(name, record.get(f"tool_args_{number}"), place, call=str(number))
    yield call
    if f"observation_{number}" in record:
        observation = record[f"observation_{number}"]
        failed = isinstance(observation, str) and observation.startswith(f"Execution error in {name}:")
        yield ResultEvent(value_of(observation), call.id, failed=failed)


def claims_history(record: Record) -> bool:
    logged = mapping(record.get("tool_calls"))
    return logged is not None and "tool_calls" in logged


def read_history(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, record in entries:
        logged = mapping(record["tool_calls"]) or {}
        thought = record.get("next_thought") or record.get("reasoning_content")
        if thought:
            yield WordsEvent("thought", str(thought))
        calls = [
            call_of(call.get("name"), call.get("args"), place, call=call.get("id") or f"{place}.{number}")
            for number, call in enumerate(records(logged["tool_calls"], place))
        ]
        yield from calls
        results = mapping(record.get("tool_call_results")) or mapping(logged.get("tool_call_results")) or {}
        answers: Sequence[object] = results.get("tool_call_results") or ()
        if len(answers) > len(calls):
            raise TrajectoryError(f"{place} holds {len(answers)} results of {len(calls)} calls")
        for call, answer in zip(calls, answers, strict=False):
            told = answer if isinstance(answer, Mapping) else mapping(answer) or {"value": answer}
            yield ResultEvent(value_of(told.get("value")), call.id, failed=bool(told.get("is_error")))


FORMAT = Format("dspy.ReAct", claims, read)
HISTORY_FORMAT = Format("dspy.ReActV2", claims_history, read_history)
