"""Plans and requirements from the reference, with the slips that the rates allow."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.simulator import learn
from pivot_dspy.simulator.knowledge import Shown
from pivot_dspy.simulator.prompt import step_line
from pivot_dspy.simulator.reference import Turn
from pivot_dspy.simulator.slips import Surroundings, WrittenStep, habit, situations, spoil
from pivot_dspy.trajectory import SUBMIT

_TRIAL = re.compile(r"^- Trial \d+:$", re.MULTILINE)


def plan(turn: Turn) -> dict[str, Any]:
    """Requirements and steps."""
    steps, warned = reconsidered(turn)
    reached = within_reach(steps, turn)
    steps = [step for step in steps if step in reached] if reached else [turn.guessed(step) for step in steps]
    return {"requirements": requirements(turn)["requirements"], "steps": written(steps, turn, warned)}


def requirements(turn: Turn) -> dict[str, Any]:
    """The reference's requirements but those that the prompt gives already, that are forgotten, or whose words say what
    the prompt does not tell; and the ones that lessons demand."""
    given = turn.section("user_requirements")
    forgotten = turn.rates.slip / 4
    own = [item for item in turn.reference.requirements if not turn.dice.falls(forgotten, "forgotten", item["id"])]
    own = [item for item in own if turn.shown.tells_wording(item.get("text") or "")]
    return {"requirements": [item for item in [*own, *learn.required(turn)] if not _stands(item, given)]}


def audit(turn: Turn) -> dict[str, Any]:
    """The reference's requirements that are not among the settled ones, each found with probability `heed`."""
    settled = turn.section("requirements")
    missing = [
        {**item, "reason": "The request asks for it and no requirement says it.", "quote": turn.reference.match}
        for item in turn.reference.requirements
        if not _stands(item, settled)
    ]
    return {"changes": [item for item in missing if turn.heeds("audit", item["id"])]}


def written(steps: Iterable[WrittenStep], turn: Turn, warned: Collection[str] = ()) -> list[WrittenStep]:
    """`steps` as this model writes them down for the first time: with slips, of which it was `warned`, and habits."""
    steps = list(steps)
    around = Surroundings(steps, turn.section("tools"), turn.shown.tells)
    drafts = []
    for step in steps:
        careful = step["tool"] == SUBMIT or (step["id"] in warned and turn.heeds("warned", step["id"]))
        drafts.append(first_draft(step, turn, around, step["id"], careful=careful))
    return [draft for draft in drafts if draft is not None]


def within_reach(
    steps: Iterable[WrittenStep], turn: Turn, have: Collection[str] = (), shown: Shown | None = None
) -> list[WrittenStep]:
    """The first of `steps`, up to one that has a value which is not known, or binds to a step that is not there; and
    those after it that only read, up to one that changes something, since they may read what it changes.

    Args:
        have: ids of the steps that stand before them.
        shown: what is known; what the prompt tells, if None.
    """
    reached: list[WrittenStep] = []
    required = {item["id"] for item in turn.reference.requirements}  # what fits one can be bound as a result can
    for place, step in enumerate(steps):
        bound = bindings.dependencies([step.get("args"), step.get("for_each")], turn.ids)
        there = {*have, *required, *(other["id"] for other in reached)}
        known = not turn.unknown(step, shown) and there.issuperset(bound)
        if not turn.only_reads(step["tool"]) and not (known and len(reached) == place):
            break
        if known:
            reached.append(step)
    return reached


def first_draft(
    step: WrittenStep, turn: Turn, around: Surroundings, *place: object, careful: bool = False
) -> WrittenStep | None:
    """The step as this model first writes it, with a slip where it is not `careful`, and its habits; None where it
    leaves the step out.

    Args:
        place: tells this step from all others that the model writes in the same call.
    """
    if not careful and turn.dice.falls(turn.rates.slip, "slip", *place):
        spoilt = spoil(step, around, turn.dice, "slip", *place)
        if spoilt is None:
            return None
        step = spoilt
    if step["tool"] == SUBMIT:
        return step
    tool, habits = step["tool"], turn.rates.habits()
    for name in situations(step, around.ids):
        if habits.falls(turn.rates.systematic, tool, name) and not learn.averts(turn, tool, name):
            step = habit(step, name, around, habits)
    return step


def concluded(turn: Turn, sections: Mapping[str, str]) -> tuple[list[WrittenStep], set[str]]:
    """The reference's steps with what its `revise` concludes from `sections`, each conclusion taken up at the rate
    `heed`; and the ids of those that were."""
    known = {step["id"]: step for step in turn.reference.steps}
    steps, taken_up = [], set()
    for step in turn.reference.revised(sections):
        chosen = known.get(step["id"])
        if chosen != step and turn.heeds("conclude", step["id"]):
            chosen = step
            taken_up.add(step["id"])
        if chosen is not None:
            steps.append(chosen)
    return steps, taken_up


def reconsidered(turn: Turn) -> tuple[list[WrittenStep], set[str]]:
    """The plan in the light of reflections on earlier trials of the task, and the ids of the steps that they name."""
    reference = turn.reference
    trials = _TRIAL.split(turn.section("lessons"))[1:]
    # What the latest showed counts first; dspy.Refine's hint is no trial by its number.
    reflections = "\n".join([turn.section("hint_"), *reversed(trials)]).strip()
    if not reflections:
        return list(reference.steps), set()
    in_mind = "\n".join(map(step_line, reference.steps))
    steps, warned = concluded(turn, {"open_steps": in_mind, "report": reflections})
    return steps, warned | {step["id"] for step in reference.steps if turn.blames(reflections, step["id"])}


def _stands(requirement: Mapping[str, Any], text: str) -> bool:
    """Whether a prompt's list of requirements says this one."""
    if requirement.get("check"):
        return f"{requirement['check']} {json.dumps(requirement.get('args', {}), ensure_ascii=False)}" in text
    call = requirement.get("call")
    if call and not requirement.get("text"):
        return f"call {call['tool']} {json.dumps(call.get('args', {}), ensure_ascii=False)}" in text
    return bool(requirement.get("text")) and requirement["text"] in text
