"""The refiners that the programs run by name, each at the settings of its source."""

from __future__ import annotations

from collections.abc import Callable

from pivot_dspy import BestOfN, MajorityOfN, Pivot, PlanExecute, Refiner, Reflexion, SelfRefine

REFINERS: dict[str, Callable[..., Refiner]] = {
    "pivot": Pivot,
    "plan-execute": PlanExecute,
    "best-of-n": BestOfN,
    "majority-of-n": MajorityOfN,
    "self-refine": SelfRefine,
    "reflexion": Reflexion,
}
