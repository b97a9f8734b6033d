"""The textual-gradient loss as a DSPy metric with feedback."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.episode.result import Refined, by_own_names
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.loss import Loss


class Scored(dspy.Prediction):  # type: ignore[misc]
    """`score` and `feedback`. True where the trajectory was verified: what DSPy's bootstrapping asks of a metric."""

    def __bool__(self) -> bool:
        return bool(self.score >= 1.0)


def trajectory_metric(
    gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
) -> dspy.Prediction:
    """Score and feedback for what a refiner returned; for `dspy.Evaluate`, `dspy.GEPA` and any other optimizer.

    The score is 1 - total loss, in [0, 1], and 0 for what could not be verified although its loss is 0, or for a run
    that failed and left no prediction. The feedback is the verdict with the last textual gradient.

    Args:
        gold: the example; not looked at, since the loss is measured against the requirements.
        pred: a refiner's prediction, or what DSPy puts in its place where the program failed (None, an empty
            prediction, or the answer that could not be parsed).

    Raises:
        ConfigurationError: `pred` is the prediction of a program that is no refiner.
    """
    if isinstance(pred, Refined):
        pred = by_own_names(pred)
    if isinstance(getattr(pred, "loss", None), Loss):
        return _score(pred)
    if isinstance(pred, dspy.Example) and len(pred):
        raise ConfigurationError(
            f"trajectory_metric scores what a pivot_dspy refiner returns; this prediction of {', '.join(pred.keys())} "
            "has no loss: evaluate the refiner itself, or return its prediction unchanged"
        )
    reply = getattr(pred, "completion_text", None)  # dspy.teleprompt.bootstrap_trace.FailedPrediction
    return Scored(score=0.0, feedback=f"The run failed: {reply}" if reply else "The run failed and left no trajectory.")


def _score(pred: Any) -> Scored:
    if pred.verified:
        return Scored(score=1.0 - pred.loss.total, feedback="Verified: every requirement holds.")
    gradients = [event.gradient.to_text() for event in pred.history if event.kind == "gradient"]
    feedback = "\n".join([f"Not verified: {'; '.join(pred.verdict.reasons)}", *gradients[-1:]])
    return Scored(score=0.0 if pred.loss.perfect else 1.0 - pred.loss.total, feedback=feedback)
