"""AG-UI's interrupts and resume, by themselves and with the real package."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pivot_dspy import ConfigurationError, bindings
from pivot_dspy.human.feedback import Approve, Edit, Pin, Reject, Respond
from pivot_dspy.human.shapes import ag_ui
from tests.human.shapes.reviews import ANSWERED, WAITING, arguments, open_reviews, values

YES = {"approved": True}
NOW = datetime(2999, 1, 1, tzinfo=timezone.utc)


def entry(step: str, payload: Any = None, status: str = "resolved", **extra: Any) -> dict[str, Any]:
    given = {} if payload is None else {"payload": payload}
    return {"interruptId": f"r-1-ab/{step}", "status": status, **given, **extra}


def test_an_outcome_has_an_interrupt_for_each_call() -> None:
    outcome = ag_ui.request(WAITING, expires=NOW)
    first, second = outcome["interrupts"]
    assert outcome["type"] == "interrupt" and first["id"] == first["toolCallId"] == "r-1-ab/a"
    assert first["reason"] == "tool_call" and first["expiresAt"] == "2999-01-01T00:00:00+00:00"
    assert second["metadata"] == {"name": "pay", "args": {"to": "Ann", "amount": "$a", "note": "as agreed"}}
    (answer,) = ag_ui.request(ANSWERED)["interrupts"]
    assert answer["reason"] == "confirmation" and "toolCallId" not in answer and "expiresAt" not in answer


@pytest.mark.parametrize(
    ("resume", "actions"),
    [
        ([entry("b", YES), entry("a", YES)], (Approve(steps=("a", "b")),)),
        ([entry("a", YES), entry("b", YES), entry("a", YES)], (Approve(steps=("a", "b")),)),
        ([entry("a", YES), entry("b", {"approved": False})],
         (Reject(message="A person rejected pay.", step="b"), Pin(steps=("a",)))),
        ([entry("a", {"approved": True, "editedArgs": {"amount": 8}}), entry("b", YES)],
         (Edit(step="a", args={"amount": 8}), Pin(steps=("b",)))),
        ([entry("a", YES), entry("b", {"approved": False, "result": {"id": "$a"}})],
         (Respond(step="b", value={"id": "$a"}), Pin(steps=("a",)))),
        ([entry("a", YES), entry("b", {"approved": False, "result": None})],
         (Respond(step="b", value=None), Pin(steps=("a",)))),
        # Who leaves without an answer has approved nothing.
        ([entry("a", YES), entry("b", status="cancelled")], (Approve(steps=("a",)),)),
        ([entry("a", status="cancelled"), entry("b", status="cancelled", metadata={"by": "Cy"})], ()),
    ],
)  # fmt: skip
def test_a_resume_is_actions(resume: list[Any], actions: tuple[Any, ...]) -> None:
    assert ag_ui.feedback(resume, WAITING, expires=NOW).actions == actions


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (entry("a"), "resolved without a payload"),
        (entry("a", playload=YES), "playload: Extra inputs"),
        (entry("a", YES, status="canceled"), "status: Input should be 'resolved' or 'cancelled'"),
        (entry("a", YES, status="cancelled"), "is cancelled and has a payload"),
        (entry("c", YES), "nothing is asked as 'r-1-ab/c'"),
        (entry("a", {"approved": "yes"}), "approved: Input should be a valid boolean"),
        (entry("a", {"aproved": True}), "approved: Field required"),
        (entry("a", {"approved": True, "edited_args": {}}), "edited_args: Extra inputs"),
        (entry("a", {"approved": False, "editedArgs": {"amount": 8}}), "editedArgs goes with approved true alone"),
        (entry("a", {"approved": True, "result": 1}), "with approved false"),
        (entry("a", {"approved": True, "message": "but"}), "goes with approved false"),
        (entry("a", {"approved": True, "editedArgs": {"amount": "8"}}), "'8' is not of type 'integer'"),
        (True, "Input should be"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused_whole(first: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        ag_ui.feedback([first, entry("b", YES)], WAITING)


def test_two_answers_that_differ_and_one_that_is_missing() -> None:
    with pytest.raises(ConfigurationError, match="r-1-ab/a has two answers that differ"):
        ag_ui.feedback([entry("a", YES), entry("b", YES), entry("a", {"approved": False})], WAITING)
    with pytest.raises(ConfigurationError, match="r-1-ab/b has no answer"):
        ag_ui.feedback([entry("a", YES)], WAITING)
    with pytest.raises(ConfigurationError, match="edit it instead"):
        ag_ui.feedback([entry("submit", {"approved": False, "result": 1})], ANSWERED)


def test_an_expiry_is_a_moment_and_counts() -> None:
    resume = [entry("a", YES), entry("b", YES)]
    with pytest.raises(ConfigurationError, match="resume the run to be asked anew"):
        ag_ui.feedback(resume, WAITING, expires=datetime.now(timezone.utc) - timedelta(seconds=1))
    for garbage in ("tomorrow", datetime(2999, 1, 1)):
        with pytest.raises(ConfigurationError, match="a datetime with a time zone"):
            ag_ui.request(WAITING, expires=garbage)  # type: ignore[arg-type]


@given(open_reviews())
def test_what_is_sent_back_as_it_came_is_approved(review: Any) -> None:
    interrupts = ag_ui.request(review)["interrupts"]
    resume = []
    for asked in interrupts:
        payload = {"approved": True, "editedArgs": asked["metadata"]["args"]}
        Draft202012Validator(asked["responseSchema"]).validate(payload)
        resume.append({"interruptId": asked["id"], "status": "resolved", "payload": payload})
    steps = tuple(step.id for step in review.trajectory.steps[:-1])
    assert ag_ui.feedback(resume, review).actions == (Approve(steps=steps),)


@given(open_reviews(), arguments)
def test_the_arguments_of_a_person_are_what_they_say(review: Any, args: dict[str, Any]) -> None:
    asked = ag_ui.request(review)["interrupts"]
    resume = [{"interruptId": one["id"], "status": "resolved", "payload": YES} for one in asked]
    resume[0]["payload"] = {"approved": True, "editedArgs": args}
    for action in ag_ui.feedback(resume, review).actions:
        if isinstance(action, Edit):
            meant = {name: args[name] for name in action.args}
            assert bindings.resolve(action.args, {}, review.trajectory.ids) == meant


@given(values | st.lists(st.fixed_dictionaries({"interruptId": st.just("r-1-ab/a"), "status": st.just("resolved"),
                                                "payload": values}), max_size=2))  # fmt: skip
def test_whatever_a_peer_sends_is_feedback_or_an_error(resume: Any) -> None:
    with pytest.raises(ConfigurationError):
        ag_ui.feedback(resume, WAITING)


# -------------------------------------------------------------------------------------------------- the real package


@given(open_reviews())
def test_the_real_types_carry_our_shapes_unchanged(review: Any) -> None:
    core = pytest.importorskip("ag_ui.core")
    outcome = ag_ui.request(review, expires=NOW)
    event = {"type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": outcome}
    finished = core.RunFinishedEvent.model_validate(event)
    assert finished.model_dump(mode="json", by_alias=True)["outcome"] == outcome
    entries = [
        core.ResumeEntry(interrupt_id=asked.id, status="resolved", payload=YES)
        for asked in finished.outcome.interrupts
    ]
    sent = core.RunAgentInput(thread_id="t", run_id="s", messages=[], resume=entries)
    resume = sent.model_dump(mode="json", by_alias=True)["resume"]
    assert isinstance(ag_ui.feedback(resume, review).actions[0], Approve)


def test_what_the_real_types_let_through_is_caught() -> None:
    """ag-ui-protocol 1.0 keeps a misspelt key, drops a null payload, and takes any text for an expiry."""
    core = pytest.importorskip("ag_ui.core")
    for sent, told in [
        ({"interruptId": "r-1-ab/a", "status": "resolved", "payload": None}, "resolved without a payload"),
        ({"interruptId": "r-1-ab/a", "status": "resolved", "playload": YES}, "playload: Extra inputs"),
    ]:
        carried = core.ResumeEntry.model_validate(sent).model_dump(mode="json", by_alias=True)
        with pytest.raises(ConfigurationError, match=told):
            ag_ui.feedback([carried, entry("b", YES)], WAITING)
    assert core.Interrupt(id="a", reason="tool_call", expires_at="tomorrow").expires_at == "tomorrow"
