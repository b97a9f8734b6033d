"""Which phase a prompt belongs to, and what the offline model answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pivot_dspy.simulator import (
    act,
    answer,
    evolve,
    feedback,
    learn,
    plan,
    react,
)
from pivot_dspy.simulator.prompt import Prompt
from pivot_dspy.simulator.reference import Reference, find
from pivot_dspy.simulator.slips import Dice, Rates

_TOLD = frozenset(
    ("tools", "checks", "policy", "lessons", "known", "user_requirements", "requirements", "kept", "open_steps",
     "report", "blame", "suspects", "observations", "submitted", "earlier_versions", "critique",
     "trajectories", "reports", "steps_so_far", "holding", "siblings",
     "repairs", "cases", "hint_", "program_trajectory", "program_outputs", "trajectory")
)  # fmt: skip
"""Sections that a refiner writes; the task's own inputs are the others."""


def respond(prompt: Prompt, references: Sequence[Reference], rates: Rates, sample: str | None) -> str:
    """The answer to `prompt`, the same for the same prompt, rates and sample."""
    shown = [text for name, text in prompt.sections.items() if name not in _TOLD]
    task = "\n".join([*shown, feedback.task_in(prompt)])
    found = find(references, (task, prompt.question))
    reference = found and found.as_told(prompt.sections)
    # The rates are thresholds and no part of the key: a model that errs more errs wherever a better one does.
    dice = Dice(str(rates.seed), prompt.text, str(sample))
    values = answer.confide(_values(prompt, references, reference, rates, dice), prompt, reference, dice)
    return answer.write(prompt, values)


def _values(
    prompt: Prompt, references: Sequence[Reference], reference: Reference | None, rates: Rates, dice: Dice
) -> dict[str, Any]:
    """What the fields that are asked for say, as far as the phase is known."""
    asks = prompt.asks
    if {"requirements", "steps"} <= asks:
        return plan.plan(prompt, reference, rates, dice)
    if {"summary", "steps"} <= asks:
        return evolve.recombine(prompt, reference, rates, dice)
    if "steps" in asks:
        return evolve.rewrite(prompt, reference, rates, dice)
    if {"diagnosis", "step", "correction"} <= asks:
        return evolve.localise(prompt, reference, rates, dice)
    if {"thought", "step"} <= asks:
        return act.act(prompt, reference, rates, dice)
    if "faults" in asks:
        return feedback.critique(prompt, reference, rates, dice)
    if "reflection" in asks:
        return feedback.reflect(prompt, reference, rates, dice)
    if {"discussion", "advice"} <= asks:
        return feedback.advise(prompt, reference, rates, dice)
    if {"next_thought", "next_tool_name"} <= asks:
        return react.act(prompt, reference, rates, dice)
    if "reasoning" in asks and "trajectory" in prompt.sections:
        return react.extract(prompt, reference)
    if "verdicts" in asks:
        return feedback.judge(prompt, reference, rates, dice)
    if "lessons" in asks:
        return learn.lessons(prompt, rates, dice)
    if "proposals" in asks:
        return learn.proposals(prompt, rates, dice)
    if "goals" in asks:
        return learn.propose(prompt, references, rates, dice)
    if "changes" in asks:
        return plan.audit(prompt, reference, rates, dice)
    if "requirements" in asks:
        return {"requirements": plan.requirements(prompt, reference, rates, dice)}
    return feedback.compose(prompt, reference)
