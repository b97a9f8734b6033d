"""Suspects that were blamed in vain, so that none is blamed twice for one version."""

from __future__ import annotations

from collections import Counter

from pivot_dspy.gradient import Gradient


class RefutedSuspects:
    """What was blamed for one incumbent in vain."""

    def __init__(self) -> None:
        self.keys: set[tuple[str | None, str]] = set()
        self.failures = 0
        self.pending: Gradient | None = None
        """Found by a model that need not be asked for it again."""
        self._ignored: Counter[tuple[str | None, str]] = Counter()

    def refute(self, gradient: Gradient) -> None:
        """The rewrite from here was tested and is no better; one of a rule's says nothing of the model's patience."""
        self.keys.add(gradient.key)
        self.failures += gradient.patch is None

    def note_ignored(self, gradient: Gradient) -> None:
        """The model failed or changed nothing: the suspect was not tested. It is asked once more, then given up.

        Where a tool refused the call, the step is but the symptom: then the cause is sought elsewhere at once.
        """
        self.failures += 1
        self._ignored[gradient.key] += 1
        if self._ignored[gradient.key] > 1 or gradient.kind == "tool_error":
            self.keys.add(gradient.key)
        elif gradient.by == "model":
            self.pending = gradient

    def times_ignored(self, gradient: Gradient) -> int:
        """How often the model has ignored this gradient: the same prompt then needs another sample."""
        return self._ignored[gradient.key]
