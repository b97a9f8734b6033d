"""Plans and requirements from the reference, with the slips that the rates allow."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

from pivot_dspy.simulator import learn
from pivot_dspy.simulator.prompt import Prompt, names, unmet_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates, Surroundings, WrittenStep, habit, situations, spoil
from pivot_dspy.trajectory import SUBMIT

_TRIAL = re.compile(r"^- Trial \d+:$", re.MULTILINE)


def plan(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """Requirements and steps; of an unknown task, no requirement and nothing but an empty submit."""
    if reference is None:
        return {"requirements": [], "steps": [{"id": SUBMIT, "tool": SUBMIT, "args": {}}]}
    hint = prompt.section("hint_")  # of dspy.Refine, which calls no trial by its number
    told = f"{prompt.section('lessons')}\n- Trial 1:\n{hint}" if hint else prompt.section("lessons")
    steps, warned = _reconsidered(reference, told, rates, dice)
    steps = written(steps, prompt, rates, dice, warned)
    return {"requirements": requirements(prompt, reference, rates, dice), "steps": steps}


def written(
    steps: Iterable[dict[str, Any]], prompt: Prompt, rates: Rates, dice: Dice, warned: Collection[str] = ()
) -> list[WrittenStep]:
    """`steps` as this model writes them down for the first time: with slips, of which it was `warned`, and habits."""
    steps = list(steps)
    around = Surroundings(steps, prompt.section("tools"))
    found: list[WrittenStep] = []
    for step in steps:
        if step["tool"] == SUBMIT:
            found.append(step)
            continue
        slipped: WrittenStep | None = step
        heeded = step["id"] in warned and dice.falls(rates.heed, "warned", step["id"])
        if not heeded and dice.falls(rates.slip, "slip", step["id"]):
            slipped = spoil(step, around, dice, "slip", step["id"])
        if slipped is not None:
            found.append(_with_habits(slipped, prompt.section("lessons"), around, rates, dice))
    return found


def requirements(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> list[dict[str, Any]]:
    """The reference's requirements but those that the prompt gives already, and those that are forgotten; and the ones
    that lessons demand."""
    if reference is None:
        return []
    given = prompt.section("user_requirements")
    found = [
        item
        for item in reference.requirements
        if not _stands(item, given) and not dice.falls(rates.slip / 4, "forgotten", item["id"])
    ]
    said = [_content(item) for item in reference.requirements]
    recalled = learn.required(prompt, rates, dice)
    return found + [item for item in recalled if _content(item) not in said and not _stands(item, given)]


def audit(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """The reference's requirements that are not among the settled ones, each found with probability `heed`."""
    settled = prompt.section("requirements")
    missing = [
        {**item, "reason": "The request asks for it and no requirement says it."}
        for item in (reference.requirements if reference else ())
        if not re.search(rf"^{re.escape(item['id'])}_*: ", settled, re.MULTILINE) and not _stands(item, settled)
    ]
    return {"changes": [item for item in missing if dice.falls(rates.heed, "audit", item["id"])]}


def _reconsidered(
    reference: Reference, told: str, rates: Rates, dice: Dice
) -> tuple[list[dict[str, Any]], frozenset[str]]:
    """The plan in the light of reflections on earlier trials of the task, and the ids of the steps that they name."""
    text = "\n".join(reversed(_TRIAL.split(told)[1:]))  # what the latest trial showed counts first
    if not text:
        return list(reference.steps), frozenset()
    known = {step["id"]: step for step in reference.steps}
    in_mind = "\n".join(f"{json.dumps(step, ensure_ascii=False)} -> " for step in known.values())
    steps, concluded = [], set()
    for step in reference.revised({"open_steps": in_mind, "report": text}):
        before = known.get(step["id"])
        if before == step:
            steps.append(step)
        elif dice.falls(rates.heed, "conclude", step["id"]):
            steps.append(step)
            concluded.add(step["id"])
        elif before is not None:
            steps.append(before)
    unmet = unmet_in(text)
    named = {name for name in known if names(text, name) or unmet.intersection(reference.requirements_of(name))}
    return steps, frozenset(named | concluded)


def _with_habits(
    step: WrittenStep, told: str, around: Surroundings, rates: Rates, dice: Dice
) -> WrittenStep:
    habits = rates.habits()
    tool = step["tool"]
    for name in situations(step, around.ids):
        if not habits.falls(rates.systematic, tool, name):
            continue
        if not (learn.warns(told, tool, name) and dice.falls(rates.heed, "lesson", tool, name)):
            step = habit(step, name, around, habits)
    return step


def _content(requirement: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in requirement.items() if key != "id" and value != {}}


def _stands(requirement: dict[str, Any], text: str) -> bool:
    """Whether a prompt's list of requirements says this one."""
    if requirement.get("check"):
        return f"{requirement['check']} {json.dumps(requirement.get('args', {}), ensure_ascii=False)}" in text
    return bool(requirement.get("text")) and requirement["text"] in text
