"""Numbers that a field holds as text: comparing or ordering them as text is refused where it would give another result.

JMESPath compares text by its characters, where `'100' < '99'`, and finds no text equal to a number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from jmespath.visitor import TreeInterpreter

from pivot_dspy.written_numbers import to_number_of, written_number

EQUALITIES = frozenset({"eq", "ne"})
_SIGNS = {"lt": "<", "gt": ">", "lte": "<=", "gte": ">=", "eq": "==", "ne": "!="}
_ORDERS: Mapping[str, Callable[..., Any]] = {
    "max": max, "max_by": max, "min": min, "min_by": min, "sort": sorted, "sort_by": sorted,
}  # fmt: skip


def check_comparison(operator: str, node: Mapping[str, Any], text: Any, other: Any) -> None:
    """Check the comparison of what `node` gives, `text`, with `other`; `operator` is JMESPath's name for it.

    Raises:
        ValueError: as numbers they compare otherwise, or they cannot be compared; the message names the remedy.
    """
    if not isinstance(text, str) or isinstance(other, bool) or not isinstance(other, (int, float, str)):
        return
    compare, sign, path = TreeInterpreter.COMPARATOR_FUNC[operator], _SIGNS[operator], _path(node)
    number = written_number(text)
    if isinstance(other, str):
        another = written_number(other)
        if operator in EQUALITIES or number is None or another is None:
            return
        differs = compare(number, another) != compare(text, other)
    else:
        differs = operator not in EQUALITIES or number == other
    if differs and number is None:
        raise ValueError(f"{path} holds text ({text!r:.80}): {sign!r} compares numbers, or text with text in ''")
    if differs and node["type"] == "literal":
        raise ValueError(f"'{text:.80}' is text: {sign!r} compares numbers, and a number is written `{text:.80}`")
    if differs:
        raise ValueError(f"text over {path} ({text!r:.80}): {sign!r} compares numbers; use {to_number_of(path, text)}")


def check_order(function: str, arguments: list[Any]) -> None:
    """Check a call of a function that puts a list in order.

    Raises:
        ValueError: it orders numbers as text, and they come in another order than as numbers.
    """
    order = _ORDERS.get(function)
    if order is None or not arguments or not isinstance(arguments[0], list) or not arguments[0]:
        return
    array, expref = arguments[0], arguments[1] if len(arguments) > 1 else None
    if function.endswith("_by") and not hasattr(expref, "expression"):
        return

    def key(item: Any) -> Any:
        return item if expref is None else expref.visit(expref.expression, item)

    sample = key(array[0])
    if not isinstance(sample, str) or written_number(sample) is None:  # most lists: their keys are not read twice
        return
    keys = [key(item) for item in array]
    numbers = [written_number(text) if isinstance(text, str) else None for text in keys]
    places = range(len(keys))
    if None in numbers or order(places, key=keys.__getitem__) == order(places, key=numbers.__getitem__):
        return
    path = "@" if expref is None else _path(expref.expression)
    use = to_number_of(path, sample)
    remedy = f"{function}(map(&{use}, list))" if expref is None else f"&{use}"
    raise ValueError(f"text over {path} ({sample!r:.80}): {function} orders '100' before '99'; use {remedy}")


def _path(node: Mapping[str, Any]) -> str:
    """The field that a parsed expression reads, as it is written; `x` where it is anything else."""
    if node["type"] == "field":
        return str(node["value"])
    if node["type"] == "subexpression":
        return ".".join(map(_path, node["children"]))
    return "@" if node["type"] == "current" else "x"
