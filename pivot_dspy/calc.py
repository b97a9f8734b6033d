"""Calcs: exact arithmetic over numbers and bindings, such as `10.0 - $a[0].amount / 2`.

A calc is a formula of numbers and bindings, `+ - * / // %`, parentheses, and `round`, `min`, `max`, `sum` and `abs`. A
binding that is more than a plain path stands in braces: `{max_by($a, &date).amount} - 12.00 / 2`. This module reads
formulas and computes them; what a binding gives is for `pivot_dspy.bindings` to say. Each error is a `ValueError`.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.python_syntax import parse_expression
from pivot_dspy.readings import LITERAL, with_apostrophes
from pivot_dspy.written_numbers import written_number

Number = int | float

TAKES = "a calc takes numbers, bindings, + - * / // % ( ), round(x, n), min, max, sum and abs"
LONGEST_FORMULA = 2000
"""Characters."""
LARGEST = 10**30
"""No number in a calc may be as large, whether read or computed."""
MOST_DIGITS = 15
"""Places to which `round` rounds."""

_PLAIN = rf"""(?:{LITERAL}|[^{{}}'"`])"""
_LEXEME = re.compile(
    rf"\{{(?P<braced>(?:{_PLAIN}|\{{{_PLAIN}*\}})*)\}}"
    r"|(?P<dollars>\$\$\w*)"
    r"|(?P<path>\$\w+(?:\.\w+|\.\*|\[(?:-?\d+|\*|)\])*)"
    r"|(?P<thousands>\d{1,3}(?:,\d{3})+(?!\w))"
    r"|(?P<number>(?:0|[1-9]\d*)(?:\.\d+)?(?![\w.]))"
    r"|(?P<word>[^\W\d]\w*)"
    r"|(?P<sign>//|[-+*/%(),])"
    r"|(?P<other>[\w.]+|\S)",
    re.ASCII,
)
_OPERAND_KINDS = frozenset({"braced", "path", "number"})
_NO_FORMULA = "it is no formula"


class CalcPart(NamedTuple):
    """One number of a calc, and where it comes from."""

    text: str
    """The number or the binding as it is written, without braces."""
    value: Number | tuple[Number, ...]
    """More than one where a binding gives a list."""
    step: str | None
    """Id of the step it is bound to; None where it is written in the formula."""


class Operand(NamedTuple):
    """A number or a binding in a formula."""

    text: str
    bound: bool


class Formula(NamedTuple):
    """A calc, read."""

    operands: tuple[Operand, ...]
    tree: ast.expr | None
    """The formula with the names `_0`, `_1`, ... in the places of its operands; None where there is a problem."""
    problem: str = ""
    """Why it cannot be computed."""


@lru_cache(maxsize=4096)
def read(text: str) -> Formula:
    """The operands of a calc, whether or not it is a valid formula.

    >>> read("10.0 - $a[0].amount / 2").operands
    (Operand(text='10.0', bound=False), Operand(text='$a[0].amount', bound=True), Operand(text='2', bound=False))
    """
    if len(text) > LONGEST_FORMULA:
        return Formula((), None, f"it is longer than {LONGEST_FORMULA} characters")
    operands: list[Operand] = []
    problems: list[str] = []
    source: list[str] = []
    for match in _LEXEME.finditer(_mended(text)):
        kind = str(match.lastgroup)
        lexeme = match[kind]
        if kind in _OPERAND_KINDS:
            source.append(f"_{len(operands)}")
            operands.append(Operand(lexeme, kind != "number"))
        else:
            source.append(lexeme)
        if _is_refused(kind, lexeme):
            problems.append(_REFUSED[kind].format(lexeme))
    if problems:
        return Formula(tuple(operands), None, problems[0])
    try:
        tree = parse_expression(" ".join(source))
    except (SyntaxError, RecursionError, MemoryError):  # the last two: nested too deep
        return Formula(tuple(operands), None, _NO_FORMULA)
    return Formula(tuple(operands), tree)


def _mended(text: str) -> str:
    """A formula in which braces that an apostrophe keeps open are closed where they were meant to be."""
    opened = "'" in text and any(match["other"] == "{" for match in _LEXEME.finditer(text))
    return with_apostrophes(text) if opened else text


def _is_refused(kind: str, lexeme: str) -> bool:
    if kind == "braced":
        return "$" not in lexeme  # a step's id without it: then nobody would know that the calc depends on that step
    return kind in _REFUSED and lexeme not in _FUNCTIONS


def replace_bindings(text: str, change: Callable[[str], Any]) -> str:
    """A formula with each binding in it replaced by what `change` makes of it.

    >>> replace_bindings("{min($a[].x)} - 1", str.upper)
    '{MIN($A[].X)} - 1'
    """

    def replaced(match: re.Match[str]) -> str:
        if match.lastgroup not in ("braced", "path"):
            return match[0]
        changed = str(change(match[match.lastgroup]))
        return f"{{{changed}}}" if match.lastgroup == "braced" else changed

    return _LEXEME.sub(replaced, _mended(text[:LONGEST_FORMULA])) + text[LONGEST_FORMULA:]


def annotate(text: str, notes: Iterable[str]) -> str:
    """A formula with a note behind each of its operands.

    >>> annotate("10.0 - {min($a[].x)} / 2", ["asked", "read", "own"])
    '10.0 (asked) - {min($a[].x)} (read) / 2 (own)'
    """
    left = iter(notes)
    return _LEXEME.sub(lambda it: f"{it[0]} ({next(left)})" if it.lastgroup in _OPERAND_KINDS else it[0], _mended(text))


def number(value: Any) -> Number | tuple[Number, ...]:
    """What a binding gives, or what is written, as a number, or as several where it is a list.

    >>> number("$1,234.50"), number("12"), number([1, "2.5"])
    (1234.5, 12, (1, 2.5))
    """
    if isinstance(value, list):
        return tuple(_single(item) for item in value)
    return _single(value)


def _single(value: Any) -> Number:
    if isinstance(value, str):
        written = written_number(value)
        if written is None:
            commas = "; replace(x, ',', '') takes commas out" if re.search(r"\d,\d", value[:100]) else ""
            raise ValueError(f"gives the text {value!r:.80}, which is not clearly a number{commas}")
        value = written
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"gives {value!r:.80}, which is no number")
    if not abs(value) < LARGEST:  # nor is NaN
        raise ValueError("gives a number that is too large")
    return value


def compute(formula: Formula, values: Sequence[Number | tuple[Number, ...]]) -> Number:
    """What `formula` gives for the values of its operands: whole where each of them is, as `int`; else `float`.

    >>> compute(read("0.1 + 0.2"), (0.1, 0.2))
    0.3
    """
    if formula.tree is None:
        raise ValueError(formula.problem)
    given = {f"_{place}": _exact(value) for place, value in enumerate(values)}
    try:
        result = _number(_value(formula.tree, given))
    except ZeroDivisionError as error:
        raise ValueError("it divides by zero") from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except TypeError as error:
        raise ValueError("a function has too few or too many numbers in it") from error
    whole = result.denominator == 1 and all(isinstance(item, int) for value in values for item in _each(value))
    return int(result) if whole else float(result)


_Exact = Fraction | tuple[Fraction, ...]


def _exact(value: Number | tuple[Number, ...]) -> _Exact:
    # A float stands for the decimal that it is written as: 0.1 is one tenth.
    return tuple(Fraction(str(item)) for item in value) if isinstance(value, tuple) else Fraction(str(value))


def _value(node: ast.expr, given: dict[str, _Exact]) -> _Exact:
    if isinstance(node, ast.Name) and node.id in given:
        return given[node.id]
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_number(_value(node.operand, given)))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _number(_value(node.left, given)), _number(_value(node.right, given))
        return _bounded(_OPERATORS[type(node.op)](left, right))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
        return _bounded(_FUNCTIONS[node.func.id](*[_value(argument, given) for argument in node.args]))
    raise ValueError(_NO_FORMULA)


