r"""What was meant by an expression that is not valid as it is written, where it can be read in one way only.

Two slips are mended: an apostrophe inside text in single quotes (`'Men's Shirt'`, or `'O\'Neill'` whose backslash was
lost on the way through JSON), and a dollar before a function (`$max_by(a.rooms, &price)`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pivot_dspy.text_functions import TextFunctions

# Strings, quoted identifiers and literals of JMESPath are skipped: a dollar inside them is text.
LITERAL = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`"""
FUNCTIONS = tuple(sorted(TextFunctions.FUNCTION_TABLE))
CALL = rf"(?:{'|'.join(FUNCTIONS)})\("

_DOLLAR_CALL = re.compile(rf"({LITERAL})|(?<!\$)\$({CALL})")
_NAME = re.compile(rf"{LITERAL}|\$\w+|(?<![\w.$])(?P<name>[A-Za-z_]\w*)(?!\w|\s*\()")
_ENDS = r"(?=\s*(?:[)\],}|<>]|&&|[=!]=|\Z))"
"""What follows the end of a text; an apostrophe before anything else belongs to the text."""
_APOSTROPHE = re.compile(r"(\\.)|'", re.DOTALL)
_TEXTS = re.compile(
    rf"'(?P<inner>(?:\\.|[^'\\]|'(?!{_ENDS[3:-1]}))*)'{_ENDS}"
    r"""|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`"""
    r"|'.*",  # one that does not end takes the rest: no start is tried twice
    re.DOTALL,
)
_SCOPES = frozenset(
    {"subexpression", "index_expression", "projection", "value_projection", "filter_projection", "pipe"}
)
_MARK = "_root_of_this_expression_"


def readings(text: str, parsed: Callable[[str], Mapping[str, Any]]) -> Iterator[str]:
    """What `text` may have been meant as: the nearest first. `parsed` gives the tree of an expression or raises."""
    mended = with_apostrophes(text)
    if mended != text:
        yield mended
    bare = without_dollars(mended)
    if bare != mended:
        yield _with_roots(bare, parsed)


def with_apostrophes(text: str) -> str:
    r"""`text` with a backslash before each apostrophe that cannot be the end of the text it stands in.

    >>> print(with_apostrophes("$a[?name=='Men's Shirt' && brand=='Levi's']"))
    $a[?name=='Men\'s Shirt' && brand=='Levi\'s']
    """

    def escaped(match: re.Match[str]) -> str:
        inner = match["inner"]
        return match[0] if inner is None else f"'{_APOSTROPHE.sub(lambda it: it[1] or chr(92) + chr(39), inner)}'"

    return _TEXTS.sub(escaped, text) if "'" in text else text


def without_dollars(text: str) -> str:
    """`text` with no `$` before the functions that it calls."""
    return _DOLLAR_CALL.sub(lambda match: match[1] or match[2], text) if "$" in text else text


def roots(node: Mapping[str, Any]) -> Iterator[str]:
    """Names in a parsed expression that are looked up among the steps, and not in an element of something."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        yield str(node["value"])
    elif kind != "expref":
        for child in children[:1] if kind in _SCOPES else children:
            if isinstance(child, Mapping):
                yield from roots(child)


def _with_roots(text: str, parsed: Callable[[str], Mapping[str, Any]]) -> str:
    """`text` with a `$` before each name that is looked up among the steps. A tree does not say where its names stand,
    so each in turn is written otherwise, to see whether it is such a one."""
    places = [match.start() for match in _NAME.finditer(text) if match["name"]]
    ends = [match.end() for match in _NAME.finditer(text) if match["name"]]
    marked = [start for start, end in zip(places, ends, strict=True)
              if _MARK in roots(parsed(f"{text[:start]}{_MARK}{text[end:]}"))]  # fmt: skip
    for start in reversed(marked):
        text = f"{text[:start]}${text[start:]}"
    return text


def double_quoted(text: str) -> frozenset[str]:
    """The names that stand in double quotes in `text`: it may be that text was meant."""
    if '"' not in text:
        return frozenset()
    return frozenset(lexeme[1:-1] for lexeme in re.findall(LITERAL, text) if lexeme[0] == '"')
