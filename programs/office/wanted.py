"""What a task asks for in words, by rule from its gold: a requirement for each changing call, one for the answer."""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from pivot_dspy.plain_json import scalars
from pivot_dspy.required_calls import OPEN
from programs.office.data import Gold
from programs.office.tools import effect_of

ANSWER = "answer"
"""Id of the requirement on the answer."""


class Wanted(NamedTuple):
    """A requirement in words, and what it is there for."""

    id: str
    text: str
    place: int | None
    """Position of the gold call that it asks for; None for the one on the answer."""

    @property
    def draft(self) -> dict[str, Any]:
        """As a model writes it, or a user gives it."""
        return {"id": self.id, "text": self.text}


def wanted(gold: Gold) -> list[Wanted]:
    """The requirements of a task.

    >>> gold = Gold((("get_iban", {}), ("send_money", {"recipient": "CH93", "amount": 4})), "4")
    >>> [item.text for item in wanted(gold)]
    ['Send money: recipient CH93, amount 4.', 'The answer tells the user: 4']
    """
    asked = [
        Wanted(f"R{place + 1}", f"{_words(tool, args)}.", place)
        for place, (tool, args) in enumerate(gold.calls)
        if effect_of(tool) != "read"
    ]
    told = f"The answer tells the user: {gold.answer}" if gold.answer else "The answer says that it is done."
    return [*asked, Wanted(ANSWER, told, None)]


def wanted_calls(gold: Gold, request: str) -> list[dict[str, Any]]:
    """The same as drafts that name their calls as a model would before it reads anything: with the values that stand in
    the request, and `?` for all others; the words say no more.

    >>> gold = Gold((("send_money", {"recipient": "CH93", "amount": 4.0, "note": None}),), "")
    >>> wanted_calls(gold, "Send 4 to my landlord.")[0]["call"]
    {'tool': 'send_money', 'args': {'recipient': '?', 'amount': 4.0}}
    """
    drafts = [item.draft for item in wanted(gold)]
    for item, draft in zip(wanted(gold), drafts, strict=True):
        if item.place is None:
            continue
        tool, args = gold.calls[item.place]
        given = {key: value for key, value in args.items() if value not in (None, [])}
        fixed = {key: value for key, value in given.items() if all(_stands(leaf, request) for leaf in scalars(value))}
        draft["text"] = f"{_words(tool, fixed)}."
        draft["call"] = {"tool": tool, "args": {key: fixed.get(key, OPEN) for key in given}}
    return drafts


def _stands(value: Any, request: str) -> bool:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return re.search(rf"(?<!\w){re.escape(text)}(?!\w)", request) is not None


def _words(tool: str, args: Any) -> str:
    name = tool.replace("_", " ").capitalize()
    told = ", ".join(
        f"{key.replace('_', ' ')} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in args.items()
    )
    return " ".join(f"{name}: {told}".split()) if told else name
