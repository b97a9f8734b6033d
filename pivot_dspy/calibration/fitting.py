"""Fits a probability to the features and outcomes of results, with numpy; a regression takes scikit-learn too."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy
from numpy.typing import NDArray

from pivot_dspy.calibration.calibration import CalibrationReport, Fitted, ReliabilityRow
from pivot_dspy.errors import ConfigurationError

FOLDS = 5
"""Of cross-validation."""
FEW = 30
"""Tasks below which the figures of a report are said to be uncertain."""
VERIFIED = "verified"
"""The feature that tells two shares of right results apart where a regression does not do better."""

Floats: TypeAlias = NDArray[numpy.float64]
Numbers: TypeAlias = Sequence[float] | NDArray[Any]


class Sample(NamedTuple):
    """Results whose outcomes are known."""

    names: tuple[str, ...]
    features: Floats
    """A row for each result, a column for each of the names."""
    right: NDArray[numpy.bool_]
    tasks: NDArray[numpy.int_]
    weights: Floats

    def at(self, chosen: NDArray[numpy.bool_]) -> Sample:
        """The results that are chosen."""
        chosen_columns: Any = (column[chosen] for column in self[1:])
        return Sample(self.names, *chosen_columns)

    def column(self, name: str) -> Floats:
        """One feature of all results; 0 where it is not known."""
        return self.features[:, self.names.index(name)] if name in self.names else numpy.zeros(len(self.right))

    def predict(self, fitted: Fitted) -> Floats:
        """The probability that each result is right."""
        rows = (dict(zip(self.names, row, strict=True)) for row in self.features.tolist())
        return numpy.array([fitted.probability(row) for row in rows])

    def brier(self, probabilities: Numbers) -> float:
        return brier(probabilities, self.right, self.weights)


def read_sample(
    features: Sequence[Mapping[str, float]],
    outcomes: Sequence[Any],
    groups: Sequence[Hashable] | None = None,
    weights: Sequence[float] | None = None,
) -> Sample:
    """What `Calibration.fit` was given, as arrays. Raises ConfigurationError as it does."""
    count = len(outcomes)
    groups = range(count) if groups is None else groups
    weights = [1.0] * count if weights is None else weights
    if not len(features) == count == len(groups) == len(weights):
        raise ConfigurationError(
            f"one outcome, one group and one weight for each result; got {len(features)} results, {count} outcomes, "
            f"{len(groups)} groups and {len(weights)} weights"
        )
    wrong = [outcome for outcome in outcomes if outcome not in (0, 1)]
    if wrong:
        raise ConfigurationError(
            f"an outcome is true or false, and not {wrong[0]!r:.80}; say from which score a result counts as right"
        )
    if any(not 0 < weight < math.inf for weight in weights):
        raise ConfigurationError("a weight is a number above 0; leave out results that are not to count")
    names = tuple(features[0]) if features else ()
    alike = all(row.keys() == set(names) for row in features)
    table = numpy.array([[row[name] for name in names] for row in features if alike], dtype=float)
    if not alike or not numpy.isfinite(table).all():
        raise ConfigurationError("every result needs the same features, all finite: those of features(result)")
    numbers = {group: number for number, group in enumerate(dict.fromkeys(groups))}
    return Sample(
        names,
        table.reshape(count, len(names)),
        numpy.array(outcomes, dtype=bool),
        numpy.array([numbers[group] for group in groups], dtype=int),
        numpy.array(weights, dtype=float),
    )


def fit(sample: Sample, seed: int, target: float) -> tuple[Fitted | None, CalibrationReport]:
    """The probability that fits a sample, None for an empty one, and how good it is; arguments as of `Calibration`."""
    count, right = len(sample.right), int(sample.right.sum())
    stated = sample.at(sample.column("stated") > 0)
    figures: dict[str, Any] = {
        "count": count,
        "right": right,
        "tasks": len(set(sample.tasks)),
        "target": target,
        "confidence_threshold": threshold(stated.column("confidence"), stated.right, target, stated.weights),
    }
    fitted = shares(sample) if count else None
    if fitted is None:
        figures["note"] = "no outcome: nothing was fitted"
    elif right in (0, count):
        kind, other = ("right", "wrong") if right else ("wrong", "right")
        unknown = f"the probability is a constant until some are {other}"
        if fitted.method == "verified":
            unknown = f"nothing tells yet which results are {other}"
        figures["note"] = f"all {count} outcomes were {kind}: {unknown}"
    elif figures["tasks"] < 2:
        figures["note"] = "outcomes of one task only: nothing to test on"
    else:
        fitted, tested = _cross_validate(sample, seed, fitted, target)
        figures |= tested
    return fitted, CalibrationReport(**figures)


def _cross_validate(sample: Sample, seed: int, fitted: Fitted, target: float) -> tuple[Fitted, dict[str, Any]]:
    """A regression where it does better than the shares that are `fitted`, and the figures of what is taken."""
    base = sample.brier(cross_validate(sample, seed, constant))
    probabilities = cross_validate(sample, seed, shares)
    regressed = cross_validate(sample, seed, regression)
    # A share differs from fold to fold, and that of one fold says nothing of another's outcomes.
    values = sample.predict(fitted)
    notes = []
    if _better(sample, regressed, probabilities):
        fitted, values, probabilities = regression(sample), regressed, regressed
    else:
        is_share = sample.brier(probabilities) >= base
        more = "the share of right results does" if is_share else "whether a result was verified"
        notes.append(f"the features tell no more than {more}")
    tasks = len(set(sample.tasks))
    if tasks < FEW:
        notes.append(f"outcomes of {tasks} tasks are few: these figures may be far off")
    return fitted, {
        "brier": sample.brier(probabilities),
        "base": base,
        "certain": sample.brier(sample.column(VERIFIED) > 0) if VERIFIED in sample.names else None,
        "table": reliability(probabilities, sample.right, weights=sample.weights),
        "threshold": threshold(values, sample.right, target, sample.weights),
        "note": "; ".join(notes),
    }


def constant(sample: Sample) -> Fitted:
    """The share of right results, by the rule of succession, whatever their features."""
    return Fitted(method="constant", intercept=_logit_of_share(sample), least=_least(sample))


def shares(sample: Sample) -> Fitted:
    """The shares of results that verified and of the others, by the rule of succession, which says 0.5 of a kind that
    never occurred. Results that did not verify are never right more often: where they were, it is one share."""
    verified = sample.column(VERIFIED) > 0
    low, high = _logit_of_share(sample.at(~verified)), _logit_of_share(sample.at(verified))
    if low >= high or VERIFIED not in sample.names:
        return constant(sample)
    return Fitted(method="verified", intercept=low, weights={VERIFIED: high - low}, least=_least(sample))


def regression(sample: Sample) -> Fitted:
    """A logistic regression, regularised as scikit-learn does by default; `shares` where only one outcome is known, or
    no feature."""
    if sample.right.all() or not sample.right.any() or not sample.names:
        return shares(sample)
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "fitting a calibration needs scikit-learn: pip install 'pivot-dspy[calibration]'"
        ) from error
    # From the first row on, what is the same in all rows is 0, whose weighted variance no rounding makes negative.
    origin = sample.features[0]
    scaler = StandardScaler().fit(sample.features - origin, sample_weight=sample.weights)
    model = LogisticRegression(max_iter=1000)
    model.fit(scaler.transform(sample.features - origin), sample.right, sample_weight=sample.weights)
    weights = model.coef_[0] / scaler.scale_
    return Fitted(
        method="logistic",
        intercept=model.intercept_[0] - weights @ (scaler.mean_ + origin),
        weights=dict(zip(sample.names, weights.tolist(), strict=True)),
        least=_least(sample),
    )


def cross_validate(sample: Sample, seed: int, fit: Callable[[Sample], Fitted]) -> Floats:
    """What is predicted of each result by a fit to the folds that its task is not in, the right ones spread evenly."""
    _, tasks = numpy.unique(sample.tasks, return_inverse=True)
    right = numpy.bincount(tasks, sample.right) / numpy.bincount(tasks)
    order = numpy.lexsort((numpy.random.default_rng(seed).random(len(right)), right))
    folds = order.argsort()[tasks] % FOLDS
    predicted = numpy.empty(len(tasks))
    for fold in set(folds):
        predicted[folds == fold] = sample.at(folds == fold).predict(fit(sample.at(folds != fold)))
    return predicted


def brier(probabilities: Numbers, outcomes: Numbers, weights: Numbers | None = None) -> float:
    """The mean squared distance of probabilities from what came of it: 0 is perfect, 0.25 what always saying 0.5 gets.

    Brier, Monthly Weather Review 78 (1950).

    >>> brier([1.0, 0.5], [True, False])
    0.125
    """
    distances = numpy.asarray(probabilities, float) - numpy.asarray(outcomes, float)
    return float(numpy.average(distances**2, weights=weights))


def reliability(
    probabilities: Numbers, outcomes: Numbers, bins: int = 10, weights: Numbers | None = None
) -> tuple[ReliabilityRow, ...]:
    """The reliability table over `bins` bins of equal width; empty ones are left out.

    >>> [(row.low, row.count, row.observed) for row in reliability([0.1, 0.9, 1.0], [False, True, False], bins=2)]
    [(0.0, 1, 0.0), (0.5, 2, 0.5)]
    """
    predicted, observed = numpy.asarray(probabilities, float), numpy.asarray(outcomes, float)
    counts = numpy.ones(len(predicted)) if weights is None else numpy.asarray(weights, float)
    bin_of = numpy.minimum((predicted * bins).astype(int), bins - 1)
    rows = []
    for number in numpy.unique(bin_of).tolist():
        inside = bin_of == number
        means = [numpy.average(values[inside], weights=counts[inside]) for values in (predicted, observed)]
        limits = {"low": number / bins, "high": (number + 1) / bins}
        rows.append(ReliabilityRow(**limits, count=int(inside.sum()), predicted=means[0], observed=means[1]))
    return tuple(rows)


def threshold(
    values: Numbers, outcomes: Numbers, target: float = 0.9, weights: Numbers | None = None
) -> float | None:
    """The smallest of `values` such that, of the results with at least that value, a share of `target` was right.

    None where no value gives that share.

    >>> threshold([0.2, 0.6, 0.7, 0.9], [False, True, False, True], target=0.6)
    0.6
    """
    values, right = numpy.asarray(values, float), numpy.asarray(outcomes, float)
    counts = numpy.ones(len(values)) if weights is None else numpy.asarray(weights, float)
    for value in numpy.unique(values):
        taken = values >= value
        if counts[taken] @ right[taken] >= target * counts[taken].sum():
            return float(value)
    return None


def _better(sample: Sample, predicted: Floats, simpler: Floats) -> bool:
    """Whether the Brier score of `predicted` is lower than that of something `simpler` by more than the standard
    error over tasks; else the simpler one is to be preferred (Breiman et al., Classification and Regression Trees)."""
    gains = sample.weights * ((simpler - sample.right) ** 2 - (predicted - sample.right) ** 2)
    of_tasks = numpy.bincount(sample.tasks, gains)
    return bool(of_tasks.sum() > of_tasks.std(ddof=1) * math.sqrt(len(of_tasks)))


def _logit_of_share(sample: Sample) -> float:
    right = sample.weights @ sample.right
    return math.log((right + 1) / (sample.weights.sum() - right + 1))


def _least(sample: Sample) -> float:
    return 1 / (float(sample.weights.sum()) + 2)
