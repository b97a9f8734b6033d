"""A fitted probability and the report on it, as plain data: telling the one takes neither numpy nor scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Frozen


class Fitted(Frozen):
    """A probability of the features of a result, as plain numbers."""

    method: Literal["constant", "verified", "logistic", "isotonic"]
    intercept: float = 0.0
    weights: dict[str, float] = Field(default_factory=dict)
    """Of each feature in the score, whose logistic function is the probability."""
    points: tuple[tuple[float, float], ...] = ()
    """Of `isotonic`: scores with their probabilities, and straight lines between them."""
    least: float = Field(gt=0, le=0.5)
    """No probability is nearer than this to 0 or 1: what n outcomes can tell, 1 / (n + 2)."""

    def score(self, features: Mapping[str, float]) -> float:
        """The logit before calibration. Raises ConfigurationError where a feature is missing."""
        missing = [name for name in self.weights if name not in features]
        if missing:
            raise ConfigurationError(
                f"the calibration was fitted on {', '.join(missing)} too; pass what features(result) gives, or fit anew"
            )
        return self.intercept + math.fsum(weight * features[name] for name, weight in self.weights.items())

    def probability(self, features: Mapping[str, float]) -> float:
        score = self.score(features)
        if self.points:
            import numpy  # DSPy does without it, and few calibrations have points

            scores, probabilities = zip(*self.points, strict=True)
            probability = float(numpy.interp(score, scores, probabilities))
        else:
            probability = (1 + math.tanh(score / 2)) / 2  # the logistic function, which cannot overflow like this
        return min(1 - self.least, max(self.least, probability))


class ReliabilityRow(Frozen):
    """One bin of a reliability table: `count` results with a probability from `low` to `high`, the mean `predicted`
    one, and the share `observed` that was right."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


class CalibrationReport(Frozen):
    """How good the probabilities are: on outcomes that were left out when they were fitted.

    Outcomes are counted one by one; shares and scores weigh them as `Calibration.fit` was told to.
    """

    count: int
    right: int
    tasks: int = 0
    brier: float | None = None
    """Cross-validated Brier score."""
    base: float | None = None
    """The Brier score of always saying the share that is right elsewhere."""
    certain: float | None = None
    """The Brier score of taking a verified result as certainly right, and any other as wrong."""
    table: tuple[ReliabilityRow, ...] = ()
    """Cross-validated reliability."""
    target: float = 0.9
    """The share of right results that the thresholds are to give."""
    threshold: float | None = None
    """The probability from which on a result counts as right; None where none gives that share."""
    confidence_threshold: float | None = None
    """Likewise of the confidence that models stated in steps, as `ConfidenceGate` takes it."""
    note: str = ""
    """What has to be known of these figures."""
