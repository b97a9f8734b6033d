"""What every reader of a log gives: calls, results and words, in the order of the log; and how their parts are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, NamedTuple

from pivot_dspy.errors import TrajectoryError

Record = Mapping[str, Any]
"""One entry of a log: a message, an item, a step or a span."""

Speaker = Literal["assistant", "thought", "answer", "user", "system"]
"""Who says something. A `thought` never is the answer; an `answer` always is, whatever is said after it."""

USER = "user"
"""Who calls a tool in a user's message, as in tau2: an agent of its own."""

_CALL_WORDS = ("tool", "call", "function")
_WRITTEN_OUT = frozenset({"text", "input_text", "output_text"})


@dataclass(frozen=True)
class CallEvent:
    """A tool call that a log holds."""

    tool: str
    arguments: Mapping[str, Any]
    id: str | None = None
    """What results name it by, where the format has ids."""
    problem: str | None = None
    """Why the arguments cannot be read, if they cannot; they are empty then."""
    agent: str | None = None
    """Who made it, where the log names agents."""


@dataclass(frozen=True)
class ResultEvent:
    """What a tool call gave."""

    value: Any
    call: str | None = None
    """The id of the call."""
    tool: str | None = None
    """The tool's name, where a result names it."""
    failed: bool | None = None
    """Whether the call failed; None where the format does not tell."""
    ran: bool = True
    """Whether the tool ran; false where a person refused the call."""
    instead: CallEvent | None = None
    """What ran in place of the call, where a person changed it and the log tells."""


@dataclass(frozen=True)
class WordsEvent:
    """What somebody said."""

    speaker: Speaker
    value: Any
    """A text; of an answer, whatever was submitted."""
    agent: str | None = None


Event = CallEvent | ResultEvent | WordsEvent


class PlacedRecord(NamedTuple):
    """A record with its place in the log."""

    place: str
    """For errors, such as `message 3`."""
    record: Record


class Format(NamedTuple):
    """One form in which agents are logged."""

    name: str
    claims: Callable[[Record], bool]
    """Whether an entry is of this form."""
    read: Callable[[Sequence[PlacedRecord]], Iterator[Event]]
    """The events of consecutive entries of this form."""


def mapping(value: Any) -> Record | None:
    """`value` as a record, where it is one, or is an object of a library's that can be written as one."""
    if isinstance(value, Mapping):
        return value
    if isinstance(value, type):
        return None
    if hasattr(value, "model_dump"):
        dumped = value.model_dump()
        return dumped if isinstance(dumped, Mapping) else None
    if is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if hasattr(value, "to_json") and hasattr(value, "attributes"):  # a span of OpenTelemetry's SDK
        dumped = json.loads(value.to_json())
        return dumped if isinstance(dumped, Mapping) else None
    return None


def records(value: Any, place: str) -> list[Record]:
    """The elements of a list as records; empty where `value` is None.

    Raises:
        TrajectoryError: `value` is no list, or an element is no record.
    """
    if value is None:
        return []
    items = value if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)) else None
    if items is None:
        raise TrajectoryError(f"{place}: expected a list, not {type(value).__name__}")
    read = [(item, mapping(item)) for item in items]
    for item, record in read:
        if record is None:
            raise TrajectoryError(f"a tool call or part of {place} is {type(item).__name__}; expected a dict")
    return [record for _, record in read if record is not None]


def pick(record: Record, *names: str) -> Any:
    """The first of the fields that is there and not None."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def call_of(
    name: Any, arguments: Any, place: str, *, call: Any = None, agent: str | None = None, bare: str | None = None
) -> CallEvent:
    """A call from what a log holds of it.

    Args:
        arguments: an object, its JSON text, or nothing.
        bare: the parameter that a text which is no JSON is given to, where the format has such calls.

    Raises:
        TrajectoryError: there is no name.
    """
    if not isinstance(name, str) or not name:
        raise TrajectoryError(f"a tool call of {place} has no 'name'")
    given, problem = _read_arguments(arguments, bare)
    return CallEvent(name, given, id=None if call is None else str(call), problem=problem, agent=agent)


def _read_arguments(logged: Any, bare: str | None) -> tuple[Mapping[str, Any], str | None]:
    """The arguments, and why they cannot be read."""
    if bare is not None and isinstance(logged, str):
        return {bare: logged}, None
    try:
        arguments = json.loads(logged) if isinstance(logged, str) and logged else logged
    except (json.JSONDecodeError, RecursionError) as error:
        return {}, f"arguments are not valid JSON: {error}"
    if arguments in (None, ""):
        return {}, None
    if not isinstance(arguments, Mapping):
        return {}, f"arguments are {type(arguments).__name__}, not an object"
    return dict(arguments), None


def text_of(content: Any) -> str:
    """The text of a content: itself, or what its parts of text say, joined by spaces."""
    parts = content if isinstance(content, (list, tuple)) else [content]
    return " ".join(filter(None, map(_text_of_part, parts))).strip()


def _text_of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    record = mapping(part) or {}
    text = pick(record, "text", "content")
    return text if isinstance(text, str) and record.get("type", "text") in _WRITTEN_OUT else ""


def value_of(content: Any) -> Any:
    """What a tool returned, from how a log holds it.

    Text that is the JSON of an object or a list is decoded, and no other: `"12345"` may be an id. Of a list of parts,
    the text counts where all are text.
    """
    if isinstance(content, (list, tuple)) and content:
        parts = [mapping(part) or {} for part in content]
        if all(part.get("type", "text") in _WRITTEN_OUT and isinstance(part.get("text"), str) for part in parts):
            content = "\n".join(part["text"] for part in parts)
    if isinstance(content, str) and content.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(content)
        except (json.JSONDecodeError, RecursionError):
            return content
    return content


def refuse_calls(kind: str, place: str, known: Iterable[str]) -> None:
    """Refuse a part or item of unknown kind that may hold a call, so that none is lost.

    Raises:
        TrajectoryError: its kind speaks of a call.
    """
    if any(word in kind.casefold() for word in _CALL_WORDS):
        raise TrajectoryError(f"{place} holds a {kind!r}, which cannot be read; known: {', '.join(sorted(known))}")
