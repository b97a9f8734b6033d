"""What a compilation did and what it brought, as plain data."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pivot_dspy.calibration.calibration import Calibration
from pivot_dspy.calibration.fitted import CalibrationReport
from pivot_dspy.optimizer.rollout import RolloutResult
from pivot_dspy.optimizer.selection import Decision, ScoredCandidate, Selection
from pivot_dspy.trajectory import Frozen

NOTE = "some of these outcomes chose the program, and so are a little too good"
"""Of every fit: what was accepted is what did best on the validation tasks."""


class CalibrationRow(NamedTuple):
    """A run that counts: the key of its program, the key of its task, and what came of it."""

    program: str
    task: str
    outcome: RolloutResult


def calibrated(
    calibrations: Mapping[str, Calibration],
    selection: Selection,
    training: Mapping[int, Sequence[RolloutResult]],
    seed: int,
) -> dict[str, CalibrationReport]:
    """Fits the probability that a result is right, of the refiner at each path; none without a result or scikit-learn.

    What counts are the validation runs of the accepted program and of all incumbents before it, and training runs of
    the student as it was: what a later program does on a training task tells little of others, since it may remember
    this very one. The validation runs chose the program, and so are a little too good; the note says so. Runs of one
    task are left out together when the probability is tested, and count together as much as the most relevant of them,
    so that a task that was run often weighs no more than another.

    Args:
        training: outcomes of the student as it was, by the position of the task.
        seed: of the folds of cross-validation.
    """
    if not selection.incumbents or importlib.util.find_spec("sklearn") is None:
        return {}
    runs = _runs(selection, training)
    relevant = relevance(selection.incumbents, runs, selection.work.threshold)
    found = {}
    for path, calibration in calibrations.items():
        rows = [(call.features, run.outcome.score >= selection.work.threshold, run.task, relevant[run.program])
                for run in runs for call in run.outcome.calls if call.refiner == path]  # fmt: skip
        if not rows:
            continue
        known, right, tasks, worth = zip(*rows, strict=True)
        report = calibration.fit(known, right, seed=seed, groups=tasks, weights=shared(tasks, worth))
        note = "; ".join(said for said in (report.note, NOTE) if said)
        found[path] = calibration.report = report.model_copy(update={"note": note})
    return found


def relevance(
    incumbents: Sequence[ScoredCandidate], runs: Sequence[CalibrationRow], threshold: float
) -> dict[str, float]:
    """How much a run of each incumbent tells of the last one, the accepted program, where a run of that counts 1.

    n tasks of another program tell its share of right results up to a variance of v / n, and that of the accepted one
    up to v / n + d^2, where d is the difference of the two on the validation tasks and v = p (1 - p). So each of them
    is worth 1 / (1 + n d^2 / v) of a task of the accepted program.

    Args:
        threshold: the score from which on a result counts as right.
    """
    rights = [sum(one.score >= threshold for one in standing.outcomes) for standing in incumbents]
    tasks = len(incumbents[-1].outcomes)
    accepted = (rights[-1] + 1) / (tasks + 2)
    found = {}
    for standing, right in zip(incumbents, rights, strict=True):
        count = len({run.task for run in runs if run.program == standing.proposal.key})
        bias = (right - rights[-1]) / tasks
        found[standing.proposal.key] = 1 / (1 + count * bias**2 / (accepted * (1 - accepted)))
    return found


def shared(tasks: Sequence[str], worth: Sequence[float]) -> list[float]:
    """The worth of each run in its share of its task's, which is that of the task's most relevant run."""
    of_task = defaultdict(list)
    for task, one in zip(tasks, worth, strict=True):
        of_task[task].append(one)
    return [one * max(of_task[task]) / sum(of_task[task]) for task, one in zip(tasks, worth, strict=True)]


def _runs(selection: Selection, training: Mapping[int, Sequence[RolloutResult]]) -> list[CalibrationRow]:
    keys = selection.work.keys
    validated = [
        CalibrationRow(standing.proposal.key, keys[place], outcome)
        for standing in selection.incumbents
        for place, outcome in zip(selection.places, standing.outcomes, strict=True)
    ]
    first = selection.incumbents[0].proposal.key
    return validated + [
        CalibrationRow(first, keys[place], outcome) for place, found in training.items() for outcome in found
    ]


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


def measured(outcomes: Sequence[RolloutResult], threshold: float) -> Measured:
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


class CandidateRecord(Frozen):
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
    proposals: tuple[CandidateRecord, ...] = ()
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


def tried(decisions: Sequence[Decision]) -> tuple[CandidateRecord, ...]:
    """The decisions as they are reported."""
    return tuple(
        CandidateRecord(
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


def held(standing: ScoredCandidate) -> dict[str, dict[str, int]]:
    """Numbers of entries, by refiner."""
    return {
        path: {
            "demonstrations": len(entries.demonstrations), "lessons": len(entries.lessons), "notes": len(entries.notes)
        }
        for path, entries in standing.proposal.entries.items()
    }  # fmt: skip
