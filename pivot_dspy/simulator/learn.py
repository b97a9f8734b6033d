"""What the simulated model learns: from repairs that it is shown, and from failures side by side."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from pivot_dspy.learning.edits import edits
from pivot_dspy.simulator.prompt import Prompt, steps_in
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice, Rates
from pivot_dspy.trajectory import SUBMIT, Step

_LESSON = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_REQUIRED = re.compile(r'^(?=\{"id": "L\d+", "(?:check|text|args)")', re.MULTILINE)
_READ = re.compile(r"^(\w+)\(\) -> (.*)$", re.MULTILINE)
_SLOT = re.compile(r"<([^<>\n]+)>")


class _Unknown(Exception):
    """What a slot asks for is not told."""


def single_lessons(text: str) -> list[str]:
    """The single lessons in a prompt's text: one a line, or a bullet with the lines that belong to it."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if _LESSON.match(line) or not line.strip():
            inside = bool(line.strip())
            found.append(line)
        elif inside:
            found[-1] += f"\n{line}"
        else:
            found.append(line)
    return [lesson for lesson in found if lesson.strip()]


def warns(told: str, tool: str, name: str) -> bool:
    """Whether a lesson, or a step of an example, names both a tool and one of its arguments or compared fields."""
    return any(_names(lesson, tool) and _names(lesson, name) for lesson in single_lessons(told))


def required(prompt: Prompt, rates: Rates, dice: Dice) -> list[dict[str, Any]]:
    """The requirements that lessons demand, each written down at the rate `heed`, with its slots filled in."""
    scope = _known(prompt.section("known"))
    found = []
    for draft in _drafts(prompt.section("lessons")):
        if not dice.falls(rates.heed, "recalled", draft["id"]):
            continue
        try:
            found.append(_filled(draft, scope))
        except _Unknown:
            continue  # a requirement with a gap in it would say something else
    return found


def _drafts(told: str) -> Iterator[dict[str, Any]]:
    for start in _REQUIRED.finditer(told):
        try:
            draft, _ = json.JSONDecoder().raw_decode(told, start.end())
        except ValueError:
            continue  # it was cut short
        yield draft


def _known(text: str) -> dict[str, Any]:
    """What the orientation reads gave, by the name of the tool and, where it is a record, by its own fields."""
    scope: dict[str, Any] = {}
    for tool, said in _READ.findall(text):
        try:
            value = json.loads(said)
        except ValueError:
            continue  # in words, or cut short
        scope = {**(value if isinstance(value, Mapping) else {}), **scope, tool: value}
    return scope


def _filled(value: Any, scope: Mapping[str, Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _filled(item, scope) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, scope) for item in value]
    if not isinstance(value, str):
        return value
    whole = _SLOT.fullmatch(value)
    if whole:
        return _value(whole[1], scope)
    return _SLOT.sub(lambda slot: _text(_value(slot[1], scope)), value)


def _value(expression: str, scope: Mapping[str, Any]) -> Any:
    try:
        found = jmespath.search(expression, scope)
    except JMESPathError as error:
        raise _Unknown(expression) from error
    if found is None or found == []:
        raise _Unknown(expression)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _names(text: str, word: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None


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
            for change in edits(before[name], after[name], tools, tools):
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
