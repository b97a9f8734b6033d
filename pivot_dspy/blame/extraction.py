"""What the steps of a trajectory say: the facts in their arguments and in the JMESPath of their bindings."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import OPERATORS, WORD, Order, Predicate, make, singular, triple
from pivot_dspy.trajectory import Step

_FLIPPED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}
_NEGATED = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_DIRECTIONS = {"asc": "min", "ascending": "min", "desc": "max", "descending": "max"}
_BOUNDS = {"max": "<=", "maximum": "<=", "min": ">=", "minimum": ">="}
_PICKS = {"min_by": "min", "max_by": "max"}
_FIELD_ARGUMENT = frozenset({"field", "column", "attribute", "property", "key", "by"})
_VALUE_ARGUMENT = frozenset({"value", "threshold", "number", "amount", "bound"})
_SORTING = frozenset({"sort", "order"})
_MANY_WORDS = 4

Node = Mapping[str, Any]


class StepPredicates(NamedTuple):
    """What an expression or a whole step says.

    Attributes:
        facts: comparisons with literals.
        orders: choices by least or greatest.
        fields: paths of every field that is compared, with a literal or not.
        reads: for each place where it starts reading, the id of a step and the fields up to the first selection.
        picks: the fields that it takes from what was selected.
        texts: longer free texts, lower case.
        given: those of the facts that are plain arguments, `name=value`.
    """

    facts: tuple[Predicate, ...] = ()
    orders: tuple[Order, ...] = ()
    fields: tuple[tuple[str, ...], ...] = ()
    reads: tuple[tuple[str, ...], ...] = ()
    picks: tuple[tuple[str, ...], ...] = ()
    texts: tuple[str, ...] = ()
    given: tuple[Predicate, ...] = ()


def predicates_of(step: Step, known: Collection[str]) -> StepPredicates:
    """What a step selects by: the literals in its arguments and the expressions of its bindings.

    Args:
        known: ids of the trajectory's steps.
    """
    parts: list[StepPredicates] = []
    if step.for_each and bindings.is_binding(step.for_each, known):
        parts.append(of_expression(step.for_each))
    literals: dict[str, Any] = {}
    for key, value in step.args.items():
        _of_argument((key,), value, known, parts, literals)
    if literals:
        parts.append(_of_literals(literals))
    merged: Any = ((item for part in parts for item in part[place]) for place in range(len(StepPredicates._fields)))
    return StepPredicates(*(tuple(dict.fromkeys(items)) for items in merged))


def _of_argument(
    path: tuple[str, ...], value: Any, known: Collection[str], parts: list[StepPredicates], literals: dict[str, Any]
) -> None:
    if isinstance(value, str):
        names = bindings.references(value)
        if names and (bindings.ITEM in names or bindings.is_binding(value, known)):
            parts.append(of_expression(value))
        elif len(path) == 1:
            literals[path[0]] = value
        else:
            parts.append(_of_literals({".".join(path): value}))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            _of_argument((*path, str(key)), item, known, parts, literals)
    elif isinstance(value, (list, tuple)):
        if any(isinstance(item, (list, tuple, Mapping)) or "$" in str(item) for item in value):
            triples = [fact for fact in map(triple, value) if fact is not None]
            parts.append(StepPredicates(facts=tuple(triples), fields=tuple(fact.path for fact in triples)))
            for item in value:
                if triple(item) is None:
                    _of_argument(path, item, known, parts, literals)
        else:
            literals[".".join(path)] = list(value)
    else:
        literals[".".join(path)] = value


def _of_literals(literals: Mapping[str, Any]) -> StepPredicates:
    """Facts in literal arguments: `name=value`, or one fact for a field, an operator and a value given apart."""
    rest = dict(literals)
    facts: list[Predicate | None] = []
    orders: list[Order] = []
    names = [key for key, v in rest.items() if isinstance(v, str) and _has_word(key, _FIELD_ARGUMENT)]
    sorting = next((key for key in names if _has_word(key, _SORTING)), None)
    field = next((key for key in names if key != sorting), None)
    others = {key: v for key, v in rest.items() if isinstance(v, str) and key not in (sorting, field)}
    operator = next((key for key, v in others.items() if v in OPERATORS), None)
    if operator is not None and field is not None:
        values = [key for key, v in rest.items() if key not in (field, operator, sorting) and not isinstance(v, list)]
        named = [key for key in values if _has_word(key, _VALUE_ARGUMENT)]
        value = named[0] if named else values[0] if len(values) == 1 else None
        if value is not None:
            path = tuple(str(rest.pop(field)).split("."))
            facts.append(make(path, OPERATORS[str(rest.pop(operator))], rest.pop(value)))
    if sorting is not None:
        direction = next((key for key in others if key in rest and others[key].lower() in _DIRECTIONS), None)
        chosen = "" if direction is None else _DIRECTIONS[str(rest.pop(direction)).lower()]
        orders.append(Order(tuple(str(rest.pop(sorting)).split(".")), chosen))
    texts = [v.casefold() for v in rest.values() if isinstance(v, str) and len(v.split()) >= _MANY_WORDS]
    plain = [
        make(*_bound(key, value), value)
        for key, value in rest.items()
        if not (isinstance(value, str) and value.casefold() in texts)
    ]
    given = tuple(fact for fact in plain if fact is not None)
    kept = (*(fact for fact in facts if fact is not None), *given)
    fields = tuple(fact.path for fact in kept)
    return StepPredicates(facts=kept, orders=tuple(orders), fields=fields, texts=tuple(texts), given=given)


def _bound(key: str, value: Any) -> tuple[tuple[str, ...], str]:
    """The field and operator that an argument's name stands for: `max_price=500` is `price <= 500`."""
    parts = WORD.findall(key)
    op = _BOUNDS.get(parts[0].lower()) if parts else None
    if op is None or len(parts) < 2 or isinstance(value, bool) or not isinstance(value, (int, float)):
        return tuple(key.split(".")), "=="
    return ("_".join(parts[1:]),), op


