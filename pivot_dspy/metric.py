"""The textual-gradient loss as a DSPy metric with feedback."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss


def trajectory_metric(
    gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None
) -> dspy.Prediction:
    """Score and feedback for what a refiner returned; for `dspy.Evaluate`, `dspy.GEPA` and any other optimizer.

    The score is 1 - total loss, in [0, 1], and 0 for what could not be verified although its loss is 0. The feedback
    is the last textual gradient, or the verdict.

    Args:
        gold: the example; not looked at, since the loss is measured against the requirements.
        pred: a refiner's prediction.

    Raises:
        ConfigurationError: `pred` is not a refiner's prediction.
    """
    loss = getattr(pred, "loss", None)
    if not isinstance(loss, Loss):
        raise ConfigurationError("trajectory_metric scores what a pivot_dspy refiner returns; this has no loss")
    score = 1.0 - loss.total
    if pred.verified:
        return dspy.Prediction(score=score, feedback="Verified: every requirement holds.")
    gradients = [event.gradient for event in pred.history if event.gradient is not None]
    last: Gradient | None = gradients[-1] if gradients else None
    reasons = "; ".join(pred.verdict.reasons)
    feedback = f"Not verified: {reasons}" + (f"\n{last.to_text()}" if last else "")
    return dspy.Prediction(score=0.0 if loss.perfect else score, feedback=feedback)
