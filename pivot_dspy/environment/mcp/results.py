"""What an MCP tool answers, as a value that steps can be bound to."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pivot_dspy.errors import OutcomeUnknown, ToolError

UNANSWERED = re.compile(r"(elicit|sampling|roots).*(unavailable|not supported|back-channel)", re.I | re.S)
"""How the error of a tool reads that has asked its client something and got no answer: it may have acted before."""

HIDDEN = "(hidden)"
UNKNOWN = "it is unknown whether the call did what it does"
LEGACY = "; a server that asks needs a client made with mode='legacy' and an elicitation_callback, or elicitation="


def value_of(result: Any, returns: Mapping[str, Any] | None, *, writes: bool) -> Any:
    """The value of a `CallToolResult`: structured content as it is, else the blocks of its content.

    Text is decoded where it holds a JSON object or array, and nothing else: `"12345"`, `"1e5"` and `"true"` stay text.
    Of one block the value is that block's, of several a list. Images, audio, resources and links to them are objects
    as on the wire, with their `type`.

    Args:
        returns: the tool's output schema.
        writes: whether the tool changes something.

    Raises:
        ToolError: the result says that the call failed.
        OutcomeUnknown: it says that a question of a tool that writes was not answered.
    """
    blocks = [_block(block) for block in result.content]
    if field(result, "is_error", "isError"):
        message = "\n".join(block if isinstance(block, str) else json.dumps(block) for block in blocks)
        if writes and UNANSWERED.search(message):
            raise OutcomeUnknown(unknown(message))
        raise ToolError(message or "the server says that it failed, and not why")
    structured = field(result, "structured_content", "structuredContent")
    if structured is not None:
        beside = [block for block in blocks if not isinstance(block, str)]
        is_open = isinstance(structured, dict) and "content" not in structured
        return {**structured, "content": beside} if beside and is_open else structured
    values = [_decoded(block) for block in blocks]
    if len(values) != 1:
        return values
    return values if _is_list(returns) and not isinstance(values[0], list) else values[0]


def without_echo(value: Any, hidden: Mapping[str, Any]) -> Any:
    """A value in which a field that repeats a hidden argument by its name says that it is hidden, and not what it is.

    >>> without_echo({"state_key": "try/1", "about": [{"key": "try/1"}]}, {"state_key": "try/1"})
    {'state_key': '(hidden)', 'about': [{'key': 'try/1'}]}
    """
    if isinstance(value, list):
        return [without_echo(item, hidden) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        name: HIDDEN if name in hidden and inner == hidden[name] else without_echo(inner, hidden)
        for name, inner in value.items()
    }


def unknown(message: str) -> str:
    """What is said of a call that writes and ended by this error."""
    return f"{message}; {UNKNOWN}{LEGACY if UNANSWERED.search(message) else ''}"


def field(record: Any, name: str, wire_name: str) -> Any:
    """A field that MCP 2 calls `name` and MCP 1 by its name on the wire."""
    return getattr(record, name if hasattr(record, name) else wire_name, None)


def _block(block: Any) -> Any:
    """The text of a block, or the block as on the wire."""
    if getattr(block, "type", None) == "text":
        return block.text
    return block.model_dump(mode="json", by_alias=True, exclude_none=True)


def _decoded(value: Any) -> Any:
    """Text that holds a JSON object or array as that; anything else as it is."""
    if not isinstance(value, str) or not value.lstrip().startswith(("{", "[")):
        return value
    try:
        return json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_list(schema: Mapping[str, Any] | None) -> bool:
    return schema is not None and schema.get("type") == "array"
