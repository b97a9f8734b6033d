"""JMESPath's interpreter, where it would silently give something else than was meant.

Text in double quotes, which names a field in JMESPath, is text where what is looked at has no such field and text is
needed. Numbers as text are for `pivot_dspy.numbers_as_text`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jmespath.visitor import TreeInterpreter

from pivot_dspy.numbers_as_text import EQUALITIES, check_comparison, check_order
from pivot_dspy.text_functions import TextFunctions

_TEXT_ARGUMENTS: Mapping[str, tuple[int, ...]] = {
    "contains": (1,), "ends_with": (1,), "find_all": (1,), "join": (0,), "replace": (1, 2), "split": (1,),
    "starts_with": (1,),
}  # fmt: skip
"""Which arguments of a function are text."""
_FUNCTIONS = TextFunctions()
STEP = "\x00"
"""Before the name of a step, which is looked up among the results wherever it stands."""
ESCAPED_STEP = r"\u0000"
"""The same inside the double quotes of an expression."""


class Interpreter(TreeInterpreter):
    """Computes one expression. What it raises beyond jmespath's own errors is a `ValueError`.

    Args:
        quoted: names that stand in double quotes in the expression.
        results: by the name of the step.
    """

    def __init__(self, quoted: frozenset[str], results: Any = None) -> None:
        super().__init__()
        self._quoted = quoted
        self._results = results
        self._filtered: list[list[Any]] = []
        """The lists whose filters are being computed, innermost last."""

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        """As of any visitor, but without keeping its own methods, with which it would be a circle of references."""
        return getattr(self, f"visit_{node['type']}")(node, *args, **kwargs)

    def visit_field(self, node: Any, value: Any) -> Any:
        if node["value"].startswith(STEP):
            field: Any = {**node, "value": node["value"].removeprefix(STEP)}
            return super().visit_field(field, self._results)
        return super().visit_field(node, value)

    def visit_filter_projection(self, node: Any, value: Any) -> Any:
        if not self._quoted:
            return super().visit_filter_projection(node, value)
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._filtered.append(base)
        try:
            return super().visit_filter_projection(_with_base(node, base), value)
        finally:
            self._filtered.pop()

    def visit_comparator(self, node: Any, value: Any) -> Any:
        operator, (left_node, right_node) = node["value"], node["children"]
        left, right = self.visit(left_node, value), self.visit(right_node, value)
        if left is None and isinstance(right, str):
            left = self._text(left_node, value)
        elif right is None and isinstance(left, str):
            right = self._text(right_node, value)
        check_comparison(operator, left_node, left, right)
        check_comparison(operator, right_node, right, left)
        if operator not in EQUALITIES and not (_is_ordered(left) and _is_ordered(right)):
            return None
        return self.COMPARATOR_FUNC[operator](left, right)

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        name, children = node["value"], node["children"]
        arguments = [self.visit(child, value) for child in children]
        if self._quoted:
            for place in _TEXT_ARGUMENTS.get(name, ()):
                if place < len(arguments) and arguments[place] is None:
                    arguments[place] = self._text(children[place], value)
            if name == "join" and len(children) == 2 and children[1]["type"] == "multi_select_list" and arguments[1]:
                parts = zip(children[1]["children"], arguments[1], strict=True)
                arguments[1] = [self._text(child, value) if part is None else part for child, part in parts]
        check_order(name, arguments)
        return _FUNCTIONS.call_function(name, arguments)

    def _text(self, node: Any, value: Any) -> str | None:
        """The text that a name in double quotes, which gives nothing, stands for; None where there is such a field."""
        if node["type"] != "field" or node["value"] not in self._quoted:
            return None
        name: str = node["value"]
        looked_at = [value, *(self._filtered[-1] if self._filtered else ())]
        return None if any(isinstance(item, Mapping) and name in item for item in looked_at) else name


def _is_ordered(value: Any) -> bool:
    return isinstance(value, (int, float, str)) and not isinstance(value, bool)


def _with_base(node: Any, base: list[Any]) -> Any:
    """A projection of `base`, which has been computed."""
    return {**node, "children": [{"type": "literal", "value": base, "children": []}, *node["children"][1:]]}
