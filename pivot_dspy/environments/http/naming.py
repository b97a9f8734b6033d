"""Names of tools and arguments: of one kind for path, query, headers, cookies and body, and none twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

BODY = "body"
"""The location of what stands in a request's body."""


class ToolArgument(NamedTuple):
    """What a tool takes."""

    location: str
    name: str
    schema: Mapping[str, Any]
    required: bool


def snake(text: str) -> str:
    """A text as an identifier.

    >>> snake("repos/list-for-org"), snake("get /pets/{petId}.json"), snake("2fa")
    ('repos_list_for_org', 'get_pets_petId_json', '_2fa')
    """
    name = re.sub(r"\W+", "_", text).strip("_") if text else ""
    return f"_{name}" if name[:1].isdigit() else name


def named_arguments(wanted: Sequence[ToolArgument]) -> list[ToolArgument]:
    """Arguments with names that are identifiers, of which each is another; the path keeps the names that collide.

    >>> path, body = ToolArgument("path", "id", {}, True), ToolArgument("body", "id", {}, False)
    >>> [argument.name for argument in named_arguments([path, body, ToolArgument("query", "filter[a]", {}, False)])]
    ['id', 'body_id', 'filter_a']
    """
    counts = Counter(snake(argument.name) for argument in wanted)
    taken: set[str] = set()
    named = []
    for argument in wanted:
        name = snake(argument.name) or argument.location
        if counts[snake(argument.name)] > 1 and argument.location != "path":
            name = f"{argument.location}_{name}"
        while name in taken or (name != snake(argument.name) and name in counts):
            name = f"{name}_"
        taken.add(name)
        named.append(argument._replace(name=name))
    return named
