"""Steps of smolagents: the objects in `agent.memory.steps`, or what `agent.memory.get_full_steps()` writes of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pivot_dspy.messages.chat import calls_of
from pivot_dspy.messages.events import (
    CallEvent,
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    call_of,
    mapping,
    records,
    text_of,
    value_of,
)

_TASK = frozenset({"task", "task_images"})
_ANSWER = "final_answer"
_INTERPRETER = "python_interpreter"
"""What a `CodeAgent` calls with its code, which may call tools inside: the code is one call."""


def claims(record: Record) -> bool:
    acts = "step_number" in record and "tool_calls" in record
    return acts or {"plan", "timing"} <= record.keys() or record.keys() <= _TASK or record.keys() == {"system_prompt"}


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for place, step in entries:
        if "step_number" in step:
            yield from _action(place, step)
        elif "task" in step:
            yield WordsEvent("user", str(step["task"]))
        elif "system_prompt" in step:
            yield WordsEvent("system", str(step["system_prompt"]))
        elif step.get("plan"):
            yield WordsEvent("thought", str(step["plan"]))


def _action(place: str, step: Record) -> Iterator[Event]:
    if thought := text_of(step.get("model_output")):
        yield WordsEvent("thought", thought)
    calls = [_call(call, place) for call in _own_calls(step)]
    if not calls:
        # Where one of its tools raises, a step forgets all its calls; the model's own message has them still.
        calls = list(calls_of(mapping(step.get("model_output_message")) or {}, place))
    given = next((call.arguments.get("answer") for call in calls if call.tool == _ANSWER), None)
    if step.get("is_final_answer"):
        calls = [call for call in calls if call.tool != _ANSWER]
    yield from calls
    if step.get("error") is not None:
        yield from _failed(calls, step["error"])
    elif len(calls) == 1:
        yield ResultEvent(value_of(step.get("observations")), calls[0].id, calls[0].tool)
    else:
        yield from _shared(calls, str(step.get("observations") or ""))
    if step.get("is_final_answer"):
        output = step.get("action_output")
        yield WordsEvent("answer", given if output is None else output)


def _own_calls(step: Record) -> list[Record]:
    logged = step.get("tool_calls") or []
    return records([call.dict() if hasattr(call, "dict") and not isinstance(call, dict) else call for call in logged],
                   "tool_calls")  # fmt: skip


def _call(call: Record, place: str) -> CallEvent:
    function = mapping(call.get("function")) or call
    bare = "code" if function.get("name") == _INTERPRETER else None
    return call_of(function.get("name"), function.get("arguments"), place, call=call.get("id"), bare=bare)


def _shared(calls: Sequence[CallEvent], observations: str) -> Iterator[ResultEvent]:
    """The results of calls that ran at once: a line for each, in their order; where lines do not tell, all for each."""
    lines = observations.split("\n")
    each: Sequence[Any] = lines if len(lines) == len(calls) else [observations] * len(calls)
    for call, value in zip(calls, each, strict=True):
        yield ResultEvent(value_of(value), call.id, call.tool)


def _failed(calls: Sequence[CallEvent], error: Any) -> Iterator[ResultEvent]:
    """The call that an error tells of, or all where it tells of none; of the others nothing is kept."""
    message = str((mapping(error) or {}).get("message") or error)
    meant = [call for call in calls if f"'{call.tool}' with arguments {dict(call.arguments)}" in message]
    yield from (ResultEvent(message, call.id, call.tool, failed=True) for call in meant or calls)


FORMAT = Format("smolagents", claims, read)
