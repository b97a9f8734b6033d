"""What the prompts of one task have shown in full, so that it need not be shown again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from pivot_dspy.prompts.truncation import compact_json, json_length, json_line

REPEATED = 80
"""Characters from which on what was shown before is not shown again."""
COMPARED = 100_000
"""Characters of JSON up to which a value is searched for what was shown before."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Place(NamedTuple):
    """Where a value stands that was shown; as text, an expression that a binding may use.

    >>> str(Place("a", "[0].name")), str(Place("a", "rows[0]")), str(Place("a", ""))
    ('a[0].name', 'a.rows[0]', 'a')
    """

    step: str
    path: str
    """JMESPath from the step's result to the value; empty for the result itself."""

    def __str__(self) -> str:
        return self.step + ("." if self.path and self.path[0] != "[" else "") + self.path


class ShownResults:
    """What prompts of one task have shown in full: which values, and as part of which step's result.

    `render_results` reads it and adds to it. A step that is shown again with another value stands for the new one only.
    """

    def __init__(self) -> None:
        self._texts: dict[str, dict[str, Place]] = {}
        """By their first `REPEATED` characters."""
        self._containers: dict[str, Place] = {}
        """Lists and records, by their JSON."""
        self._in_part: dict[str, Any] = {}
        """By step, what was shown of it only as far as there was room."""
        self._picked: set[str] = set()
        """Steps of whose results hardly more was shown than what the model asked for."""
        self.version = 0
        """Another one after each change."""

    def copy(self) -> ShownResults:
        """Another one to go on with, which leaves this one as it is."""
        other = ShownResults()
        other._texts = {start: dict(places) for start, places in self._texts.items()}
        other._containers, other._in_part = dict(self._containers), dict(self._in_part)
        other._picked = set(self._picked)
        return other

    @property
    def picked(self) -> frozenset[str]:
        """The steps of whose results hardly more was shown than what the model asked for."""
        return frozenset(self._picked)

    def add_in_part(self, step: str, value: Any, *, picked: bool = False) -> None:
        """Tell that `value`, the result of `step`, was shown as far as there was room.

        Args:
            picked: there was little, since what the model asked for is shown beside it.
        """
        self._in_part[step] = value
        self.version += 1
        (self._picked.add if picked else self._picked.discard)(step)

    def is_in_part(self, step: str, value: Any) -> bool:
        """Whether just this was shown as the result of `step` as far as there was room."""
        return step in self._in_part and bool(self._in_part[step] == value)

    def place_of(self, value: Any) -> Place | None:
        """Where `value` was shown, if it was and is long enough for that to be told instead."""
        if isinstance(value, str):
            return self._texts.get(value[:REPEATED], {}).get(value)
        return self._containers.get(compact_json(value)) if self._containers and _is_comparable(value) else None

    def without(self, value: Any) -> Any:
        """`value` with `<all of PLACE>` instead of each part that was shown, and of each such beginning of a text."""
        if isinstance(value, str):
            known = self._texts.get(value[:REPEATED], {})
            start = max(filter(value.startswith, known), key=len, default="")
            return f"<all of {known[start]}>{value[len(start) :]}" if start else value
        if not self._texts and not self._containers or not _is_comparable(value):
            return value
        if (place := self._containers.get(compact_json(value))) is not None:
            return f"<all of {place}>"
        if isinstance(value, dict):
            return {key: self.without(item) for key, item in value.items()}
        return [self.without(item) for item in value]

    def add(self, step: str, path: str, value: Any) -> None:
        """Tell that `value`, which stands at `path` in the result of `step`, was shown in full."""
        place = Place(step, path)
        text = value if isinstance(value, str) else compact_json(value)
        if len(text) < REPEATED or len(f"<all of {place}>") >= REPEATED:
            return  # the reference would be no shorter
        self.version += 1
        if isinstance(value, str):
            self._texts.setdefault(text[:REPEATED], {}).setdefault(text, place)
        elif isinstance(value, (dict, list)):
            self._containers.setdefault(text, place)
            for name, item in _parts(value):
                self.add(step, joined(path, name), item)

    def forget(self, step: str) -> None:
        """Leave out what was shown as part of the result of `step`."""
        self.version += 1
        for known in (self._containers, *self._texts.values()):
            for text in [text for text, place in known.items() if place.step == step]:
                del known[text]


def _is_comparable(value: Any) -> bool:
    return isinstance(value, (dict, list)) and json_length(value, COMPARED) <= COMPARED


def _parts(value: Mapping[str, Any] | list[Any]) -> Iterator[tuple[str, Any]]:
    """The parts of a list or record, each with the JMESPath that goes on to it."""
    if isinstance(value, list):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
        return
    for key, item in value.items():
        yield f".{key if _IDENTIFIER.fullmatch(key) else json_line(key)}", item


def joined(path: str, part: str) -> str:
    """A JMESPath that goes on by `part`, such as `[0]` or `.name`."""
    return f"{path}{part}" if path else part.removeprefix(".")
