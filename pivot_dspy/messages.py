"""Reads the tool calls out of an agent's chat log: OpenAI-style messages or the history of `dspy.ReActV2`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pivot_dspy.errors import TrajectoryError


class LoggedCall(NamedTuple):
    """One tool call of a log: its name, its arguments (or why they cannot be read), and the thought before it."""

    tool: str
    arguments: dict[str, Any]
    problem: str | None
    why: str | None


class Log(NamedTuple):
    """What a chat log holds: the calls in order and the text of the last assistant message that called nothing."""

    calls: list[LoggedCall]
    final_text: str | None


def read(messages: Any) -> Log:
    """Read `messages`: a `dspy.History`, or an iterable of OpenAI-style or ReActV2-style dictionaries.

    Raises:
        TrajectoryError: an entry is no message; the text names its position and what is expected.
    """
    entries = getattr(messages, "messages", messages)
    if isinstance(entries, (str, bytes, Mapping)) or not isinstance(entries, Iterable):
        raise TrajectoryError(
            "from_messages takes a list of chat messages (dicts with 'role') or a dspy.History, "
            f"not {type(messages).__name__}"
        )
    calls: list[LoggedCall] = []
    final_text: str | None = None
    for position, entry in enumerate(entries):
        message = entry if isinstance(entry, Mapping) else _dumped(entry)
        if message is None:
            raise TrajectoryError(f"message {position} is {type(entry).__name__}; expected a dict with 'role'")
        if message.get("role") in ("user", "system", "developer", "tool"):
            continue
        why = message.get("next_thought") or message.get("reasoning_content") or _text(message.get("content"))
        logged = message.get("tool_calls")
        made = getattr(logged, "tool_calls", None) or (
            logged.get("tool_calls") if isinstance(logged, Mapping) else logged
        )
        if not made:
            final_text = _text(message.get("content")) or final_text
            continue
        for number, call in enumerate(made):
            calls.append(_call(call, position, str(why) if why and number == 0 else None))
    return Log(calls, final_text)


def _call(call: Any, position: int, why: str | None) -> LoggedCall:
    record = call if isinstance(call, Mapping) else _dumped(call)
    if record is None:
        raise TrajectoryError(f"a tool call of message {position} is {type(call).__name__}; expected a dict")
    function = record.get("function", record)
    function = function if isinstance(function, Mapping) else (_dumped(function) or {})
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise TrajectoryError(f"a tool call of message {position} has no 'name'")
    arguments = function.get("arguments", function.get("args"))
    if arguments is None or arguments == "":
        return LoggedCall(name, {}, None, why)
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except json.JSONDecodeError as error:
            return LoggedCall(name, {}, f"arguments are not valid JSON: {error}", why)
    if not isinstance(arguments, Mapping):
        return LoggedCall(name, {}, f"arguments are {type(arguments).__name__}, not an object", why)
    return LoggedCall(name, dict(arguments), None, why)


def _dumped(value: Any) -> Mapping[str, Any] | None:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else None


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content.strip() or None
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
        return " ".join(parts).strip() or None
    return None
