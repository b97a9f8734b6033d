"""Writes one trajectory from several that a prompt shows."""

from __future__ import annotations

import json
import re
from typing import Any

from pivot_dspy.offline import repair
from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference
from pivot_dspy.offline.shown import ShownStep, same, steps_in

_HEADING = re.compile(r"^Trajectory \d+:$", re.MULTILINE)


def recombine(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """A summary, and the steps that the shown ones are joined to, rewritten as one trajectory is."""
    shown = [steps_in(text) for text in _HEADING.split(prompt.section("trajectories"))[1:]]
    joined = _joined(shown, reference, rates, dice)
    sections = {name: text for name, text in prompt.sections.items() if name not in ("trajectories", "reports")}
    lines = [f"{json.dumps(one.written, ensure_ascii=False)} -> {one.outcome}" for one in joined]
    sections["open_steps"] = "\n".join(lines)
    sections["report"] = prompt.section("reports")
    said = repair.rewrite(prompt._replace(sections=sections), reference, rates, dice)
    return {"summary": said["diagnosis"], "steps": said["steps"]}


def _joined(
    shown: list[list[ShownStep]], reference: Reference | None, rates: Rates, dice: Dice
) -> list[ShownStep]:
    """The first trajectory, with the right version of a step that another shows, each at the rate of heed."""
    joined = list(shown[0]) if shown else []
    if reference is None:
        return joined
    order = [step["id"] for step in reference.steps]
    every = [one for steps in shown for one in steps]
    for place, right in enumerate(reference.steps):
        found = next((one for one in every if one.id == right["id"] and same(one.written, right)), None)
        if found is None or found in joined or not dice.falls(rates.heed, "version", right["id"]):
            continue
        at = next((n for n, one in enumerate(joined) if one.id == right["id"]), None)
        if at is not None:
            joined[at] = found
        else:
            before = [n for n, one in enumerate(joined) if one.id in order[:place]]
            joined.insert(max(before, default=-1) + 1, found)
    return joined
