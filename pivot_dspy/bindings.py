"""Bindings: references inside a step's arguments to the results of earlier steps.

A string that refers to a step as `$ID` is a JMESPath expression (https://jmespath.org) over the results of the steps
before it: `"$a.hotels[0].name"`, `"min_by($a.hotels[?stars >= `4`], &price).id"`. `$item` is the element of a step that
repeats over a list. `$$` stands for a plain dollar sign.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import ParseError

ITEM = "item"
LONGEST = 5000
"""Characters; a longer string is text, and no expression is looked for in it."""

# Beside its own errors (ValueErrors), jmespath lets through what the text provokes in Python: a slice with step zero,
# brackets nested too deep.
_FAILURES = (ValueError, TypeError, RecursionError, ArithmeticError, LookupError)
# Strings, quoted identifiers and literals of JMESPath are skipped: a dollar inside them is text.
_TOKEN = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`(?:\\.|[^`\\])*`|\$\$|\$(\w+)")


class BindingError(ValueError):
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
    return tuple(dict.fromkeys(match[1] for match in _TOKEN.finditer(text) if match[1]))


@lru_cache(maxsize=4096)
def _compiled(text: str) -> Any:
    quoted = _TOKEN.sub(lambda m: f'"{m[1]}"' if m[1] else ("$" if m[0] == "$$" else m[0]), text)
    return jmespath.compile(quoted)


def is_binding(text: str, known: Collection[str]) -> bool:
    """Whether `text` is an expression rather than plain text: it names a known step, or reads as an expression.

    `"pays $5"` is text where no step is called 5; `"$hotels.id"` is a binding even where no step is called hotels, so
    that a reference to a missing step is reported and not passed on as text.
    """
    names = references(text)
    if not names:
        return False
    if any(name in known for name in names):
        return True
    if all(name.isdigit() for name in names):
        return False
    try:
        _compiled(text)
    except _FAILURES:
        return False
    return True


def evaluate(text: str, results: Mapping[str, Any]) -> Any:
    """Value of the expression `text` over `results` (step id to value).

    Raises:
        BindingError: a named step has no result, or the expression is not valid JMESPath or does not fit the data.
    """
    for name in references(text):
        if name not in results:
            raise BindingError(f"no earlier step {name!r} has a result", name)
    try:
        return _compiled(text).search(results)
    except ParseError as error:
        hint = "to build text use join('', [...]); write $$ for a plain dollar"
        raise BindingError(f"not a valid JMESPath expression: {_said(error)} ({hint})") from error
    except _FAILURES as error:
        raise BindingError(f"not a valid JMESPath expression: {_said(error)}") from error


def holds(text: str, value: Any, results: Mapping[str, Any]) -> bool:
    """Whether the condition `text` is true: of `results` where it names a step, else of `value`.

    Raises:
        BindingError: it cannot be evaluated.
    """
    if references(text):
        return bool(evaluate(text, results))
    try:
        return bool(_compiled(text).search(value))
    except _FAILURES as error:
        raise BindingError(f"not a valid JMESPath expression: {_said(error)}") from error


def resolve(
    value: Any, results: Mapping[str, Any], known: Collection[str], *, allow_empty: bool = True
) -> Any:
    """`value` with every binding in it replaced by what it gives.

    Raises:
        BindingError: as `evaluate`, when a binding gives nothing (null), or, unless `allow_empty`, an empty list.
    """
    if isinstance(value, str):
        if "$" not in value:
            return value
        if not is_binding(value, known):
            return value.replace("$$", "$")
        found = evaluate(value, results)
        if found is None or (found == [] and not allow_empty):
            gives = "nothing" if found is None else "an empty list"
            raise BindingError(f"{value} gives {gives}", next((n for n in references(value) if n != ITEM), None))
        return found
    if isinstance(value, Mapping):
        return {key: resolve(item, results, known, allow_empty=allow_empty) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [resolve(item, results, known, allow_empty=allow_empty) for item in value]
    return value


def renamed(text: str, names: Mapping[str, str]) -> str:
    """The expression `text` with other names for the steps that it refers to.

    >>> renamed("max_by($b[?name=='$b'], &price).id", {"b": "b_2"})
    "max_by($b_2[?name=='$b'], &price).id"
    """
    return _TOKEN.sub(lambda m: f"${names[m[1]]}" if m[1] in names else m[0], text)


def strings(value: Any) -> Iterator[str]:
    """Every string inside `value`, depth first."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from strings(item)


def map_strings(value: Any, change: Callable[[str], Any]) -> Any:
    """`value` with every string inside it changed.

    >>> map_strings({"x": ["a", 1]}, str.upper)
    {'x': ['A', 1]}
    """
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: map_strings(item, change) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [map_strings(item, change) for item in value]
    return value


def dependencies(value: Any, known: Collection[str]) -> tuple[str, ...]:
    """Names that the bindings inside `value` refer to, `$item` left out, in order, once each."""
    return named((text for text in strings(value) if "$" in text), known)


def named(texts: Iterable[str], known: Collection[str]) -> tuple[str, ...]:
    """As `dependencies`, of strings."""
    found: dict[str, None] = {}
    for text in texts:
        if is_binding(text, known):
            found.update(dict.fromkeys(references(text)))
    found.pop(ITEM, None)
    return tuple(found)


def _said(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
