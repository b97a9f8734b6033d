"""What the steps of a trajectory select by: the predicates in their arguments and in the JMESPath of their bindings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from pivot_dspy import bindings, expressions
from pivot_dspy.blame.predicates import OPERATORS, WORD, Order, Predicate, leaves, make, singular, triple
from pivot_dspy.trajectory import Step

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_DIRECTIONS = {"asc": "min", "ascending": "min", "desc": "max", "descending": "max"}
_BOUNDS = {"max": "<=", "maximum": "<=", "min": ">=", "minimum": ">="}
_PICKS = {"min_by": "min", "max_by": "max"}
_SORTED_ENDS = {0: "min", -1: "max"}
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


def predicates_of(step: Step, known: Collection[str]) -> StepPredicates:
    """What a step selects by: the literals in its arguments and the expressions of its bindings.

    Args:
        known: ids of the trajectory's steps; with `item` among them, no set need be made that has it.
    """
    parts: list[StepPredicates] = []
    if step.for_each and bindings.is_binding(step.for_each, known):
        parts.append(of_expression(step.for_each))
    names = known if bindings.ITEM in known else {*known, bindings.ITEM}
    plain: dict[str, Any] = {}
    for path, value in _argument_leaves(step.args):
        predicate = triple(value)
        if predicate is not None:
            parts.append(StepPredicates(predicates=(predicate,), fields=(predicate.path,)))
        elif isinstance(value, str) and bindings.is_binding(value, names):
            parts.append(of_expression(value))
        elif len(path) == 1:
            plain[path[0]] = value
        else:
            parts.append(_of_arguments({".".join(path): value}))
    parts.append(_of_arguments(plain))
    return StepPredicates(*(tuple(dict.fromkeys(chain.from_iterable(values))) for values in zip(*parts, strict=True)))


def _argument_leaves(arguments: Any) -> Iterator[tuple[Path, Any]]:
    for path, value in leaves(arguments):
        if path[-1:] == (bindings.CALC,) and len(path) > 1 and isinstance(value, str):
            yield from ((path[:-1], text) for text in bindings.strings({bindings.CALC: value}))
            continue
        holds_bindings = isinstance(value, list) and triple(value) is None and any("$" in str(item) for item in value)
        yield from ((path, item) for item in (value if holds_bindings else [value]))


def _of_arguments(arguments: dict[str, Any]) -> StepPredicates:
    """Predicates in literal arguments: `name=value`, or one for a field, an operator and a value given apart."""
    orders = _take_order(arguments)
    comparison = _take_comparison(arguments)
    plain = [make(*_bound(key, value), value) for key, value in arguments.items() if not _is_prose(value)]
    kept = tuple(predicate for predicate in plain if predicate is not None)
    predicates = kept if comparison is None else (comparison, *kept)
    return StepPredicates(predicates, orders, tuple(predicate.path for predicate in predicates), arguments=kept)


def _take_order(arguments: dict[str, Any]) -> tuple[Order, ...]:
    """Take `sort_by=field`, and the direction that another argument may tell."""
    sorting = next((key for key in _field_arguments(arguments) if _has_word(key, _SORTING)), None)
    if sorting is None:
        return ()
    path = tuple(arguments.pop(sorting).split("."))
    told = next((key for key, value in arguments.items() if str(value).lower() in _DIRECTIONS), None)
    return (Order(path, "" if told is None else _DIRECTIONS[arguments.pop(told).lower()]),)


def _take_comparison(arguments: dict[str, Any]) -> Predicate | None:
    """Take the arguments that name a field, an operator and a value, where there are all three."""
    field = next(iter(_field_arguments(arguments)), None)
    others = [key for key, value in arguments.items() if key != field and not isinstance(value, list)]
    operator = next((key for key in others if str(arguments[key]) in OPERATORS), None)
    values = [key for key in others if key != operator]
    compared = next((key for key in values if _has_word(key, _VALUE_ARGUMENT)), values[0] if len(values) == 1 else None)
    if field is None or operator is None or compared is None:
        return None
    path, op = tuple(arguments.pop(field).split(".")), OPERATORS[arguments.pop(operator)]
    return make(path, op, arguments.pop(compared))


def _field_arguments(arguments: Mapping[str, Any]) -> list[str]:
    return [key for key, value in arguments.items() if isinstance(value, str) and _has_word(key, _FIELD_ARGUMENT)]


def _is_prose(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= _PROSE


def _bound(key: str, value: Any) -> tuple[Path, str]:
    """The field and operator that an argument's name stands for: `max_price=500` is `price <= 500`."""
    first, *rest = WORD.findall(key) or [""]
    if rest and type(value) in (int, float) and first.lower() in _BOUNDS:
        return ("_".join(rest),), _BOUNDS[first.lower()]
    return tuple(key.split(".")), "=="


def _has_word(key: str, words: frozenset[str]) -> bool:
    return not words.isdisjoint(singular(part.lower()) for part in WORD.findall(key))


@lru_cache(maxsize=4096)
def of_expression(text: str) -> StepPredicates:
    """The predicates, orders and reads of a JMESPath expression with `$id` references; nothing where it is not valid.

    >>> of_expression("min_by($a[?stars >= `4`], &price).id").orders
    (Order(path=('price',), direction='min'),)
    """
    if not expressions.is_valid(text):
        return StepPredicates()
    try:
        items = list(_read(expressions.parse(text).parsed, frozenset(expressions.references(text))))
    except RecursionError:  # nested too deep to be evaluated, too
        return StepPredicates()
    return StepPredicates(*(tuple(item for name, item in items if name == field) for field in StepPredicates._fields))


