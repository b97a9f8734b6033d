"""How values of parameters are written in paths, queries, headers and cookies: OpenAPI's styles."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from pivot_dspy.errors import ToolError

_OPERATORS: Mapping[str, str] = {"simple": "", "label": ".", "matrix": ";", "form": "&"}
"""The styles that are expansions of URI templates (RFC 6570)."""

_SEPARATORS: Mapping[str, str] = {"spaceDelimited": "%20", "pipeDelimited": "|"}


def path_of(name: str, value: Any, style: str, explode: bool) -> str:
    """A value as it stands in a path.

    Raises:
        ToolError: it is empty or leads elsewhere in the path, and so to another operation.

    >>> path_of("id", "a/b c", "simple", False), path_of("ids", [1, 2], "matrix", True)
    ('a%2Fb%20c', ';ids=1;ids=2')
    """
    written = _expanded(name, value, _OPERATORS.get(style, ""), explode)
    if written in ("", ".", ".."):
        raise ToolError(f"{name} is {json.dumps(value)}, which would lead to another path; give a value that names one")
    return written


def query_of(name: str, value: Any, style: str, explode: bool) -> str:
    """A value as it stands in a query or in a form; empty where nothing is given.

    >>> query_of("tags", ["a b", "c"], "form", True), query_of("tags", ["a b", "c"], "form", False)
    ('tags=a%20b&tags=c', 'tags=a%20b,c')
    >>> query_of("where", {"age": {"min": 3}, "in": ["x"]}, "deepObject", True)
    'where%5Bage%5D%5Bmin%5D=3&where%5Bin%5D%5B0%5D=x'
    """
    if style == "deepObject":
        pairs = [(path, text_of(leaf)) for path, leaf in _leaves(name, value)]
        return "&".join(f"{quote(path, safe='')}={quote(text, safe='')}" for path, text in pairs)
    if style in _SEPARATORS and not explode and isinstance(value, (list, dict)):
        texts = [text_of(part) for part in (value if isinstance(value, list) else _flat(value))]
        return f"{quote(name, safe='')}={_SEPARATORS[style].join(quote(text, safe='') for text in texts)}"
    return _expanded(name, value, _OPERATORS["form"], explode)[1:]


def header_of(value: Any, explode: bool) -> str:
    """A value as it stands in a header, or in a cookie.

    Raises:
        ToolError: it has a line end, which would begin another header.

    >>> header_of([1, True], False), header_of({"a": 1}, True)
    ('1,true', 'a=1')
    """
    if isinstance(value, dict) and explode:
        text = ",".join(f"{key}={text_of(part)}" for key, part in value.items())
    elif isinstance(value, (list, dict)):
        text = ",".join(text_of(part) for part in (value if isinstance(value, list) else _flat(value)))
    else:
        text = text_of(value)
    if not text.isprintable():
        raise ToolError(f"a header cannot hold {text!r:.80}")
    return text


def text_of(value: Any) -> str:
    """A value as text: what is no text is written as JSON.

    >>> text_of("true"), text_of(True), text_of(1.5), text_of({"a": [1]})
    ('true', 'true', '1.5', '{"a": [1]}')
    """
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def _expanded(name: str, value: Any, operator: str, explode: bool) -> str:
    import uritemplate

    if isinstance(value, dict):
        value = {key: text_of(part) for key, part in value.items()}
    else:
        value = [text_of(part) for part in value] if isinstance(value, list) else text_of(value)
    variable = quote(name, safe="").replace(".", "%2E").replace("~", "%7E").replace("-", "%2D")
    return str(uritemplate.expand(f"{{{operator}{variable}{'*' if explode else ''}}}", {variable: value}))


def _flat(value: Mapping[str, Any]) -> list[Any]:
    return [part for pair in value.items() for part in pair]


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(f"{path}[{key}]", inner)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _leaves(f"{path}[{position}]", inner)
    else:
        yield path, value
