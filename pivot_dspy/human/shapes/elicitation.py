"""MCP's elicitation in form mode, for a refiner that is a tool of an MCP server and asks its client (2025-11-25).

A form is flat, so a person decides once for all calls that wait, and can edit what is text, a number, true or false.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from pivot_dspy.environment.mcp.elicitation import ElicitedAnswer
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.human.feedback import Approve, Edit, HumanFeedback
from pivot_dspy.human.review import Review
from pivot_dspy.human.shapes.calls import AskedCall, asked_calls, combined, read

DECISION, MESSAGE = "decision", "message"
APPROVE, REJECT = "approve", "reject"
_TYPES: dict[type, str] = {bool: "boolean", int: "integer", float: "number", str: "string"}


_RESULT = TypeAdapter(ElicitedAnswer)


def request(review: Review) -> dict[str, Any]:
    """A review as the parameters of `elicitation/create`: its message and the schema of a form.

    What can be edited is called `STEP.ARGUMENT`, and its default is what stands now.
    """
    asked = asked_calls(review)
    properties: dict[str, Any] = {
        DECISION: {"type": "string", "enum": [APPROVE, REJECT], "title": "Decision"},
        MESSAGE: {"type": "string", "title": "Why not, or what to do instead"},
    }
    for call in asked:
        properties |= {name: _field(call, argument) for name, argument in _names(call).items()}
    return {
        "mode": "form",
        "message": "\n\n".join(call.description for call in asked),
        "requestedSchema": {"type": "object", "properties": properties, "required": [DECISION]},
    }


def feedback(answer: Any, review: Review) -> HumanFeedback:
    """An `ElicitResult`, as data, as the feedback to the review that it answers.

    `decline` rejects; `cancel` was left without an answer, and nothing is approved by that. What is left out of a form
    keeps its value, and text is literal.

    Raises:
        ConfigurationError: it is no such result, or does not fit the form or the review.
    """
    result = read(_RESULT, answer, '{"action": "accept", "decline" or "cancel", "content"}')
    asked = asked_calls(review)
    if result.action != "accept":
        declined = result.action == "decline"
        return combined(review, [call.rejected("") if declined else None for call in asked])
    content = result.content or {}
    _require_fit(content, request(review)["requestedSchema"])
    edits = [_decided(call, content) for call in asked]
    rejects, message = content[DECISION] == REJECT, str(content.get(MESSAGE, ""))
    if rejects and any(isinstance(edit, Edit) for edit in edits):
        raise ConfigurationError(f"it rejects and edits too; what is edited is shown again, and goes with {APPROVE}")
    if message and not rejects:
        raise ConfigurationError(f"{MESSAGE} says why not, and goes with {REJECT}")
    return combined(review, [call.rejected(message) for call in asked] if rejects else edits)


def _decided(call: AskedCall, content: Mapping[str, Any]) -> Approve | Edit:
    args = {argument: content[name] for name, argument in _names(call).items() if name in content}
    return call.edited(call.tool, args) if args else call.approved()


def _require_fit(content: Mapping[str, Any], schema: dict[str, Any]) -> None:
    for error in Draft202012Validator({**schema, "additionalProperties": False}).iter_errors(content):
        where = ".".join(map(str, error.absolute_path)) or "the form"
        raise ConfigurationError(f"{where}: {error.message:.200}; it takes {', '.join(schema['properties'])}")


def _names(call: AskedCall) -> dict[str, str]:
    """The arguments of a call that a form can hold, by the name of their field."""
    if call.step is None:
        return {}
    return {f"{call.step.id}.{name}": name for name, value in call.args.items() if type(value) in _TYPES}


def _field(call: AskedCall, argument: str) -> dict[str, Any]:
    value = call.args[argument]
    schema = {} if call.form is None else call.form.parameters.get(argument, {})
    choices = schema.get("enum") or []
    limited = value in choices and all(isinstance(choice, str) for choice in choices)
    number = type(value) in (int, float)
    return {
        "type": "number" if number and schema.get("type") != "integer" else _TYPES[type(value)],
        "title": f"{call.tool}: {argument}",
        **({"description": schema["description"]} if isinstance(schema.get("description"), str) else {}),
        **({"enum": choices} if limited else {}),
        "default": value,
    }
