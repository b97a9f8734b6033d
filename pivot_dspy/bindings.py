"""Bindings: references inside a step's arguments to the results of earlier steps.

A string that refers to a step as `$ID` is a JMESPath expression (https://jmespath.org) over the results of the steps
before it: `"$a.hotels[0].name"`, `"min_by($a.hotels[?stars >= `4`], &price).id"`. `$item` is the element of a step that
repeats over a list. Beside JMESPath's own functions there are those of `pivot_dspy.text_functions`. An object
`{"calc": "10.0 - $a[0].amount / 2"}` is arithmetic over numbers and bindings (see `pivot_dspy.calc`); the arguments of
a step are themselves none, whatever they are called.

`$$` stands for a plain dollar sign, and text between `$'` and `'` for itself, where it would be read as a binding or,
in `{"calc": "$'...'"}`, as a calc.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from jmespath.exceptions import JMESPathTypeError, ParseError, UnknownFunctionError

from pivot_dspy import calc
from pivot_dspy.calc import CalcPart
from pivot_dspy.errors import PivotError
from pivot_dspy.expressions import FAILURES, TOKEN, is_quoted, is_valid, quote, search, written
from pivot_dspy.expressions import references as references  # a question about bindings, whoever asks
from pivot_dspy.near_misses import PROSE, near_miss, paths, possible
from pivot_dspy.readings import FUNCTIONS, without_dollars

ITEM = "item"
CALC = "calc"
"""The key of an object that is a calc: its only one, with the formula as text."""

_BARE_NAME = re.compile(r"(?<![\w.$])\w+(?=\s*[.,\[\](){}<>])")
_AS_TEXT = f"plain text is written {quote('...')}"
_QUOTES = re.compile(r"\w'[\s,]*\w|'[^']*\Z")
_COMPUTES = re.compile(r"\[\?|[=!<>]=|\w\(")
_LONGEST_MESSAGE = 300
_AROUND = 20
"""Characters of a text that are shown on either side of a binding in it."""
_IN_TEXT = re.compile(rf"(.{{0,{_AROUND}}}?)(?<!\$)(\$\w+(?:\.\w+|\[[^\]\s]*\])*)([^$]{{0,{_AROUND}}})", re.DOTALL)


class BindingError(PivotError, ValueError):
    """A binding that cannot be resolved; `reference` is the step it names, if one is to blame."""

    def __init__(self, message: str, reference: str | None = None) -> None:
        super().__init__(message)
        self.reference = reference


def escape(text: str) -> str:
    """Write `text` so that it is never read as a binding.

    >>> escape("costs $a")
    'costs $$a'
    """
    doubled = text.replace("$", "$$")
    return quote(text) if possible(doubled) else doubled


def unescape(text: str) -> str:
    """The text that `text`, which is no binding, stands for."""
    return (text[2:-1] if is_quoted(text) else text).replace("$$", "$")


def literal(value: Any) -> Any:
    """`value` with every string in it escaped: it resolves to itself, whatever the steps are called."""
    return map_strings(value, escape, lambda formula: {CALC: quote(formula)})


def is_binding(text: str, step_ids: Collection[str]) -> bool:
    """Whether `text` is an expression rather than plain text: it names a step, or reads as an expression.

    `"pays $5"` is text even where a step is called 5; `"$hotels.id"` is a binding even where no step is called hotels,
    so that a reference to a missing step is reported and not passed on as text. So is a near miss of a binding, such as
    `"Dear {{hotels.name}}"` where a step is called hotels.
    """
    if is_quoted(text):
        return False
    if near_miss(text, step_ids) is not None:
        return True
    names = references(text) if "$" in text else ()
    named = [name for name in names if name in step_ids]
    words = [name for name in names if not name.isdigit()]  # $5 is a price, unless all is an expression
    if not named:
        return bool(words) and is_valid(text)
    if is_valid(text) or any(name in step_ids for name in paths(text)):
        return True
    in_prose = len(text) > PROSE and calc.read(text).tree is None
    return not in_prose and any(name in words for name in named)


def evaluate(text: str, results: Any) -> Any:
    """Value of the expression `text` over `results` (step id to value; whatever it is, where `text` names no step).

    Raises:
        BindingError: a named step has no result, or the expression is not valid JMESPath or does not fit the data.
    """
    names = references(text)
    for name in names:
        if name not in results:
            raise BindingError(f"no earlier step {name!r} has a result", name)
    try:
        return search(text, results)
    except FAILURES as error:
        message = f"{' '.join(str(error).split()):.{_LONGEST_MESSAGE}}"
        if type(error) is ValueError:  # of a function over text; an expression that is not valid has errors of its own
            raise BindingError(message) from error
        raise BindingError(f"not a valid JMESPath expression: {message}{_remedy(text, error)}") from error


def _remedy(text: str, error: Exception) -> str:
    """What to write in place of `text`, in brackets."""
    if isinstance(error, ParseError) and _QUOTES.search(text) and _COMPUTES.search(text):
        return r" (an apostrophe in '' is written \', which is \\' in JSON, where a ) ] , or sign follows it)"
    if isinstance(error, ParseError) and references(text):
        if calc.read(text).tree is not None:
            return f' (arithmetic is written {{"{CALC}": "{text:.80}"}})'
        found = _IN_TEXT.search(text)
        before, path, after = found.groups() if found else ("...", "$ID", "")
        pieces = [path if piece == path else repr(piece) for piece in (before, path, after) if piece]
        return f" (to build text use join('', [{', '.join(pieces)}]); write $$ for a plain dollar)"
    if isinstance(error, JMESPathTypeError) and "string" in str(error.expected_types):
        return " (to_string(x) makes text of a number, map(&to_string(@), list) of each in a list)"
    if isinstance(error, UnknownFunctionError):
        return f" (the functions are {', '.join(FUNCTIONS)})"
    return ""


def holds(text: str, value: Any, results: Mapping[str, Any]) -> bool:
    """Whether the condition `text` is true: of `results` where it names a step, else of `value`.

    Raises:
        BindingError: it cannot be evaluated.
    """
    names = references(text)
    bare = without_dollars(text)
    if bare != text and not any(name in results for name in names):  # `$length(ids)` of the value itself
        return bool(evaluate(bare, value))
    return bool(evaluate(text, results if names else value))


def resolve(value: Any, results: Mapping[str, Any], step_ids: Collection[str], *, allow_empty: bool = True) -> Any:
    """`value` with every binding in it replaced by what it gives.

    Raises:
        BindingError: as `evaluate`, when a binding gives nothing (null), or, unless `allow_empty`, an empty list.
    """

    def change(text: str) -> Any:
        return _resolve_text(text, results, step_ids, allow_empty)

    return map_strings(value, change, lambda formula: _resolve_calc(formula, results, allow_empty))


def _resolve_text(text: str, results: Mapping[str, Any], step_ids: Collection[str], allow_empty: bool) -> Any:
    if not is_binding(text, step_ids):
        return unescape(text)
    miss = near_miss(text, step_ids)
    if miss is not None:
        raise BindingError(f"in {text:.{PROSE}}: {miss.remedy}; {_AS_TEXT}")
    return _read(text, results, allow_empty)


def _read(text: str, results: Mapping[str, Any], allow_empty: bool) -> Any:
    """What the binding `text` gives; an error where that is nothing."""
    result = evaluate(text, results)
    if result is None or (result == [] and not allow_empty):
        gives = "nothing" if result is None else "an empty list"
        raise BindingError(f"{text} gives {gives}", _source(text))
    return result


def _source(text: str) -> str | None:
    """The step that an expression reads first."""
    return next((name for name in references(text) if name != ITEM), None)


def _resolve_calc(formula: str, results: Mapping[str, Any], allow_empty: bool) -> Any:
    if is_quoted(formula):
        return {CALC: unescape(formula)}
    parts = calc_parts(formula, results, allow_empty=allow_empty)
    try:
        return calc.compute(calc.read(formula), [part.value for part in parts])
    except ValueError as error:
        written = ", ".join(f"{part.text} = {part.value}" for part in parts if part.text != str(part.value))
        source = next((part.step for part in parts if part.step not in (None, ITEM)), None)
        where = f" (where {written:.{PROSE}})" if written else ""
        raise BindingError(f"calc {formula:.{PROSE}}{where}: {error}; {calc.TAKES}", source) from error


def calc_parts(formula: str, results: Mapping[str, Any], *, allow_empty: bool = True) -> tuple[CalcPart, ...]:
    """The numbers of a calc in the order in which they are written, each with the step that it was read from.

    Raises:
        BindingError: a binding in it cannot be resolved, or gives what is no number.

    >>> calc_parts("10.0 - $a[0].amount / 2", {"a": [{"amount": "$12"}]})[1]
    CalcPart(text='$a[0].amount', value=12, step='a')
    """
    read = calc.read(formula)
    if read.problem:
        raise BindingError(f"calc {formula:.{PROSE}}: {read.problem}; {calc.TAKES}; {_AS_TEXT}")
    parts: list[CalcPart] = []
    for operand in read.operands:
        value = _read(operand.text, results, allow_empty) if operand.bound else operand.text
        try:
            number = calc.number(value)
        except ValueError as error:
            message = f"calc {formula:.{PROSE}}: {operand.text} {error}; {calc.TAKES}"
            raise BindingError(message, _source(operand.text)) from error
        parts.append(CalcPart(operand.text, number, next(iter(references(operand.text)), None)))
    return tuple(parts)


def is_calc(value: Any) -> bool:
    """Whether a value inside a step's arguments is a calc, or escaped so as not to be one."""
    return isinstance(value, Mapping) and len(value) == 1 and isinstance(value.get(CALC), str)


