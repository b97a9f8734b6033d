"""Requests of operations, from the arguments of a call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, quote

from pivot_dspy.environments.http.operations import Operation
from pivot_dspy.environments.http.styles import header_of, path_of, query_of

if TYPE_CHECKING:
    import httpx2

KEY = "idempotency_key"
"""The argument that takes an idempotency key, of operations that declare no header for one."""


class BuiltRequest(NamedTuple):
    """A request, and which of it comes from arguments: the rest is the client's, such as credentials."""

    request: httpx2.Request
    given_headers: frozenset[str]
    """In lower case."""
    given_query: frozenset[str]


def built_request(
    client: httpx2.AsyncClient, operation: Operation, arguments: Mapping[str, Any], key_header: str
) -> BuiltRequest:
    """The request that calls an operation with these arguments.

    Args:
        key_header: the header that takes an idempotency key.

    Raises:
        ToolError: a value cannot stand where it belongs.
        Exception: whatever httpx raises of others.
    """
    path = operation.path
    headers: dict[str, str] = {}
    query: list[str] = []
    cookies: list[str] = []
    for parameter in operation.parameters:
        if parameter.argument not in arguments:
            continue
        name, value, explode = parameter.name, arguments[parameter.argument], parameter.explode
        if parameter.media_type:  # written as JSON, and then as a text
            value = json.dumps(value, ensure_ascii=False)
        if parameter.location == "path":
            path = path.replace(f"{{{name}}}", path_of(name, value, parameter.style, explode))
        elif parameter.location == "query":
            query.append(query_of(name, value, parameter.style, explode))
        elif parameter.location == "header":
            headers[name] = header_of(value, explode)
        else:
            cookies.append(f"{name}={quote(header_of(value, False), safe=',')}")
    if KEY in arguments and not operation.key:
        headers[key_header] = header_of(arguments[KEY], False)
    if cookies:
        headers["Cookie"] = "; ".join(cookies)
    content = operation.body.content(arguments) if operation.body is not None else {}
    headers |= content.pop("headers", {})
    written = "&".join(filter(None, query))
    request = client.build_request(
        operation.method.upper(), f"{path}?{written}" if written else path, headers=headers, **content
    )
    names = frozenset(name for name, _ in parse_qsl(written, keep_blank_values=True))
    return BuiltRequest(request, frozenset(name.lower() for name in headers), names)
