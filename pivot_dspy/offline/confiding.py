"""States a confidence in each written step, where the prompt asks for one: more in a right step than in a wrong one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pivot_dspy.offline.noise import Dice
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference
from pivot_dspy.offline.shown import same

RIGHT, WRONG = (0.6, 1.0), (0.3, 0.9)
"""Between what the confidence lies in a step that is as the reference has it, and in any other; drawn evenly."""


def confide(values: dict[str, Any], prompt: Prompt, reference: Reference | None, dice: Dice) -> dict[str, Any]:
    """`values` with a confidence in each step that they write out."""
    steps = values.get("steps")
    if '"confidence"' not in prompt.instructions or not isinstance(steps, list):
        return values
    known = [*reference.steps, *reference.revised(prompt.sections)] if reference else []
    return {**values, "steps": [_rated(step, place, known, dice) for place, step in enumerate(steps)]}


def _rated(step: Any, place: int, known: list[dict[str, Any]], dice: Dice) -> Any:
    if not isinstance(step, Mapping) or "tool" not in step:
        return step
    right = any(step.get("id") == other["id"] and same(step, other) for other in known)
    low, high = RIGHT if right else WRONG
    return {**step, "confidence": round(low + (high - low) * dice.fraction("confidence", place), 2)}
