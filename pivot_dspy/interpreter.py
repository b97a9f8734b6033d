"""JMESPath's interpreter, where it would silently give something else than was meant.

Text in double quotes, which is a field to JMESPath, is text where what is looked at has no such field and is compared
with text. An order that takes numbers for text, as in `'100' < '99'`, is an error that names the remedy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.visitor import TreeInterpreter

from pivot_dspy.text_functions import TextFunctions, field_path, text_order_error
from pivot_dspy.written_numbers import to_number_of, written_number

_TEXT_ARGUMENTS: Mapping[str, tuple[int, ...]] = {
    "contains": (1,), "ends_with": (1,), "find_all": (1,), "join": (0,), "replace": (1, 2), "split": (1,),
    "starts_with": (1,),
}  # fmt: skip
"""Which arguments of a function are text."""
_SIGNS = {"lt": "<", "gt": ">", "lte": "<=", "gte": ">=", "eq": "==", "ne": "!="}
_OPTIONS = jmespath.Options(custom_functions=TextFunctions())


class Interpreter(TreeInterpreter):  # type: ignore[misc]
    """Computes one expression. What it raises beyond jmespath's own errors is a `ValueError`.

    Args:
        quoted: names that stand in double quotes in the expression.
    """

    def __init__(self, quoted: frozenset[str]) -> None:
        super().__init__(_OPTIONS)
        self._quoted = quoted
        self._filtered: list[list[Any]] = []
        """The lists whose filters are being computed, innermost last."""

    def visit_filter_projection(self, node: Any, value: Any) -> Any:
        if not self._quoted:
            return super().visit_filter_projection(node, value)
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._filtered.append(base)
        try:
            kept = [element for element in base if self._is_true(self.visit(node["children"][2], element))]
        finally:
            self._filtered.pop()
        each = (self.visit(node["children"][1], element) for element in kept)
        return [item for item in each if item is not None]

    def visit_comparator(self, node: Any, value: Any) -> Any:
        operator, (left_node, right_node) = node["value"], node["children"]
        left, right = self.visit(left_node, value), self.visit(right_node, value)
        if left is None and isinstance(right, str):
            left = self._text(left_node, value)
        elif right is None and isinstance(left, str):
            right = self._text(right_node, value)
        if isinstance(left, str):
            _refuse_text(operator, left_node, left, right)
        if isinstance(right, str):
            _refuse_text(operator, right_node, right, left)
        compare = self.COMPARATOR_FUNC[operator]
        if operator not in self._EQUALITY_OPS and not (_is_ordered(left) and _is_ordered(right)):
            return None
        return compare(left, right)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name, children = node["value"], node["children"]
        if not self._quoted or name not in _TEXT_ARGUMENTS:
            return super().visit_function_expression(node, value)
        arguments = [self.visit(child, value) for child in children]
        for place in _TEXT_ARGUMENTS[name]:
            if place < len(arguments) and arguments[place] is None:
                arguments[place] = self._text(children[place], value)
        if name == "join" and children[1:] and children[1]["type"] == "multi_select_list" and arguments[1]:
            pairs = zip(children[1]["children"], arguments[1], strict=True)
            arguments[1] = [self._text(child, value) if item is None else item for child, item in pairs]
        return self._functions.call_function(name, arguments)

    def _text(self, node: Any, value: Any) -> str | None:
        """The text that a field in double quotes, which gives nothing, stands for; None where there is such a field."""
        if node["type"] != "field" or node["value"] not in self._quoted:
            return None
        looked_at = [value, *(self._filtered[-1] if self._filtered else ())]
        name: str = node["value"]
        return None if any(isinstance(item, Mapping) and name in item for item in looked_at) else name


def _is_ordered(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _refuse_text(operator: str, node: Any, text: str, other: Any) -> None:
    """Raise a ValueError where `text` is compared as text, and a comparison of numbers would give something else."""
    if isinstance(other, bool) or not isinstance(other, (int, float, str)):
        return
    compare, number = TreeInterpreter.COMPARATOR_FUNC[operator], written_number(text)
    path = field_path(node)
    if isinstance(other, str):
        another = written_number(other)
        if operator in TreeInterpreter._EQUALITY_OPS or number is None or another is None:
            return
        if compare(number, another) != compare(text, other):
            raise text_order_error(f"{_SIGNS[operator]!r}", path, text)
    elif operator not in TreeInterpreter._EQUALITY_OPS or number == other:
        if number is None:
            raise ValueError(f"{path} holds the text {text!r:.80}; {_SIGNS[operator]!r} compares it with text in ''")
        remedy = to_number_of(path, text)
        raise ValueError(f"text over {path} ({text!r:.80}): {_SIGNS[operator]!r} compares numbers; use {remedy}")
