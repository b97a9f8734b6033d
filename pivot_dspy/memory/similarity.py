"""How near entries are to a task: by BM25 over words, or by the vectors of an embedder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
        self._bm25 = _bm25(topics) if embedder is None else None
        self._vectors = None if embedder is None else _vectors(embedder, topics)

    def similarities(self, text: str) -> dict[str, float]:
        """How near each entry is to `text`, by id: 0 where BM25 finds no common word, from -1 to 1 by vectors."""
        if self._bm25 is not None:
            query = words(text)
            # BM25+ gives every document a share for every word; what is more than that is likeness.
            base = self._bm25.delta * sum(self._bm25.idf.get(word, 0.0) for word in query)
            scores = self._bm25.get_scores(query) - base
        else:
            scores = self._vectors @ _vectors(self.embedder, [text])[0]
        return {name: round(float(score), 9) for name, score in zip(self._ids, scores, strict=True)}


def _bm25(topics: Sequence[str]) -> Any:
    # BM25+, since plain BM25 ranks by how little is common where there are few documents (negative weights).
    from rank_bm25 import BM25Plus  # brings numpy, which takes longer to import than this package

    return BM25Plus([words(topic) or [""] for topic in topics])


def _vectors(embedder: Any, texts: list[str]) -> Any:
    """Unit vectors, one a row. Raises ConfigurationError where the embedder gave something else."""
    import numpy as np

    vectors = np.asarray(embedder(texts), dtype=float)
    if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
        raise ConfigurationError(
            f"the memory's embedder gave an array of shape {vectors.shape} for {len(texts)} texts; it has to give one "
            "vector of finite numbers for each, as dspy.Embedder does"
        )
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors / np.where(lengths == 0, 1, lengths)