def _number(value: _Exact) -> Fraction:
    if isinstance(value, tuple):
        raise ValueError("a list stands where one number is needed; sum, min and max take a list")
    return value


def _bounded(value: Fraction | int) -> Fraction:
    exact = Fraction(value)
    if abs(exact) >= LARGEST:
        raise ValueError("it gives a number that is too large")
    return exact


def _round(value: _Exact, places: _Exact = Fraction(0)) -> Fraction:
    """Round halves away from zero, as amounts of money are."""
    number, digits = _number(value), _number(places)
    if digits.denominator != 1 or abs(digits) > MOST_DIGITS:
        raise ValueError(f"round takes a number and how many places, a whole number up to {MOST_DIGITS}")
    scale = Fraction(10) ** int(digits)
    size = (abs(number) * scale + Fraction(1, 2)) // 1 / scale
    return -size if number < 0 else size


def _absolute(value: _Exact) -> Fraction:
    return abs(_number(value))


def _over_all(reduce: Callable[[list[Fraction]], Fraction | int]) -> Callable[..., Fraction | int]:
    """`reduce` over the arguments and the elements of the lists among them."""
    return lambda *values: reduce([item for value in values for item in _each(value)])


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


_SIGNS: dict[type[ast.unaryop], Callable[[Fraction], Fraction]] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction | int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv, ast.Mod: operator.mod,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Fraction | int]] = {
    "round": _round, "abs": _absolute, "min": _over_all(min), "max": _over_all(max), "sum": _over_all(sum),
}  # fmt: skip
_BRACES = "a binding that is more than a plain path stands in braces, like {{max_by($a, &date).amount}}"
_REFUSED = {
    "word": f"{{}} is none of its functions; a step's result is written $ID; {_BRACES}",
    "braced": "{{{}}} reads no step; a step's result is written $ID",
    "thousands": "write {} without commas, or with a space after each",
    "dollars": "{} is an escaped dollar, and no binding",
    "other": f"{{}} has no place in it; {_BRACES}",
}
