"""Which figures and names in an answer nothing that was observed supports. By rule, without a model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen, Step

_FIGURE = re.compile(
    r"[\w.+-]+@[\w-]+\.\w+"  # e-mail addresses
    r"|https?://\S+"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z_])\w{4,}\b"  # identifiers: letters with digits
    r"|\b\d[\d,]*(?:\.\d+)?\b"  # numbers
)


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
    known = frozenset(execution.trajectory.ids)
    written = tuple(name for name in execution.outputs if _is_written(submit, name, known))
    figures: dict[str, str] = {}
    for name in written:
        for text in _texts(execution.outputs[name]):
            figures.update({_normal(match[0]): name for match in _FIGURE.finditer(text)})
    if not figures:
        return Claims(written=written)
    seen = _evidence(o.value for o in execution.observations if o.ok and o.step != submit.id)
    seen |= _evidence(inputs.values())
    seen |= _evidence(o.args for o in execution.observations if o.ok and o.args and o.step != submit.id)
    unsupported = tuple(
        Discrepancy(
            kind="unsupported_claim",
            step=submit.id,
            message=f"{name} says {figure}, which stands in no observation",
            expected="a value that was observed, or a binding to it",
        )
        for figure, name in figures.items()
        if figure not in seen
    )
    return Claims(count=len(figures), unsupported=unsupported, written=written)


def _is_written(submit: Step, name: str, known: frozenset[str]) -> bool:
    return name in submit.args and not bindings.dependencies(submit.args[name], known)


def _normal(text: str) -> str:
    text = text.rstrip(".,;:!?").lower()
    try:
        return f"{float(text.replace(',', '')):g}"
    except ValueError:
        return text


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, bool) or value is None:
        return
    else:
        yield str(value)


def _evidence(values: Iterable[Any]) -> set[str]:
    found: set[str] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
            stack.extend(str(key) for key in value)
        elif isinstance(value, (list, tuple)):
            found.add(f"{len(value)}")
            numbers = [item for item in value if isinstance(item, (int, float)) and not isinstance(item, bool)]
            if numbers:
                found.add(f"{sum(numbers):g}")
            columns = {key for item in value if isinstance(item, Mapping) for key in item}
            for key in columns:
                column = [item.get(key) for item in value if isinstance(item, Mapping)]
                amounts = [item for item in column if isinstance(item, (int, float)) and not isinstance(item, bool)]
                if amounts:
                    found.add(f"{sum(amounts):g}")
            stack.extend(value)
        elif value is not None and not isinstance(value, bool):
            text = str(value)
            found.add(_normal(text))
            found.update(_normal(match[0]) for match in _FIGURE.finditer(text))
    return found


def judged(found: Claims, execution: Execution, unsupported: Iterable[str]) -> Claims:
    """`found` with a judge's list of unsupported claims in place of the rule's."""
    submit = execution.trajectory.submit
    listed = tuple(
        Discrepancy(kind="unsupported_claim", step=submit.id if submit else None, message=str(claim))
        for claim in unsupported
    )
    return found.model_copy(update={"unsupported": listed, "count": max(found.count, len(listed))})
