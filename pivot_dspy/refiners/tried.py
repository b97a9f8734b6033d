"""What Pivot has tried in vain on an incumbent, and what it may still ask about what the incumbent is measured by."""

from __future__ import annotations

from pivot_dspy.gradient import Gradient
from pivot_dspy.refiners.episode import Candidate


class Tried:
    """What was tried on one incumbent in vain."""

    def __init__(self) -> None:
        self.refuted: set[tuple[str | None, str]] = set()
        self.failures = 0
        self.pending: Gradient | None = None  # found by a model that need not be asked for it again
        self._ignored: dict[tuple[str | None, str], int] = {}

    def refute(self, gradient: Gradient) -> None:
        """The rewrite from here was tested and is no better."""
        self.refuted.add(gradient.key)
        self.failures += 1

    def ignored(self, gradient: Gradient) -> None:
        """The model failed or changed nothing: the suspect was not tested. It is asked once more, then given up.

        Where a tool refused the call, the step is but the symptom: then the cause is sought elsewhere at once.
        """
        self.failures += 1
        self._ignored[gradient.key] = self.rollout(gradient) + 1
        if self._ignored[gradient.key] > 1 or gradient.kind == "tool_error":
            self.refuted.add(gradient.key)
        elif gradient.by == "model":
            self.pending = gradient

    def rollout(self, gradient: Gradient) -> int:
        """How often the model has ignored this gradient: the same prompt then needs another sample."""
        return self._ignored.get(gradient.key, 0)


class Doubts:
    """What may still be asked about the requirements and the verdicts on them.

    Attributes:
        audits: looks at the requirements that are left; the last is kept for when nothing else is left to try.
        judged: ids of the trajectories on which the judge was asked for further opinions.
    """

    def __init__(self, audits: int) -> None:
        self.audits = audits
        self.judged: set[str] = set()

    def of_verdicts(self, incumbent: Candidate) -> bool:
        said = incumbent.judgement.findings if incumbent.judgement is not None else ()
        return incumbent.trajectory.id not in self.judged and any(not finding.holds for finding in said)

    def left(self, incumbent: Candidate) -> bool:
        return self.audits > 0 or self.of_verdicts(incumbent)
