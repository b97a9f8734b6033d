"""What of a review is asked, whoever is asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import given

from pivot_dspy import Pivot, Step
from pivot_dspy.human.feedback import Approve, Edit
from pivot_dspy.human.review import Review
from pivot_dspy.human.shapes import ag_ui, elicitation, langchain
from pivot_dspy.human.shapes.calls import asked_calls, same
from pivot_dspy.verdict import PendingCall
from tests.human.shapes.banks import Bank, Office
from tests.human.shapes.reviews import ANSWER, review, values
from tests.scripted import plan, scripted, step, submit


@given(values, values)
def test_values_are_the_same_as_in_json(one: Any, other: Any) -> None:
    assert same(one, one) and same(one, other) == same(other, one)
    assert not same({"x": [one, 1]}, {"x": [one, True]}) and same([1, one], [1.0, one])


def test_a_step_that_repeats_once_is_shown_as_it_is_written() -> None:
    repeats = Step(id="a", tool="pay", args={"to": "$item", "amount": 5}, for_each="$z")
    (asked,) = asked_calls(review(repeats, ANSWER, pending=(PendingCall(step="a", tool="pay", args={"to": "Ann"}),)))
    assert asked.args == {"to": "$item", "amount": 5} and 'pay {"to": "Ann"}' in asked.description


def test_an_answer_that_is_no_step_cannot_be_edited() -> None:
    (asked,) = asked_calls(review(Step(id="a", tool="pay", args={"to": "Bo", "amount": 7}), outputs={"answer": 1}))
    assert asked.id == "r-1-ab/submit" and asked.args == {"answer": 1} and asked.allowed == ("approve", "reject")
    with pytest.raises(ValueError, match="approve the answer or reject it"):
        asked.edited("submit", {"answer": 2})
    assert asked.approved() == Approve()


def test_choices_are_offered_as_choices() -> None:
    held = review(Step(id="a", tool="pay", args={"to": "Bo", "amount": 7}), ANSWER,
                  pending=(PendingCall(step="a", tool="pay", args={"to": "Bo", "amount": 7}),))  # fmt: skip
    form = held.tools["pay"].model_copy(update={"parameters": {"to": {"enum": ["Ann", "Bo"]}, "amount": {}}})
    fields = elicitation.request(held.model_copy(update={"tools": {"pay": form}}))["requestedSchema"]["properties"]
    assert fields["a.to"]["enum"] == ["Ann", "Bo"] and "enum" not in fields["a.amount"]


def in_ag_uis_shape(asked: Review) -> Any:
    """Approves, but for payments of 500, of which it makes 450; so do the others."""
    resume = []
    for interrupt in ag_ui.request(asked)["interrupts"]:
        edited = {"editedArgs": {"amount": 450}} if interrupt["metadata"]["args"]["amount"] == 500 else {}
        resume.append({"interruptId": interrupt["id"], "status": "resolved", "payload": {"approved": True, **edited}})
    return ag_ui.feedback(resume, asked)


def in_langchains_shape(asked: Review) -> Any:
    decisions: list[Any] = []
    for action in langchain.request(asked)["action_requests"]:
        edited = {"name": action["name"], "args": {**action["args"], "amount": 450}}
        edits = action["args"]["amount"] == 500
        decisions.append({"type": "edit", "edited_action": edited} if edits else {"type": "approve"})
    return langchain.feedback({"decisions": decisions}, asked)


def in_a_form(asked: Review) -> Any:
    fields = elicitation.request(asked)["requestedSchema"]["properties"]
    edited = {name: 450 for name, field in fields.items() if field.get("default") == 500}
    return elicitation.feedback({"action": "accept", "content": {"decision": "approve", **edited}}, asked)


@pytest.mark.parametrize("shape", [in_ag_uis_shape, in_langchains_shape, in_a_form])
def test_what_is_approved_beside_an_edit_is_asked_again_with_it(shape: Callable[[Review], Any]) -> None:
    bank, shown = Bank(), list[Review]()

    def reviewer(asked: Review) -> Any:
        shown.append(asked)
        return shape(asked)

    steps = [step("a", "pay", to="Bo", amount=7), step("b", "debt", to="Ann"), step("c", "pay", to="Ann", amount="$b"),
             submit(answer="$c")]  # fmt: skip
    with dspy.context(lm=scripted(plan=plan(steps, [{"id": "R1", "check": "is_paid", "args": {"to": "Ann"}}]))):
        result = Pivot("request -> answer: int", bank, reviewer=reviewer, timeout=None)(request="Pay Ann and Bo.")
    assert [[call.args["amount"] for call in asked.pending] for asked in shown] == [[7, 500], [7, 450]]
    assert shown[0].pinned == () and set(shown[1].pinned) == {"a", "c"}
    result.commit()
    assert bank.paid == [("Bo", 7), ("Ann", 450)]


def test_a_review_that_is_abandoned_makes_nothing_real(tmp_path: Path) -> None:
    office = Office(tmp_path)
    (asked,) = office.go_on().awaiting
    resume = [{"interruptId": one["id"], "status": "cancelled"} for one in ag_ui.request(asked)["interrupts"]]
    office.inbox.answer(asked.id, ag_ui.feedback(resume, asked))
    result = office.go_on(commit=True)
    assert not result.awaiting and not result.verified and office.bank.paid == []
    assert result.verdict.unapproved == ("b",)


def test_an_edit_is_literal_in_the_run(tmp_path: Path) -> None:
    office = Office(tmp_path)
    (asked,) = office.go_on().awaiting
    edit = {"type": "edit", "edited_action": {"name": "pay", "args": {"to": "$a", "amount": 500}}}
    given_back = langchain.feedback({"decisions": [edit]}, asked)
    assert [type(action) for action in given_back.actions] == [Edit]
    office.inbox.answer(asked.id, given_back)
    (again,) = office.go_on().awaiting
    assert again.pending[0].args == {"to": "$a", "amount": 500}
    assert langchain.request(again)["action_requests"][0]["args"] == {"to": "$a", "amount": 500}
