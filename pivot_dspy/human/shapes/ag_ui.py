"""AG-UI's interrupts and resume, as of ag-ui-protocol 1.0 (https://docs.ag-ui.com/concepts/interrupts).

An answer's payload is the protocol's own for tool calls, `{"approved": true, "editedArgs": {...}}`, with `message`, why
not, and `result`, in the place of a call that is not made.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from pydantic import ConfigDict, Field, StrictBool, TypeAdapter
from pydantic.alias_generators import to_camel

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.human.feedback import HumanFeedback
from pivot_dspy.human.review import Review
from pivot_dspy.human.shapes.calls import AskedCall, Decision, asked_calls, by_id, combined, read
from pivot_dspy.plain_json import JsonObject
from pivot_dspy.trajectory import Frozen


class _WireRecord(Frozen):
    """Named as on the wire, and nothing else: a misspelt key is an error, not left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel)


class _ApprovalPayload(_WireRecord):
    approved: StrictBool
    edited_args: JsonObject | None = None
    message: str = ""
    result: Any = None


class _ResumeEntry(_WireRecord):
    interrupt_id: str
    status: Literal["resolved", "cancelled"]
    payload: Any = None
    metadata: dict[str, Any] = Field(default_factory=dict)


_ENTRIES: TypeAdapter[list[_ResumeEntry]] = TypeAdapter(list[_ResumeEntry])
_PAYLOAD: TypeAdapter[_ApprovalPayload] = TypeAdapter(_ApprovalPayload)
_TAKES = '{"approved": true or false} and perhaps "editedArgs", "message" or "result"'


def request(review: Review, *, expires: datetime | None = None) -> dict[str, Any]:
    """A review as the `outcome` of a `RUN_FINISHED` event: an interrupt for each thing that is asked.

    Args:
        expires: until when it can be answered, with a time zone, as of an `OpenReview`.

    Raises:
        ConfigurationError: `expires` has no time zone.
    """
    until = {} if expires is None else {"expiresAt": _zoned(expires).isoformat()}
    return {"type": "interrupt", "interrupts": [{**_interrupt(call), **until} for call in asked_calls(review)]}


def feedback(resume: Any, review: Review, *, expires: datetime | None = None) -> HumanFeedback:
    """The `resume` of a `RunAgentInput`, as data, as the feedback to the review that it answers.

    Arguments in `editedArgs` are literal text; one that is missing keeps its value. What is `cancelled` was left
    without an answer, and nothing is approved by that.

    Raises:
        ConfigurationError: it is no such list, answers something else or not all, has two answers to one question,
            comes too late, or does not fit the review.
    """
    if expires is not None and datetime.now(timezone.utc) >= _zoned(expires):
        raise ConfigurationError(f"review {review.id} expired at {expires}; resume the run to be asked anew")
    entries = read(_ENTRIES, resume, 'a list of {"interruptId", "status": "resolved" or "cancelled", "payload"}')
    answers = by_id(review, _by_interrupt(entries))
    return combined(review, [_decided(call, entry) for call, entry in answers])


def _by_interrupt(entries: Sequence[_ResumeEntry]) -> dict[str, _ResumeEntry]:
    answers: dict[str, _ResumeEntry] = {}
    for entry in entries:
        if answers.setdefault(entry.interrupt_id, entry) != entry:
            raise ConfigurationError(f"{entry.interrupt_id} has two answers that differ; give one")
    return answers


def _decided(call: AskedCall, entry: _ResumeEntry) -> Decision | None:
    if entry.status == "cancelled":
        if entry.payload is not None:
            raise ConfigurationError(f"{call.id} is cancelled and has a payload; to answer, the status is resolved")
        return None
    if entry.payload is None:
        raise ConfigurationError(f"{call.id} is resolved without a payload; it takes {_TAKES}")
    payload = read(_PAYLOAD, entry.payload, _TAKES)
    edits, gives = payload.edited_args is not None, "result" in payload.model_fields_set
    if (payload.approved and gives) or (not payload.approved and edits) or (gives and edits):
        raise ConfigurationError(
            f"{call.id}: editedArgs goes with approved true alone, and result, which is in the place of the call, with "
            "approved false"
        )
    if payload.approved and payload.message:
        raise ConfigurationError(f"{call.id}: message says why not, and goes with approved false")
    if gives:
        return call.responded(payload.result)
    if not payload.approved:
        return call.rejected(payload.message)
    return call.approved() if payload.edited_args is None else call.edited(call.tool, payload.edited_args)


def _interrupt(call: AskedCall) -> dict[str, Any]:
    fields: dict[str, Any] = {"approved": {"type": "boolean"}}
    if "edit" in call.allowed:
        about = "All arguments; one that is left out keeps its value."
        fields["editedArgs"] = {**call.args_schema, "description": about}
    fields["message"] = {"type": "string", "description": "Why not."}
    if "respond" in call.allowed:
        fields["result"] = {"description": "In the place of the call, which is then not made: approved is false."}
    schema = {"type": "object", "properties": fields, "required": ["approved"], "additionalProperties": False}
    return {
        "id": call.id,
        "reason": "tool_call" if call.waits else "confirmation",
        "message": call.description,
        **({"toolCallId": call.id} if call.waits else {}),
        "responseSchema": schema,
        "metadata": {"name": call.tool, "args": call.args},
    }


def _zoned(moment: datetime) -> datetime:
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ConfigurationError(f"expires is a datetime with a time zone, or None for never; got {moment!r:.80}")
    return moment
