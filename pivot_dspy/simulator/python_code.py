"""A step of a plan as a line of Python, with its bindings as Python expressions: what a model means by either."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

from pivot_dspy import bindings
from pivot_dspy.simulator.slips import WrittenStep
from pivot_dspy.trajectory import SUBMIT

_DOLLAR = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`|\$(\w+)")
_COMPARED = {"eq": "==", "ne": "!=", "lt": "<", "lte": "<=", "gt": ">", "gte": ">="}
_CALLED: Mapping[str, Callable[..., str]] = {
    "length": "len({})".format,
    "sum": "sum({})".format,
    "min": "min({})".format,
    "max": "max({})".format,
    "keys": "list({})".format,
    "values": "list({}.values())".format,
    "to_string": "str({})".format,
    "to_number": "float({})".format,
    "contains": "({1} in {0})".format,
    "starts_with": "{}.startswith({})".format,
    "ends_with": "{}.endswith({})".format,
    "join": "{}.join({})".format,
    "sort": "sorted({})".format,
    "reverse": "list(reversed({}))".format,
}
_BY_KEY = {"min_by": "min", "max_by": "max", "sort_by": "sorted"}


class NoPythonFor(Exception):
    """A binding has a part that this writes no Python for."""


def line_of(step: WrittenStep, ids: Collection[str]) -> str:
    """The step as a line that gives its result the step's id as a name, or submits.

    Args:
        ids: of the steps that bindings name.

    Raises:
        NoPythonFor: a binding cannot be written.

    >>> line_of({"id": "b", "tool": "find", "args": {"ids": "$a[?n > `2`].id", "day": "Monday"}}, ["a"])
    "b = find(ids=[x['id'] for x in a if x['n'] > 2], day='Monday')"
    >>> line_of({"id": "c", "tool": "add", "args": {"id": "min_by($b, &item.price).item.id"}}, ["b"])
    "c = add(id=min(b, key=lambda x: x['item']['price'])['item']['id'])"
    >>> line_of({"id": "d", "tool": "ask", "args": {"id": "$item"}, "for_each": "$a.ids"}, ["a"])
    "d = [{'item': item, 'result': ask(id=item)} for item in a['ids']]"
    """
    known = {*ids, bindings.ITEM}
    args = ", ".join(f"{name}={_value(value, known)}" for name, value in (step.get("args") or {}).items())
    call = f"{step['tool']}({args})"
    if step["tool"] == SUBMIT:
        return call
    if "for_each" in step:
        call = f"[{{'item': item, 'result': {call}}} for item in {_value(step['for_each'], known)}]"
    return f"{step['id']} = {call}"


def _value(value: Any, known: Collection[str]) -> str:
    if isinstance(value, Mapping):
        if bindings.is_calc(value):
            raise NoPythonFor(bindings.CALC)
        return f"{{{', '.join(f'{name!r}: {_value(item, known)}' for name, item in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(_value(item, known) for item in value)}]"
    if not isinstance(value, str):
        return repr(value)
    if not bindings.is_binding(value, known):
        return repr(bindings.unescape(value))
    try:
        tree = jmespath.compile(_DOLLAR.sub(lambda match: match[1] or match[0], value)).parsed
    except JMESPathError as error:
        raise NoPythonFor(value) from error
    return _expression(tree, None, 0)


def _expression(node: Mapping[str, Any], this: str | None, depth: int) -> str:
    """Python for a node of a JMESPath tree; `this` is the value that it is about, None for the variables."""

    def inner(child: Mapping[str, Any], about: str | None = this) -> str:
        return _expression(child, about, depth)

    kind, children = node["type"], node.get("children", [])
    match kind:
        case "field":
            return str(node["value"]) if this is None else f"{this}[{node['value']!r}]"
        case "subexpression" | "index_expression" | "pipe":
            about: str | None = this
            for child in children:
                about = inner(child, about)
            return str(about)
        case "index":
            return f"{this}[{node['value']}]"
        case "literal":
            return repr(node["value"])
        case "current" | "identity" if this is not None:
            return this
        case "projection" | "filter_projection":
            element = "xyzuvw"[depth]
            source = inner(children[0])
            result = _expression(children[1], element, depth + 1)
            terms = f" if {_expression(children[2], element, depth + 1)}" if kind == "filter_projection" else ""
            return source if result == element and not terms else f"[{result} for {element} in {source}{terms}]"
        case "comparator":
            return f"{inner(children[0])} {_COMPARED[node['value']]} {inner(children[1])}"
        case "and_expression":
            return f"{inner(children[0])} and {inner(children[1])}"
        case "or_expression":
            return f"({inner(children[0])} or {inner(children[1])})"
        case "not_expression":
            return f"(not ({inner(children[0])}))"
        case "multi_select_list":
            return f"[{', '.join(map(inner, children))}]"
        case "function_expression" if node["value"] in _BY_KEY:
            element = "xyzuvw"[depth]
            key = _expression(children[1]["children"][0], element, depth + 1)
            return f"{_BY_KEY[node['value']]}({inner(children[0])}, key=lambda {element}: {key})"
        case "function_expression" if node["value"] in _CALLED:
            return _CALLED[node["value"]](*map(inner, children))
    raise NoPythonFor(f"{kind} {node.get('value', '')}")
