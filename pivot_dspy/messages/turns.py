"""Conversations of several agents that call no tools: what each says is one step, the agent's name its tool."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pivot_dspy.messages.events import (
    CallEvent,
    Event,
    Format,
    PlacedRecord,
    Record,
    ResultEvent,
    WordsEvent,
    pick,
    text_of,
    value_of,
)

_PEOPLE = frozenset({"human", "user", "system"})


def claims(record: Record) -> bool:
    """Whether somebody says something; asked only where this form was chosen."""
    return isinstance(record.get("content"), str) and bool(speaker(record))


def speaker(record: Record) -> str:
    """Who speaks: a name, else the role."""
    return str(pick(record, "name", "source", "role") or "")


def read(entries: Sequence[PlacedRecord]) -> Iterator[Event]:
    for number, (_, record) in enumerate(entries):
        name, content = speaker(record), record["content"]
        if name.casefold() in _PEOPLE:
            yield WordsEvent("user", text_of(content))
        else:
            yield CallEvent(name, {}, id=str(number))
            yield ResultEvent(value_of(content), str(number))
            yield WordsEvent("answer", content)  # unless somebody speaks after it


FORMAT = Format("turns", claims, read)
