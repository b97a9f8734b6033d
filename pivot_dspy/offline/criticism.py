"""Criticises a trajectory, or reflects on a failed one, from what the prompt shows of its run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference
from pivot_dspy.offline.repair import cause
from pivot_dspy.offline.shown import ShownStep, steps_in
from pivot_dspy.trajectory import SUBMIT

NOTHING = "Nothing stands out."

_UNMET = re.compile(r"^(\w+): .*(NOT MET.*(?:\n  .*)?)", re.MULTILINE)
"""A requirement that a report says is not met, and the hint in the line below."""


def critique(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """One entry for each fault that is seen; hints stay in the report, which the rewrite is shown as well."""
    return {"faults": [said.partition("\n")[0] for said in _faults(prompt, reference, rates, dice)]}


def reflect(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """The same faults, with the hints that the next trial will not be shown otherwise."""
    return {"reflection": "\n".join(_faults(prompt, reference, rates, dice)) or NOTHING}


def _faults(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> Iterator[str]:
    shown = steps_in(prompt.section("open_steps"))
    seen = list(_seen(prompt, shown))
    for label, text in seen:
        if dice.falls(rates.heed, "fault", label):
            yield text
    if seen and reference is not None and dice.falls(rates.heed, "cause"):
        wrong, wanting = cause(prompt, reference, shown)
        if wrong is not None:
            yield f"Step {wrong.id} does not do what is asked; write it again."
        elif wanting is not None:
            yield f"A step is missing: add step {wanting}."


def _seen(prompt: Prompt, shown: list[ShownStep]) -> Iterator[tuple[str, str]]:
    """What the prompt itself says is wrong, each with a label for the dice."""
    for step in shown:
        if step.outcome.startswith("FAILED"):
            yield f"step {step.id}", f"Step {step.id}: {step.outcome}"
    for name, text in _UNMET.findall(prompt.section("report")):
        yield f"requirement {name}", f"{name}: {text}"
    if not any(step.written["tool"] == SUBMIT for step in shown):
        yield SUBMIT, "Nothing is submitted; end with step submit."
