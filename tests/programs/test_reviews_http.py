"""Reviews that are answered over HTTP, in the shape of either peer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from programs.reviews_http import reviews_app
from tests.human.shapes.banks import Office


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def resumed(interrupt: Any, **payload: Any) -> list[dict[str, Any]]:
    return [{"interruptId": interrupt["id"], "status": "resolved", "payload": payload}]


def test_a_payment_is_approved_in_ag_uis_shape(office: Office) -> None:
    (review,) = office.go_on().awaiting
    client = TestClient(reviews_app(str(office.inbox.folder)))
    ((review_id, outcome),) = client.get("/reviews/ag_ui").json().items()
    (interrupt,) = outcome["interrupts"]
    assert review_id == review.id and interrupt["metadata"] == {"name": "pay", "args": {"to": "Ann", "amount": 500}}
    wrong = client.post(f"/reviews/ag_ui/{review_id}", json=resumed(interrupt, approved="yes"))
    assert wrong.status_code == 422 and "approved: Input should be a valid boolean" in wrong.json()["detail"]
    assert office.inbox.reviews()  # nothing was saved
    done = client.post(f"/reviews/ag_ui/{review_id}", json=resumed(interrupt, approved=True))
    assert done.json()["actions"] == [{"kind": "approve", "steps": ["b"]}]
    assert client.get("/reviews/ag_ui").json() == {}
    assert client.post(f"/reviews/ag_ui/{review_id}", json=[]).status_code == 404
    assert office.go_on(commit=True).verified and office.bank.paid == [("Ann", 500)]


def test_a_payment_is_edited_and_approved_in_langchains_shape(office: Office) -> None:
    office.go_on()
    client = TestClient(reviews_app(str(office.inbox.folder)))
    ((review_id, asked),) = client.get("/reviews/langchain").json().items()
    (action,) = asked["action_requests"]
    edit = {"type": "edit", "edited_action": {"name": action["name"], "args": {**action["args"], "amount": 450}}}
    client.post(f"/reviews/langchain/{review_id}", json={"decisions": [edit]}).raise_for_status()
    office.go_on()
    ((again, asked),) = client.get("/reviews/langchain").json().items()
    assert again != review_id and asked["action_requests"][0]["args"] == {"to": "Ann", "amount": 450}
    client.post(f"/reviews/langchain/{again}", json={"decisions": [{"type": "approve"}]}).raise_for_status()
    result = office.go_on(commit=True)
    assert office.bank.paid == [("Ann", 450)] and office.lm.engine.count("plan") == 1
    # Both the call that was proposed and the one that ran stand in the record.
    feedback = [event.feedback for event in result.history if event.kind == "feedback"]
    assert feedback[0].actions[0].args == {"amount": 450}
    proposed = [event.trajectory for event in result.history if event.kind == "review"]
    assert [trajectory.steps[1].args["amount"] for trajectory in proposed] == ["$a", 450]


def test_a_shape_that_is_unknown_is_refused(office: Office) -> None:
    client = TestClient(reviews_app(str(office.inbox.folder)))
    assert client.get("/reviews/a2a").status_code == 422
