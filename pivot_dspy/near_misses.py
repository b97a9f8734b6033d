"""Near misses of bindings: what was meant as one, and would else be passed on, and posted, as text.

Each names a step, and is a near miss only where there is such a step: `{{name}}` is text like any other elsewhere. What
stands in long prose is text, too, but for `$a.` and `$a[`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.expressions import CALL, LITERAL, LONGEST, is_valid, parse, references

PROSE = 200
"""Characters around what looks like a binding from which on it is part of a text, unless it can be nothing else."""

_LOOKS_LIKE_ONE = re.compile(r"[$<(]|\{\w*[{\[]")
_PATH = re.compile(r"(?<!\$)(?:\$\$)*\$(\w+)(?:\[|\.[A-Za-z_*\"\[{])")
_CALL = re.compile(rf"\s*{CALL}")
_DOLLAR_CALL = re.compile(rf"({LITERAL})|\$({CALL})")
_TEMPLATE = re.compile(
    r"(?<!\$)(?:\$\$)*\$\{([^{}$]{1,200})\}"  # ${a.b}
    r"|\{\{([^{}$]{1,200})\}\}"  # {{a.b}}
    r"|[<{](\w{1,64}\[[^<>{}$\s]{0,200})[>}]"  # <a[0].b>, {a[0].b}
    r"|\A\s*<(\w{1,64}\.[^<>$\s]{1,200})>\s*\Z"  # <a.b> alone: within a text it may be an address
)
_SCOPES = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
)


class NearMiss(NamedTuple):
    """A text that was meant as a binding to `step`."""

    step: str
    remedy: str
    """How it is written."""


def near_miss(text: str, step_ids: Collection[str]) -> NearMiss | None:
    """The first near miss in `text` of a binding to one of the steps.

    >>> near_miss("$join(', ', $a[].body)", {"a"}).remedy
    "functions go without $: join(', ', $a[].body)"
    """
    return next((miss for miss in possible(text) if miss.step in step_ids), None)


def possible(text: str) -> tuple[NearMiss, ...]:
    """Near misses in `text`, whatever the steps are called."""
    if len(text) > LONGEST:
        remedy = f"is no binding in a text of more than {LONGEST:,} characters; write $$ for a plain dollar"
        return tuple(NearMiss(name, f"${name} {remedy}") for name in paths(text))
    return _in_short(text)


@lru_cache(maxsize=4096)
def _in_short(text: str) -> tuple[NearMiss, ...]:
    return (*_calls(text), *_templates(text)) if _LOOKS_LIKE_ONE.search(text) else ()


def paths(text: str) -> tuple[str, ...]:
    """Names after a `$` that a `.` and a field, or `[`, follow: such a one is never meant as text."""
    return tuple(dict.fromkeys(_PATH.findall(text))) if "$" in text else ()


def without_dollars(text: str) -> str:
    """`text` with no `$` before the functions that it calls."""
    return _DOLLAR_CALL.sub(lambda match: match[1] or match[2], text)


def _calls(text: str) -> Iterator[NearMiss]:
    """`join(', ', a[].body)`, `$join(', ', $a[].body)`: texts that are a call of a known function, and nothing else."""
    bare = without_dollars(text)
    named = references(bare)
    if (bare == text and (named or not _CALL.match(text))) or not is_valid(bare):
        return
    yield from (NearMiss(name, f"functions go without $: {bare}") for name in named)
    for name in _roots(parse(bare).parsed):
        if name not in named:
            yield NearMiss(name, f"functions go without $, and the result of step {name} is written ${name}")


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    """Names in a parsed expression that are looked up among the steps, and not in an element of something."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield str(node["value"])
    elif kind != "expref":
        for child in children[:1] if kind in _SCOPES else children:
            yield from _roots(child)


def _templates(text: str) -> Iterator[NearMiss]:
    for match in _TEMPLATE.finditer(text):
        inner = str(match[match.lastindex or 0]).strip()
        name = re.split(r"\W", inner, maxsplit=1)[0]
        if len(text) - len(match[0]) <= PROSE and name and is_valid(f"${inner}"):
            yield NearMiss(name, f"to put results into text write join('', ['...', ${inner}, '...'])")
