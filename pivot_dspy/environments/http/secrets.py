"""What a request carries that nobody but the server may read, and how it is taken out of what the server says."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from typing import Any

from pivot_dspy.environment.mcp.results import HIDDEN

_PUBLIC = frozenset(
    ("host", "accept", "accept-encoding", "accept-language", "connection", "user-agent", "date")
    + ("content-type", "content-length", "transfer-encoding")
)
_SHORTEST = 6
"""Characters of the shortest text that is taken for a secret: a shorter one stands in other words."""


def secrets_of(request: Any, given_headers: Collection[str], given_query: Collection[str]) -> frozenset[str]:
    """The secrets in a request as it went out, whoever put them there: its headers, query and cookies but for what was
    given by arguments, and the parts of these.

    Args:
        request: an `httpx2.Request`.
        given_headers: names of headers, in lower case, that arguments gave.
        given_query: names of what arguments gave in the query.
    """
    values = [value for name, value in request.headers.items() if name.lower() not in {*_PUBLIC, *given_headers}]
    values += [value for name, value in request.url.params.multi_items() if name not in given_query]
    return texts_of(values)


def texts_of(values: Iterable[Any]) -> frozenset[str]:
    """The texts that are secret where these values are: each, and its parts.

    >>> {"dXNlcjpwYXNzd29yZA==", "user:password", "password"} <= texts_of(["Basic dXNlcjpwYXNzd29yZA=="])
    True
    """
    texts: set[str] = set()
    for value in values:
        if not isinstance(value, str):
            continue
        texts |= {value, *re.split(r"[\s;,]+", value), *re.split(r"[\s;,=]+", value)}
        if value.startswith("Basic "):
            try:
                pair = base64.b64decode(value[6:]).decode()
            except (binascii.Error, UnicodeDecodeError):
                continue
            texts |= {pair, pair.partition(":")[2]}
    return frozenset(text for text in texts if len(text) >= _SHORTEST)


def without_secrets(value: Any, secrets: Collection[str]) -> Any:
    """JSON data in whose texts secrets are said to be hidden.

    >>> without_secrets({"you sent": ["Bearer abc-123-x"]}, texts_of(["Bearer abc-123-x"]))
    {'you sent': ['(hidden)']}
    """
    if not secrets:
        return value
    pattern = re.compile("|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)))

    def cleaned(data: Any) -> Any:
        if isinstance(data, dict):
            return {cleaned(key): cleaned(inner) for key, inner in data.items()}
        if isinstance(data, list):
            return [cleaned(inner) for inner in data]
        return pattern.sub(HIDDEN, data) if isinstance(data, str) else data

    return cleaned(value)
