"""How sure a compiled program is of its results: fitted to what compiling saw of it, and of what it was made from."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pivot_dspy.calibration import Calibration, CalibrationReport
from pivot_dspy.optimizer.outcomes import Outcome
from pivot_dspy.optimizer.selection import Selection, Standing

NOTE = "some of these outcomes chose the program, and so are a little too good"
"""Of every fit: what was accepted is what did best on the validation tasks."""


class Run(NamedTuple):
    """A run that counts: the key of its program, the key of its task, and what came of it."""

    program: str
    task: str
    outcome: Outcome


def calibrated(
    calibrations: Mapping[str, Calibration],
    selection: Selection,
    training: Mapping[int, Sequence[Outcome]],
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


def relevance(incumbents: Sequence[Standing], runs: Sequence[Run], threshold: float) -> dict[str, float]:
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


def _runs(selection: Selection, training: Mapping[int, Sequence[Outcome]]) -> list[Run]:
    keys = selection.work.keys
    validated = [
        Run(standing.proposal.key, keys[place], outcome)
        for standing in selection.incumbents
        for place, outcome in zip(selection.places, standing.outcomes, strict=True)
    ]
    first = selection.incumbents[0].proposal.key
    return validated + [Run(first, keys[place], outcome) for place, found in training.items() for outcome in found]
