"""What the steps of a trajectory select by: the predicates in their arguments and in the JMESPath of their bindings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from pivot_dspy import bindings, expressions
from pivot_dspy.blame.predicates import OPERATORS, WORD, Order, Predicate, is_nested, make, singular, triple
from pivot_dspy.trajectory import Step

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_DIRECTIONS = {"asc": "min", "ascending": "min", "desc": "max", "descending": "max"}
_BOUNDS = {"max": "<=", "maximum": "<=", "min": ">=", "minimum": ">="}
_PICKS = {"min_by": "min", "max_by": "max"}
_PARTS = frozenset({"contains", "starts_with", "ends_with"})
_FIELD_ARGUMENT = frozenset({"field", "column", "attribute", "property", "key", "by"})
_VALUE_ARGUMENT = frozenset({"value", "threshold", "number", "amount", "bound"})
_SORTING = frozenset({"sort", "order"})
_PROSE = 4
"""Words from which on a text is no value to compare."""

Node = Mapping[str, Any]
Path = tuple[str, ...]


class StepPredicates(NamedTuple):
    """What an expression or a whole step selects by."""

    predicates: tuple[Predicate, ...] = ()
    """Comparisons with literals."""
    orders: tuple[Order, ...] = ()
    """Choices by least or greatest."""
    fields: tuple[Path, ...] = ()
    """Paths of every field that is compared, with a literal or not."""
    reads: tuple[Path, ...] = ()
    """For each place where it starts reading, the id of a step and the fields up to the first selection."""
    arguments: tuple[Predicate, ...] = ()
    """Those of the predicates that are plain arguments, `name=value`."""


# ------------------------------------------------------------------------------------------------------------ arguments


def predicates_of(step: Step, known: Collection[str]) -> StepPredicates:
    """What a step selects by: the literals in its arguments and the expressions of its bindings.

    Args:
        known: ids of the trajectory's steps.
    """
    parts: list[StepPredicates] = []
    if step.for_each and bindings.is_binding(step.for_each, known):
        parts.append(of_expression(step.for_each))
    names = {*known, bindings.ITEM}
    plain: dict[str, Any] = {}
    for path, value in _leaves((), step.args):
        predicate = triple(value)
        if predicate is not None:
            parts.append(StepPredicates(predicates=(predicate,), fields=(predicate.path,)))
        elif isinstance(value, str) and bindings.is_binding(value, names):
            parts.append(of_expression(value))
        elif len(path) == 1:
            plain[path[0]] = value
        else:
            parts.append(_of_arguments({".".join(path): value}))
    if plain:
        parts.append(_of_arguments(plain))
    return StepPredicates(*(tuple(dict.fromkeys(chain.from_iterable(values))) for values in zip(*parts, strict=True)))


def _leaves(path: Path, value: Any) -> Iterator[tuple[Path, Any]]:
    """The scalars, plain lists and bindings of calcs inside arguments, with the names that lead there."""
    if path and bindings.is_calc(value):
        for text in bindings.strings(value):
            yield path, text
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves((*path, str(key)), item)
    elif triple(value) is None and (is_nested(value) or _holds_bindings(value)):
        for item in value:
            yield from _leaves(path, item)
    else:
        yield path, list(value) if isinstance(value, tuple) else value


def _holds_bindings(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and any("$" in str(item) for item in value)


def _of_arguments(arguments: Mapping[str, Any]) -> StepPredicates:
    """Predicates in literal arguments: `name=value`, or one for a field, an operator and a value given apart."""
    rest = dict(arguments)
    orders = _take_order(rest)
    comparison = _take_comparison(rest)
    plain = [make(*_bound(key, value), value) for key, value in rest.items() if not _is_prose(value)]
    kept = [predicate for predicate in (comparison, *plain) if predicate is not None]
    return StepPredicates(
        predicates=tuple(kept),
        orders=orders,
        fields=tuple(predicate.path for predicate in kept),
        arguments=tuple(kept if comparison is None else kept[1:]),
    )


def _take_order(arguments: dict[str, Any]) -> tuple[Order, ...]:
    """Take `sort_by=field`, and the direction that another argument may tell."""
    sorting = next((key for key in _field_arguments(arguments) if _has_word(key, _SORTING)), None)
    if sorting is None:
        return ()
    path = tuple(arguments.pop(sorting).split("."))
    for key, value in arguments.items():
        if isinstance(value, str) and value.lower() in _DIRECTIONS:
            return (Order(path, _DIRECTIONS[arguments.pop(key).lower()]),)
    return (Order(path, ""),)


def _take_comparison(arguments: dict[str, Any]) -> Predicate | None:
    """Take the arguments that name a field, an operator and a value, where there are all three."""
    field = next(iter(_field_arguments(arguments)), None)
    others = {key: value for key, value in arguments.items() if key != field and not isinstance(value, list)}
    operator = next((key for key, value in others.items() if isinstance(value, str) and value in OPERATORS), None)
    if field is None or operator is None:
        return None
    del others[operator]
    named = [key for key in others if _has_word(key, _VALUE_ARGUMENT)]
    if not named and len(others) != 1:
        return None
    compared = arguments.pop((named or list(others))[0])
    return make(tuple(arguments.pop(field).split(".")), OPERATORS[arguments.pop(operator)], compared)


def _field_arguments(arguments: Mapping[str, Any]) -> list[str]:
    return [key for key, value in arguments.items() if isinstance(value, str) and _has_word(key, _FIELD_ARGUMENT)]


def _is_prose(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= _PROSE


def _bound(key: str, value: Any) -> tuple[Path, str]:
    """The field and operator that an argument's name stands for: `max_price=500` is `price <= 500`."""
    first, *rest = WORD.findall(key) or [""]
    numeric = isinstance(value, (int, float)) and not isinstance(value, bool)
    if rest and numeric and first.lower() in _BOUNDS:
        return ("_".join(rest),), _BOUNDS[first.lower()]
    return tuple(key.split(".")), "=="


