"""Earlier turns of a dialogue, a `dspy.History` among a task's inputs: shown as turns of the task's own fields.

An adapter would write them in the fields of whatever is asked now, which for a plan are none that anyone answered.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from types import MethodType
from typing import Any

import dspy
from pydantic import PrivateAttr

Message = dict[str, Any]


class EarlierTurns(dspy.History):  # type: ignore[misc]
    """A history with the signature whose fields its turns are of."""

    _task: Any = PrivateAttr(None)

    @classmethod
    def of(cls, history: dspy.History, task: type[dspy.Signature]) -> EarlierTurns:
        """The turns of `history`, of the fields of `task`."""
        made = cls(messages=history.messages)
        made._task = task
        return made

    def write(self, adapter: Any) -> Iterator[Message]:
        """The messages of the turns as an adapter writes them, in the fields that each has.

        A turn that is a chat message itself, `{"role": ..., "content": ...}`, stays as it is.
        """
        for turn in self.messages:
            asked, answered = _having(self._task, turn, "input"), _having(self._task, turn, "output")
            if asked is not None:
                yield {"role": "user", "content": adapter.format_user_message_content(asked, turn)}
            if answered is not None:
                yield {"role": "assistant", "content": adapter.format_assistant_message_content(answered, turn)}
            if asked is None and answered is None and turn.get("role") in ("user", "assistant") and "content" in turn:
                yield {"role": turn["role"], "content": str(turn["content"])}


def telling_turns(adapter: Any) -> Any:
    """A copy of `adapter` that writes `EarlierTurns` in their own fields."""
    told = copy.copy(adapter)

    def write(self: Any, signature: Any, history_field_name: str, inputs: dict[str, Any]) -> list[Message]:
        history = inputs.get(history_field_name)
        if not isinstance(history, EarlierTurns):
            earlier: list[Message] = adapter.format_conversation_history(signature, history_field_name, inputs)
            return earlier
        del inputs[history_field_name]
        return list(history.write(adapter))

    told.format_conversation_history = MethodType(write, told)
    return told


def _having(task: Any, turn: Mapping[str, Any], kind: str) -> Any:
    """A signature of the task's fields of a kind that a turn has a value for; None where there are none."""
    fields = task.input_fields if kind == "input" else task.output_fields
    names = {name for name, field in fields.items() if field.annotation != dspy.History and turn.get(name) is not None}
    return dspy.Signature({name: field for name, field in fields.items() if name in names}, "") if names else None
