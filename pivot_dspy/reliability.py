"""How good stated probabilities are, measured on what came of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
