"""The figures of a comparison: rates, means, intervals, paired differences, and success at equal tokens."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, median
from typing import Any

import numpy as np
import scipy.stats  # type: ignore[import-untyped]
from numpy.typing import NDArray

from programs.comparison.runs import Record

RESAMPLES = 5000
LEVEL = 0.95
POINTS = 12
"""Token counts at which success is compared, at most."""

Column = NDArray[np.float64]
Interval = list[float | None]
"""Lower and upper end; None where it is beyond all bounds, as with tokens per solved task where nothing was solved."""

_OF_ERRORS = {"task", "seed", "error", "transient"}
_MEANS = ("lm_calls", "tool_calls", "tool_calls_reused", "seconds", "reasoning_tokens", "verified")


def finished_pairs(records: Sequence[Record], refiners: Sequence[str]) -> list[Record]:
    """The records of the pairs of task and seed that all refiners have finished."""
    done: dict[tuple[str, int], set[str]] = {}
    for record in records:
        done.setdefault((record.task, record.seed), set()).add(record.refiner)
    return [record for record in records if done[record.task, record.seed] >= set(refiners)]


def figures(records: Sequence[Record], refiners: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By refiner what a comparison's JSON holds; each is paired with the first one.

    Args:
        records: of the same tasks and seeds for every refiner, as `finished_pairs` gives them.
    """
    by_name = {name: [record for record in records if record.refiner == name] for name in refiners}
    points = grid(by_name)
    tasks = list(dict.fromkeys(record.task for record in records))
    tallies = {name: Tally(runs, tasks) for name, runs in by_name.items()}
    first = tallies[refiners[0]]
    return {
        name: _of_one(runs, tallies[name], points)
        | {"paired": {} if name == refiners[0] else paired(tallies[name], first)}
        for name, runs in by_name.items()
    }


def _of_one(runs: Sequence[Record], tally: Tally, points: Sequence[int]) -> dict[str, Any]:
    means = {name: fmean(getattr(run, name) for run in runs) if runs else None for name in _MEANS}
    return {
        "runs": len(runs),
        "official_pass_rate": ratio(tally.official.sum(), tally.runs.sum()),
        "strict_pass_rate": ratio(tally.strict.sum(), tally.runs.sum()),
        "tokens_per_task": ratio(tally.tokens.sum(), tally.runs.sum()),
        "tokens_per_solved": ratio(tally.tokens.sum(), tally.strict.sum()),
        **{name: means[name] for name in ("lm_calls", "tool_calls", "tool_calls_reused", "seconds")},
        "curve": [[point, fmean(run.cut(point)[1] for run in runs)] for point in points],
        "ci": {
            "official_pass_rate": interval(_quotient, tally.official, tally.runs),
            "strict_pass_rate": interval(_quotient, tally.strict, tally.runs),
            "tokens_per_task": interval(_quotient, tally.tokens, tally.runs),
            "tokens_per_solved": interval(_quotient, tally.tokens, tally.strict),
        },
        "official_curve": [[point, fmean(run.cut(point)[0] for run in runs)] for point in points],
        "reasoning_tokens": means["reasoning_tokens"],
        "verified_rate": means["verified"],
        "measures": {name: _measured(name, runs, tally, points) for name in _measure_names(runs)},
        "errors": [run.model_dump(include=_OF_ERRORS) for run in runs if run.error is not None],
    }


def _measure_names(runs: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for run in runs for _, measures in run.measures for name in measures))


def _measured(name: str, runs: Sequence[Record], tally: Tally, points: Sequence[int]) -> dict[str, Any]:
    """A measure's mean with its interval, and what it is at each token count."""
    sums = tally.column(lambda run: run.measured(name))
    return {
        "mean": ratio(sums.sum(), tally.runs.sum()),
        "ci": interval(_quotient, sums, tally.runs),
        "curve": [[point, fmean(run.measured(name, point) for run in runs)] for point in points],
    }


class Tally:
    """Sums over the seeds of each task, in the order of `tasks`."""

    def __init__(self, runs: Sequence[Record], tasks: Sequence[str]) -> None:
        self._runs = runs
        self._tasks = tasks
        self.runs = self.column(lambda run: 1)
        self.official = self.column(lambda run: run.official)
        self.strict = self.column(lambda run: run.strict)
        self.tokens = self.column(lambda run: run.tokens)

    def column(self, value: Callable[[Record], float]) -> Column:
        """The sums of a figure of the runs."""
        sums = dict.fromkeys(self._tasks, 0.0)
        for run in self._runs:
            sums[run.task] += value(run)
        return np.array(list(sums.values()))