def map_strings(value: Any, change: Callable[[str], Any], change_calc: Callable[[str], Any] | None = None) -> Any:
    """A copy of `value` with every string in it, keys aside, replaced by what `change` makes of it.

    A calc is replaced by what `change_calc` makes of its formula; without it, `change` is for each binding in it.
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        if is_calc(value):
            return _change_each(value[CALC], change) if change_calc is None else change_calc(value[CALC])
        return {key: map_strings(item, change, change_calc) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change, change_calc) for item in value]
    return value


def _change_each(formula: str, change: Callable[[str], Any]) -> dict[str, Any]:
    return {CALC: change(formula) if is_quoted(formula) else calc.replace_bindings(formula, change)}


def rename(text: str, names: Mapping[str, str]) -> str:
    """The expression `text` with other names for the steps that it refers to.

    >>> rename("max_by($b[?name=='$b'], &price).id", {"b": "b_2"})
    "max_by($b_2[?name=='$b'], &price).id"
    """
    if is_quoted(text):
        return text
    text = written(text)
    if near_miss(text, names) is not None:  # it must not turn to plain text where its steps get other names
        text = _BARE_NAME.sub(lambda m: names.get(m[0], m[0]), text)
    return TOKEN.sub(lambda m: f"${names[m[1]]}" if m[1] in names else m[0], text)


def strings(value: Any) -> list[str]:
    """Every string inside `value`, depth first; of a calc, each of its bindings.

    >>> strings(["x", {"calc": "10.0 - $a[0].amount / 2"}])
    ['x', '$a[0].amount']
    """
    texts: list[str] = []
    map_strings(value, texts.append)
    return texts


def dependencies(value: Any, step_ids: Collection[str]) -> tuple[str, ...]:
    """Names that the bindings inside `value` refer to, `$item` left out, in order, once each."""
    names = (name for text in strings(value) if is_binding(text, step_ids) for name in references(text))
    return tuple(dict.fromkeys(name for name in names if name != ITEM))


def malformed(value: Any, step_ids: Collection[str]) -> str | None:
    """What is wrong with the first binding inside `value` that no results could make good; None where there is none."""
    problems: list[str | None] = []

    def check(text: str) -> None:
        miss = near_miss(text, step_ids)
        if miss is not None:
            problems.append(f"in {text:.{PROSE}}: {miss.remedy}")
        elif is_binding(text, step_ids) and not is_valid(text):
            problems.append(f"not valid JMESPath: {text:.{PROSE}}")

    def check_calc(formula: str) -> None:
        problem = "" if is_quoted(formula) else calc.read(formula).problem
        problems.extend([f"the calc {formula:.{PROSE}}: {problem}"] if problem else [])
        for operand in calc.read(formula).operands:
            check(operand.text)

    map_strings(value, check, check_calc)
    return next(iter(problems), None)
