"""What a server answers, as a value that steps can be bound to, and files as values."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from pivot_dspy.errors import ToolError

FILE: Mapping[str, Any] = {
    "description": "A text, or a file that another call gave.",
    "anyOf": [
        {"type": "string"},
        {
            "type": "object",
            "properties": {
                "data": {"type": "string", "contentEncoding": "base64"},
                "mimeType": {"type": "string"},
                "name": {"type": "string"},
            },
            "required": ["data"],
        },
    ],
}
"""The schema of a file that is sent."""

TOLD_HEADERS = ("location", "retry-after", "allow")
"""Headers that say what to do next, where no body does."""


@dataclass(frozen=True)
class HttpAnswer:
    """A response that was read whole."""

    status: int
    reason: str
    headers: Mapping[str, str]
    """By names in lower case."""
    content: bytes
    charset: str = "utf-8"

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").split(";")[0].strip().lower()

    @property
    def value(self) -> Any:
        """JSON as data, text as text, anything else as an object with `type`, `mimeType` and `data` in base64, the form
        that MCP gives images and sounds. Where there is no body, the headers that tell something, or None.

        >>> HttpAnswer(200, "OK", {"content-type": "application/json"}, b'{"a": 1}').value
        {'a': 1}
        >>> HttpAnswer(201, "Created", {"location": "/notes/7"}, b"").value
        {'location': '/notes/7'}
        """
        if not self.content:
            return {name: self.headers[name] for name in TOLD_HEADERS if name in self.headers} or None
        kind = self.media_type
        if kind.startswith(("image/", "audio/")):
            return self._file(kind.split("/")[0])
        text = self._text()
        if kind in ("application/json", "text/json", "") or kind.endswith("+json"):
            try:
                return json.loads(text, parse_constant=lambda constant: constant)
            except (ValueError, RecursionError):
                return text
        if kind.startswith("text/") or kind.endswith(("/xml", "+xml", "/yaml", "/jsonl", "/x-ndjson", "/javascript")):
            return text
        return self._file("blob")

    @property
    def failure(self) -> str:
        """The status and what the server says of it."""
        body = self._text().strip() if self.content and not self.media_type.startswith(("image/", "audio/")) else ""
        hint = f" (Retry-After: {self.headers['retry-after']})" if "retry-after" in self.headers else ""
        return f"{self.status} {self.reason}{hint}{f': {body}' if body else ''}"

    def _text(self) -> str:
        try:
            return self.content.decode(self.charset, errors="replace")
        except LookupError:  # a charset that nobody knows
            return self.content.decode(errors="replace")

    def _file(self, kind: str) -> dict[str, str]:
        return {"type": kind, "mimeType": self.media_type, "data": base64.b64encode(self.content).decode("ascii")}


class SentFile(NamedTuple):
    """A file as it is sent."""

    content: bytes
    media_type: str
    name: str = ""


def bytes_of(value: Any) -> SentFile:
    """A text or a file that another call gave, as bytes.

    Raises:
        ToolError: it is neither.

    >>> bytes_of({"data": "aGk=", "mimeType": "text/csv"})
    SentFile(content=b'hi', media_type='text/csv', name='')
    """
    if isinstance(value, str):
        return SentFile(value.encode(), "text/plain")
    try:
        content = base64.b64decode(value["data"], validate=True)
        return SentFile(content, str(value.get("mimeType") or "application/octet-stream"), str(value.get("name") or ""))
    except (TypeError, KeyError, AttributeError, binascii.Error, ValueError) as error:
        raise ToolError("a file is a text, or an object with its bytes as `data` in base64") from error
