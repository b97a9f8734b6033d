"""What the simulated model takes from lessons, what it learns from repairs and failures, and the goals it thinks of."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import chain
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from pivot_dspy.simulator.prompt import json_at, json_in, says, steps_in
from pivot_dspy.simulator.reference import Reference, Turn
from pivot_dspy.simulator.slips import WrittenStep, situations
from pivot_dspy.trajectory import SUBMIT

# ------------------------------------------------------------------------------------------------ heeding lessons

_BULLET = re.compile(r"[ \t]*(?:[-*•]|\d+[.)])\s")
_BREAK = re.compile(rf"\n(?={_BULLET.pattern})|\n[ \t]*\n")
_REQUIRED = re.compile(r'^(?=\{"id": "L\d+", "(?:check|text|args)")', re.MULTILINE)
_READ = re.compile(r"^(\w+)\(\) -> (.*)$", re.MULTILINE)
_SLOT = re.compile(r'"<([^<>"\n]+)>"|<([^<>"\n]+)>')
"""In the JSON of a requirement: a text that is a slot as a whole, or has one in it."""


def averts(turn: Turn, tool: str, name: str) -> bool:
    """Whether a lesson, or a step of an example, names both a tool and one of its arguments or compared fields, and the
    model heeds it."""
    warned = any(says(lesson, tool) and says(lesson, name) for lesson in _single_lessons(turn.section("lessons")))
    return warned and turn.heeds("lesson", tool, name)


def _single_lessons(text: str) -> Iterator[str]:
    """The single lessons in a prompt's text: one a line, or a bullet with the lines that belong to it."""
    for block in _BREAK.split(text):
        yield from [block] if _BULLET.match(block) else block.splitlines()


def required(turn: Turn) -> Iterator[dict[str, Any]]:
    """The requirements that lessons demand, each written down at the rate `heed`, with its slots filled in."""
    scope = _scope(turn.section("known"))
    lessons = turn.section("lessons")
    for start in _REQUIRED.finditer(lessons):
        draft, _ = json_at(lessons[start.end() :])
        if draft is not None and turn.heeds("recalled", draft["id"]):
            with suppress(JMESPathError):  # a requirement with a gap in it would say something else
                yield json.loads(_SLOT.sub(partial(_filled, scope=scope), json.dumps(draft, ensure_ascii=False)))


def _scope(known: str) -> dict[str, Any]:
    """What the orientation reads gave, by the name of the tool and, where it is a record, by its own fields."""
    results = {tool: json_in(text) for tool, text in _READ.findall(known)}
    scope: dict[str, Any] = {}
    for value in reversed(results.values()):
        scope |= value if isinstance(value, Mapping) else {}
    return scope | results


def _filled(slot: re.Match[str], scope: Mapping[str, Any]) -> str:
    """What stands in the place of a slot, as JSON or within a text of it."""
    value = jmespath.search(slot[1] or slot[2], scope)
    if value in (None, []):
        raise JMESPathError(f"{slot[0]} is not told")
    text = json.dumps(value, ensure_ascii=False)
    return text if slot[1] else json.dumps(value if isinstance(value, str) else text, ensure_ascii=False)[1:-1]


# --------------------------------------------------------------------------------------------- learning from runs

_REPAIR = re.compile(r"^Repair \d+:$", re.MULTILINE)
_SIDES = re.compile(r"^(?:Before|After):$", re.MULTILINE)
_CASE = re.compile(r"^Case \d+:$", re.MULTILINE)
_OUTCOME = re.compile(r"^Outcome: ", re.MULTILINE)
_FACT = re.compile(r"^- (.*?): (\[.*\])$", re.MULTILINE)
_CHECK_OF_ALL = re.compile(r"^- (every|all|each)\((\w+): [^)]*\)", re.MULTILINE)
MOST_LESSONS = 3


def lessons(turn: Turn) -> dict[str, Any]:
    """For each shown repair, at the rate `heed`, the arguments and fields that were mended, each with its tool."""
    learned: dict[tuple[str, str], dict[str, Any]] = {}
    for number, text in enumerate(_REPAIR.split(turn.section("repairs"))[1:]):
        sides = [{step.id: step.written for step in steps_in(side)} for side in _SIDES.split(text)[1:3]]
        if len(sides) < 2 or not turn.heeds("learn", number):
            continue
        before, after = sides
        for step_id in [step_id for step_id in before if step_id in after]:
            tool = after[step_id]["tool"]
            for name in _mended(before[step_id], after[step_id], {*before, *after}):
                learned[tool, name] = {
                    "trigger": f"a call of {tool} with {name}",
                    "mistake": f"{name} of {tool} was not written as it should be",
                    "avoid": f"mind how {name} of {tool} is written",
                    "tools": [tool],
                }
    return {"lessons": list(learned.values())[:MOST_LESSONS]}


def _mended(before: WrittenStep, after: WrittenStep, ids: Collection[str]) -> list[str]:
    """The arguments with another literal value, and the fields that only the mended step compares."""
    old = before.get("args") or {}
    changed = {name for name, value in (after.get("args") or {}).items() if old.get(name) != value}
    return [name for name in situations(after, ids) if name in changed or name not in situations(before, ids)]


def proposals(turn: Turn) -> dict[str, Any]:
    """Each fact "- WORDS: [FIELD, OP, VALUE]" of two or more outcomes whose words stand in at least half of them, at
    the rate `heed`, as a requirement by the check that speaks of all: one called `every`, `all` or `each`.
    """
    outcomes = [_OUTCOME.split(case)[-1] for case in _CASE.split(turn.section("cases"))[1:]]
    check = _CHECK_OF_ALL.search(turn.section("checks"))
    facts = [{fact: words for words, fact in _FACT.findall(outcome)} for outcome in outcomes]
    words_of = dict(chain.from_iterable(map(dict.items, facts)))
    drafts = []
    for fact, count in Counter(chain.from_iterable(facts)).most_common():
        words = words_of[fact]
        mentions = sum(words in outcome for outcome in outcomes)
        if count > 1 and 2 * mentions >= len(outcomes) and turn.heeds("common", fact):
            written = {"check": check[1], "args": {check[2]: [json_in(fact)]}} if check else {"text": words}
            drafts.append({**written, "reason": words})
    return {"proposals": drafts}


# ---------------------------------------------------------------------------------------------------------- goals

_FIELD = re.compile(r"^(\w+): ", re.MULTILINE)
_UNUSED = re.compile(r"^Not used yet: (.*)\.$", re.MULTILINE)


def goals(turn: Turn, references: Sequence[Reference]) -> dict[str, Any]:
    """The texts of references that the prompt shows nowhere, as values of the first field."""
    name = _FIELD.findall(turn.section("goal"))[0]
    shown = "\n".join(map(_unquoted, f"{turn.section('examples')}\n{turn.section('proposed')}".splitlines()))
    fresh = [reference for reference in references if reference.match not in shown]
    fresh.sort(key=lambda reference: turn.dice.fraction("goal", reference.match))
    unused = _UNUSED.search(turn.section("covered"))
    if unused and turn.heeds("covered"):
        wanted = {*unused[1].split(", ")} - {SUBMIT}
        fresh.sort(key=lambda reference: wanted.isdisjoint(step["tool"] for step in reference.steps))
    return {"goals": [{name: reference.match} for reference in fresh[: int(turn.section("number"))]]}


def _unquoted(line: str) -> str:
    """A goal as it was before JSON quoted its values."""
    goal = json_in(line)
    return "\n".join(map(str, goal.values())) if isinstance(goal, dict) else line
