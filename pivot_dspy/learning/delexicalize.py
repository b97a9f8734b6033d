"""Slots: what stands for a value of one task wherever an entry keeps its text or its steps."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import dspy
from pydantic_core import to_jsonable_python

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import OPERATORS, singular, triple
from pivot_dspy.trajectory import Execution, Step

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:,\d+)*(?:\.\d+)?(?![\w.]*\w)")
# What looks like a value in a text, and slots, which stay.
_VALUE = re.compile(
    r"(?P<slot><[^<>]*>)"
    r"|(?<!\w)(?<!\w['’])(?P<text>\"[^\"<>]{1,80}\"|'[^'<>]{1,80}'|‘[^’<>]{1,80}’|“[^”<>]{1,80}”)(?!\w)"
    rf"|(?P<number>{_NUMBER.pattern})"
    r"|(?P<id>(?<![\w<$])(?=\w*\d)[\w-]*\w(?![\w>]))"
)
# A literal of an expression, with the field that it is compared with; or a field that looks like an id.
_LITERAL = re.compile(
    r"(?:\"?(?P<field>\w+)\"?\s*(?:[=!<>]=?|,)\s*)?"
    r"(?P<literal>'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\])*\")"
    r"|(?<=[.&])(?P<key>[A-Za-z_]\w*\d\w*\d\w*)"
)
_FIELD = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_PLAIN_KEY = re.compile(r"[^\W\d][^\W\d]*(?:\.[^\W\d]+)*")
# An argument with such a word in its name takes the name of a field, an order or an operator.
_NAMING = frozenset(("field", "column", "attribute", "property", "key", "by", "sort", "order", "operator", "op"))
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_TRIVIAL = frozenset(("", "0", "1"))
_WORDS = 3
"""Words of a text that may belong to the language rather than to the task."""


class _Origin(NamedTuple):
    position: int
    path: str


class Delexicalizer:
    """Tells the values of one task from what holds for any task, and gives each of them a slot such as `<size>`.

    A value is the task's own where it stands in the task's inputs, in an observation or in its gold (labels), or where
    it holds a digit, as ids and dates do. An id that an earlier step's result holds gets the slot `<$p.products[].id>`,
    which says where it was found. Names of tools, arguments and fields stay, and so do 0, 1, true and false.

    Args:
        task: with its inputs told apart, as `with_inputs` does.
        execution: what was observed; positions of steps count in its trajectory.
    """

    def __init__(self, task: dspy.Example, execution: Execution | None = None) -> None:
        inputs = " ".join(str(value) for _, value in leaves(task.inputs().toDict()))
        self._inputs = _fold(inputs)
        self._numbers = {_number_key(number) for number in _NUMBER.findall(inputs)}
        self._numbers |= {str(number) for number, word in enumerate(_COUNTS, start=2) if _stands(word, self._inputs)}
        self._gold = {_key(value) for _, value in leaves(task.labels().toDict())}
        self._ids = execution.trajectory.ids if execution is not None else ()
        self._fields = set(OPERATORS)
        self._origins: dict[str, list[_Origin]] = defaultdict(list)
        self._lists: dict[tuple[str, ...], list[_Origin]] = defaultdict(list)
        self._slots: dict[str, str] = {}
        # Texts that name something rather than being words of the language.
        self._names = {key for key in self._gold if re.search(r"[\d ]", key)}
        for position, observation in enumerate(execution.observations if execution is not None else ()):
            if observation.ok:
                self._observe(observation.value, position, f"${observation.step}")
        self._names = {name for name in self._names if len(name) > 2}

    def _observe(self, value: Any, position: int, root: str) -> None:
        values: dict[str, list[str]] = defaultdict(list)
        for path, leaf in leaves(value):
            values[f"{root}{path}"].append(_key(leaf))
            if isinstance(leaf, str) and re.search(r"[\dA-Z ]", leaf):
                self._names.add(_key(leaf))
        for path, keys in values.items():
            for key in keys:
                self._origins[key].append(_Origin(position, path))
            if path.endswith("[]"):
                self._lists[tuple(keys)].append(_Origin(position, path.removesuffix("[]")))
            _, in_records, fields = path.partition("[].")
            if in_records and len(keys) > 1:
                self._fields.update(re.findall(r"\w+", fields))

    # -- what is kept of a task

    def text(self, text: str) -> str:
        """`text` without the values of this task: known ones by their slots, others by `<text>`, `<number>`, `<id>`."""
        folded = _fold(text)
        slots = {**dict.fromkeys(self._names, "<text>"), **self._slots}
        texts = [value for value in slots if value in folded and not _NUMBER.fullmatch(value)]
        if texts:
            longest_first = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
            known = rf"<[^<>]*>|(?<!\w)(?<!\w['’])(?:{longest_first})(?!\w)"
            text = re.sub(known, lambda match: slots.get(_fold(match[0]), match[0]), text, flags=re.IGNORECASE)
        return _VALUE.sub(self._unnamed, text)

    def _unnamed(self, match: re.Match[str]) -> str:
        if match["slot"] or match[0] in self._ids or match[0] in self._fields:
            return match[0]
        return self._slots.get(_number_key(match[0]), f"<{match.lastgroup}>")

    def owns(self, name: str) -> bool:
        """Whether a name, such as a step's id, holds a value of this task."""
        words = {_key(word) for word in (name, *name.split("_")) if len(word) > 1}
        return not words.isdisjoint({*self._origins, *self._gold}) or len(re.findall(r"\d", name)) > 2

    def step(self, step: Step, position: int) -> dict[str, Any]:
        """What a step does, as it would be written for any task."""
        written = step.content()
        written.pop("stopped", None)
        written["args"] = {name: self.value(name, value, position) for name, value in step.args.items()}
        if step.is_submit:
            for name, value in written["args"].items():
                if isinstance(value, str) and not value.startswith("<") and not bindings.references(value):
                    written["args"][name] = self._slot(name, _key(value))  # it answers this task only
        for name in ("for_each", "expects"):
            if name in written:
                written[name] = self.expression(written[name], position)
        return written

    def value(self, name: str, value: Any, position: int) -> Any:
        """What is written as the argument `name`: lists and records inside, bindings as expressions."""
        if isinstance(value, Mapping):
            return {
                key if _PLAIN_KEY.fullmatch(key) else self.literal(name, key, position): self.value(key, item, position)
                for key, item in value.items()
            }
        if isinstance(value, list):
            if triple(value) is not None:
                return [value[0], value[1], self.value(value[0].rpartition(".")[2], value[2], position)]
            whole = [origin for origin in self._lists.get(tuple(map(_key, value)), ()) if origin.position < position]
            if whole:
                return f"<{whole[-1].path}>"
            items = [self.value(singular(name), item, position) for item in value]
            alike = str(items[0]).startswith("<$") and all(item == items[0] for item in items) if items else False
            return items[:1] if alike else items
        if isinstance(value, str) and bindings.is_binding(value, self._ids):
            return self.expression(value, position)
        return self.literal(name, value, position)

    def literal(self, name: str, value: Any, position: int) -> Any:
        """A single text or number: its slot, or itself where it is nothing of this task."""
        key = _key(value)
        if value is None or isinstance(value, bool) or key in _TRIVIAL:
            return value
        if key in self._slots:
            return self._slots[key]
        if isinstance(value, str) and self._is_word_of_tools(name, value):
            return value
        if key in self._numbers or _stands(key, self._inputs):
            return self._slot(name, key)
        echo = f"${self._ids[position]}.{name}" if self._ids else ""  # what a call gives back of its argument
        origins = [origin for origin in self._origins.get(key, ()) if origin.path != echo]
        earlier = [origin for origin in origins if origin.position < position]
        if earlier and re.search(r"\d", key):
            return self._slot(name, key, f"<{earlier[-1].path}>")
        if origins or key in self._gold or (isinstance(value, str) and self._looks_own(key)):
            return self._slot(name, key)
        return value

    def expression(self, text: str, position: int) -> str:
        """A binding with slots in the place of its literals; fields and steps stay."""
        return _LITERAL.sub(lambda match: self._without_value(match, position), text)

    def _without_value(self, match: re.Match[str], position: int) -> str:
        if match["key"]:
            return match[0] if match["key"] in self._fields else "<key>"
        quote, inside = match["literal"][0], match["literal"][1:-1]
        if quote == '"':
            slot = inside if inside in self._fields or not re.search(r"\d", inside) else "<key>"
        else:
            value = _parse(inside) if quote == "`" else inside.replace("\\'", "'")
            slot = self.literal(match["field"] or "value", value, position)
            slot = inside if slot == value else slot
        return f"{match[0].removesuffix(match['literal'])}{quote}{slot}{quote}"

    # -- what is a value of this task

    def _is_word_of_tools(self, name: str, value: str) -> bool:
        """Whether a text names a field, an order or an operator, which belong to the tools and not to a task."""
        if value in self._fields or self._fields.issuperset(value.split(".")):
            return True
        naming = not _NAMING.isdisjoint(re.findall(r"[a-z]+", name.lower()))
        return naming and _FIELD.fullmatch(value) is not None and not re.search(r"\d\d|[A-Z]", value)

    def _looks_own(self, key: str) -> bool:
        if re.search(r"\d", key) or len(key.split()) > _WORDS:
            return True
        return any(_stands(name, key) for name in self._names)

    def _slot(self, name: str, key: str, slot: str = "") -> str:
        """A new slot for a value: named by the argument that it is given as, with a number where that is taken."""
        if not slot:
            name = re.sub(r"\W", "", name) or "value"
            slot, number = f"<{name}>", 2
            while slot in self._slots.values():
                slot, number = f"<{name}_{number}>", number + 1
        self._slots[key] = slot
        return slot


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Paths and values of the texts and numbers in data, records of pydantic and dataclasses included; keys that are no
    names are values too."""
    yield from _leaves(to_jsonable_python(value, serialize_unknown=True), "")


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            named = _PLAIN_KEY.fullmatch(key) is not None
            if not named:
                yield f"{path}.*", key
            yield from _leaves(item, f"{path}.{key if named else '*'}")
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item, f"{path}[]")
    elif value is not None and not isinstance(value, bool) and _key(value) not in _TRIVIAL:
        yield path, value


def _key(value: Any) -> str:
    """Equal for texts and numbers that say the same."""
    return _fold(value) if isinstance(value, str) else _number_key(str(value))


def _number_key(number: str) -> str:
    whole, _, decimals = number.replace(",", "").partition(".")
    return f"{whole}.{decimals}".rstrip("0").rstrip(".") if decimals.isdigit() else f"{whole}.{decimals}".rstrip(".")


def _parse(literal: str) -> Any:
    """The number or text that stands between backticks."""
    return json.loads(literal) if _NUMBER.fullmatch(literal) and "," not in literal else literal.strip('"')


def _fold(text: str) -> str:
    return " ".join(text.replace("$$", "$").casefold().split())


def _stands(word: str, text: str) -> bool:
    """Whether `word` stands in `text` as a word or words of its own."""
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
