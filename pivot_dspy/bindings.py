"""Bindings: references inside a step's arguments to the results of earlier steps.

A string that refers to a step as `$ID` is a JMESPath expression (https://jmespath.org) over the results of the steps
before it: `"$a.hotels[0].name"`, `"min_by($a.hotels[?stars >= `4`], &price).id"`. `$item` is the element of a step that
repeats over a list. `$$` stands for a plain dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache, partial
from typing import Any

import jmespath
from jmespath.exceptions import ParseError

from pivot_dspy.errors import PivotError

ITEM = "item"
LONGEST = 5000
"""Characters; a longer string is text, and no expression is looked for in it."""

# Beside its own errors (ValueErrors), jmespath lets through what the text provokes in Python: a slice with step zero,
# brackets nested too deep.
_FAILURES = (ValueError, TypeError, RecursionError, ArithmeticError, LookupError)
# Strings, quoted identifiers and literals of JMESPath are skipped: a dollar inside them is text.
_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`|\$\$|\$(\w+)")


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
    return text.replace("$", "$$")


def literal(value: Any) -> Any:
    """`value` with every string in it escaped: it resolves to itself, whatever the steps are called."""
    return map_strings(value, escape)


@lru_cache(maxsize=4096)
def references(text: str) -> tuple[str, ...]:
    """Names after `$` in `text`, in order, once each; literals of the expression do not count.

    >>> references("max_by($b[?name=='$c'], &price).id")
    ('b',)
    """
    if len(text) > LONGEST:
        return ()
    return tuple(dict.fromkeys(filter(None, _TOKEN.findall(text))))


@lru_cache(maxsize=4096)
def _compile(text: str) -> Any:
    quoted = _TOKEN.sub(lambda m: f'"{m[1]}"' if m[1] else ("$" if m[0] == "$$" else m[0]), text)
    return jmespath.compile(quoted)


def is_binding(text: str, step_ids: Collection[str]) -> bool:
    """Whether `text` is an expression rather than plain text: it names a step, or reads as an expression.

    `"pays $5"` is text where no step is called 5; `"$hotels.id"` is a binding even where no step is called hotels, so
    that a reference to a missing step is reported and not passed on as text.
    """
    names = references(text) if "$" in text else ()
    if any(name in step_ids for name in names):
        return True
    if all(name.isdigit() for name in names):
        return False
    try:
        _compile(text)
    except _FAILURES:
        return False
    return True


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
        return _compile(text).search(results)
    except _FAILURES as error:
        message = " ".join(str(error).split())
        if names and isinstance(error, ParseError):
            message += " (to build text use join('', [...]); write $$ for a plain dollar)"
        raise BindingError(f"not a valid JMESPath expression: {message}") from error


def holds(text: str, value: Any, results: Mapping[str, Any]) -> bool:
    """Whether the condition `text` is true: of `results` where it names a step, else of `value`.

    Raises:
        BindingError: it cannot be evaluated.
    """
    return bool(evaluate(text, results if references(text) else value))


def resolve(value: Any, results: Mapping[str, Any], step_ids: Collection[str], *, allow_empty: bool = True) -> Any:
    """`value` with every binding in it replaced by what it gives.

    Raises:
        BindingError: as `evaluate`, when a binding gives nothing (null), or, unless `allow_empty`, an empty list.
    """
    resolve_text = partial(_resolve_text, results=results, step_ids=step_ids, allow_empty=allow_empty)
    return map_strings(value, resolve_text)


def _resolve_text(text: str, results: Mapping[str, Any], step_ids: Collection[str], allow_empty: bool) -> Any:
    if not is_binding(text, step_ids):
        return text.replace("$$", "$")
    result = evaluate(text, results)
    if result is None or (result == [] and not allow_empty):
        gives = "nothing" if result is None else "an empty list"
        raise BindingError(f"{text} gives {gives}", next(iter(dependencies(text, step_ids)), None))
    return result


def map_strings(value: Any, change: Callable[[str], Any]) -> Any:
    """A copy of `value` with every string in it, keys aside, replaced by what `change` makes of it."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change) for item in value]
    return value


def rename(text: str, names: Mapping[str, str]) -> str:
    """The expression `text` with other names for the steps that it refers to.

    >>> rename("max_by($b[?name=='$b'], &price).id", {"b": "b_2"})
    "max_by($b_2[?name=='$b'], &price).id"
    """
    return _TOKEN.sub(lambda m: f"${names[m[1]]}" if m[1] in names else m[0], text)


def strings(value: Any) -> list[str]:
    """Every string inside `value`, depth first."""
    texts: list[str] = []
    map_strings(value, texts.append)
    return texts


def dependencies(value: Any, step_ids: Collection[str]) -> tuple[str, ...]:
    """Names that the bindings inside `value` refer to, `$item` left out, in order, once each."""
    names = (name for text in strings(value) if is_binding(text, step_ids) for name in references(text))
    return tuple(dict.fromkeys(name for name in names if name != ITEM))