def paired(one: Tally, other: Tally) -> dict[str, dict[str, Any]]:
    """What `one` has more of than `other` on the same tasks: differences, and of tokens per solved task the ratio."""
    solved = ratio(one.tokens.sum() * other.strict.sum(), one.strict.sum() * other.tokens.sum())
    return {
        "strict_pass_rate": {
            "difference": _difference_of_sums(one.strict, one.runs, other.strict, other.runs),
            "ci": interval(_difference, one.strict, one.runs, other.strict, other.runs),
        },
        "tokens_per_task": {
            "difference": _difference_of_sums(one.tokens, one.runs, other.tokens, other.runs),
            "ci": interval(_difference, one.tokens, one.runs, other.tokens, other.runs),
        },
        "tokens_per_solved": {
            "ratio": solved,
            "ci": interval(_ratio, one.tokens, one.strict, other.tokens, other.strict),
        },
    }


def interval(statistic: Callable[..., Any], *columns: Column) -> Interval | None:
    """The 95% bootstrap interval (percentile method) of a statistic of sums over tasks.

    Whole tasks are drawn, with all their seeds and for all `columns` together, since seeds of one task are not
    independent. A draw in which the statistic is not defined (0 / 0) may lie anywhere, and so widens both ends.
    Returns None where there are fewer than two tasks.
    """
    if len(columns[0]) < 2:
        return None
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)  # it speaks of scipy's own interval
        drawn = scipy.stats.bootstrap(
            columns, statistic, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", paired=True,
            vectorized=True, rng=np.random.default_rng(0),
        ).bootstrap_distribution  # fmt: skip
    # No interpolation, so that an end may be infinite.
    low = np.quantile(np.nan_to_num(drawn, nan=-np.inf, posinf=np.inf), (1 - LEVEL) / 2, method="lower")
    high = np.quantile(np.nan_to_num(drawn, nan=np.inf, posinf=np.inf), (1 + LEVEL) / 2, method="higher")
    return [_finite(low), _finite(high)]


def grid(by_name: Mapping[str, Sequence[Record]]) -> list[int]:
    """Token counts at which all are compared: from the first result of any run to the largest median of what a refiner
    spends, each larger than the last by the same factor, to two digits."""
    runs = [run for mine in by_name.values() for run in mine]
    first = min((run.trace[0][0] for run in runs if run.trace[0][0] > 0), default=0)
    last = max((median(run.tokens for run in mine) for mine in by_name.values() if mine), default=0)
    if not first:
        return []
    factor = (max(last, first) / first) ** (1 / (POINTS - 1))
    return sorted({_rounded_up(first * factor**number) for number in range(POINTS)})


def ratio(value: float, by: float) -> float | None:
    """The quotient; None where it is not defined."""
    return float(value / by) if by else None


def _rounded_up(number: float) -> int:
    """To two digits.

    >>> _rounded_up(3051), _rounded_up(20.0), _rounded_up(7)
    (3100, 20, 7)
    """
    unit: int = 10 ** max(0, math.floor(math.log10(number)) - 1)
    return math.ceil(round(number / unit, 6)) * unit


def _quotient(a: Column, b: Column, axis: int) -> Any:
    return a.sum(axis=axis) / b.sum(axis=axis)


def _difference(a: Column, n: Column, b: Column, m: Column, axis: int) -> Any:
    return _quotient(a, n, axis) - _quotient(b, m, axis)


def _ratio(a: Column, n: Column, b: Column, m: Column, axis: int) -> Any:
    return (a.sum(axis=axis) * m.sum(axis=axis)) / (n.sum(axis=axis) * b.sum(axis=axis))


def _difference_of_sums(a: Column, n: Column, b: Column, m: Column) -> float | None:
    one, other = ratio(a.sum(), n.sum()), ratio(b.sum(), m.sum())
    return None if one is None or other is None else one - other


def _finite(value: Any) -> float | None:
    return float(value) if math.isfinite(value) else None
