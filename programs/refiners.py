"""The refiners that the programs run by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pivot_dspy import (
    BestOfN,
    CodeActing,
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
from programs.comparison.ablations import (
    PivotWithoutEvolve,
    PivotWithoutInspect,
    PivotWithoutPatches,
    PivotWithoutVerify,
)


def confidence_gate(*args: Any, **options: Any) -> ConfidenceGate:
    """DeepConf on stated confidences, over the majority vote that it was made for. No traces are spent on calibration:
    what the model says is as likely wrong as right is not run."""
    return ConfidenceGate(MajorityOfN(*args, **options), threshold=0.5)


REFINERS: dict[str, Callable[..., Refiner | ConfidenceGate]] = {
    "pivot": Pivot,
    "pivot-3": partial(Pivot, candidates=3),
    "pivot-uncached": partial(Pivot, cached_price=1.0),
    "plan-execute": PlanExecute,
    "best-of-n": BestOfN,
    "majority-of-n": MajorityOfN,
    "confidence-gate": confidence_gate,
    "self-refine": SelfRefine,
    "reflexion": Reflexion,
    "reflexion-3": partial(Reflexion, max_trials=3),
    "dspy-refine": DspyRefine,
    "react": ReAct,
    "code-acting": CodeActing,
    "self-evolution": partial(SelfEvolution, pool_size=10),
    "self-evolution-3": SelfEvolution,
    "reward-rising": RewardRising,
    "tree-search": TreeSearch,
    "tree-search-1": partial(TreeSearch, n_generate_sample=1),
    "pivot-plan": partial(Pivot, candidates=1),
    "pivot-inspect": PivotWithoutInspect,
    "pivot-patches": PivotWithoutPatches,
    "pivot-evolve": PivotWithoutEvolve,
    "pivot-verify": PivotWithoutVerify,
}
"""Each at its published settings; a number after the name is the setting that serves it better on tokens.
`pivot-uncached` is Pivot where no provider serves the beginning of a prompt again, so that each stands alone. The last
five are Pivot with the stage of that name replaced by its plain counterpart, `pivot-patches` without repairs by rule;
`pivot-plan` is Pivot, which plans once."""
