"""Which figures and names in an answer nothing that was observed supports. By rule, without a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.plain_json import scalars
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen

_FIGURE = re.compile(
    # Each alternative can begin only where a run of its characters does, so that megabytes of text take linear time.
    r"(?<![\w.+-])[\w.+-]+@[\w-]+\.\w+"  # e-mail addresses
    r"|https?://\S+"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z_])\w{4,}\b"  # identifiers: letters with digits
    r"|\b(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\b"  # numbers
)

_CLOCK = re.compile(r"(?<=\d)T(?=\d\d:)")
_ORDINAL = re.compile(r"\A(\d+)(?:st|nd|rd|th|am|pm)\Z", re.IGNORECASE)
_SIGN = re.compile(r"[\d@]|://")
"""Stands in every text that holds a figure, and is sought much faster."""


class Claims(Frozen):
    """The checkable claims of an answer: how many there are, and those that nothing supports."""

    count: int = 0
    unsupported: tuple[Discrepancy, ...] = ()
    written: tuple[str, ...] = ()
    """Output fields that were written out rather than bound to results."""


def check(execution: Execution, inputs: Mapping[str, Any]) -> Claims:
    """Look up every number, identifier and address of the written output fields in what was observed or given.

    A number also counts as supported if it is the length or the sum of a list that was observed.
    """
    submit = execution.trajectory.submit
    if submit is None or not execution.outputs:
        return Claims()
    step_ids = frozenset(execution.trajectory.ids)
    literals = [name for name, value in submit.args.items() if not bindings.dependencies(value, step_ids)]
    written = tuple(name for name in execution.outputs if name in literals)
    figures = {
        _normal(figure): name
        for name in written
        for value in scalars(execution.outputs[name])
        for figure in _FIGURE.findall(_text(value))
    }
    if not figures:
        return Claims(written=written)
    observations = [seen for seen in execution.observations if seen.ok and seen.step != submit.id]
    shown = _evidence([*inputs.values(), *(data for seen in observations for data in (seen.value, seen.args))])
    unsupported = tuple(
        Discrepancy(
            kind="unsupported_claim",
            step=submit.id,
            message=f"{name} says {figure}, which stands in no observation",
            expected="a value that was observed, or a binding to it",
        )
        for figure, name in figures.items()
        if figure not in shown
    )
    return Claims(count=len(figures), unsupported=unsupported, written=written)


def _normal(text: str) -> str:
    text = text.rstrip(".,;:!?").lower()
    plain = text.replace(",", "")
    if plain.isdecimal():
        return plain.lstrip("0") or "0"  # as it is: an identifier may have more digits than a float holds
    try:
        return _figure(float(plain))
    except ValueError:
        return text


def _figure(amount: float) -> str:
    """A number as text; of a float 12 digits, beyond which sums go astray."""
    if isinstance(amount, int):
        return str(amount)
    return str(int(amount)) if abs(amount) < 1e15 and amount.is_integer() else f"{amount:.12g}"


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, bool) else str(value)


def _evidence(values: Iterable[Any]) -> set[str]:
    figures: set[str] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
            stack.extend(str(key) for key in value)
        elif isinstance(value, (list, tuple)):
            figures.add(f"{len(value)}")
            figures.update(_sums(value))
            stack.extend(value)
        elif text := _text(value):
            figures.add(_normal(text))
            if _SIGN.search(text):
                figures.update(map(_normal, set(_FIGURE.findall(text))))
    return figures


def _sums(values: Iterable[Any]) -> Iterator[str]:
    """The sum of the numbers in a list, and of each numeric field of its records."""
    columns: dict[Any, list[float]] = {}
    for value in values:
        cells = value.items() if isinstance(value, Mapping) else ((None, value),)
        for key, cell in cells:
            if isinstance(cell, (int, float)) and not isinstance(cell, bool):
                columns.setdefault(key, []).append(cell)
    for column in columns.values():
        with suppress(OverflowError):  # floats beside an integer that none can hold have no sum
            yield _figure(sum(column))


def with_unsupported(claims: Claims, execution: Execution, unsupported: Iterable[str]) -> Claims:
    """`claims` with a judge's list of unsupported claims in place of the rule's."""
    submit = execution.trajectory.submit
    listed = tuple(
        Discrepancy(kind="unsupported_claim", step=submit.id if submit else None, message=str(claim))
        for claim in unsupported
    )
    return claims.model_copy(update={"unsupported": listed, "count": max(claims.count, len(listed))})


def figures_beyond(text: str, shown: Iterable[Any]) -> tuple[str, ...]:
    """The numbers, identifiers and addresses in a text that stand in nothing that was shown, once each.

    >>> figures_beyond("3 of them, the 15th at 10am: ann@x.org", [["a", "b", "c"], "2024-05-15T10:00"])
    ('ann@x.org',)
    """
    values = list(shown)
    known = _evidence([*values, *(_CLOCK.sub(" ", it) for it in scalars(values) if isinstance(it, str))])
    found = {_normal(_ORDINAL.sub(r"\1", figure)): figure for figure in _FIGURE.findall(text)}
    return tuple(figure for normal, figure in found.items() if normal not in known)
