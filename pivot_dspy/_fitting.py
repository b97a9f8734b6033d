"""Fits a probability to the features and outcomes of results.

A logistic regression, and where there is enough data, an isotonic regression over its cross-validated score, as in
scikit-learn's `CalibratedClassifierCV(ensemble=False)`. Only fitting needs scikit-learn.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Literal

from pydantic import Field

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Frozen

FOLDS = 5

Method = Literal["constant", "logistic", "isotonic"]


class Fitted(Frozen):
    """The numbers that give a probability; readable, and enough without scikit-learn.

    Attributes:
        weights: of each feature in the score, `intercept` added; `logistic` takes its logistic function.
        points: of `isotonic`, (score, probability) pairs between which it runs in straight lines.
        least: no probability is nearer than this to 0 or 1: what n outcomes can tell, 1 / (n + 2).
    """

    method: Method
    intercept: float = 0.0
    weights: dict[str, float] = Field(default_factory=dict)
    points: tuple[tuple[float, float], ...] = ()
    least: float = Field(gt=0, le=0.5)

    def score(self, known: Mapping[str, float]) -> float:
        """The logit before calibration.

        Raises:
            ConfigurationError: a feature is missing.
        """
        missing = [name for name in self.weights if name not in known]
        if missing:
            raise ConfigurationError(
                f"the calibration was fitted on {', '.join(missing)} too; pass what features(result) gives, or fit anew"
            )
        return self.intercept + math.fsum(weight * known[name] for name, weight in self.weights.items())

    def probability(self, known: Mapping[str, float]) -> float:
        score = self.score(known)
        said = _between(self.points, score) if self.method == "isotonic" else _logistic(score)
        return min(1 - self.least, max(self.least, said))


def fit(
    rows: Sequence[Mapping[str, float]],
    outcomes: Sequence[bool],
    groups: Sequence[Hashable],
    seed: int,
    isotonic: bool,
) -> Fitted:
    """A logistic regression, `isotonic` over its score or not; a constant, by the rule of succession, of one outcome.

    Args:
        groups: the task of each row; rows of one task are left out together.
        seed: of the folds.

    Raises:
        ConfigurationError: scikit-learn is missing.
    """
    least = 1 / (len(rows) + 2)
    if len(set(outcomes)) < 2 or not rows[0]:
        share = (sum(outcomes) + 1) / (len(rows) + 2)
        return Fitted(method="constant", intercept=math.log(share / (1 - share)), least=least)
    fitted = _logistic_fit(rows, outcomes, least)
    if not isotonic or len(set(groups)) < 2:
        return fitted
    scores = left_out(rows, outcomes, groups, seed, False, Fitted.score)
    return fitted.model_copy(update={"method": "isotonic", "points": _isotonic_points(scores, outcomes)})


def _logistic_fit(rows: Sequence[Mapping[str, float]], outcomes: Sequence[bool], least: float) -> Fitted:
    """Regularised as scikit-learn does by default, over features of mean 0 and deviation 1."""
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    names = list(rows[0])
    table = [[row[name] for name in names] for row in rows]
    scaler = StandardScaler()
    model = LogisticRegression(max_iter=1000).fit(scaler.fit_transform(table), [int(right) for right in outcomes])
    weights = [float(weight) / float(scale) for weight, scale in zip(model.coef_[0], scaler.scale_, strict=True)]
    shift = math.fsum(weight * float(mean) for weight, mean in zip(weights, scaler.mean_, strict=True))
    return Fitted(
        method="logistic",
        intercept=float(model.intercept_[0]) - shift,
        weights=dict(zip(names, weights, strict=True)),
        least=least,
    )


def _isotonic_points(scores: Sequence[float], outcomes: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    try:
        from sklearn.isotonic import IsotonicRegression
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit(list(scores), [float(right) for right in outcomes])
    return tuple((float(x), float(y)) for x, y in zip(model.X_thresholds_, model.y_thresholds_, strict=True))


def left_out(
    rows: Sequence[Mapping[str, float]],
    outcomes: Sequence[bool],
    groups: Sequence[Hashable],
    seed: int,
    isotonic: bool,
    said: Callable[[Fitted, Mapping[str, float]], float],
) -> list[float]:
    """What is said of each row by a fit to the folds that it is not in. Both outcomes are spread evenly over folds."""
    order = list(dict.fromkeys(groups))
    random.Random(seed).shuffle(order)
    rights: dict[Hashable, list[bool]] = {group: [] for group in order}
    for group, right in zip(groups, outcomes, strict=True):
        rights[group].append(right)
    order.sort(key=lambda group: sum(rights[group]) / len(rights[group]))
    fold = {group: place % FOLDS for place, group in enumerate(order)}
    found = [0.0] * len(rows)
    for number in range(min(FOLDS, len(order))):
        inside = [place for place, group in enumerate(groups) if fold[group] != number]
        fitted = fit(
            [rows[place] for place in inside], [outcomes[place] for place in inside],
            [groups[place] for place in inside], seed, isotonic,
        )  # fmt: skip
        for place, group in enumerate(groups):
            if fold[group] == number:
                found[place] = said(fitted, rows[place])
    return found


def _between(points: Sequence[tuple[float, float]], score: float) -> float:
    """The value at `score` of straight lines between the points, level beyond the first and last."""
    place = bisect_right(points, score, key=lambda point: point[0])
    if place in (0, len(points)):
        return points[min(place, len(points) - 1)][1]
    (left, low), (right, high) = points[place - 1], points[place]
    return low + (high - low) * (score - left) / (right - left)


def _logistic(score: float) -> float:
    return 1 / (1 + math.exp(-score)) if score >= 0 else math.exp(score) / (1 + math.exp(score))


def _not_installed() -> ConfigurationError:
    return ConfigurationError("fitting a calibration needs scikit-learn: pip install 'pivot-dspy[calibration]'")
