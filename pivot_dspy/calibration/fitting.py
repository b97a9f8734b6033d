"""Fits a probability to the features and outcomes of results.

A share of right results; or a logistic regression, and where there is enough data, an isotonic regression over its
cross-validated score, as in scikit-learn's `CalibratedClassifierCV(ensemble=False)`. Only regression needs
scikit-learn.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pydantic import Field

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Frozen


class ReliabilityRow(Frozen):
    """One bin of a reliability table: `count` results with a probability from `low` to `high`, the mean `predicted`
    one, and the share `observed` that was right."""

    low: float
    high: float
    count: int
    predicted: float
    observed: float


def reliability(
    probabilities: Sequence[float], outcomes: Sequence[bool], bins: int = 10, weights: Sequence[float] | None = None
) -> tuple[ReliabilityRow, ...]:
    """The reliability table over `bins` bins of equal width; empty ones are left out. `weights`: as for `brier`.

    >>> [(row.low, row.count, row.observed) for row in reliability([0.1, 0.9, 1.0], [False, True, False], bins=2)]
    [(0.0, 1, 0.0), (0.5, 2, 0.5)]
    """
    _checked(probabilities, outcomes)
    if bins < 1:
        raise ConfigurationError(f"bins is at least 1; got {bins}")
    counts = [1.0] * len(outcomes) if weights is None else weights
    rows = []
    for place in range(bins):
        inside = [
            (said, right, weight)
            for said, right, weight in zip(probabilities, outcomes, counts, strict=True)
            if min(int(said * bins), bins - 1) == place
        ]
        if inside:
            size = math.fsum(weight for _, _, weight in inside)
            rows.append(
                ReliabilityRow(
                    low=place / bins,
                    high=(place + 1) / bins,
                    count=len(inside),
                    predicted=math.fsum(weight * said for said, _, weight in inside) / size,
                    observed=math.fsum(weight * right for _, right, weight in inside) / size,
                )
            )
    return tuple(rows)


def brier(
    probabilities: Sequence[float], outcomes: Sequence[bool], weights: Sequence[float] | None = None
) -> float:
    """The mean squared distance of probabilities from what came of it: 0 is perfect, 0.25 what always saying 0.5 gets.

    Brier, Monthly Weather Review 78 (1950).

    Args:
        weights: how much each outcome counts, above 0; all the same, if None.

    >>> brier([1.0, 0.5], [True, False])
    0.125
    """
    _checked(probabilities, outcomes)
    counts = [1.0] * len(outcomes) if weights is None else weights
    pairs = zip(probabilities, outcomes, counts, strict=True)
    return math.fsum(weight * (said - right) ** 2 for said, right, weight in pairs) / math.fsum(counts)


def threshold(
    values: Sequence[float],
    outcomes: Sequence[bool],
    target: float = 0.9,
    weights: Sequence[float] | None = None,
) -> float | None:
    """The smallest of `values` such that, of the results with at least that value, a share of `target` was right.

    None where no value gives that share. `weights`: as for `brier`.

    >>> threshold([0.2, 0.6, 0.7, 0.9], [False, True, False, True], target=0.6)
    0.6
    """
    if not 0 <= target <= 1:
        raise ConfigurationError(f"target is the share of right results, from 0 to 1; got {target}")
    found, right, count = None, 0.0, 0.0
    counts = [1.0] * len(outcomes) if weights is None else weights
    ordered = sorted(zip(values, outcomes, counts, strict=True), key=lambda one: one[0], reverse=True)
    for place, (value, outcome, weight) in enumerate(ordered):
        right, count = right + weight * bool(outcome), count + weight
        last = place + 1 == len(ordered) or ordered[place + 1][0] != value
        if last and right >= target * count:
            found = value
    return found


def _checked(probabilities: Sequence[float], outcomes: Sequence[bool]) -> None:
    if len(probabilities) != len(outcomes) or not outcomes:
        raise ConfigurationError(
            f"one probability for each outcome, and at least one; got {len(probabilities)} and {len(outcomes)}"
        )
    wrong = [said for said in probabilities if not 0 <= said <= 1]
    if wrong:
        raise ConfigurationError(f"a probability lies in [0, 1]; got {wrong[0]}")


FOLDS = 5
VERIFIED = "verified"
"""The feature that shares of right results are told apart by."""

Method = Literal["constant", "verified", "logistic", "isotonic"]


class Sample(NamedTuple):
    """Features and outcomes of results, the task of each, and how much it counts."""

    rows: Sequence[Mapping[str, float]]
    outcomes: Sequence[bool]
    groups: Sequence[Hashable]
    weights: Sequence[float]

    @property
    def size(self) -> float:
        """As how many results all of them count."""
        return math.fsum(self.weights)

    @property
    def right(self) -> float:
        """As how many results those that are right count."""
        return math.fsum(weight for weight, right in zip(self.weights, self.outcomes, strict=True) if right)

    def at(self, places: Iterable[int]) -> Sample:
        """Some of the results."""
        parts = [(self.rows[n], self.outcomes[n], self.groups[n], self.weights[n]) for n in places]
        return Sample(*(list(column) for column in zip(*parts, strict=True))) if parts else Sample([], [], [], [])


class Fitted(Frozen):
    """The numbers that give a probability; readable, and enough without scikit-learn.

    Attributes:
        method: `constant` is a share of right results, `verified` one for those with the feature `verified` and one
            for the others.
        weights: of each feature in the score, `intercept` added, whose logistic function is the probability.
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


