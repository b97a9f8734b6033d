"""The structured loss of an execution: named parts in [0, 1], a total, and the order in which losses compare.

PIVOT, arXiv 2605.11225, INSPECT phase. The paper does not publish its parts or weights; these are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator

from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen

EPSILON = 1e-9


class Weights(Frozen):
    """Relative weights of the parts. With `lexicographic`, violated hard requirements outweigh all parts together."""

    validity: float = Field(default=2.0, ge=0)
    discrepancy: float = Field(default=1.0, ge=0)
    requirements: float = Field(default=4.0, ge=0)
    completeness: float = Field(default=2.0, ge=0)
    claims: float = Field(default=1.0, ge=0)
    outcome: float = Field(default=4.0, ge=0)
    lexicographic: bool = True


class Loss(Frozen):
    """How far an execution is from perfect; 0 is perfect.

    Attributes:
        validity: share of steps that failed; one that could not run because of them counts half.
        discrepancy: share of steps whose expectation was not met.
        requirements: weighted share of violated requirements.
        completeness: 1 without a submit that ran, else the share of output fields still missing.
        claims: share of the answer's claims that nothing supports.
        outcome: 1 - metric, where a metric and a gold answer were given; else None.
        hard_violations: number of violated hard requirements.
        hard_count: number of hard requirements.
        total: in [0, 1]; with lexicographic weights (hard_violations + weighted mean) / (hard_count + 1), so that it
            orders first by violated hard requirements and then by the weighted mean of the parts.
    """

    validity: float = 0.0
    discrepancy: float = 0.0
    requirements: float = 0.0
    completeness: float = 0.0
    claims: float = 0.0
    outcome: float | None = None
    hard_violations: int = 0
    hard_count: int = 0
    total: float = 0.0

    @field_validator("validity", "discrepancy", "requirements", "completeness", "claims", "outcome", "total")
    @classmethod
    def _in_unit_interval(cls, value: float | None) -> float | None:
        if value is not None and not -EPSILON <= value <= 1 + EPSILON:
            raise ValueError(f"a part of a loss lies in [0, 1]; got {value}")
        return value

    @property
    def perfect(self) -> bool:
        return self.total <= EPSILON

    def no_worse_than(self, other: Loss) -> bool:
        """Whether the total is no larger, but for rounding."""
        return self.total <= other.total + EPSILON

    def better_than(self, other: Loss) -> bool:
        """Whether the total is smaller by more than rounding."""
        return self.total < other.total - EPSILON


def measure(
    execution: Execution,
    requirements: Requirements,
    findings: Sequence[Finding],
    *,
    unsupported: Sequence[Discrepancy] = (),
    claims: int = 0,
    outcome: float | None = None,
    weights: Weights | None = None,
) -> Loss:
    """The loss of `execution`.

    Args:
        findings: one for each requirement.
        unsupported: the answer's claims that nothing supports, out of `claims`.
        outcome: the metric's score in [0, 1], if there is one.
    """
    weights = weights or Weights()
    steps = execution.trajectory.steps
    # A blocked step is not at fault itself: half, so that mending one of several faults in a row shows.
    failed = sum({"error": 1.0, "blocked": 0.5}.get(o.status, 0.0) for o in execution.observations)
    unmet = {d.step for d in execution.discrepancies if d.kind == "unmet_expectation"}
    partial = {o.step for o in execution.observations if o.ok and o.fault is not None}
    by_id = {finding.requirement: finding for finding in findings}
    violated = [item for item in requirements.items if not by_id[item.id].holds]
    total_weight = sum(item.weight for item in requirements.items)
    submit = execution.trajectory.submit
    submitted = submit is not None and execution.by_step[submit.id].ok
    fields = len(execution.outputs) + len(execution.missing_outputs)
    parts = {
        "validity": failed / len(steps) if steps else 1.0,
        "discrepancy": len(unmet | partial) / len(steps) if steps else 0.0,
        "requirements": sum(item.weight for item in violated) / total_weight if total_weight else 0.0,
        "completeness": (len(execution.missing_outputs) / fields if fields else 0.0) if submitted else 1.0,
        "claims": min(1.0, len(unsupported) / claims) if claims else 0.0,
    }
    if outcome is not None:
        parts["outcome"] = 1.0 - min(1.0, max(0.0, outcome))
    scale = sum(getattr(weights, name) for name in parts) or 1.0
    mean = sum(getattr(weights, name) * value for name, value in parts.items()) / scale
    hard_count = sum(1 for item in requirements.items if item.hard)
    hard_violations = sum(1 for item in violated if item.hard)
    total = (hard_violations + mean) / (hard_count + 1) if weights.lexicographic else mean
    values: dict[str, Any] = {**parts, "hard_violations": hard_violations, "hard_count": hard_count, "total": total}
    return Loss(**values)
