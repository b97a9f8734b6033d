"""What the simulated model learns: from repairs that it is shown, and from failures side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

from pivot_dspy.learning.changes import changes
from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.shown import steps_in
from pivot_dspy.trajectory import Step

_REPAIR = re.compile(r"^Repair \d+:$", re.MULTILINE)
_SIDES = re.compile(r"^(?:Before|After):$", re.MULTILINE)
_CASE = re.compile(r"^Case \d+:$", re.MULTILINE)
_OUTCOME = re.compile(r"^Outcome: ", re.MULTILINE)
_FACT = re.compile(r"^- (.*?): (\[.*\])$", re.MULTILINE)
_CHECK = re.compile(r"^- (\w+)\((\w+): [^)]*\)", re.MULTILINE)


def lessons(prompt: Prompt, rates: Rates, dice: Dice) -> dict[str, Any]:
    """For each shown repair, at the rate `heed`, what changed in its steps, in words that name tool and argument."""
    found = []
    for number, text in enumerate(_REPAIR.split(prompt.section("repairs"))[1:]):
        sides = [_steps(side) for side in _SIDES.split(text)[1:3]]
        if len(sides) < 2 or not dice.falls(rates.heed, "learn", number):
            continue
        before, after = sides
        tools = {step.id: step.tool for step in (*before.values(), *after.values())}
        for name in [name for name in before if name in after]:
            for change in changes(before[name], after[name], tools, tools):
                said = {"trigger": change.trigger, "mistake": change.mistake, "avoid": change.avoid}
                found.append({**said, "tools": [change.tool]})
    return {"lessons": [json.loads(one) for one in dict.fromkeys(map(json.dumps, found))][:3]}


def proposals(prompt: Prompt, rates: Rates, dice: Dice) -> dict[str, Any]:
    """Each fact "- WORDS: [FIELD, OP, VALUE]" of two or more outcomes whose words stand in at least half of them, at
    the rate `heed`, as a requirement by the check that speaks of all: one called `every`, `all` or `each`.
    """
    outcomes = [_OUTCOME.split(case)[-1] for case in _CASE.split(prompt.section("cases"))[1:]]
    check = next((one for one in _CHECK.findall(prompt.section("checks")) if one[0] in ("every", "all", "each")), None)
    counts: Counter[str] = Counter()
    words: dict[str, str] = {}
    for outcome in outcomes:
        facts = {fact: said for said, fact in _FACT.findall(outcome)}
        counts.update(facts.keys())
        words |= facts
    common = [
        fact
        for fact, count in counts.most_common()
        if count > 1 and 2 * sum(words[fact] in outcome for outcome in outcomes) >= len(outcomes)
    ]
    return {
        "proposals": [
            {**_by_check(check, fact, words[fact]), "reason": words[fact]}
            for fact in common
            if dice.falls(rates.heed, "common", fact)
        ]
    }


def _steps(text: str) -> dict[str, Step]:
    steps = {}
    for shown in steps_in(text):
        try:
            steps[shown.id] = Step.model_validate(shown.written)
        except ValueError:
            continue  # cut short in the prompt
    return steps


def _by_check(check: tuple[str, str] | None, fact: str, words: str) -> dict[str, Any]:
    try:
        condition = json.loads(fact)
    except ValueError:
        return {"text": words}
    return {"check": check[0], "args": {check[1]: [condition]}} if check else {"text": words}
