"""How likely it is that a result is right: fitted on outcomes of training tasks, told with every result after that."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

from pydantic import Field

from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Frozen

FORMAT = 1
"""Of the saved state."""


class Fitted(Frozen):
    """A probability of the features of a result, as plain numbers."""

    method: Literal["constant", "verified", "logistic"]
    intercept: float = 0.0
    weights: dict[str, float] = Field(default_factory=dict)
    """Of each feature in the score, whose logistic function is the probability."""
    least: float = Field(gt=0, le=0.5)
    """No probability is nearer than this to 0 or 1: what n outcomes can tell, 1 / (n + 2)."""

    def probability(self, features: Mapping[str, float]) -> float:
        """Raises ConfigurationError where a feature is missing."""
        missing = [name for name in self.weights if name not in features]
        if missing:
            raise ConfigurationError(
                f"the calibration was fitted on {', '.join(missing)} too; pass what features(result) gives, or fit anew"
            )
        logit = self.intercept + math.fsum(weight * features[name] for name, weight in self.weights.items())
        probability = (1 + math.tanh(logit / 2)) / 2  # the logistic function, which cannot overflow like this
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


class Calibration(Parameter):  # type: ignore[misc]
    """From the features of a result to the probability that it is right; part of a refiner's saved state.

    Fitted is a logistic regression where, cross-validated, it beats the share of right results by more than its
    standard error; else that share itself, of results that verified and of those that did not.

    Optimizers of DSPy call `reset` on all that they are about to tune. They do not tune this, and so it stays; `clear`
    forgets it.

    Args:
        target: the share of right results that the suggested thresholds are to give.

    >>> calibration = Calibration()
    >>> calibration.probability({"loss": 0.0}) is None
    True
    >>> calibration.fit([{"loss": 0.0}] * 3, [True] * 3).note
    'all 3 outcomes were right: the probability is a constant until some are wrong'
    >>> calibration.probability({"loss": 0.5})
    0.8
    """

    def __init__(self, *, target: float = 0.9) -> None:
        if not 0 <= target <= 1:
            raise ConfigurationError(f"target is the share of right results, from 0 to 1; got {target}")
        self.target = target
        self.clear()

    def clear(self) -> None:
        """Back to knowing nothing: every probability is None."""
        self.fitted: Fitted | None = None
        self.report: CalibrationReport | None = None

    def reset(self) -> None:
        """Nothing; see above."""

    def probability(self, features: Mapping[str, float]) -> float | None:
        """The probability that a result with these features is right; None before anything was fitted.

        Raises:
            ConfigurationError: features that were fitted are missing.
        """
        return None if self.fitted is None else self.fitted.probability(features)

    def fit(
        self,
        known: Sequence[Mapping[str, float]],
        outcomes: Sequence[bool],
        *,
        seed: int = 0,
        groups: Sequence[Hashable] | None = None,
        weights: Sequence[float] | None = None,
    ) -> CalibrationReport:
        """Fits to the features of results and whether each was right.

        With outcomes of one kind only, the probability is a share by the rule of succession; without any, nothing is
        fitted. The report's note says so.

        Args:
            seed: of the folds of cross-validation.
            groups: the task of each result, where several are of one: they are left out together.
            weights: how much each result counts; 1, if None. The figures of the report are weighted alike.

        Raises:
            ConfigurationError: lengths or features differ, an outcome is not true or false, a weight is not above 0, or
                scikit-learn is missing.
        """
        from pivot_dspy.calibration import fitting  # loads numpy, which telling a probability does not take

        sample = fitting.read_sample(known, outcomes, groups, weights)
        self.fitted, self.report = fitting.fit(sample, seed, self.target)
        return self.report

    def dump_state(self, json_mode: bool = True) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "target": self.target,
            "fitted": self.fitted and self.fitted.model_dump(mode="json"),
            "report": self.report and self.report.model_dump(mode="json"),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Inverse of `dump_state`. Raises ConfigurationError where the state is of another format, or damaged."""
        written = state.get("format") if isinstance(state, Mapping) else None
        if written != FORMAT:
            raise ConfigurationError(
                f"the saved calibration is of format {written!r}, and this version of pivot_dspy reads {FORMAT}; "
                "load it with the version that saved it, or compile again"
            )
        try:
            saved = _Saved.model_validate(state)
        except ValueError as error:
            problem = " ".join(str(error).split())
            raise ConfigurationError(f"the saved calibration is damaged: {problem:.300}") from error
        self.fitted, self.report, self.target = saved.fitted, saved.report, saved.target


class _Saved(Frozen):
    format: int
    target: float
    fitted: Fitted | None
    report: CalibrationReport | None