def shares(sample: Sample) -> Fitted:
    """The share of right results, by the rule of succession; of those that verified and of the others, where known.

    Of a kind that never occurred that rule says 0.5. Results that did not verify are never right more often: where they
    were, both kinds have the same share.
    """
    rows = [row.get(VERIFIED, 0.0) for row in sample.rows]
    others, verified = (sample.at(n for n, row in enumerate(rows) if bool(row) is kind) for kind in (False, True))
    least = 1 / (sample.size + 2)
    low, high = _succession(others), _succession(verified)
    if low >= high or any(VERIFIED not in row for row in sample.rows):
        return Fitted(method="constant", intercept=_logit(_succession(sample)), least=least)
    return Fitted(
        method="verified", intercept=_logit(low), weights={VERIFIED: _logit(high) - _logit(low)}, least=least
    )


def constant(sample: Sample) -> Fitted:
    """The share of right results, by the rule of succession, whatever their features."""
    return shares(sample._replace(rows=[{}] * len(sample.rows)))


def regression(sample: Sample, seed: int, isotonic: bool) -> Fitted:
    """A logistic regression, `isotonic` over its score or not; `shares` where only one outcome is known, or no feature.

    Args:
        seed: of the folds.

    Raises:
        ConfigurationError: scikit-learn is missing.
    """
    if len(set(sample.outcomes)) < 2 or not sample.rows[0]:
        return shares(sample)
    fitted = _logistic_fit(sample)
    if not isotonic or len(set(sample.groups)) < 2:
        return fitted
    scores = left_out(sample, seed, lambda inside: regression(inside, seed, False), Fitted.score)
    points = _isotonic_points(scores, sample)
    return fitted.model_copy(update={"method": "isotonic", "points": points})


def _logistic_fit(sample: Sample) -> Fitted:
    """Regularised as scikit-learn does by default, over features of mean 0 and deviation 1."""
    try:
        from sklearn.linear_model import LogisticRegression
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    names = list(sample.rows[0])
    scaled = [_scaled([row[name] for row in sample.rows], sample.weights) for name in names]
    table = [list(row) for row in zip(*(values for values, _, _ in scaled), strict=True)]
    model = LogisticRegression(max_iter=1000)
    model.fit(table, [int(right) for right in sample.outcomes], sample_weight=list(sample.weights))
    weights = [float(weight) / scale for weight, (_, _, scale) in zip(model.coef_[0], scaled, strict=True)]
    shift = math.fsum(weight * mean for weight, (_, mean, _) in zip(weights, scaled, strict=True))
    return Fitted(
        method="logistic",
        intercept=float(model.intercept_[0]) - shift,
        weights=dict(zip(names, weights, strict=True)),
        least=1 / (sample.size + 2),
    )


