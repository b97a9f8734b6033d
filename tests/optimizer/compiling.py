"""What the tests of the optimizer share: small tasks, a model with habits, and a compilation of them."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy import PivotOptimizer
from tests.habits.tasks import examples, pivot, simulated

HABITS: dict[str, Any] = {"slip": 0.1, "systematic": 0.5, "heed": 0.9, "relapse": 0.05}
"""A model that errs in the same ways in every plan, now and then otherwise too, and that heeds what it is told."""

TRAIN, VAL = examples()[:3], examples()[5:]


def compiled(student: dspy.Module | None = None, lm: dspy.LM | None = None, **options: Any) -> dspy.Module:
    """The student compiled on `TRAIN` and `VAL`, unless `options` say otherwise."""
    sets = {"trainset": TRAIN, "valset": VAL, **{name: options.pop(name) for name in list(options) if name in SETS}}
    optimizer = PivotOptimizer(**{"track_stats": True, "num_threads": 4, "display_progress": False, **options})
    with dspy.context(lm=lm or simulated(cache=True, **HABITS)):
        return optimizer.compile(student or pivot(), **sets)


SETS = ("trainset", "valset", "teacher")


def told(program: dspy.Module) -> Any:
    """All that was done to a program, for comparison."""
    return [program.detailed_results.model_dump(), {name: one.dump_state() for name, one in program.named_parameters()}]