_INSIDE: frozenset[str] = frozenset()
"""The step names inside a filter or key, where names are fields of the element."""

Items = Iterator[tuple[str, Any]]
"""What a node selects by: pairs of a field of `StepPredicates` and what belongs in it."""


def _read(node: Node, names: frozenset[str]) -> Items:
    return _READERS.get(node["type"], _read_each)(node, names)


def _read_each(node: Node, names: frozenset[str]) -> Items:
    return chain.from_iterable(_read(child, names) for child in node["children"])


def _selection(node: Node, names: frozenset[str]) -> Items:
    """A path, or a selection from what the first child gives."""
    path = _static(node) if node["type"] in ("field", "subexpression") else ()
    if path and path[0] in names:
        yield "reads", path
    for position, child in enumerate(node["children"]):
        is_read = position > 0 or (path and child["type"] == "field")
        yield from _read(child, _INSIDE if is_read else names)


def _index(node: Node, names: frozenset[str]) -> Items:
    """`sort_by(list, &key)[0]` chooses the least by key, `[-1]` the greatest; `reverse` turns them round."""
    call, index = node["children"]
    end = index.get("value")
    if _is_call(call, "reverse"):
        call, end = call["children"][0], {0: -1, -1: 0}.get(end)
    if _is_call(call, "sort_by") and end in _SORTED_ENDS:
        yield "orders", Order(_key(call["children"][-1]), _SORTED_ENDS[end])
    yield from _selection(node, names)


def _comparison(node: Node, names: frozenset[str]) -> Items:
    left, op, right = _sides(node)
    if right["type"] == "literal":
        return _compare(_path(left), op, right["value"])
    return (("fields", path) for path in (_path(left), _path(right)) if path)


def _negation(node: Node, names: frozenset[str]) -> Items:
    (child,) = node["children"]
    if child["type"] == "comparator":
        return _comparison({**child, "value": _NEGATED[OPERATORS[child["value"]]]}, names)
    # What it compares counts, by what does not.
    return (item for item in _read(child, names) if item[0] != "predicates")


def _alternatives(node: Node, names: frozenset[str]) -> Items:
    """`a == 1 || a == 2` is `a in [1, 2]`."""
    branches = _branches(node)
    sides = [_sides(branch) for branch in branches if branch["type"] == "comparator"]
    values = [right["value"] for _, op, right in sides if op == "==" and right["type"] == "literal"]
    paths = {_path(left) for left, *_ in sides}
    if len(values) == len(branches) and len(paths) == 1:
        return _compare(paths.pop(), "in", values)
    return _read_each(node, names)


def _call(node: Node, names: frozenset[str]) -> Items:
    name, children = node["value"], node["children"]
    if name in _PICKS and len(children) == 2:
        yield from _read(children[0], names)
        yield "orders", Order(_key(children[1]), _PICKS[name])
    elif name not in _PARTS or len(children) != 2:
        yield from _read_each(node, names)
    elif isinstance(children[0].get("value"), list):
        yield from _compare(_path(children[1]), "in", children[0]["value"])
    elif children[1]["type"] == "literal":
        yield from _compare(_path(children[0]), "contains", children[1]["value"])


_READERS: dict[str, Callable[[Node, frozenset[str]], Items]] = {
    "comparator": _comparison, "not_expression": _negation, "or_expression": _alternatives, "index_expression": _index,
    "function_expression": _call, "field": _selection, "subexpression": _selection, "pipe": _selection,
    "projection": _selection, "value_projection": _selection, "filter_projection": _selection,
    "slice": lambda node, names: iter(()),  # its children are numbers
}  # fmt: skip


def _compare(path: Path, op: str, value: Any) -> Items:
    predicate = make(path, op, value)
    if path:
        yield "fields", path
    if path and predicate is not None:
        yield "predicates", predicate


def _sides(comparison: Node) -> tuple[Node, str, Node]:
    """Both sides of a comparison and its operator, a literal on the right."""
    left, right = comparison["children"]
    op = OPERATORS[comparison["value"]]
    if left["type"] == "literal" and right["type"] != "literal":
        return right, _FLIPPED.get(op, op), left
    return left, op, right


def _branches(node: Node) -> list[Node]:
    if node["type"] != "or_expression":
        return [node]
    return [branch for child in node["children"] for branch in _branches(child)]


def _is_call(node: Node, name: str) -> bool:
    return node["type"] == "function_expression" and node["value"] == name and bool(node["children"])


def _key(reference: Node) -> Path:
    return _path(reference["children"][0]) if reference["children"] else ()


_ACCESS = frozenset({"subexpression", "index_expression", "projection", "filter_projection", "flatten"})


def _path(node: Node) -> Path:
    """The field names that a node goes through, selections left out."""
    kind, children = node["type"], node["children"]
    if kind == "field":
        return (str(node["value"]),)
    if kind in _ACCESS or (kind == "function_expression" and len(children) == 1):
        # The third child of a filter is its condition.
        return tuple(chain.from_iterable(map(_path, children[:2] if kind == "filter_projection" else children)))
    return ()


def _static(node: Node) -> Path:
    """The field names up to the first selection."""
    if node["type"] == "field":
        return (str(node["value"]),)
    if node["type"] not in _ACCESS:
        return ()
    first, *rest = node["children"]
    path = _static(first)
    if node["type"] == "subexpression" and first["type"] == "field":
        for child in rest:
            path += _static(child)
            if child["type"] != "field":
                break
    return path