def _scaled(values: Sequence[float], counts: Sequence[float]) -> tuple[list[float], float, float]:
    """Values of weighted mean 0 and deviation 1, with the mean and the scale that they had; 0 where they are alike."""
    size = math.fsum(counts)
    mean = math.fsum(count * value for count, value in zip(counts, values, strict=True)) / size
    spread = math.fsum(count * (value - mean) ** 2 for count, value in zip(counts, values, strict=True)) / size
    scale = math.sqrt(spread)
    if scale <= max(1e-12 * max(map(abs, values)), 1e-100):  # what rounding leaves of values that are all the same
        return [0.0] * len(values), mean, 1.0
    return [(value - mean) / scale for value in values], mean, scale


def _isotonic_points(scores: Sequence[float], sample: Sample) -> tuple[tuple[float, float], ...]:
    try:
        from sklearn.isotonic import IsotonicRegression
    except ModuleNotFoundError as error:
        raise _not_installed() from error
    model = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    model.fit(list(scores), [float(right) for right in sample.outcomes], sample_weight=list(sample.weights))
    return tuple((float(x), float(y)) for x, y in zip(model.X_thresholds_, model.y_thresholds_, strict=True))


def left_out(
    sample: Sample,
    seed: int,
    made: Callable[[Sample], Fitted],
    said: Callable[[Fitted, Mapping[str, float]], float] = Fitted.probability,
) -> list[float]:
    """What is said of each row by a fit to the folds that it is not in. Both outcomes are spread evenly over folds."""
    order = list(dict.fromkeys(sample.groups))
    random.Random(seed).shuffle(order)
    rights: dict[Hashable, list[bool]] = {group: [] for group in order}
    for group, right in zip(sample.groups, sample.outcomes, strict=True):
        rights[group].append(right)
    order.sort(key=lambda group: sum(rights[group]) / len(rights[group]))
    fold = {group: place % FOLDS for place, group in enumerate(order)}
    found = [0.0] * len(sample.rows)
    for number in range(min(FOLDS, len(order))):
        fitted = made(sample.at(place for place, group in enumerate(sample.groups) if fold[group] != number))
        for place, group in enumerate(sample.groups):
            if fold[group] == number:
                found[place] = said(fitted, sample.rows[place])
    return found


def better(sample: Sample, said: Sequence[float], simpler: Sequence[float]) -> bool:
    """Whether the Brier score of what is `said` is lower than that of something `simpler` by more than the standard
    error of their difference over tasks (Breiman et al., Classification and Regression Trees, 1984: else the simpler
    one is to be preferred)."""
    gains: dict[Hashable, float] = dict.fromkeys(sample.groups, 0.0)
    counts = dict(gains)
    for one, other, right, group, weight in zip(
        said, simpler, sample.outcomes, sample.groups, sample.weights, strict=True
    ):
        gains[group] += weight * ((other - right) ** 2 - (one - right) ** 2)
        counts[group] += weight
    mean = math.fsum(gains.values()) / sample.size
    spread = math.fsum((gain - mean * counts[group]) ** 2 for group, gain in gains.items())
    error = math.sqrt(spread * len(gains) / max(1, len(gains) - 1)) / sample.size
    return mean > error


def _succession(sample: Sample) -> float:
    return (sample.right + 1) / (sample.size + 2)


def _logit(share: float) -> float:
    return math.log(share / (1 - share))


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
