"""Reads what an agent did out of its log, whichever library wrote it: one module for each format.

A log is read whole or refused: every call that stands in it is a call of the `Log`, or `TrajectoryError` says why not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from pivot_dspy.errors import TrajectoryError, error_text
from pivot_dspy.messages import (
    atif,
    blocks,
    chat,
    gemini,
    langchain,
    pydantic_ai,
    react,
    responses,
    smolagents,
    spans,
    turns,
)
from pivot_dspy.messages.events import Event, Format, PlacedRecord, WordsEvent, mapping
from pivot_dspy.messages.log import Log, LoggedCall, assemble
from pivot_dspy.messages.plan import LoggedStep, plan

__all__ = ["FORMATS", "Log", "LoggedCall", "LoggedStep", "plan", "read"]

_AUTOMATIC = (
    atif.FORMAT, spans.FORMAT, react.FORMAT, react.HISTORY_FORMAT, smolagents.FORMAT, pydantic_ai.FORMAT,
    responses.FORMAT, blocks.FORMAT, langchain.FORMAT, gemini.FORMAT, chat.FORMAT,
)  # fmt: skip
FORMATS = {format.name: format for format in (*_AUTOMATIC, turns.FORMAT)}
"""The formats that can be read, by name. `turns`, which reads speeches as steps, is never chosen by itself."""

_LISTS = ("messages", "contents", "steps", "history", "traj", "spans", "output")
"""Where documents, requests and results of libraries hold their messages."""


def read(log: Any, *, format: str = "auto", agent: str | None = None, edited: Collection[str] = ()) -> Log:
    """Read `log`: messages, items, steps or spans, as dictionaries or as the objects of the libraries that make them.

    Args:
        format: the name of one of `FORMATS`; `auto` tells it from each entry.
        agent: whose calls are wanted, where several agents call tools.
        edited: ids of calls that a person changed before they ran, where the log does not tell.

    Raises:
        TrajectoryError: an entry is of no format that can be read, a result has no call, or there are calls of several
            agents and none is chosen; the text names the place and the remedy.
    """
    if format not in ("auto", *FORMATS):
        raise TrajectoryError(f"no format is called {format!r}; formats: auto, {', '.join(FORMATS)}")
    try:
        return assemble(_events(log, format), agent=agent, edited=edited)
    except TrajectoryError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError, RecursionError) as error:  # logs may hold anything
        raise TrajectoryError(f"the log is not well formed: {error_text(error)}") from error


def _events(log: Any, format: str) -> Iterator[Event]:
    entries = [_entry(position, entry) for position, entry in enumerate(_entries(log))]
    formats = _AUTOMATIC if format == "auto" else (FORMATS[format],)
    for chosen, group in groupby(entries, key=lambda entry: _format_of(entry, formats)):
        yield from chosen.read(list(group))
    submitted = _outputs(log)
    if submitted is not None:
        yield WordsEvent("answer", submitted)


def _entry(position: int, entry: Any) -> PlacedRecord:
    record = mapping(entry)
    if record is None:
        raise TrajectoryError(f"message {position} is {type(entry).__name__}; expected a dict with 'role'")
    return PlacedRecord(f"message {position}", record)


def _entries(log: Any) -> Iterable[Any]:
    """The entries of a log: its elements, what a document or an object holds as such, or the document itself."""
    if callable(getattr(log, "all_messages", None)):  # a result of Pydantic AI
        return list(log.all_messages())
    trajectory = getattr(log, "trajectory", None)
    if isinstance(trajectory, Mapping):  # a prediction of dspy.ReAct
        return [trajectory]
    for name in () if isinstance(log, Mapping) else ("steps", "messages", "history"):
        held = getattr(log, name, None)
        if held is not None and not callable(held):
            return _entries(held)
    record = mapping(log)
    if record is not None:
        return _of_document(record, log)
    if isinstance(log, (str, bytes)) or not isinstance(log, Iterable):
        raise TrajectoryError(
            "from_messages takes a list of chat messages (dicts with 'role') or a dspy.History, "
            f"not {type(log).__name__}"
        )
    return list(log)


def _of_document(record: Mapping[str, Any], log: Any) -> Iterable[Any]:
    whole = (atif.FORMAT, spans.FORMAT, react.FORMAT)
    if any(format.claims(record) for format in whole):
        return [record]
    for name in ("trajectory", "history"):
        if isinstance(record.get(name), Mapping):
            return _of_document(record[name], log)
    held = next((record[name] for name in _LISTS if isinstance(record.get(name), (list, tuple))), None)
    if held is None:
        raise TrajectoryError(
            f"this {type(log).__name__} is not a log; from_messages takes a list of messages, or a document that holds "
            f"one under {', '.join(_LISTS)}"
        )
    before = record.get("input") if held is record.get("output") else None
    return [*(before if isinstance(before, (list, tuple)) else ()), *held]


def _format_of(entry: PlacedRecord, formats: Collection[Format]) -> Format:
    chosen = next((format for format in formats if format.claims(entry.record)), None)
    if chosen is not None:
        return chosen
    role = entry.record.get("role")
    told = f"has the role {role!r}" if role is not None else f"has the fields {', '.join(map(str, entry.record))[:200]}"
    names = ", ".join(format.name for format in formats)
    remedy = "" if turns.FORMAT in formats else "; to read what several agents say as steps, choose the format 'turns'"
    raise TrajectoryError(f"{entry.place} {told}, and is of no format that can be read ({names}){remedy}")


def _outputs(log: Any) -> Any:
    """What a prediction of `dspy.ReAct` gives beside its trajectory."""
    if not isinstance(getattr(log, "trajectory", None), Mapping) or not hasattr(log, "items"):
        return None
    outputs = {name: value for name, value in log.items() if name not in ("trajectory", "reasoning")}
    return next(iter(outputs.values())) if len(outputs) == 1 else outputs or None
