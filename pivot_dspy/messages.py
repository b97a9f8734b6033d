"""Reads the tool calls out of an agent's chat log: OpenAI-style messages or the history of `dspy.ReActV2`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from pivot_dspy.errors import TrajectoryError


class LoggedCall(NamedTuple):
    """One tool call of a log: its name, its arguments (or why they cannot be read), the thought before it, and whether
    the log says that it failed.
    """

    tool: str
    arguments: dict[str, Any]
    problem: str | None
    why: str | None
    failed: bool = False


class Log(NamedTuple):
    """What a chat log holds: the calls in order and the assistant's last words, if it called nothing after them."""

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
        message = _record(entry)
        if message is None:
            raise TrajectoryError(f"message {position} is {type(entry).__name__}; expected a dict with 'role'")
        made, failed = _made(message)
        if made:
            why = message.get("next_thought") or message.get("reasoning_content") or _text(message.get("content"))
            for number, call in enumerate(made):
                calls.append(_call(call, position, str(why) if why and number == 0 else None, number in failed))
            final_text = None
        elif message.get("role", "assistant") == "assistant":
            final_text = _text(message.get("content")) or final_text
    return Log(calls, final_text)


def _made(message: Mapping[str, Any]) -> tuple[list[Any], set[int]]:
    """The calls of one message, and the positions of those that it says failed."""
    if message.get("type") == "function_call":  # an item of OpenAI's Responses interface
        return [message], set()
    logged = message.get("tool_calls") or message.get("function_call") or []
    record = logged if isinstance(logged, list) else (_record(logged) or {})
    if isinstance(record, list):
        return record, set()
    if "tool_calls" not in record:
        return [record] if record else [], set()
    results = _record(record.get("tool_call_results")) or {}
    answers = enumerate(results.get("tool_call_results") or [])
    failed = {n for n, answer in answers if isinstance(answer, Mapping) and answer.get("is_error")}
    return list(record["tool_calls"]), failed


def _call(call: Any, position: int, why: str | None, failed: bool) -> LoggedCall:
    record = _record(call)
    if record is None:
        raise TrajectoryError(f"a tool call of message {position} is {type(call).__name__}; expected a dict")
    function = _record(record.get("function", record)) or {}
    name = function.get("name")
    if not isinstance(name, str) or not name:
        raise TrajectoryError(f"a tool call of message {position} has no 'name'")
    arguments = function.get("arguments", function.get("args"))
    problem = None
    if isinstance(arguments, str) and arguments:
        try:
            arguments = json.loads(arguments)
        except (json.JSONDecodeError, RecursionError) as error:
            arguments, problem = {}, f"arguments are not valid JSON: {error}"
    arguments = arguments if arguments not in (None, "") else {}
    if not isinstance(arguments, Mapping):
        arguments, problem = {}, f"arguments are {type(arguments).__name__}, not an object"
    return LoggedCall(name, dict(arguments), problem, why, failed)


def _record(value: Any) -> Mapping[str, Any] | None:
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    dumped = dump() if callable(dump) else None
    return dumped if isinstance(dumped, Mapping) else None


def _text(content: Any) -> str | None:
    if isinstance(content, str):
        return content.strip() or None
    if isinstance(content, list):
        parts = [part["text"] for part in content if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
        return " ".join(parts).strip() or None
    return None