def _has_word(key: str, words: frozenset[str]) -> bool:
    return not words.isdisjoint(singular(part.lower()) for part in WORD.findall(key))


# ---------------------------------------------------------------------------------------------------------- expressions


@lru_cache(maxsize=4096)
def of_expression(text: str) -> StepPredicates:
    """The predicates, orders and reads of a JMESPath expression with `$id` references; nothing where it is not valid.

    >>> of_expression("min_by($a[?stars >= `4`], &price).id").orders
    (Order(path=('price',), direction='min'),)
    """
    if not expressions.is_valid(text):
        return StepPredicates()
    reader = _Reader(frozenset(expressions.references(text)))
    try:
        reader.read(expressions.parse(text).parsed, inside=False)
    except RecursionError:  # nested too deep to be evaluated, too
        return StepPredicates()
    return StepPredicates(
        predicates=tuple(reader.predicates), orders=tuple(reader.orders), fields=tuple(reader.fields),
        reads=tuple(reader.reads),
    )  # fmt: skip


_ACCESS = frozenset({"subexpression", "index_expression", "projection", "filter_projection", "flatten", "slice"})


def _path(node: Node) -> Path:
    """The field names that a node goes through, selections left out."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        return (str(node["value"]),)
    if kind == "filter_projection":
        children = children[:2]
    elif kind not in _ACCESS and (kind != "function_expression" or len(children) != 1):
        return ()
    return tuple(chain.from_iterable(map(_path, children)))


def _static(node: Node) -> Path:
    """The field names up to the first selection."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        return (str(node["value"]),)
    if kind not in _ACCESS:
        return ()
    path = _static(children[0])
    if kind == "subexpression" and children[0]["type"] == "field":
        for child in children[1:]:
            path += _static(child)
            if child["type"] != "field":
                break
    return path


