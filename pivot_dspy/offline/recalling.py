"""What the offline model takes from the `lessons` of a prompt: mistakes to avoid, and requirements to write."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt

_LESSON = re.compile(r"\s*(?:[-*•]|\d+[.)])\s")
_REQUIRED = re.compile(r'^(?=\{"id": "L\d+", "(?:check|text|args)")', re.MULTILINE)
_READ = re.compile(r"^(\w+)\(\) -> (.*)$", re.MULTILINE)
_SLOT = re.compile(r"<([^<>\n]+)>")


class _Unknown(Exception):
    """What a slot asks for is not told."""


def lessons(text: str) -> list[str]:
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
    return any(_names(lesson, tool) and _names(lesson, name) for lesson in lessons(told))


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
