"""The refiners that the programs run by name, each at the settings of its source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pivot_dspy import (
    BestOfN,
    ConfidenceGate,
    DspyRefine,
    MajorityOfN,
    Pivot,
    PlanExecute,
    ReAct,
    Refiner,
    Reflexion,
    RewardRising,
    SelfEvolution,
    SelfRefine,
    TreeSearch,
)


def confidence_gate(*args: Any, **options: Any) -> ConfidenceGate:
    """DeepConf on stated confidences, over the majority vote that it was made for. No traces are spent on calibration:
    what the model says is as likely wrong as right is not run."""
    return ConfidenceGate(MajorityOfN(*args, **options), threshold=0.5)


REFINERS: dict[str, Callable[..., Refiner | ConfidenceGate]] = {
    "pivot": Pivot,
    "plan-execute": PlanExecute,
    "best-of-n": BestOfN,
    "majority-of-n": MajorityOfN,
    "confidence-gate": confidence_gate,
    "self-refine": SelfRefine,
    "reflexion": Reflexion,
    "dspy-refine": DspyRefine,
    "react": ReAct,
    "self-evolution": SelfEvolution,
    "reward-rising": RewardRising,
    "tree-search": TreeSearch,
}
