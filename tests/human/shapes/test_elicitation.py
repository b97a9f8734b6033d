"""MCP's elicitation as a way to review, by itself and over the real client and server."""

from __future__ import annotations

from typing import Any

import mcp
import pytest
from hypothesis import given
from jsonschema import Draft202012Validator
from mcp.server.mcpserver import Context, MCPServer

from pivot_dspy import ConfigurationError, bindings
from pivot_dspy.human.feedback import Approve, Edit, Pin, Reject
from pivot_dspy.human.shapes import elicitation
from pivot_dspy.human.shapes.calls import same
from tests.human.shapes.reviews import ANSWERED, WAITING, open_reviews, texts, values


def accepted(**content: Any) -> dict[str, Any]:
    return {"action": "accept", "content": content}


def test_a_form_has_a_field_for_each_argument_that_a_form_can_hold() -> None:
    form = elicitation.request(WAITING)
    assert form["mode"] == "form" and "pay waits for approval" in form["message"]
    schema = form["requestedSchema"]
    assert list(schema["properties"]) == ["decision", "message", "a.to", "a.amount", "b.to", "b.amount", "b.note"]
    assert schema["properties"]["a.amount"] == {"type": "integer", "title": "pay: amount", "default": 7}
    assert schema["required"] == ["decision"]


@pytest.mark.parametrize(
    ("answer", "actions"),
    [
        (accepted(decision="approve"), (Approve(steps=("a", "b")),)),
        (accepted(decision="approve", message="", **{"a.amount": 7, "b.amount": "$a"}), (Approve(steps=("a", "b")),)),
        (accepted(decision="approve", **{"b.to": "$a"}),
         (Edit(step="b", args={"to": bindings.escape("$a")}), Pin(steps=("a",)))),
        (accepted(decision="reject", message="No."), tuple(Reject(message="No.", step=step) for step in ("a", "b"))),
        ({"action": "decline"},
         tuple(Reject(message="A person rejected pay.", step=step) for step in ("a", "b"))),
        ({"action": "cancel", "content": None}, ()),
    ],
)  # fmt: skip
def test_a_result_is_actions(answer: Any, actions: tuple[Any, ...]) -> None:
    assert elicitation.feedback(answer, WAITING).actions == actions


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"action": "accept"}, "'decision' is a required property"),
        (accepted(decision="maybe"), "'maybe' is not one of"),
        (accepted(decision="approve", **{"a.whom": "Cy"}), r"'a.whom' was unexpected"),
        (accepted(decision="approve", **{"a.amount": "8"}), r"a.amount: '8' is not of type 'integer'"),
        (accepted(decision="approve", message="but"), "goes with reject"),
        (accepted(decision="reject", **{"a.amount": 8}), "it rejects and edits too"),
        ({"action": "agree"}, "action: Input should be"),
        ({"action": "cancel", "contents": {}}, "contents: Extra inputs"),
    ],
)
def test_an_answer_that_does_not_fit_is_refused(answer: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        elicitation.feedback(answer, WAITING)


def test_the_answer_can_be_edited_too() -> None:
    edited = accepted(decision="approve", **{"submit.answer": "done"})
    assert elicitation.feedback(edited, ANSWERED).actions == (Edit(step="submit", args={"answer": "done"}),)
    assert elicitation.feedback({"action": "decline"}, ANSWERED).actions[0].step is None


@given(open_reviews(), texts)
def test_defaults_approve_and_what_is_written_is_literal(review: Any, text: str) -> None:
    mcp.types.ElicitRequestFormParams.model_validate(elicitation.request(review))
    schema = elicitation.request(review)["requestedSchema"]
    Draft202012Validator.check_schema(schema)
    fields = {name: field["default"] for name, field in schema["properties"].items() if "default" in field}
    steps = tuple(step.id for step in review.trajectory.steps[:-1])
    assert elicitation.feedback(accepted(decision="approve", **fields), review).actions == (Approve(steps=steps),)
    for name in fields:
        if schema["properties"][name]["type"] == "string" and not same(fields[name], text):
            written = accepted(decision="approve", **{**fields, name: text})
            edit = elicitation.feedback(written, review).actions[0]
            assert bindings.resolve(edit.args, {}, review.trajectory.ids) == {name.partition(".")[2]: text}


@given(values)
def test_whatever_a_peer_sends_is_feedback_or_an_error(answer: Any) -> None:
    with pytest.raises(ConfigurationError):
        elicitation.feedback(answer, WAITING)


# -------------------------------------------------------------------------------------------------- the real package


@pytest.mark.parametrize(
    ("result", "actions"),
    [
        (mcp.types.ElicitResult(action="accept", content={"decision": "approve"}), (Approve(steps=("a", "b")),)),
        (mcp.types.ElicitResult(action="cancel"), ()),
    ],
)
async def test_a_tool_of_a_server_asks_its_client(result: Any, actions: tuple[Any, ...]) -> None:
    server, asked, given = MCPServer("desk"), [], []

    @server.tool()
    async def refine(ctx: Context) -> str:
        form = elicitation.request(WAITING)
        answer = await ctx.session.elicit_form(form["message"], form["requestedSchema"])
        given.append(elicitation.feedback(answer.model_dump(mode="json", include={"action", "content"}), WAITING))
        return "done"

    async def answers(context: Any, params: Any) -> Any:
        asked.append(params.requested_schema)
        return result

    async with mcp.Client(server, elicitation_callback=answers, mode="legacy") as client:
        assert not (await client.call_tool("refine", {})).is_error
    assert asked == [elicitation.request(WAITING)["requestedSchema"]]
    assert given[0].actions == actions
