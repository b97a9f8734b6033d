"""What a compilation did and what it brought, as plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pivot_dspy.calibration import CalibrationReport
from pivot_dspy.optimizer.outcomes import Outcome
from pivot_dspy.optimizer.selection import Decision, Standing
from pivot_dspy.trajectory import Frozen


class Measured(Frozen):
    """Means over tasks.

    Attributes:
        score: of the metric; `verified` the share of tasks whose trajectories were verified.
        tokens: of each task, as if nothing had come from the cache; `tokens_per_right` for each task with at least the
            metric's threshold.
        first_loss: of first plans; None where there was none.
        errors: runs that left nothing.
    """

    tasks: int
    score: float
    right: float
    verified: float
    tokens: float
    tokens_per_right: float | None
    first_loss: float | None
    errors: int


def measured(outcomes: Sequence[Outcome], threshold: float) -> Measured:
    """The means of outcomes."""
    count = max(1, len(outcomes))
    right = sum(outcome.score >= threshold for outcome in outcomes)
    losses = [outcome.first_loss for outcome in outcomes if outcome.first_loss is not None]
    tokens = sum(outcome.tokens for outcome in outcomes)
    return Measured(
        tasks=len(outcomes),
        score=sum(outcome.score for outcome in outcomes) / count,
        right=right / count,
        verified=sum(outcome.verified for outcome in outcomes) / count,
        tokens=tokens / count,
        tokens_per_right=tokens / right if right else None,
        first_loss=sum(losses) / len(losses) if losses else None,
        errors=sum(bool(outcome.error) and not outcome.calls for outcome in outcomes),
    )


class Tried(Frozen):
    """A proposal and what became of it; scores and tokens are (its own, the incumbent's)."""

    round: int
    proposal: str
    minibatch_scores: tuple[float, float] | None = None
    minibatch_tokens: tuple[float, float] | None = None
    scores: tuple[float, float] | None = None
    tokens: tuple[float, float] | None = None
    accepted: bool = False
    reason: str = ""


class DetailedResults(Frozen):
    """What `track_stats` puts on a compiled program as `detailed_results`.

    Attributes:
        before: the student on the validation tasks, and `after` the compiled program on the same.
        training: first runs of the training tasks; `teacher` those of the teacher.
        proposals: in the order in which they were tried.
        entries: numbers of demonstrations, lessons and notes, by refiner.
        settings: of the refiners and gates, where they are not as they were.
        calibration: by refiner; on validation runs, which chose the program and so are a little too good, and training
            runs of the student as it was. An outcome counts for less where the compiled program did otherwise.
        runs, tokens: spent by the whole compilation, learning included.
        stopped: why it ended before all was tried; empty if it did not.
    """

    before: Measured
    after: Measured
    training: Measured
    teacher: Measured | None = None
    proposals: tuple[Tried, ...] = ()
    entries: Mapping[str, Mapping[str, int]]
    settings: Mapping[str, Mapping[str, Any]]
    calibration: Mapping[str, CalibrationReport] = {}
    runs: int
    tokens: int
    stopped: Literal["", "budget"] = ""

    def __repr__(self) -> str:
        return (
            f"DetailedResults(score {self.before.score:.3f} -> {self.after.score:.3f}, tokens a task "
            f"{self.before.tokens:.0f} -> {self.after.tokens:.0f}, {sum(one.accepted for one in self.proposals)} of "
            f"{len(self.proposals)} proposals accepted)"
        )

    __str__ = __repr__


def tried(decisions: Sequence[Decision]) -> tuple[Tried, ...]:
    """The decisions as they are reported."""
    return tuple(
        Tried(
            round=one.round,
            proposal=one.proposal,
            minibatch_scores=one.minibatch and one.minibatch[:2],
            minibatch_tokens=one.minibatch and one.minibatch[2:],
            scores=one.full and one.full[:2],
            tokens=one.full and one.full[2:],
            accepted=one.accepted,
            reason=one.reason,
        )
        for one in decisions
    )


def held(standing: Standing) -> dict[str, dict[str, int]]:
    """Numbers of entries, by refiner."""
    return {
        path: {
            "demonstrations": len(entries.demonstrations), "lessons": len(entries.lessons), "notes": len(entries.notes)
        }
        for path, entries in standing.proposal.entries.items()
    }  # fmt: skip
