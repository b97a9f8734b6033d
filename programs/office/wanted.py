"""What a task asks for in words, by rule from its gold: a requirement for each changing call, one for the answer."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

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


def _words(tool: str, args: Any) -> str:
    name = tool.replace("_", " ").capitalize()
    told = ", ".join(
        f"{key.replace('_', ' ')} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in args.items()
    )
    return " ".join(f"{name}: {told}".split()) if told else name
