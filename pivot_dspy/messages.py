"""Reads the tool calls out of an agent's chat log: OpenAI-style messages or the history of `dspy.ReActV2`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pivot_dspy.errors import TrajectoryError


class LoggedCall(NamedTuple):
    """One tool call of a log."""

    tool: str
    arguments: dict[str, Any]
    problem: str | None
    """Why the arguments cannot be read, if they cannot; they are empty then."""
    why: str | None
    """The thought before the call."""
    failed: bool = False
    """Whether the log says so."""


class Log(NamedTuple):
    """What a chat log holds."""

    calls: list[LoggedCall]
    final_text: str | None
    """The assistant's last words, if it called nothing after them."""


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
        message = _mapping(entry)
        if message is None:
            raise TrajectoryError(f"message {position} is {type(entry).__name__}; expected a dict with 'role'")
        made, failed = _logged_calls(message)
        if made:
            why = message.get("next_thought") or message.get("reasoning_content") or _text(message.get("content"))
            for number, call in enumerate(made):
                thought = str(why) if why and number == 0 else None
                calls.append(_read_call(call, position, thought, number in failed))
            final_text = None
        elif message.get("role", "assistant") == "assistant":
            final_text = _text(message.get("content")) or final_text
    return Log(calls, final_text)


def _logged_calls(message: Mapping[str, Any]) -> tuple[list[Any], set[int]]:
    """The calls of one message, and the positions of those that it says failed."""
    if message.get("type") == "function_call":  # an item of OpenAI's Responses interface
        return [message], set()
    logged = message.get("tool_calls") or message.get("function_call") or []
    if isinstance(logged, list):
        return logged, set()
    record = _mapping(logged) or {}
    if "tool_calls" not in record:
        return [record] if record else [], set()
    results = _mapping(record.get("tool_call_results")) or {}
    answers = enumerate(results.get("tool_call_results") or [])
    failed = {number for number, answer in answers if isinstance(answer, Mapping) and answer.get("is_error")}
    return list(record["tool_calls"]), failed


def _read_call(logged: Any, position: int, why: str | None, failed: bool) -> LoggedCall:
    record = _mapping(logged)
    if record is None:
        raise TrajectoryError(f"a tool call of message {position} is {type(logged).__name__}; expected a dict")
    function = _mapping(record.get("function", record)) or {}
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise TrajectoryError(f"a tool call of message {position} has no 'name'")
    arguments, problem = _read_arguments(function.get("arguments", function.get("args")))
    return LoggedCall(name, arguments, problem, why, failed)


def _read_arguments(logged: Any) -> tuple[dict[str, Any], str | None]:
    """The arguments, and why they cannot be read."""
    try:
        arguments = json.loads(logged) if isinstance(logged, str) and logged else logged
    except (json.JSONDecodeError, RecursionError) as error:
        return {}, f"arguments are not valid JSON: {error}"
    if arguments in (None, ""):
        return {}, None
    if not isinstance(arguments, Mapping):
        return {}, f"arguments are {type(arguments).__name__}, not an object"
    return dict(arguments), None


def _mapping(value: Any) -> Mapping[str, Any] | None:
    """`value` as a mapping, where it is one or is a record of OpenAI's or DSPy's library."""
    record = value.model_dump() if hasattr(value, "model_dump") else value
    return record if isinstance(record, Mapping) else None


def _text(content: Any) -> str | None:
    parts = content if isinstance(content, list) else [{"text": content}]
    texts = [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
    return " ".join(texts).strip() or None
