"""The recorded runs of the shopping domain as chat logs, so that they can be refined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def messages(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The calls of a recorded run as OpenAI-style messages, one call to an assistant message."""
    log: list[dict[str, Any]] = []
    for number, call in enumerate(run["calls"], start=1):
        function = {"name": call["tool"], "arguments": call["arguments"]}
        log.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"{number}", "type": "function", "function": function}],
            }
        )
        log.append({"role": "tool", "tool_call_id": f"{number}", "content": call["observation"]})
    return log
