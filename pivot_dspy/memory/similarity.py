"""How near entries are to a task: by BM25 over words, or by the vectors of an embedder."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, TypeVar, cast

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.records import Demonstration, Entries, Entry, words

Embedder = Callable[[list[str]], Any]
"""What `dspy.Embedder` is: from texts to one vector for each."""
Kind = TypeVar("Kind", bound=Entry)


class Index:
    """The topics of some entries, made ready for comparison once."""

    def __init__(self, entries: Entries, embedder: Embedder | None) -> None:
        self.entries = entries
        self.embedder = embedder
        self._every = list(entries)
        self._places: dict[type[Entry], dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        """Where the entries of a kind stand, by environment."""
        for place, entry in enumerate(self._every):
            self._places[type(entry)][entry.environment].append(place)
        topics = [entry.topic for entry in self._every]
        self._score = _bm25(topics) if embedder is None else _cosine(embedder, topics)

    def ranking(self, text: str) -> Ranking:
        """The entries by how near they are to `text`."""
        return Ranking(self._every, self._places, self._score(text).round(9))


class Ranking:
    """Entries by how near they are to a task: 0 where BM25 finds no common word, from -1 to 1 by vectors."""

    def __init__(
        self, entries: Sequence[Entry], places: Mapping[type[Entry], Mapping[str, Sequence[int]]], scores: Any
    ) -> None:
        self._entries, self._places = entries, places
        self.scores = scores
        """One for each entry."""

    def of_environment(self, kind: type[Kind], environment: str) -> Iterator[Kind]:
        """Those of a kind that were learned in an environment, the nearest first."""
        return self._in_order(kind, self._places.get(kind, {}).get(environment, ()))

    def of_others(self, kind: type[Kind], environment: str) -> Iterator[Kind]:
        """Those of a kind from elsewhere that have something in common with the task, the nearest first.

        They are put into order only as far as they are asked for, since a memory may hold very many.
        """
        near = (self.scores > 0).nonzero()[0].tolist()
        places = (
            place
            for place in near
            if type(self._entries[place]) is kind and self._entries[place].environment != environment
        )
        return self._in_order(kind, list(places))

    def _in_order(self, kind: type[Kind], places: Sequence[int]) -> Iterator[Kind]:
        ordered = sorted(places, key=self.scores.__getitem__, reverse=True)
        for _, tied in groupby(ordered, key=self.scores.__getitem__):
            yield from sorted((cast(Kind, self._entries[place]) for place in tied), key=_among_equals)


def _among_equals(entry: Entry) -> tuple[bool, str]:
    return isinstance(entry, Demonstration) and entry.partial, entry.id


def _bm25(topics: list[str]) -> Callable[[str], Any]:
    with warnings.catch_warnings():  # its progress bars, which are not used, miss widgets in a notebook
        warnings.filterwarnings("ignore", message="IProgress not found")
        from bm25s import BM25  # brings numpy, which takes longer to import than this package

    # The weights of words of BM25+, none of which is negative, however few the documents.
    index = BM25(method="atire", idf_method="bm25+", dtype="float64")
    index.index([words(topic) or [""] for topic in topics], show_progress=False)
    return lambda text: index.get_scores(words(text) or ["-"])  # no topic has that word


def _cosine(embedder: Embedder, topics: list[str]) -> Callable[[str], Any]:
    vectors = _unit_vectors(embedder, topics)
    return lambda text: vectors @ _unit_vectors(embedder, [text])[0]


def _unit_vectors(embedder: Embedder, texts: list[str]) -> Any:
    """One a row. Raises ConfigurationError where the embedder gave something else."""
    import numpy as np

    vectors = np.asarray(embedder(texts), dtype=float)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ConfigurationError(
            f"the memory's embedder gave an array of shape {vectors.shape} for {len(texts)} texts; it has to give one "
            "vector of finite numbers for each, as dspy.Embedder does"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