def _has_word(key: str, words: frozenset[str]) -> bool:
    return any(singular(part.lower()) in words for part in WORD.findall(key))




@lru_cache(maxsize=4096)
def of_expression(text: str) -> StepPredicates:
    """The facts, orders and reads of a JMESPath expression with `$id` references; nothing where it is not valid.

    >>> of_expression("min_by($a[?stars >= `4`], &price).id").orders
    (Order(path=('price',), direction='min'),)
    """
    tree = _parsed(text)
    if tree is None:
        return StepPredicates()
    reader = _Reader(frozenset(bindings.references(text)))
    try:
        reader.visit(tree, inside=False)
        picks = _picked(tree)
    except RecursionError:  # nested too deep to be evaluated, too
        return StepPredicates()
    return StepPredicates(
        facts=tuple(reader.facts), orders=tuple(reader.orders), fields=tuple(reader.fields),
        reads=tuple(reader.reads), picks=(picks,) if picks else (),
    )  # fmt: skip


def is_expression(text: str) -> bool:
    """Whether `text`, a binding, is valid JMESPath."""
    return _parsed(text) is not None


def _parsed(text: str) -> Node | None:
    try:
        tree: Node = bindings._compiled(text).parsed
    except (ValueError, TypeError, RecursionError, ArithmeticError, LookupError):  # what jmespath lets through
        return None
    return tree


_ACCESS = frozenset({"subexpression", "index_expression", "projection", "filter_projection", "flatten", "slice"})


def _path(node: Node) -> tuple[str, ...]:
    """The field names that a node goes through, selections left out."""
    kind, children = node["type"], node.get("children", ())
    if kind == "field":
        return (str(node["value"]),)
    if kind == "filter_projection":
        return _path(children[0]) + _path(children[1])
    if kind in _ACCESS or (kind == "function_expression" and len(children) == 1):
        return tuple(name for child in children for name in _path(child))
    return ()


def _static(node: Node) -> tuple[tuple[str, ...], bool]:
    """The field names up to the first selection, and whether there was none."""
    kind, children = node["type"], node.get("children", ())
    if kind == "field":
        return (str(node["value"]),), True
    if kind == "subexpression":
        found: tuple[str, ...] = ()
        for child in children:
            more, open_ = _static(child)
            found += more
            if not open_:
                return found, False
        return found, True
    if children and kind in _ACCESS:
        return _static(children[0])[0], False
    return (), False


def _picked(node: Node) -> tuple[str, ...]:
    """The fields taken from what the last selection left."""
    kind, children = node["type"], node.get("children", ())
    if kind == "subexpression":
        if children[0]["type"] == "field":
            return _picked(children[-1]) if children[-1]["type"] != "field" else ()
        return tuple(name for child in children[1:] for name in _path(child))
    if kind in ("projection", "filter_projection"):
        return _path(children[1])
    if kind == "pipe":
        return _path(children[1])
    return ()


