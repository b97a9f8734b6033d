"""The structured loss of an execution: named parts in [0, 1], a total, and the order in which losses compare.

PIVOT, arXiv 2605.11225, INSPECT phase. The paper does not publish its parts or weights; these are ours.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen

EPSILON = 1e-9
"""What rounding may make of equal losses."""

Part = Annotated[float, Field(ge=-EPSILON, le=1 + EPSILON)]


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
    """How far an execution is from perfect; 0 is perfect."""

    validity: Part = 0.0
    """Share of steps that failed; one that could not run because of them counts half."""
    discrepancy: Part = 0.0
    """Share of steps whose expectation was not met."""
    requirements: Part = 0.0
    """Weighted share of violated requirements."""
    completeness: Part = 0.0
    """1 without a submit that ran, else the share of output fields still missing."""
    claims: Part = 0.0
    """Share of the answer's claims that nothing supports."""
    outcome: Part | None = None
    """1 - metric, where a metric and a gold answer were given."""
    hard_violations: int = 0
    """Number of violated hard requirements."""
    hard_count: int = 0
    """Number of hard requirements."""
    total: Part = 0.0
    """With lexicographic weights (hard_violations + weighted mean) / (hard_count + 1), so that it orders first by
    violated hard requirements and then by the weighted mean of the parts; else that mean."""

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
    unasked: Sequence[Discrepancy] = (),
    outcome: float | None = None,
    weights: Weights | None = None,
) -> Loss:
    """The loss of `execution`.

    Args:
        findings: one for each requirement.
        unsupported: the answer's claims that nothing supports, out of `claims`.
        unasked: the calls that nothing asks for, which count like unmet expectations.
        outcome: the metric's score in [0, 1], if there is one.
    """
    weights = weights or Weights()
    steps = len(execution.trajectory.steps)
    statuses = Counter(o.status for o in execution.observations)
    # A blocked step is not at fault itself: half, so that mending one of several faults in a row shows.
    failed = statuses["error"] + statuses["blocked"] / 2
    unmet = {d.step for d in execution.discrepancies if d.kind == "unmet_expectation"}
    partial = {o.step for o in execution.observations if o.ok and o.fault is not None}
    holding = {finding.requirement for finding in findings if finding.may_hold}
    violated = [item for item in requirements.items if item.id not in holding]
    parts = {
        "validity": _share(failed, steps, of_none=1.0),
        "discrepancy": _share(len(unmet | partial | {found.step for found in unasked}), steps),
        "requirements": _share(_weight(violated), _weight(requirements.items)),
        "completeness": _incompleteness(execution),
        "claims": _share(len(unsupported), claims),
    }
    if outcome is not None:
        parts["outcome"] = 1.0 - min(1.0, max(0.0, outcome))
    scale = sum(getattr(weights, name) for name in parts)
    mean = _share(sum(getattr(weights, name) * value for name, value in parts.items()), scale)
    hard_violations = sum(item.hard for item in violated)
    hard_count = sum(item.hard for item in requirements.items)
    total = (hard_violations + mean) / (hard_count + 1) if weights.lexicographic else mean
    return Loss(**parts, hard_violations=hard_violations, hard_count=hard_count, total=total)


def _share(part: float, whole: float, of_none: float = 0.0) -> float:
    return part / whole if whole else of_none


def _weight(items: Sequence[Requirement]) -> float:
    return sum(item.weight for item in items)


def _incompleteness(execution: Execution) -> float:
    submit = execution.trajectory.submit
    if submit is None or execution.by_step[submit.id].status not in ("ok", "withheld"):
        return 1.0
    missing = len(execution.missing_outputs)
    return _share(missing, len(execution.outputs) + missing)
