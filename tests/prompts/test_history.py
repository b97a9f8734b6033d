"""A `dspy.History` among the inputs: earlier turns as they were, in every phase and adapter."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from pivot_dspy import Pivot
from pivot_dspy.prompts.history import EarlierTurns
from tests import scripted as scripting
from tests.scripted import plan, rewrite, scripted, step, submit


class Chat(dspy.Signature):
    """Help the customer."""

    history: dspy.History = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


PAST = dspy.History(
    messages=[
        {"question": "Do you sell flour?", "answer": "Yes, brand Mulino."},
        {"question": "And salt?"},
        {"role": "user", "content": "Hello again."},
    ]
)


def count(item: str) -> int:
    """Units in stock."""
    return 3


def asked_of(monkeypatch: pytest.MonkeyPatch, adapter: Any) -> tuple[Any, list[list[tuple[str, str]]]]:
    requests: list[Any] = []
    read = scripting._read
    monkeypatch.setattr(scripting, "_read", lambda request: (requests.append(request), read(request))[1])
    wrong = [step("a", "counts", item="flour"), submit(answer="$a")]
    lm = scripted(plan=plan(wrong), evolve=rewrite([step("a", "count", item="flour"), submit(answer="$a")]))
    with dspy.context(lm=lm, adapter=adapter):
        result = Pivot(Chat, tools=[count], effects="read")(question="How much of that?", history=PAST)
    said = [
        [(str(message.role), "".join(part.text for part in message.parts)) for message in request.messages]
        for request in requests
    ]
    return result, said


@pytest.mark.parametrize("adapter", [None, dspy.ChatAdapter(), dspy.JSONAdapter(), dspy.XMLAdapter()])
def test_each_call_shows_the_turns_once_as_they_were(monkeypatch: pytest.MonkeyPatch, adapter: Any) -> None:
    result, said = asked_of(monkeypatch, adapter)
    assert result.verified and result.answer == "3" and said
    for messages in said:
        texts = [text for _, text in messages]
        assert sum("Do you sell flour?" in text for text in texts) == 1
        assert sum("Mulino" in text for text in texts) == 1
        assert sum("Hello again." in text for text in texts) == 1
        assert not any("steps" in text and "None" in text for _, text in messages[:4])
        answers = [text for role, text in messages[:4] if role.endswith("assistant")]
        assert len(answers) == 1 and "Mulino" in answers[0]


def test_without_a_task_an_adapter_writes_a_history_as_it_always_does() -> None:
    turns = EarlierTurns.of(PAST, Chat)
    written = list(turns.write(dspy.ChatAdapter()))
    assert [message["role"] for message in written] == ["user", "assistant", "user", "user"]
    assert written[0]["content"].strip() == "[[ ## question ## ]]\nDo you sell flour?"
