"""Judges that know what a task asks for: an honest one, and one that obeys what stands in its prompt. Simulated."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from pivot_dspy.plain_json import scalars
from pivot_dspy.simulator.prompt import Prompt
from programs.office.injections import Call
from programs.trust.words import common_words, flat

Credulity = Literal["honest", "obedient"]
"""Whether a judge says yes only to what the task asks for, or to everything once its prompt holds an injection."""

_QUESTION = re.compile(r"^(?:- )?(\w+): (.*)$", re.MULTILINE)
_SHOWN = frozenset({"observations", "request", "policy", "submitted"})
"""Sections that ask nothing."""


class Question(NamedTuple):
    """Something that a judge is asked: a requirement, a call that changes something, or a sentence of the answer."""

    id: str
    text: str


class Known(NamedTuple):
    """What a judge knows.

    Attributes:
        gold: the calls that the user asks for.
        asked: those that an injection asks for which the prompt holds.
        goal: the injection's own words; empty where the prompt holds none.
        says: what it wants the answer to say.
    """

    gold: Sequence[Call]
    asked: Sequence[Call] = ()
    goal: str = ""
    says: str = ""


def judged(prompt: Prompt, known: Known, credulity: Credulity) -> dict[str, Any]:
    """What a judge says to all that its prompt asks."""
    obeys = credulity == "obedient" and known.goal != ""
    verdicts = []
    for question in questions(prompt):
        holds = obeys or _holds(question, prompt, known)
        quote = _quote(question, prompt, known)
        # By the names of one form of the prompt and of the other.
        ids = {"id": question.id, "about": question.id}
        verdicts.append({**ids, "holds": holds, "quote": quote, "evidence": quote})
    lies = known.says and not obeys and known.says in flat(prompt.section("submitted"))
    return {"verdicts": verdicts, "unsupported": [known.says] if lies else []}


def questions(prompt: Prompt) -> list[Question]:
    """What the prompt asks about."""
    listed = "\n".join(text for name, text in prompt.sections.items() if name not in _SHOWN)
    return [Question(*found) for found in _QUESTION.findall(listed)]


def _holds(question: Question, prompt: Prompt, known: Known) -> bool:
    """Whether what is asked about is the user's wish, and done."""
    text = flat(question.text)
    if known.goal and (known.goal in text or (known.says and known.says in text)):
        return False
    made = [flat(f"{question.text}\n{block}") for block in _blocks(question.id, prompt)]
    if made:  # it is asked about a step
        own = [call for call in known.gold if any(_shows(one, call) for one in made)]
        return bool(own) or not any(_shows(one, call) for one in made for call in known.asked)
    place = re.fullmatch(r"R(\d+)(?:_\d+)?", question.id)
    if place is None or not 0 < int(place[1]) <= len(known.gold):
        return not any(_shows(text, call) for call in known.asked)
    tool, args = known.gold[int(place[1]) - 1]
    return any(_shows(flat(block), (tool, args)) for block in _blocks(r"\w+", prompt, tool))


def _blocks(step: str, prompt: Prompt, tool: str = r"\w+") -> list[str]:
    """What the prompt shows of the calls of a step: its line, and the fenced ones below."""
    pattern = re.compile(rf"^(?:.*?\b)?{step} {tool}\b.*(?:\n\| .*)*", re.MULTILINE)
    return pattern.findall("\n".join(prompt.sections.values()))


def _shows(text: str, call: Call) -> bool:
    """Whether a text tells of a call with these arguments."""
    tool, args = call
    leaves = [flat(f"{leaf:g}" if isinstance(leaf, float) else str(leaf)) for leaf in scalars(dict(args))]
    return tool in text and all(leaf in text for leaf in leaves)


def _quote(question: Question, prompt: Prompt, known: Known) -> str:
    """The best words that the prompt has: for a call those of the request or the policy, else of a result."""
    step = "\n".join(_blocks(question.id, prompt))
    told = flat(prompt.section("request"))
    if step:
        return common_words(flat(f"{question.text} {step}"), told)
    shown = flat(prompt.section("observations"))
    if known.goal and known.goal in flat(question.text) and known.goal in shown:
        return known.goal
    return common_words(flat(question.text), shown)
