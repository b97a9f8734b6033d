"""Slots: what stands for a value of one task wherever an entry keeps its text or its steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

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
    r"(?:\"?(?P<field>\w+)\"?\s*(?:[=!<>]=?|,)\s*)?(?P<literal>'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)"
    r"|(?P<key>\"[^\"]*\d[^\"]*\"|(?<=[.&])[A-Za-z_]\w*\d\w*\d\w*)"
)
_PLAIN_KEY = re.compile(r"[^\W\d]+(?:\.[^\W\d]+)*")
_TRIVIAL = frozenset(("", "0", "1"))
_WORDS = 3
"""Words of a text that may belong to the language rather than to the task."""


class Delexicalizer:
    """Tells the values of one task from what holds for any task, and gives each of them a slot such as `<size>`.

    A value is the task's own where it is a number or a text with a digit, stands in the task's inputs or in its gold
    (labels), or holds a name that an observation gave. Names of tools, arguments and fields stay, and so do 0, 1, true
    and false.

    Args:
        task: with its inputs told apart, as `with_inputs` does.
        execution: what was observed.
    """

    def __init__(self, task: dspy.Example, execution: Execution | None = None) -> None:
        self._inputs = _fold(" ".join(str(value) for _, value in leaves(task.inputs().toDict())))
        self._gold = {_key(value) for _, value in leaves(task.labels().toDict())}
        self._ids = execution.trajectory.ids if execution is not None else ()
        self._fields = set(OPERATORS)
        self._slots: dict[str, str] = {}
        # Texts that name something rather than being words of the language.
        self._names = {key for key in self._gold if re.search(r"[\d ]", key)}
        self._first_seen: dict[str, int] = {}
        for position, observation in enumerate(execution.observations if execution is not None else ()):
            for path, value in leaves(observation.value if observation.ok else None):
                self._first_seen.setdefault(_key(value), position)
                if isinstance(value, str) and re.search(r"[\dA-Z ]", value):
                    self._names.add(_key(value))
                _, in_records, fields = path.partition("[].")
                self._fields.update(re.findall(r"\w+", fields) if in_records else ())

    def text(self, text: str) -> str:
        """`text` without the values of this task: known ones by their slots, others by `<text>`, `<number>`, `<id>`."""
        folded = _fold(text)
        slots = {**dict.fromkeys((name for name in self._names if len(name) > 2), "<text>"), **self._slots}
        texts = [value for value in slots if value in folded and not _NUMBER.fullmatch(value)]
        if texts:
            longest_first = "|".join(map(re.escape, sorted(texts, key=len, reverse=True)))
            known = rf"<[^<>]*>|(?<!\w)(?<!\w['’])(?:{longest_first})(?!\w)"
            text = re.sub(known, lambda match: slots.get(_fold(match[0]), match[0]), text, flags=re.IGNORECASE)
        return _VALUE.sub(self._unnamed, text)

    def _unnamed(self, match: re.Match[str]) -> str:
        if match["slot"] or match[0] in self._ids or match[0] in self._fields:
            return match[0]
        return self._slots.get(_key(match[0]), f"<{match.lastgroup}>")

    def owns(self, name: str) -> bool:
        """Whether a name, such as a step's id, holds a value of this task."""
        words = {_key(word) for word in (name, *name.split("_")) if len(word) > 1}
        return not words.isdisjoint({*self._first_seen, *self._gold}) or len(re.findall(r"\d", name)) > 2

    def is_choice(self, step: Step, position: int) -> bool:
        """Whether a step takes a value of an earlier result by writing it out, which does not say why that one."""
        keys = {_key(value) for value in step.args.values() if isinstance(value, str)}
        seen = {key for key in keys if self._first_seen.get(key, position) < position}
        return any(not _stands(key, self._inputs) for key in seen)

    def step(self, step: Step) -> dict[str, Any]:
        """What a step does, as it would be written for any task."""
        written = step.content()
        written.pop("stopped", None)
        written["args"] = {name: self.value(name, value) for name, value in step.args.items()}
        for name, value in step.args.items():
            if step.is_submit and isinstance(value, str) and not bindings.references(value):
                written["args"][name] = self._slot(name, _key(value))  # it answers this task only
        for name in ("for_each", "expects"):
            if name in written:
                written[name] = self.expression(written[name])
        return written

    def value(self, name: str, value: Any) -> Any:
        """What is written as the argument `name`: lists and records inside, bindings as expressions."""
        if isinstance(value, Mapping):
            return {
                key if _PLAIN_KEY.fullmatch(key) else self.literal(name, key): self.value(key, item)
                for key, item in value.items()
            }
        if isinstance(value, list):
            if triple(value) is not None:
                return [value[0], value[1], self.value(value[0].rpartition(".")[2], value[2])]
            items = [self.value(singular(name), item) for item in value]
            return items[:1] if all(str(item).startswith("<") for item in items) else items
        if isinstance(value, str) and bindings.is_binding(value, self._ids):
            return self.expression(value)
        return self.literal(name, value)

    def literal(self, name: str, value: Any) -> Any:
        """A single text or number: its slot, or itself where it is nothing of this task."""
        key = _key(value)
        if value is None or isinstance(value, bool) or key in _TRIVIAL or not self._is_own(key):
            return value
        return self._slot(name, key)

    def expression(self, text: str) -> str:
        """A binding with slots in the place of its literals; fields and steps stay."""
        return _LITERAL.sub(self._without_value, text)

    def _without_value(self, match: re.Match[str]) -> str:
        if match["key"]:
            return match[0] if match["key"].strip('"') in self._fields else "<key>"
        quote, inside = match["literal"][0], match["literal"][1:-1]
        slot = self.literal(match["field"] or "value", inside.replace("\\'", "'").strip('"'))
        whole = f"{quote}{slot}{quote}" if slot.startswith("<") else match["literal"]
        return match[0].removesuffix(match["literal"]) + whole

    def _is_own(self, key: str) -> bool:
        if self._fields.issuperset(key.split(".")):
            return False
        if key in self._slots or key in self._gold or re.search(r"\d", key) or len(key.split()) > _WORDS:
            return True
        return _stands(key, self._inputs) or any(_stands(name, key) for name in self._names)

    def _slot(self, name: str, key: str) -> str:
        """The slot of a value: named by the argument that it is given as, with a number where that is taken."""
        if key not in self._slots:
            name = re.sub(r"\W", "", name) or "value"
            taken = {*self._slots.values()}
            numbered = (f"<{name}_{number}>" for number in range(2, len(taken) + 3))
            self._slots[key] = next(slot for slot in (f"<{name}>", *numbered) if slot not in taken)
        return self._slots[key]


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
    text = _fold(str(value))
    if not _NUMBER.fullmatch(text):
        return text
    whole, point, decimals = text.replace(",", "").partition(".")
    return f"{whole}{point}{decimals}".rstrip("0").rstrip(".") if point else whole


def _fold(text: str) -> str:
    return " ".join(text.replace("$$", "$").casefold().split())


def _stands(word: str, text: str) -> bool:
    """Whether `word` stands in `text` as a word or words of its own."""
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
