"""How near entries are to a task: by BM25 over words, or by the vectors of an embedder."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.records import Entries, words

Embedder = Callable[[list[str]], Any]
"""What `dspy.Embedder` is: from texts to one vector for each."""


class Index:
    """The topics of some entries, made ready for comparison once."""

    def __init__(self, entries: Entries, embedder: Embedder | None) -> None:
        self.entries = entries
        self.embedder = embedder
        self._ids = [entry.id for entry in entries]
        topics = [entry.topic for entry in entries]
        self._score = _bm25(topics) if embedder is None else _cosine(embedder, topics)

    def similarities(self, text: str) -> dict[str, float]:
        """How near each entry is to `text`, by id: 0 where BM25 finds no common word, from -1 to 1 by vectors."""
        return {name: round(float(score), 9) for name, score in zip(self._ids, self._score(text), strict=True)}


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
