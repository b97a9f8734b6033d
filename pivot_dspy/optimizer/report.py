"""What a compilation did and what it brought, as plain data."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pivot_dspy.calibration.calibration import Calibration, CalibrationReport
from pivot_dspy.optimizer.rollout import RolloutResult, mean
from pivot_dspy.optimizer.selection import CandidateRecord, ScoredCandidate, Selection
from pivot_dspy.trajectory import Frozen

NOTE = "some of these outcomes chose the program, and so are a little too good"
"""Of every fit: what was accepted is what did best on the validation tasks."""


class CalibrationRow(NamedTuple):
    """A run that counts: the key of its program, the key of its task, and what came of it."""

    program: str
    task: str
    outcome: RolloutResult


def fit_calibrations(
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
    incumbents, work = selection.incumbents, selection.work
    if not incumbents or importlib.util.find_spec("sklearn") is None:
        return {}
    rows = [
        CalibrationRow(incumbent.proposal.key, work.keys[position], outcome)
        for incumbent in incumbents
        for position, outcome in zip(selection.positions, incumbent.outcomes, strict=True)
    ]
    first = incumbents[0].proposal.key
    for position, outcomes in training.items():
        rows += [CalibrationRow(first, work.keys[position], outcome) for outcome in outcomes]
    relevant = relevance(incumbents, rows, work.threshold)
    reports = {}
    for path, calibration in calibrations.items():
        calls = [
            (call.features, row.outcome.score >= work.threshold, row.task, relevant[row.program])
            for row in rows
            for call in row.outcome.calls
            if call.refiner == path
        ]
        if not calls:
            continue
        features, right, tasks, worth = zip(*calls, strict=True)
        report = calibration.fit(features, right, seed=seed, groups=tasks, weights=share_worth(tasks, worth))
        note = f"{report.note}; {NOTE}" if report.note else NOTE
        reports[path] = calibration.report = report.model_copy(update={"note": note})
    return reports


def relevance(
    incumbents: Sequence[ScoredCandidate], rows: Sequence[CalibrationRow], threshold: float
) -> dict[str, float]:
    """How much a run of each incumbent tells of the last one, the accepted program, where a run of that counts 1.

    n tasks of another program tell its share of right results up to a variance of v / n, and that of the accepted one
    up to v / n + d^2, where d is the difference of the two on the validation tasks and v = p (1 - p). So each of them
    is worth 1 / (1 + n d^2 / v) of a task of the accepted program.

    Args:
        threshold: the score from which on a result counts as right.
    """
    tasks_of = defaultdict(set)
    for row in rows:
        tasks_of[row.program].add(row.task)
    rights = [sum(outcome.score >= threshold for outcome in incumbent.outcomes) for incumbent in incumbents]
    count = len(incumbents[-1].outcomes)
    share = (rights[-1] + 1) / (count + 2)
    worth = {}
    for incumbent, right in zip(incumbents, rights, strict=True):
        difference = (right - rights[-1]) / count
        key = incumbent.proposal.key
        worth[key] = 1 / (1 + len(tasks_of[key]) * difference**2 / (share * (1 - share)))
    return worth


def share_worth(tasks: Sequence[str], worth: Sequence[float]) -> list[float]:
    """The worth of each run in its share of its task's, which is that of the task's most relevant run."""
    worth_of = defaultdict(list)
    for task, value in zip(tasks, worth, strict=True):
        worth_of[task].append(value)
    return [value * max(worth_of[task]) / sum(worth_of[task]) for task, value in zip(tasks, worth, strict=True)]


class Measured(Frozen):
    """Means over tasks."""

    tasks: int
    score: float
    """Of the metric."""
    right: float
    """The share of tasks with at least the metric's threshold."""
    verified: float
    """The share of tasks whose trajectories were verified."""
    tokens: float
    """Of each task, as if nothing had come from the cache."""
    tokens_per_right: float | None
    first_loss: float | None
    """Of first plans; None where there was none."""
    errors: int
    """Runs that left nothing."""


def measure(outcomes: Sequence[RolloutResult], threshold: float) -> Measured:
    """The means of outcomes."""
    right = sum(outcome.score >= threshold for outcome in outcomes)
    planned = [outcome for outcome in outcomes if outcome.calls]
    return Measured(
        tasks=len(outcomes),
        score=mean(outcomes, "score"),
        right=right / max(1, len(outcomes)),
        verified=mean(outcomes, "verified"),
        tokens=mean(outcomes, "tokens"),
        tokens_per_right=sum(outcome.tokens for outcome in outcomes) / right if right else None,
        first_loss=mean(planned, "first_loss") if planned else None,
        errors=sum(bool(outcome.error) and not outcome.calls for outcome in outcomes),
    )


class DetailedResults(Frozen):
    """What `track_stats` puts on a compiled program as `detailed_results`."""

    before: Measured
    """The student on the validation tasks."""
    after: Measured
    """The compiled program on the same."""
    training: Measured
    """First runs of the training tasks."""
    teacher: Measured | None = None
    """Runs of the teacher."""
    proposals: tuple[CandidateRecord, ...] = ()
    """In the order in which they were tried."""
    entries: Mapping[str, Mapping[str, int]]
    """Numbers of demonstrations, lessons and notes, by refiner."""
    settings: Mapping[str, Mapping[str, Any]]
    """Of the refiners and gates, where they are not as they were."""
    calibration: Mapping[str, CalibrationReport] = {}
    """By refiner; on validation runs, which chose the program and so are a little too good, and training runs of the
    student as it was. An outcome counts for less where the compiled program did otherwise."""
    runs: int
    """Spent by the whole compilation."""
    tokens: int
    """Likewise, learning included."""
    stopped: Literal["", "budget", "stopped", "not run further"] = ""
    """Why it ended before all was tried; empty if it did not."""

    def __repr__(self) -> str:
        accepted = sum(proposal.accepted for proposal in self.proposals)
        return (
            f"DetailedResults(score {self.before.score:.3f} -> {self.after.score:.3f}, tokens a task "
            f"{self.before.tokens:.0f} -> {self.after.tokens:.0f}, {accepted} of {len(self.proposals)} proposals "
            "accepted)"
        )

    __str__ = __repr__
