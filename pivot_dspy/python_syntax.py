"""Python's own parser, asked again where threads disturb it.

CPython before 3.13 may raise `SystemError: AST constructor recursion depth mismatch` where two threads parse at once
(https://github.com/python/cpython/issues/106905); the text is not at fault.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any, TypeVar

Parsed = TypeVar("Parsed")
ATTEMPTS = 20


def parse_expression(text: str) -> ast.expr:
    """The tree of an expression. Raises SyntaxError, and RecursionError or MemoryError where it is nested too deep."""
    tree: ast.Expression = _undisturbed(lambda: ast.parse(text, mode="eval"))
    return tree.body


def read_literal(text: str) -> Any:
    """The value of a literal, as `ast.literal_eval`.

    >>> read_literal("{'a': [1, 2]}")
    {'a': [1, 2]}
    """
    return _undisturbed(lambda: ast.literal_eval(text))


def _undisturbed(parse: Callable[[], Parsed]) -> Parsed:
    for _ in range(ATTEMPTS - 1):
        try:
            return parse()
        except SystemError:
            continue
    return parse()
