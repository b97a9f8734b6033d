"""Runs a refiner on test tasks and sums up what came of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import ContextWindowExceededError, LMError, LMInvalidRequestError

from pivot_dspy import PivotError, PlanningFailed, Refined
from pivot_dspy.calibration.fitting import brier
from pivot_dspy.optimizer.metering import metered
from programs.deepplanning.outcome import cart_metric
from programs.options import DataError

OUTCOMES = ("id", "strict_pass", "verified", "first_loss", "probability", "lm_calls")
"""What is the same for two runs of the same refiner on the same model; tokens of cached answers are estimates."""


def run_all(
    refiner: dspy.Module, tasks: Sequence[dspy.Example], threads: int, progress: Any = None
) -> list[dict[str, Any]]:
    """A row for each of `training_task`s, in their order. The refiner asks the LM of `dspy.settings`.

    Tokens count as if no call had been served from DSPy's cache: else whatever is tested second would look cheaper.

    Args:
        progress: called after each task.

    Raises:
        DataError, PivotError, LMError: no task can be run like this, or all ended in an error that DSPy has logged.
    """
    rows: dict[str, dict[str, Any]] = {}
    stopped: list[Exception] = []

    def one(task: dspy.Example) -> None:
        if stopped:
            return
        try:
            rows[task.expected.case] = _row(refiner, task)
        except (DataError, PivotError, LMError) as error:
            stopped.append(error)
        if progress is not None:
            progress()

    pairs = [(one, dspy.Example(task=task).with_inputs("task")) for task in tasks]
    # timeout=0: a straggler must not be started twice, since its tools would run twice.
    dspy.Parallel(num_threads=threads, timeout=0, disable_progress_bar=True, max_errors=len(tasks) + 1)(pairs)
    if stopped:
        raise stopped[0]
    lost = [task.expected.case for task in tasks if task.expected.case not in rows]
    if lost:
        raise DataError(f"no result, for a reason that is logged above: {', '.join(lost)}")
    return [rows[task.expected.case] for task in tasks]


def _row(refiner: dspy.Module, task: dspy.Example) -> dict[str, Any]:
    with metered({}) as meter:
        try:
            result: Refined | None = refiner(**task.inputs())
        except PlanningFailed as error:
            cause = error.__cause__
            if isinstance(cause, LMInvalidRequestError) and not isinstance(cause, ContextWindowExceededError):
                raise  # a model that is not there plans no other task either
            result = None
    told = {"id": task.expected.case, "lm_calls": len(meter.history), "tokens": meter.tokens}
    if result is None:
        return told | {
            "strict_pass": cart_metric(task, None).score == 1.0, "verified": False, "first_loss": 1.0,
            "probability": None, "retrieved": 0,
        }  # fmt: skip
    first = next(event.loss.total for event in result.history if event.kind == "inspect")
    return told | {
        "strict_pass": cart_metric(task, result).score == 1.0,
        "verified": result.verified,
        "first_loss": first,
        "probability": result.probability,
        "retrieved": len(result.retrieved),
    }


def summary(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rates and means. Where no probability was fitted, the Brier score takes a verified result as certain."""
    count, solved = len(rows), sum(row["strict_pass"] for row in rows)
    tokens = sum(row["tokens"] for row in rows)
    fitted = all(row["probability"] is not None for row in rows)
    certain = [float(row["verified"]) for row in rows]
    said = [float(row["probability"]) for row in rows] if fitted else certain
    return {
        "tasks": count,
        "strict_pass_rate": solved / count,
        "verified_rate": sum(row["verified"] for row in rows) / count,
        "tokens_per_task": tokens / count,
        "tokens_per_solved": tokens / solved if solved else None,
        "lm_calls_per_task": sum(row["lm_calls"] for row in rows) / count,
        "first_plan_loss": math.fsum(row["first_loss"] for row in rows) / count,
        "brier": brier(said, [row["strict_pass"] for row in rows]),
        "brier_of_certainty": brier(certain, [row["strict_pass"] for row in rows]),
        "probabilities": "fitted" if fitted else "verified taken as certain",
    }


def outcomes(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows without what differs from one run to another."""
    return [{name: row[name] for name in OUTCOMES} for row in rows]
