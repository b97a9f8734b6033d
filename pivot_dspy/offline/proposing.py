"""Proposes goals: those that references know how to reach."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference
from pivot_dspy.trajectory import SUBMIT

_FIELD = re.compile(r"^(\w+): ", re.MULTILINE)
_UNUSED = re.compile(r"^Not used yet: (.*)\.$", re.MULTILINE)


def propose(prompt: Prompt, references: Sequence[Reference], rates: Rates, dice: Dice) -> dict[str, Any]:
    """The texts of references that the prompt shows nowhere, as values of the first field."""
    field = _FIELD.search(prompt.section("goal"))
    shown = "\n".join(_texts(prompt.section(name)) for name in ("examples", "proposed"))
    fresh = [reference for reference in references if reference.match not in shown]
    order = sorted(fresh, key=lambda reference: dice.fraction("goal", reference.match))
    unused = _UNUSED.search(prompt.section("covered"))
    wanted = set(unused[1].split(", ")) if unused else set()
    heeding = dice.falls(rates.heed, "covered")
    order.sort(key=lambda reference: heeding and not wanted & {step["tool"] for step in reference.steps} - {SUBMIT})
    number = prompt.section("number")
    taken = order[: int(number) if number.isdigit() else len(order)]
    return {"goals": [{field[1]: reference.match} for reference in taken] if field else []}


def _texts(section: str) -> str:
    """The goals in a section, each value as it was before JSON quoted it."""
    return "\n".join(_unquoted(line) for line in section.splitlines())


def _unquoted(line: str) -> str:
    try:
        goal = json.loads(line)
    except ValueError:
        return line
    return "\n".join(map(str, goal.values())) if isinstance(goal, dict) else line