class _Reader:
    """Walks a parsed expression once and collects what it says."""

    def __init__(self, names: frozenset[str]) -> None:
        self.names = names
        self.facts: list[Predicate] = []
        self.orders: list[Order] = []
        self.fields: list[tuple[str, ...]] = []
        self.reads: list[tuple[str, ...]] = []

    def visit(self, node: Node, *, inside: bool, negated: bool = False) -> None:
        """`inside` a filter or key, names are fields of the element; outside, the first is a step."""
        kind, children = node["type"], node.get("children", ())
        if kind == "comparator":
            self._compare(children[0], OPERATORS[node["value"]], children[1], negated)
        elif kind == "or_expression" and not negated and self._alternatives(node):
            return
        elif kind == "not_expression":
            self.visit(children[0], inside=inside, negated=not negated)
        elif kind == "function_expression":
            self._call(node["value"], children, inside, negated)
        elif kind == "filter_projection":
            self.visit(children[0], inside=inside)
            self.visit(children[1], inside=True)
            self.visit(children[2], inside=True)
        elif kind == "index_expression" and self._sorted_pick(children):
            self.visit(children[0], inside=inside)
        elif kind == "subexpression" or kind == "field":
            if not inside:
                path = _static(node)[0]
                if path and path[0] in self.names:
                    self.reads.append(path)
            for position, child in enumerate(children):
                if child["type"] != "field":
                    self.visit(child, inside=inside or position > 0)
        elif kind == "pipe":
            self.visit(children[0], inside=inside)
            self.visit(children[1], inside=True)
        elif kind in ("projection", "value_projection", "index_expression"):
            self.visit(children[0], inside=inside)
            for child in children[1:]:
                self.visit(child, inside=True)
        else:
            for child in children:
                self.visit(child, inside=inside, negated=negated)

    def _compare(self, left: Node, op: str, right: Node, negated: bool) -> None:
        if left["type"] == "literal" and right["type"] != "literal":
            left, right, op = right, left, _FLIPPED.get(op, op)
        path = _path(left)
        if not path:
            return
        self.fields.append(path)
        if right["type"] == "literal":
            fact = make(path, _NEGATED.get(op, op) if negated else op, right["value"])
            if fact is not None:
                self.facts.append(fact)
        elif _path(right):
            self.fields.append(_path(right))

    def _call(self, name: str, children: Sequence[Node], inside: bool, negated: bool) -> None:
        if name in _PICKS and len(children) == 2:
            self.visit(children[0], inside=inside)
            self.orders.append(Order(_key(children[1]), _PICKS[name]))
        elif name in ("contains", "starts_with", "ends_with") and len(children) == 2:
            whole, part = children
            if whole["type"] == "literal":
                if isinstance(whole["value"], list) and _path(part):
                    self._add(_path(part), "in", whole["value"], negated)
            elif part["type"] == "literal" and _path(whole):
                self._add(_path(whole), "contains", part["value"], negated)
        else:
            for child in children:
                self.visit(child, inside=inside)

    def _add(self, path: tuple[str, ...], op: str, value: Any, negated: bool) -> None:
        self.fields.append(path)
        fact = make(path, op, value)
        if fact is not None and not negated:
            self.facts.append(fact)

    def _alternatives(self, node: Node) -> bool:
        """Read `a == 1 || a == 2` as `a in [1, 2]`; False where it is something else."""
        branches: list[Node] = []
        todo = [node]
        while todo:
            current = todo.pop()
            if current["type"] == "or_expression":
                todo += current["children"]
            else:
                branches.append(current)
        pairs = [_equality(branch) for branch in branches]
        fields = {pair[0] for pair in pairs if pair is not None}
        if None in pairs or len(fields) != 1:
            return False
        self._add(next(iter(fields)), "in", [pair[1] for pair in pairs if pair is not None], False)
        return True

    def _sorted_pick(self, children: Sequence[Node]) -> bool:
        """Read `sort_by(list, &key)[0]` as the least by key and `[-1]` as the greatest."""
        call, index = children[0], children[-1]
        if call["type"] != "function_expression" or index["type"] != "index":
            return False
        last = index["value"] == -1
        if call["value"] == "reverse":
            call, last = call["children"][0], not last
        if call["type"] != "function_expression" or call["value"] != "sort_by" or index["value"] not in (0, -1):
            return False
        self.orders.append(Order(_key(call["children"][1]), "max" if last else "min"))
        return True


def _key(reference: Node) -> tuple[str, ...]:
    return _path(reference["children"][0]) if reference["children"] else ()


def _equality(node: Node) -> tuple[tuple[str, ...], Any] | None:
    if node["type"] != "comparator" or node["value"] != "eq":
        return None
    left, right = node["children"]
    if left["type"] == "literal":
        left, right = right, left
    path = _path(left)
    return (path, right["value"]) if path and right["type"] == "literal" else None
