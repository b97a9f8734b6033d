"""The language of bindings: JMESPath (https://jmespath.org) in which `$a` is the result of the step `a`.

Its functions are those of `pivot_dspy.text_functions`. What a text means where it may be an expression or plain text is
for `pivot_dspy.bindings` to say.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import jmespath
from jmespath.parser import ParsedResult

from pivot_dspy.interpreter import ESCAPED_STEP, Interpreter
from pivot_dspy.plain_json import scalars
from pivot_dspy.readings import CALL, LITERAL, double_quoted, readings, without_dollars

LONGEST = 5000
"""Characters; a longer string is text, and no expression is looked for in it."""

# Beside its own errors (ValueErrors), jmespath lets through what the text provokes in Python: a slice with step zero,
# brackets nested too deep.
FAILURES = (ValueError, TypeError, RecursionError, ArithmeticError, LookupError)
TOKEN = re.compile(rf"{LITERAL}|\$\$|\$(?!{CALL})(\w+)")
"""Its group is the name of a step."""
_FIRST_ALONE = frozenset({"contains", "ends_with", "find_all", "max_by", "min_by", "sort_by", "split", "starts_with"})
"""Functions that give nothing of what stands in their arguments after the first."""
_CUTTING = frozenset({"find_all", "replace", "reverse", "split"})
"""Functions that make another text of one."""


def quote(text: str) -> str:
    """Write `text` so that it stands for itself."""
    return "$'" + text.replace("$", "$$") + "'"


def is_quoted(text: str) -> bool:
    return len(text) > 2 and text.startswith("$'") and text.endswith("'")


@lru_cache(maxsize=4096)
def references(text: str) -> tuple[str, ...]:
    """Names after `$` in `text`, in order, once each; literals of the expression do not count.

    >>> references("max_by($b[?name=='$c'], &price).id")
    ('b',)
    """
    if len(text) > LONGEST or is_quoted(text):
        return ()
    return _names(written(text)) if "$" in text else ()


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, TOKEN.findall(text))))


class _ValidExpression(NamedTuple):
    """An expression that is valid."""

    written: str
    """As it should have been written."""
    parsed: ParsedResult
    quoted: frozenset[str]
    """Its names in double quotes."""
    computed: ParsedResult
    """What is computed: where it may name a step inside a filter, with the names of steps told from those of fields."""


def _compile(text: str, mark: str = "") -> ParsedResult:
    return jmespath.compile(TOKEN.sub(lambda m: f'"{mark}{m[1]}"' if m[1] else ("$" if m[0] == "$$" else m[0]), text))


def _valid(text: str, parsed: ParsedResult) -> _ValidExpression:
    # What stands inside a filter has a list before it, which a step gives as well.
    inner = len(list(filter(None, TOKEN.findall(text)))) > 1 and ("[?" in text or "&" in text)
    return _ValidExpression(text, parsed, double_quoted(text), _compile(text, ESCAPED_STEP) if inner else parsed)


def _tree(text: str) -> Mapping[str, Any]:
    tree: Mapping[str, Any] = _compile(text).parsed
    return tree


@lru_cache(maxsize=4096)
def _read(text: str) -> _ValidExpression:
    """The expression `text`, as it is or else as it was meant. Raises one of `FAILURES` where it is not valid."""
    try:
        return _valid(text, _compile(text))
    except FAILURES:
        if len(text) <= LONGEST and (meant := _meant(text)) is not None:
            return meant
        raise


def _meant(text: str) -> _ValidExpression | None:
    with contextlib.suppress(*FAILURES):
        for reading in readings(text, _tree):
            with contextlib.suppress(*FAILURES):
                parsed = _compile(reading)
                if parsed.parsed["type"] != "literal":  # all of it in quotes: that is text, and a `$` in it a slip
                    return _valid(reading, parsed)
    return None


@lru_cache(maxsize=4096)
def written(text: str) -> str:
    r"""`text` as it should have been written: slips that can be read in one way only are put right.

    >>> print(written("$a[?name=='Men's Shirt']"), written("$max_by(a.rooms, &price)"))
    $a[?name=='Men\'s Shirt'] max_by($a.rooms, &price)
    """
    if "'" not in text and without_dollars(text) == text:
        return text
    try:
        return _read(text).written
    except FAILURES:
        return text


def parse(text: str) -> ParsedResult:
    """The expression `text`, parsed. Raises one of `FAILURES` where it is not valid."""
    return _read(text).parsed


@lru_cache(maxsize=4096)
def is_valid(text: str) -> bool:
    """Whether `text` is a valid expression."""
    try:
        parse(text)
    except FAILURES:
        return False
    return True


def search(text: str, data: Any) -> Any:
    """Value of the expression `text` over `data`. Raises one of `FAILURES`.

    >>> search("$b[?id != $a.id].id", {"a": {"id": 1}, "b": [{"id": 1}, {"id": 2}]})
    [2]
    """
    reading = _read(text)
    return Interpreter(reading.quoted, data).visit(reading.computed.parsed, data)


class Content(NamedTuple):
    """What can be said of what an expression gives, whatever the results."""

    literals: tuple[Any, ...]
    """Words and numbers of its own that may be a part of it."""
    cuts: bool
    """Whether it may be a part of a text in the results."""


@lru_cache(maxsize=4096)
def content(text: str) -> Content:
    """What the expression `text` may give; one that is not valid gives only itself.

    >>> content("join(', ', $a[?name=='Ann'].email)")
    Content(literals=(), cuts=False)
    >>> content("join('', ['Dear ', split($a.name, ' ')[0]])")
    Content(literals=('Dear ',), cuts=True)
    """
    try:
        tree = parse(text).parsed
    except FAILURES:
        return Content((text,), True)
    return Content(tuple(leaf for leaf in _literals(tree) if any(map(str.isalnum, str(leaf)))), _cuts(tree))


def _literals(node: Any) -> Iterator[Any]:
    """The literals in a parsed expression whose values may be a part of its own."""
    if not isinstance(node, Mapping) or node["type"] == "comparator":
        return
    if node["type"] == "literal":
        yield from scalars(node["value"])
    children = node["children"]
    if node["type"] == "filter_projection":
        children = children[:2]  # the third is the condition
    elif node["type"] == "function_expression" and node["value"] in _FIRST_ALONE:
        children = children[:1]
    for child in children:
        yield from _literals(child)


def _cuts(node: Any) -> bool:
    if not isinstance(node, Mapping):
        return False
    return (node["type"] == "function_expression" and node["value"] in _CUTTING) or any(map(_cuts, node["children"]))
