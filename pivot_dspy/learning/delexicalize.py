"""Slots: what stands for a value of one task wherever an entry keeps its text or its steps."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import dspy
from pydantic_core import to_jsonable_python

from pivot_dspy import bindings
from pivot_dspy.blame.predicates import OPERATORS
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
    r"(?P<before>(?:\"?(?P<field>\w+)\"?\s*(?:[=!<>]=?|,)\s*)?)(?P<literal>'(?:\\.|[^'\\])*'|`(?:\\.|[^`\\])*`)"
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
        for name in written.keys() & {"for_each", "expects"}:
            written[name] = self.expression(written[name])
        return written

    def value(self, name: str, value: Any) -> Any:
        """What is written as the argument `name`: in the place of texts and numbers of this task their slots."""
        if isinstance(value, Mapping):
            return {self.text(key): self.value(key, item) for key, item in value.items()}
        if isinstance(value, list):
            items = [self.value(name, item) for item in value]
            return items[:1] if all(str(item).startswith("<") for item in items) else items
        if isinstance(value, str) and bindings.is_binding(value, self._ids):
            return self.expression(value)
        return self._slot(name, value) or value

    def expression(self, text: str) -> str:
        """A binding with slots in the place of its literals; fields and steps stay."""
        return _LITERAL.sub(self._without_value, text)

    def _without_value(self, match: re.Match[str]) -> str:
        if match["key"]:
            return match[0] if match["key"].strip('"') in self._fields else "<key>"
        quote, inside = match["literal"][0], match["literal"][1:-1].replace("\\'", "'").strip('"')
        slot = self._slot(match["field"] or "value", inside)
        return f"{match['before']}{quote}{slot}{quote}" if slot else match[0]

    def _slot(self, name: str, value: Any) -> str:
        """What stands for a value, named by the argument that it is first given as; empty where it is nothing of this
        task."""
        key = _key(value)
        if value is None or isinstance(value, bool) or key in _TRIVIAL or self._fields.issuperset(key.split(".")):
            return ""
        named = key in self._gold or _stands(key, self._inputs) or any(_stands(name, key) for name in self._names)
        if not named and not re.search(r"\d", key) and len(key.split()) <= _WORDS:
            return ""
        return self._slots.setdefault(key, f"<{name}>")


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
    return text.replace(",", "") if _NUMBER.fullmatch(text) else text


def _fold(text: str) -> str:
    return " ".join(text.replace("$$", "$").casefold().split())


def _stands(word: str, text: str) -> bool:
    """Whether `word` stands in `text` as a word or words of its own."""
    return word in text and re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text) is not None
