"""LangChain's human-in-the-loop shapes, as of `HumanInTheLoopMiddleware` of langchain 1.5.

`request` and `feedback` are its batched mode, one request for all calls and decisions by position; `call_requests` and
`call_feedback` its mode per call, in which each has an id. A node of LangGraph asks so, where `refiner` has a journal,
with which it goes on at each pass, and the `FileReviewer` called `inbox`::

    def refine(state):
        result = refiner(request=state["request"], commit=True)
        if not result.awaiting:
            return {"answer": result.answer}
        (review,) = result.awaiting
        answer = interrupt({**langchain.request(review), "note": state.get("note", "")})
        try:
            inbox.answer(review.id, langchain.feedback(answer, review))
        except ConfigurationError as error:  # LangGraph has saved the answer, and would raise for ever
            return Command(goto="refine", update={"note": str(error)})
        return Command(goto="refine", update={"note": ""})

One `interrupt` in each pass, for LangGraph runs a node from its start again and gives answers by their order in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from pivot_dspy.errors import ConfigurationError, did_you_mean
from pivot_dspy.human.feedback import HumanFeedback
from pivot_dspy.human.review import Review
from pivot_dspy.human.shapes.calls import AskedCall, Decision, asked_calls, by_id, combined, read
from pivot_dspy.plain_json import JsonObject
from pivot_dspy.trajectory import Frozen


class _EditedAction(Frozen):
    name: str
    args: JsonObject


class _ApproveDecision(Frozen):
    type: Literal["approve"]


class _EditDecision(Frozen):
    type: Literal["edit"]
    edited_action: _EditedAction


class _RejectDecision(Frozen):
    type: Literal["reject"]
    message: str = ""


class _RespondDecision(Frozen):
    type: Literal["respond"]
    message: str


_Decision = Annotated[
    _ApproveDecision | _EditDecision | _RejectDecision | _RespondDecision, Field(discriminator="type")
]


class _HitlResponse(Frozen):
    decisions: list[_Decision]


_DECISION: TypeAdapter[Any] = TypeAdapter(_Decision)
_RESPONSE: TypeAdapter[_HitlResponse] = TypeAdapter(_HitlResponse)
_TAKES = (
    'decisions {"type": "approve"}, {"type": "edit", "edited_action": {"name", "args"}}, {"type": "reject", '
    '"message"} and {"type": "respond", "message"}'
)


def request(review: Review) -> dict[str, Any]:
    """A review as a `HITLRequest`: what is asked, in order, and which decisions may be taken on it."""
    asked = asked_calls(review)
    return {
        "action_requests": [
            {"name": call.tool, "args": call.args, "description": call.description} for call in asked
        ],
        "review_configs": [{"action_name": call.tool, "allowed_decisions": [*call.allowed]} for call in asked],
    }  # fmt: skip


def feedback(answer: Any, review: Review) -> HumanFeedback:
    """A `HITLResponse` as the feedback to the review that it answers.

    Arguments of an edit are literal text, and one that is missing keeps its value. A response is a text.

    Raises:
        ConfigurationError: it is no such response, has another number of decisions than were asked for, or does not
            fit the review.
    """
    decisions = read(_RESPONSE, answer, f'{{"decisions": [...]}} with {_TAKES}').decisions
    asked = asked_calls(review)
    if len(decisions) != len(asked):
        names = ", ".join(call.tool for call in asked)
        raise ConfigurationError(f"{len(decisions)} decisions for {len(asked)} action requests; decide on {names}")
    return combined(review, [_decided(call, decision) for call, decision in zip(asked, decisions, strict=True)])


def call_requests(review: Review) -> dict[str, dict[str, Any]]:
    """A review as a `ToolApprovalRequest` for each thing that is asked, by its id."""
    return {
        call.id: {
            "type": "tool_approval",
            "tool_call_id": call.id,
            "name": call.tool,
            "args": call.args,
            "description": call.description,
        }
        for call in asked_calls(review)
    }


def response_schemas(review: Review) -> dict[str, dict[str, Any]]:
    """JSON schema of the decision on each thing that is asked, by its id, for `interrupt(response_schema=)`."""
    return {call.id: {"oneOf": [_schema(kind, call) for kind in call.allowed]} for call in asked_calls(review)}


def call_feedback(answers: Mapping[str, Any], review: Review) -> HumanFeedback:
    """Decisions by the ids of `call_requests` as the feedback to the review that they answer, all of them or none.

    Raises:
        ConfigurationError: one is no decision, is missing, is of something else, or does not fit the review.
    """
    return combined(
        review, [_decided(call, read(_DECISION, answer, _TAKES)) for call, answer in by_id(review, answers)]
    )


def resume(interrupts: Iterable[Any], answers: Mapping[str, Any]) -> dict[str, Any]:
    """What to resume a LangGraph thread with, as `Command(resume=...)`: the answer to each open interrupt by its id.

    LangGraph 1.2 takes a mapping whose keys are no ids for the answer itself, `{}` and an id that is not open for none.

    Args:
        interrupts: the open ones, as of `graph.get_state(config).interrupts`.

    Raises:
        ConfigurationError: an answer is to no open interrupt, or one has none.
    """
    ids = [interrupt.id for interrupt in interrupts]
    for name in answers:
        if name not in ids:
            known = ", ".join(ids) or "none"
            raise ConfigurationError(f"no interrupt {name!r} is open{did_you_mean(name, ids)}; those that are: {known}")
    if not ids or len(answers) < len(ids):
        missing = ", ".join(name for name in ids if name not in answers) or "nothing is open"
        raise ConfigurationError(f"unanswered: {missing}; answer all that is asked at once")
    return {name: answers[name] for name in ids}


def _decided(call: AskedCall, decision: Any) -> Decision:
    if isinstance(decision, _EditDecision):
        return call.edited(decision.edited_action.name, decision.edited_action.args)
    if isinstance(decision, _RejectDecision):
        return call.rejected(decision.message)
    if isinstance(decision, _RespondDecision):
        return call.responded(decision.message)
    return call.approved()


def _schema(kind: str, call: AskedCall) -> dict[str, Any]:
    """JSON schema of one kind of decision on a call."""
    action: dict[str, Any] = {"name": {"const": call.tool}, "args": call.args_schema}
    edited = {"type": "object", "properties": action, "required": ["name", "args"], "additionalProperties": False}
    by_kind: dict[str, dict[str, Any]] = {"approve": {}, "edit": {"edited_action": edited}}
    fields = by_kind.get(kind, {"message": {"type": "string"}})
    required = ["type", *(name for name in fields if kind != "reject")]
    return {
        "type": "object",
        "properties": {"type": {"const": kind}, **fields},
        "required": required,
        "additionalProperties": False,
    }
