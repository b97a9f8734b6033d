"""The words and phrases of a request that a rule knows, each with its kind and value, and their clauses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

Topic = Literal["trip", "hotel", "place"]
TRIP: Topic = "trip"
HOTEL: Topic = "hotel"
PLACE: Topic = "place"
"""A meal or a visit."""
_ENDS = re.compile(r"[,，、；;](?!\d{3})|[。！？!?\n]|\.(?=\s|$)|[—–]")
_T = TypeVar("_T")


class Entry(NamedTuple):
    """A phrase of the vocabulary.

    Args:
        value: what it says, or a function that reads that from the match.
        topic: what a clause with it is about; None where it may be about anything.
    """

    kind: str
    pattern: re.Pattern[str]
    value: Any
    topic: Topic | None


class Lexeme(NamedTuple):
    """A phrase as it stands in a request."""

    kind: str
    value: Any
    start: int
    end: int
    topic: Topic | None


@dataclass(frozen=True)
class Clause:
    """A stretch of text between two marks.

    Args:
        rest: the text without the phrases that were read.
        topic: what most of its phrases are about, or, where that is not said, what the clause before is about.
    """

    text: str
    rest: str
    lexemes: tuple[Lexeme, ...]
    topic: Topic | None

    def has(self, *kinds: str) -> bool:
        return any(lexeme.kind in kinds for lexeme in self.lexemes)

    def of(self, *kinds: str) -> list[Lexeme]:
        return [lexeme for lexeme in self.lexemes if lexeme.kind in kinds]


def lex(text: str, vocabulary: Iterable[Entry]) -> list[Lexeme]:
    """The phrases in a text, by position; where two overlap, the one that stands first in the vocabulary counts."""
    free = [True] * len(text)
    lexemes = []
    for kind, pattern, value, topic in vocabulary:
        for match in pattern.finditer(text):
            start, end = match.span()
            if start < end and all(free[start:end]):
                free[start:end] = [False] * (end - start)
                lexemes.append(Lexeme(kind, value(match) if callable(value) else value, start, end, topic))
    return sorted(lexemes, key=lambda lexeme: lexeme.start)


def clauses(text: str, lexemes: Sequence[Lexeme]) -> list[Clause]:
    """The clauses of a text; a mark inside a phrase ends none."""
    rest = blanked(text, lexemes)
    marks = list(_ENDS.finditer(rest))
    starts, ends = [0, *(mark.end() for mark in marks)], [*(mark.start() for mark in marks), len(text)]
    listed: list[Clause] = []
    topic: Topic | None = None
    for start, end in zip(starts, ends, strict=True):
        inside = tuple(lexeme for lexeme in lexemes if start <= lexeme.start < end)
        topic = _topic(inside, topic)
        if text[start:end].strip():
            listed.append(Clause(text[start:end], rest[start:end], inside, topic))
    return listed


def _topic(lexemes: Iterable[Lexeme], before: Topic | None) -> Topic | None:
    counts = Counter(lexeme.topic for lexeme in lexemes if lexeme.topic is not None)
    most = max(counts.values(), default=0)
    leading = [topic for topic, count in counts.items() if count == most]
    return before if before in leading or not leading else leading[0]


def blanked(text: str, lexemes: Iterable[Lexeme]) -> str:
    """The text with a bar for each letter of a phrase."""
    letters = list(text)
    for lexeme in lexemes:
        letters[lexeme.start : lexeme.end] = "|" * (lexeme.end - lexeme.start)
    return "".join(letters)


def once(values: Iterable[_T]) -> list[_T]:
    """The values without repetitions, which need not be hashable."""
    kept: list[_T] = []
    for value in values:
        if value not in kept:
            kept.append(value)
    return kept