class _Reader:
    """Walks a parsed expression once and collects what it selects by.

    `inside` a filter or key, names are fields of the element; outside, the first is a step.
    """

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.predicates: list[Predicate] = []
        self.orders: list[Order] = []
        self.fields: list[Path] = []
        self.reads: list[Path] = []

    def read(self, node: Node, inside: bool) -> None:
        handler = _HANDLERS.get(node["type"])
        if handler is not None:
            handler(self, node, inside)
        else:
            self.read_all(node["children"], inside)

    def read_all(self, nodes: Iterable[Node], inside: bool) -> None:
        for node in nodes:
            self.read(node, inside)

    def selection(self, node: Node, inside: bool) -> None:
        source, *rest = node["children"]
        self.read(source, inside)
        self.read_all(rest, True)

    def access(self, node: Node, inside: bool) -> None:
        path = _static(node)
        if not inside and path and path[0] in self.names:
            self.reads.append(path)
        if node["children"] and node["children"][0]["type"] == "field":  # its path is read
            self.read_all(node["children"][1:], True)
        elif node["children"]:
            self.selection(node, inside)

    def index(self, node: Node, inside: bool) -> None:
        order = _order_of(node["children"][0], node["children"][-1])
        if order is not None:
            self.orders.append(order)
        self.selection(node, inside)

    def comparison(self, node: Node, inside: bool) -> None:
        self._compare(*_sides(node))

    def negation(self, node: Node, inside: bool) -> None:
        (child,) = node["children"]
        if child["type"] == "comparator":
            left, op, right = _sides(child)
            self._compare(left, _NEGATED[op], right)
        else:  # what it compares counts, by what does not
            count = len(self.predicates)
            self.read(child, inside)
            del self.predicates[count:]

    def alternatives(self, node: Node, inside: bool) -> None:
        """Read `a == 1 || a == 2` as `a in [1, 2]`."""
        pairs = [_equality(branch) for branch in _branches(node)]
        paths = {pair[0] if pair is not None else () for pair in pairs}
        if len(paths) == 1 and () not in paths:
            self._add(paths.pop(), "in", [pair[1] for pair in pairs if pair is not None])
        else:
            self.read_all(node["children"], inside)

    def call(self, node: Node, inside: bool) -> None:
        name, children = node["value"], node["children"]
        if name in _PICKS and len(children) == 2:
            self.read(children[0], inside)
            self.orders.append(Order(_key(children[1]), _PICKS[name]))
        elif name in _PARTS and len(children) == 2:
            whole, part = children
            if isinstance(whole.get("value"), list):
                self._add(_path(part), "in", whole["value"])
            elif part["type"] == "literal":
                self._add(_path(whole), "contains", part["value"])
        else:
            self.read_all(children, inside)

    def _compare(self, left: Node, op: str, right: Node) -> None:
        if right["type"] == "literal":
            self._add(_path(left), op, right["value"])
        else:
            self.fields += [path for path in (_path(left), _path(right)) if path]

    def _add(self, path: Path, op: str, value: Any) -> None:
        if path:
            self.fields.append(path)
            predicate = make(path, op, value)
            self.predicates += [predicate] if predicate is not None else []


_HANDLERS: dict[str, Callable[[_Reader, Node, bool], None]] = {
    "comparator": _Reader.comparison, "not_expression": _Reader.negation, "or_expression": _Reader.alternatives,
    "function_expression": _Reader.call, "field": _Reader.access, "subexpression": _Reader.access,
    "index_expression": _Reader.index, "pipe": _Reader.selection, "projection": _Reader.selection,
    "value_projection": _Reader.selection, "filter_projection": _Reader.selection,
}  # fmt: skip


def _sides(comparison: Node) -> tuple[Node, str, Node]:
    """Both sides of a comparison and its operator, a literal on the right."""
    left, right = comparison["children"]
    op = OPERATORS[comparison["value"]]
    if left["type"] == "literal" and right["type"] != "literal":
        return right, _FLIPPED.get(op, op), left
    return left, op, right


def _branches(node: Node) -> Iterator[Node]:
    if node["type"] == "or_expression":
        for child in node["children"]:
            yield from _branches(child)
    else:
        yield node


def _equality(node: Node) -> tuple[Path, Any] | None:
    if node["type"] != "comparator":
        return None
    left, op, right = _sides(node)
    return (_path(left), right["value"]) if op == "==" and right["type"] == "literal" else None


def _order_of(call: Node, index: Node) -> Order | None:
    """`sort_by(list, &key)[0]` chooses the least by key, `[-1]` the greatest; `reverse` turns them round."""
    directions = {0: "min", -1: "max"}
    if call["type"] == "function_expression" and call["value"] == "reverse":
        call, directions = call["children"][0], {0: "max", -1: "min"}
    sorts = call["type"] == "function_expression" and call["value"] == "sort_by" and len(call["children"]) == 2
    if not sorts or index["type"] != "index" or index["value"] not in directions:
        return None
    return Order(_key(call["children"][1]), directions[index["value"]])


def _key(reference: Node) -> Path:
    return _path(reference["children"][0]) if reference["children"] else ()
