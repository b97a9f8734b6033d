"""Which elements of a repeated call a plan still depends on, for a model that makes the calls one by one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.visitor import TreeInterpreter

from pivot_dspy import bindings

Node = Any
"""A node of the tree that jmespath parses an expression into."""

Pair = dict[str, Any]


class Choice(NamedTuple):
    """`min_by($name[?terms], &item.key)`: the terms, and how the elements are ordered, the best first."""

    terms: tuple[Node, ...]
    key: Node
    largest: bool

    def candidates(self, items: Sequence[Any]) -> list[int]:
        """Positions of the elements that may be chosen, as far as they tell by themselves; the best first."""
        known = [term for term in self.terms if not _reads(term, "result")]
        pairs = {place: {"item": item} for place, item in enumerate(items)}
        fitting = [place for place, pair in pairs.items() if all(_holds(term, pair) for term in known)]
        keys = {place: _value(self.key, pairs[place]) for place in fitting}
        comparable = [place for place in fitting if isinstance(keys[place], (int, float))]
        return sorted(comparable, key=lambda place: keys[place], reverse=self.largest)

    def takes(self, pair: Pair) -> bool:
        """Whether an element with its result may be chosen."""
        return all(_holds(term, pair) for term in self.terms)


def still_open(texts: Sequence[str], name: str, items: Sequence[Any], done: Mapping[int, Any]) -> Iterator[int]:
    """Positions of the elements to call for next: the results of `$name` so far, by position, are in `done`.

    Where all that reads them chooses the best by a field of the element, it is looked for in that order, and not
    beyond the first that fits; else every element counts.
    """
    readers = [text for text in texts if name in bindings.references(text)]
    choices = [choice for text in readers for choice in [_choice(text, name)] if choice is not None]
    if not readers or len(choices) < len(readers):
        yield from (place for place in range(len(items)) if place not in done)
        return
    for choice in choices:
        for place in choice.candidates(items):
            if place not in done:
                yield place
                break
            if choice.takes({"item": items[place], "result": done[place]}):
                break


def _choice(text: str, name: str) -> Choice | None:
    """The choice that the expression makes among the results of `$name`, if it is of that form."""
    quoted = re.sub(r"\$(\w+)", lambda match: f'"{match[1]}"', text)
    try:
        node = jmespath.compile(quoted).parsed
    except JMESPathError:
        return None
    while node["type"] == "subexpression":
        node = node["children"][0]
    if node["type"] != "function_expression" or node["value"] not in ("min_by", "max_by"):
        return None
    source, key = node["children"]
    if source["type"] != "filter_projection" or source["children"][0].get("value") != name:
        return None
    if key["type"] != "expref" or _reads(key, "result"):
        return None
    return Choice(tuple(_terms(source["children"][2])), key["children"][0], node["value"] == "max_by")


def _terms(node: Node) -> Iterator[Node]:
    if node["type"] == "and_expression":
        for child in node["children"]:
            yield from _terms(child)
    else:
        yield node


def _reads(node: Node, name: str) -> bool:
    if node["type"] == "field" and node.get("value") == name:
        return True
    return any(_reads(child, name) for child in node["children"])


def _holds(node: Node, pair: Pair) -> bool:
    return bool(_value(node, pair))


def _value(node: Node, pair: Pair) -> Any:
    try:
        return TreeInterpreter().visit(node, pair)
    except JMESPathError:
        return None
