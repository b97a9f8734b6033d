"""How likely it is that a result is right: fitted on outcomes of training tasks, told with every result after that."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from pivot_dspy.calibration.fitting import (
    Fitted,
    ReliabilityRow,
    Sample,
    better,
    brier,
    constant,
    left_out,
    regression,
    reliability,
    shares,
    threshold,
)
from pivot_dspy.confidence import lowest
from pivot_dspy.dspy_internals import Parameter
from pivot_dspy.episode.result import Refined
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.trajectory import Frozen

ISOTONIC_FROM = 1000
"""Outcomes from which on isotonic regression is fitted; with fewer it follows chance (scikit-learn's user guide, and
Niculescu-Mizil and Caruana, ICML 2005)."""

FEW = 30
"""Tasks below which the figures of a report are said to be uncertain."""

FORMAT = 1
"""Of the saved state."""


def features(result: Refined) -> dict[str, float]:
    """What is known of a result that tells how far it may be trusted, by name.

    `rewrites`: trajectories that the model wrote after the first. `amended`: changes that audits made to requirements.
    `calls`: logarithm of 1 + LM calls, cached ones too; tokens are not told, since a cached call spends none and the
    same result would count as another. `judged`: share of requirements that no check decides, 1 without any.
    `confidence`: of the least certain step, 0 where none was `stated`.
    """
    usage = result.ledger.usage
    items = result.requirements.items
    written = sum(1 for event in result.history if event.kind in ("plan", "evolve", "rewrite"))
    sure = lowest(step.confidence for step in result.trajectory.steps)
    return {
        "verified": float(result.verified),
        "loss": result.loss.total,
        "rewrites": float(max(0, written - 1)),
        "amended": float(len(result.requirements.amendments)),
        "calls": math.log1p(usage.lm_calls + usage.cache_hits),
        "steps": float(len(result.trajectory)),
        "judged": len(result.requirements.textual) / len(items) if items else 1.0,
        "stated": float(sure is not None),
        "confidence": 0.0 if sure is None else sure.value,
    }


class CalibrationReport(Frozen):
    """How good the probabilities are: on outcomes that were left out when they were fitted.

    Outcomes are counted one by one; shares and scores weigh them as `Calibration.fit` was told to.

    Attributes:
        count: outcomes; `right` how many of them were right; `tasks` how many tasks they are of.
        brier: cross-validated Brier score; `base` that of always saying the share that is right elsewhere, `certain`
            that of taking a verified result as certainly right, and any other as wrong.
        table: cross-validated reliability.
        target: the share of right results that the thresholds are to give.
        threshold: of the probability, from which on a result counts as right; None where none gives that share.
        confidence_threshold: likewise of the confidence that models stated in steps, as `ConfidenceGate` takes it; None
            also where none was stated.
        note: what has to be known of these figures.
    """

    count: int
    right: int
    tasks: int = 0
    brier: float | None = None
    base: float | None = None
    certain: float | None = None
    table: tuple[ReliabilityRow, ...] = ()
    target: float = 0.9
    threshold: float | None = None
    confidence_threshold: float | None = None
    note: str = ""


class Calibration(Parameter):  # type: ignore[misc]
    """From the features of a result to the probability that it is right; part of a refiner's saved state.

    Fitted is a logistic regression where, cross-validated, it beats the share of right results by more than its
    standard error; else that share itself, of results that verified and of those that did not.

    Optimizers of DSPy call `reset` on all that they are about to tune. They do not tune this, and so it stays; `clear`
    forgets it.

    Args:
        target: the share of right results that the suggested thresholds are to give.
        isotonic_from: outcomes from which on an isotonic regression ends the logistic one.

    >>> calibration = Calibration()
    >>> calibration.probability({"loss": 0.0}) is None
    True
    >>> calibration.fit([{"loss": 0.0}] * 3, [True] * 3).note
    'all 3 outcomes were right: the probability is a constant until some are wrong'
    >>> calibration.probability({"loss": 0.5})
    0.8
    """

    def __init__(self, *, target: float = 0.9, isotonic_from: int = ISOTONIC_FROM) -> None:
        if not 0 <= target <= 1:
            raise ConfigurationError(f"target is the share of right results, from 0 to 1; got {target}")
        self.target = target
        self.isotonic_from = isotonic_from
        self.clear()

    def clear(self) -> None:
        """Back to knowing nothing: every probability is None."""
        self.fitted: Fitted | None = None
        self.report: CalibrationReport | None = None

    def reset(self) -> None:
        """Nothing; see above."""

    def probability(self, result: Refined | Mapping[str, float]) -> float | None:
        """The probability that a result, or one with these features, is right; None before anything was fitted.

        Raises:
            ConfigurationError: features that were fitted are missing.
        """
        if self.fitted is None:
            return None
        return self.fitted.probability(features(result) if isinstance(result, Refined) else result)

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
        outcomes = _truths(outcomes)
        groups = list(range(len(outcomes))) if groups is None else list(groups)
        weights = [1.0] * len(outcomes) if weights is None else [float(weight) for weight in weights]
        if not len(known) == len(outcomes) == len(groups) == len(weights):
            raise ConfigurationError(
                f"one outcome, one group and one weight for each result; got {len(known)} results, {len(outcomes)} "
                f"outcomes, {len(groups)} groups and {len(weights)} weights"
            )
        if any(not 0 < weight < math.inf for weight in weights):
            raise ConfigurationError("a weight is a number above 0; leave out results that are not to count")
        rows = [dict(one) for one in known]
        if any(row.keys() != rows[0].keys() for row in rows) or any(
            not math.isfinite(value) for row in rows for value in row.values()
        ):
            raise ConfigurationError("every result needs the same features, all finite: those of features(result)")
        if not rows:
            report = CalibrationReport(count=0, right=0, target=self.target, note="no outcome: nothing was fitted")
            self.fitted, self.report = None, report
            return report
        self.fitted, self.report = self._fit(Sample(rows, outcomes, groups, weights), seed)
        return self.report

    def _fit(self, sample: Sample, seed: int) -> tuple[Fitted, CalibrationReport]:
        count, right, tasks = len(sample.rows), sum(sample.outcomes), len(set(sample.groups))
        stated = sample.at(place for place, row in enumerate(sample.rows) if row.get("stated"))
        sure = [row["confidence"] for row in stated.rows]
        known: dict[str, Any] = {"count": count, "right": right, "tasks": tasks, "target": self.target}
        known["confidence_threshold"] = threshold(sure, stated.outcomes, self.target, stated.weights)
        fitted = shares(sample)
        if right in (0, count):
            kind, other = ("right", "wrong") if right else ("wrong", "right")
            note = f"all {count} outcomes were {kind}: the probability is a constant until some are {other}"
            if fitted.method == "verified":
                note = f"all {count} outcomes were {kind}: nothing tells yet which results are {other}"
            return fitted, CalibrationReport(**known, note=note)
        if tasks < 2:
            return fitted, CalibrationReport(**known, note="outcomes of one task only: nothing to test on")
        isotonic = sample.size >= self.isotonic_from
        base = brier(left_out(sample, seed, constant), sample.outcomes, sample.weights)
        said = left_out(sample, seed, shares)
        regressed = left_out(sample, seed, lambda inside: regression(inside, seed, isotonic))
        useful = better(sample, regressed, said)
        if useful:
            fitted, said = regression(sample, seed, isotonic), regressed
        score = brier(said, sample.outcomes, sample.weights)
        notes = [
            "" if useful else
            "the features tell no more than the share of right results does" if score >= base else
            "the features tell no more than whether a result was verified",
            f"outcomes of {tasks} tasks are few: these figures may be far off" if tasks < FEW else "",
        ]  # fmt: skip
        # A share differs from fold to fold, and that of one fold says nothing of another's outcomes.
        told = said if useful else [fitted.probability(row) for row in sample.rows]
        verified = [float(bool(row["verified"])) for row in sample.rows if "verified" in row]
        return fitted, CalibrationReport(
            **known,
            brier=score,
            base=base,
            certain=brier(verified, sample.outcomes, sample.weights) if verified else None,
            table=reliability(said, sample.outcomes, weights=sample.weights),
            threshold=threshold(told, sample.outcomes, self.target, sample.weights),
            note="; ".join(note for note in notes if note),
        )

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
            fitted, report, target = state["fitted"], state["report"], float(state["target"])
            fitted = None if fitted is None else Fitted.model_validate(fitted)
            report = None if report is None else CalibrationReport.model_validate(report)
        except (KeyError, TypeError, ValueError) as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigurationError(f"the saved calibration is damaged: {said:.300}") from error
        self.fitted, self.report, self.target = fitted, report, target


def _truths(outcomes: Sequence[Any]) -> list[bool]:
    wrong = [said for said in outcomes if said not in (0, 1)]
    if wrong:
        raise ConfigurationError(
            f"an outcome is true or false, and not {wrong[0]!r:.80}; say from which score a result counts as right"
        )
    return [bool(said) for said in outcomes]
