"""Slots: what stands for a value of one task wherever an entry keeps its text or its steps."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dspy
from pydantic import BaseModel

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import OPERATORS, singular, triple
from pivot_dspy.trajectory import Execution, Step

_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`|\"(?:\\.|[^\"\\])*\"")
_COMPARED = re.compile(r"(\w+)\"?\s*(?:[=!<>]=?|,)\s*$")
_NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?![\w.]*\w)")
_CODED = re.compile(r"(?<![\w<$])(?=\w*\d)[\w-]*\w(?![\w>])")
_FIELD = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_NAMING = frozenset(("field", "column", "attribute", "property", "key", "by", "sort", "order", "operator", "op"))
_COUNTS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_WORDS = 3
_DEPTH = 12
_DIGITS = 15
_EXACT = 10**_DIGITS - 1
"""Whole numbers up to which floats tell all of them apart; longer ones are compared as they are written."""

Key = str | float


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
        self._text = " ".join(str(value) for _, value in leaves(task.inputs().toDict()))
        self._folded = _fold(self._text)
        self._numbers: set[Key] = {_number(found) for found in _NUMBER.findall(self._text)}
        self._numbers |= {float(n) for n, word in enumerate(_COUNTS, start=2) if _stands(word, self._folded)}
        self._ids = execution.trajectory.ids if execution is not None else ()
        self._origins: dict[Key, list[_Origin]] = {}
        self._lists: dict[tuple[Key, ...], list[_Origin]] = {}
        self._fields: set[str] = set()
        self._spelt: dict[Key, str] = {}
        self._gold = {_key(value) for _, value in leaves(task.labels().toDict())}
        self._slots: dict[Key, str] = {}
        self._taken: set[str] = set()
        for position, seen in enumerate(execution.observations if execution is not None else ()):
            if seen.ok:
                self._look(seen.value, position, f"${seen.step}", 0)
        # Texts that name something rather than being words of the language.
        seen_as = ((key, self._spelt[key]) for key in self._origins)
        own = {key for key, spelt in seen_as if isinstance(key, str) and re.search(r"[\dA-Z ]", spelt)}
        own |= {key for key in self._gold if isinstance(key, str) and re.search(r"[\d ]", key)}
        self._own = tuple(sorted(name for name in own if len(name) > 2))

    # -- what is kept of a task

    def text(self, text: str) -> str:
        """`text` without the values of this task: known ones by their slots, others by `<text>`, `<number>`, `<id>`."""
        folded = _fold(text)
        known = {self._spelt[key]: slot for key, slot in self._slots.items() if _fold(self._spelt[key]) in folded}
        for value in sorted(known, key=len, reverse=True):
            text = _replaced(text, re.escape(value), known[value], fold=len(value) > 2)
        for name in sorted((name for name in self._own if name in folded), key=len, reverse=True):
            text = _replaced(text, re.escape(name), "<text>", fold=True)
        text = _replaced(text, "\"[^\"<>]{1,80}\"|'[^'<>]{1,80}'|‘[^’<>]{1,80}’|“[^”<>]{1,80}”", "<text>")
        text = _outside(text, lambda part: _NUMBER.sub("<number>", part))
        return _outside(text, lambda part: _CODED.sub(lambda found: self._code(found[0]), part))

    def call(self, args: Mapping[str, Any]) -> None:
        """Takes every value that a call was made with for one of the task's own."""
        for path, value in leaves(args):
            if _key(value) not in self._slots:
                self._given(path.strip(".").split(".")[-1].removesuffix("[]"), value)

    def owns(self, name: str) -> bool:
        """Whether a name, such as a step's id, holds a value of this task."""
        words = [name, *re.split(r"_", name)]
        found = any(_key(word) in self._origins or _key(word) in self._gold for word in words if len(word) > 1)
        return found or len(re.findall(r"\d", name)) > 2

    def step(self, step: Step, position: int) -> dict[str, Any]:
        """What a step does, as it would be written for any task."""
        written = step.content()
        written.pop("stopped", None)
        written["args"] = {
            name: self._submitted(name, value, position) if step.is_submit else self.value(name, value, position)
            for name, value in step.args.items()
        }
        for name in ("for_each", "expects"):
            if name in written:
                written[name] = self.expression(written[name], position)
        return written

    def value(self, name: str, value: Any, position: int) -> Any:
        """What is written as the argument `name`: lists and records inside, bindings as expressions."""
        if isinstance(value, str):
            if bindings.references(value) and bindings.is_binding(value, self._ids):
                return self.expression(value, position)
            return self.literal(name, value, position)
        if isinstance(value, Mapping):
            return {self._entry(name, key): self.value(str(key), item, position) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            if triple(value) is not None:
                return [value[0], value[1], self.value(str(value[0]).rsplit(".", 1)[-1], value[2], position)]
            whole = self._whole(value, position)
            if whole is not None:
                return whole
            found = [self.value(singular(name), item, position) for item in value]
            alike = len(found) > 1 and all(item == found[0] for item in found) and str(found[0]).startswith("<$")
            return found[:1] if alike else found
        return self.literal(name, value, position)

    def literal(self, name: str, value: Any, position: int) -> Any:
        """A single text or number: its slot, or itself where it is nothing of this task."""
        if value is None or isinstance(value, bool) or value in (0, 1, ""):
            return value
        key = _key(value)
        if key in self._slots:
            return self._slots[key]
        if isinstance(value, str) and self._is_word_of_tools(name, value):
            return value
        earlier = [origin for origin in self._origins.get(key, ()) if origin.position < position]
        if self._in_text(value):
            return self._given(name, value)
        if earlier and not (isinstance(value, str) and not re.search(r"\d", value)):
            return self._given(name, value, f"<{earlier[-1].path}>")
        echo = _Origin(position, f"${self._ids[position]}.{name}") if position < len(self._ids) else None
        seen = any(origin != echo for origin in self._origins.get(key, ()))  # what a call gives back says nothing
        if seen or key in self._gold or (isinstance(value, str) and self._looks_own(value)):
            return self._given(name, value)
        return value

    def expression(self, text: str, position: int) -> str:
        """A binding with slots in the place of its literals; fields and steps stay."""
        parts: list[str] = []
        end = 0
        for found in _QUOTED.finditer(text):
            parts.append(self._bare(text[end : found.start()]))
            parts.append(self._quoted(found[0], "".join(parts), position))
            end = found.end()
        return "".join([*parts, self._bare(text[end:])])

    # -- what is a value of this task

    def _look(self, value: Any, position: int, path: str, depth: int) -> None:
        if depth > _DEPTH:
            return
        if isinstance(value, Mapping):
            for key, item in value.items():
                name = str(key)
                plain = name if _FIELD.fullmatch(name) and not re.search(r"\d", name) else "*"
                if plain == "*":
                    self._origins.setdefault(_key(name), []).append(_Origin(position, f"{path}.*"))
                    self._spelt.setdefault(_key(name), name)
                self._look(item, position, f"{path}.{plain}", depth + 1)
        elif isinstance(value, (list, tuple)):
            records = [item for item in value if isinstance(item, Mapping)]
            if len(records) > 1:
                self._fields |= set.intersection(*(set(_paths(item)) for item in records[:20]))
            elif value and not records and all(isinstance(item, (str, int, float)) for item in value):
                self._lists.setdefault(tuple(map(_key, value)), []).append(_Origin(position, path))
            for item in value:
                self._look(item, position, f"{path}[]", depth + 1)
        elif isinstance(value, (str, int, float)) and not isinstance(value, bool) and value not in (0, 1, ""):
            self._origins.setdefault(_key(value), []).append(_Origin(position, path))
            self._spelt.setdefault(_key(value), str(value))

    def _in_text(self, value: Any) -> bool:
        if isinstance(value, str):
            return _stands(value, self._text) if len(value) <= 2 else _stands(_fold(value), self._folded)
        return _key(value) in self._numbers

    def _is_word_of_tools(self, name: str, value: str) -> bool:
        """Whether a text names a field, an order or an operator, which belong to the tools and not to a task."""
        if value in OPERATORS or value in self._fields:
            return True
        naming = _NAMING.intersection(re.findall(r"[a-z]+", name.lower()))
        return bool(naming) and _FIELD.fullmatch(value) is not None and not re.search(r"\d\d|[A-Z]", value)

    def _looks_own(self, value: str) -> bool:
        if re.search(r"\d", value) or len(value.split()) > _WORDS:
            return True
        return any(_stands(name, _fold(value)) for name in self._own)

    # -- slots

    def _given(self, name: str, value: Any, slot: str = "") -> str:
        if not slot:
            plain = re.sub(r"\W", "", name) or "value"
            number = 2
            slot = f"<{plain}>"
            while slot in self._taken:
                slot = f"<{plain}_{number}>"
                number += 1
            self._taken.add(slot)
        self._slots[_key(value)] = slot
        spelt = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
        self._spelt.setdefault(_key(value), spelt)
        return slot

    def _submitted(self, name: str, value: Any, position: int) -> Any:
        """What is submitted: a binding, or else an answer to this task only."""
        written = self.value(name, value, position)
        if isinstance(written, str) and not written.startswith("<") and not bindings.references(written):
            return self._given(name, value)
        return written

    def _whole(self, values: Sequence[Any], position: int) -> str | None:
        """The slot for a list that is just what an earlier result holds."""
        if not values or not all(isinstance(item, (str, int, float)) for item in values):
            return None
        found = [one for one in self._lists.get(tuple(map(_key, values)), ()) if one.position < position]
        return f"<{found[-1].path}>" if found else None

    def _entry(self, name: str, key: Any) -> str:
        plain = str(key)
        return plain if _FIELD.fullmatch(plain) and not re.search(r"\d", plain) else str(self.literal(name, plain, 0))

    def _quoted(self, found: str, before: str, position: int) -> str:
        inside = found[1:-1]
        if found[0] == '"':
            known = any(inside in path.split(".") for path in self._fields) or not re.search(r"\d", inside)
            return found if known else '"<key>"'
        compared = _COMPARED.search(before)
        name = compared[1] if compared else "value"
        value: Any = inside.replace("\\'", "'")
        if found[0] == "`":
            value = _number(value) if _NUMBER.fullmatch(value) else value.strip('"')
        written = self.literal(name, value, position)
        return f"{found[0]}{written}{found[0]}" if written != value else found

    def _bare(self, text: str) -> str:
        def field(found: re.Match[str]) -> str:
            known = found[1] in self._ids or any(found[1] in path.split(".") for path in self._fields)
            return found[0] if known or len(re.findall(r"\d", found[1])) < 2 else found[0].replace(found[1], "<key>")

        return re.sub(r"[.&]([A-Za-z_]\w*)", field, text)

    def _code(self, word: str) -> str:
        """A word with digits in a text, unless it names a step or a field."""
        known = word in self._ids or any(word in path.split(".") for path in self._fields)
        return word if known else "<id>"


def leaves(value: Any, path: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Paths and values of the texts and numbers in data, records of pydantic and dataclasses included."""
    if depth > _DEPTH:
        return
    if isinstance(value, BaseModel):
        value = value.model_dump()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for item in value:
            yield from leaves(item, f"{path}[]", depth + 1)
    elif isinstance(value, (str, int, float)) and not isinstance(value, bool) and value not in (0, 1, ""):
        yield path, value


def _paths(record: Mapping[str, Any], prefix: str = "", depth: int = 0) -> Iterator[str]:
    for key, item in record.items():
        path = f"{prefix}{key}"
        yield path
        if isinstance(item, Mapping) and depth < _DEPTH:
            yield from _paths(item, f"{path}.", depth + 1)


def _key(value: Any) -> Key:
    if isinstance(value, str):
        return _fold(value)
    return str(value) if isinstance(value, int) and abs(value) > _EXACT else float(value)


def _number(written: str) -> Key:
    """The key of a number as a text has it."""
    plain = written.replace(",", "")
    return plain if len(plain.lstrip("-")) > _DIGITS and "." not in plain else float(plain)


def _fold(text: str) -> str:
    return " ".join(text.replace("$$", "$").casefold().split())


def _outside(text: str, change: Callable[[str], str]) -> str:
    """`text` changed wherever no slot stands."""
    return "".join(part if place % 2 else change(part) for place, part in enumerate(re.split(r"(<[^<>]*>)", text)))


def _replaced(text: str, pattern: str, slot: str, *, fold: bool = False) -> str:
    found = re.compile(rf"(?<!\w)(?<!\w['’])(?:{pattern})(?!\w)", re.IGNORECASE if fold else 0)
    return _outside(text, lambda part: found.sub(lambda _: slot, part))


def _stands(word: str, text: str) -> bool:
    """Whether `word` stands in `text` as a word or words of its own."""
    return bool(word) and word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
