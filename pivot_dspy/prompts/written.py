"""How one value is written into a prompt: its text, records or calls as lines, each behind a fence, within a number of
characters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pivot_dspy.identity_cache import RESULTS_KEPT, by_identity
from pivot_dspy.prompts.report import RESULT_CAP
from pivot_dspy.prompts.shown import COMPARED, ShownResults, joined
from pivot_dspy.prompts.truncation import (
    FENCE,
    compact_json,
    escape_controls,
    fit,
    json_length,
    json_line,
    json_within,
    longest_start,
    truncate,
)  # fmt: skip

CHARACTERS = 4
"""In a token, about."""
SUMMARY_CAP = 200 * CHARACTERS
ITEM_CAP = 80
"""Characters of the element, or the result, of one call whose like the environment tells in its own words."""
ONE_LINE = 120
"""Characters up to which a list of plain values stands in one line."""
_NOTICE_ROOM = 80


@dataclass(frozen=True)
class WrittenValue:
    """Lines of a prompt, without line ends."""

    lines: Sequence[str] = ()
    whole: Sequence[tuple[str, Any]] = ()
    """What of the value they show in full, each with its path: the value itself, or some of its parts."""

    def __len__(self) -> int:
        """Characters, with line ends."""
        return sum(map(len, self.lines)) + len(self.lines)

    @property
    def is_whole(self) -> bool:
        return any(path == "" for path, _ in self.whole)


@dataclass(frozen=True)
class ValueWriter:
    """How one value is written: behind which fence, how it is called, and what was shown before."""

    fence: str
    name: str
    """A JMESPath expression for the value, such as `$a`, to which `[60:]` can be added."""
    shown: ShownResults

    def write(self, value: Any, cap: int) -> WrittenValue:
        """`value` in about `cap` characters at most, with what is left out."""
        if isinstance(value, str):
            return self.text(value, cap)
        if isinstance(value, list) and value:
            if set(map(type, value)) == {dict}:
                return self._records(value, cap)
            if json_length(value, ONE_LINE) > ONE_LINE:
                return self._rows(value, lambda position, room: self._line(value[position], room), "elements", cap)
        return self._line(value, cap)

    def text(self, value: str, cap: int) -> WrittenValue:
        """`value` as its lines."""
        told = self.shown.without(value)
        if not told:
            return self._line(told, cap)
        lines, count = self._start(told, cap)
        if count == len(told):
            return WrittenValue(lines, [("", value)])
        lines, count = self._start(told, cap - _NOTICE_ROOM)
        return WrittenValue([*lines, self._notice(len(told) - count, len(value), "characters")])

    def _start(self, text: str, room: int) -> tuple[list[str], int]:
        """The first lines of `text`, the last one cut, and how many of its characters they hold."""
        lines, count = [], 0
        for line in text[: max(0, room)].splitlines(keepends=True):
            room -= len(self.fence) + 1
            content = line.splitlines()[0]
            written = escape_controls(content)
            if len(written) > room:
                kept = longest_start(content, room, escape_controls)
                lines += [f"{self.fence}{escape_controls(content[:kept])}"] if kept else []
                return lines, count + kept
            lines.append(f"{self.fence}{written}")
            room -= len(written)
            count += len(line)
        return lines, count

    def _line(self, value: Any, cap: int, before: str = "", after: str = "") -> WrittenValue:
        """`value` as JSON in one line, its long leaves cut."""
        told, room = self.shown.without(value), cap - len(self.fence) - len(before) - len(after) - 1
        is_whole = json_length(told, room) <= room
        written = json_line(told) if is_whole else json_within(told, room)
        return WrittenValue([f"{self.fence}{before}{written}{after}"], [("", value)] if is_whole else [])

    def _records(self, values: list[dict[str, Any]], cap: int) -> WrittenValue:
        """How many there are and what is the same in all of them, then a row for each with the rest."""
        count = counted(len(values), "record")
        same = _shared(values, cap)

        def head(room: int) -> WrittenValue:
            bare = WrittenValue([self.fence + count], [("", {})])
            return self._line(same, room, f"{count}; in all ") if same else bare

        def row(position: int, room: int) -> WrittenValue:
            value = values[position]
            written = self._line({key: item for key, item in value.items() if key not in same}, room)
            return WrittenValue(written.lines, [("", value)] if written.is_whole else [])

        return self._rows(values, row, "records", cap, head)

    def calls(self, values: list[dict[str, Any]], summary: Callable[[int], str | None], cap: int) -> WrittenValue:
        """The results of a repeated step, each behind a fence of its own below the element that it is of."""

        def brief(position: int, room: int) -> WrittenValue:
            item = json_within(self.shown.without(values[position]["item"]), ITEM_CAP)
            account = summary(position) or json_within(values[position]["result"], ITEM_CAP)
            return WrittenValue([f"{self.fence}item {item} -> {truncate(one_line(account), RESULT_CAP)}"])

        def call(position: int, room: int) -> WrittenValue:
            value = values[position]
            inner = ValueWriter(self.fence + FENCE, f"{self.name}[{position}].result", self.shown)
            body = inner.write(value["result"], room)
            head = self._line(value["item"], max(room // 2, room - len(body)), "item ", " ->")
            if len(head) + len(body) > room:
                body = inner.write(value["result"], room - len(head))
            whole = [("", value)] if head.is_whole and body.is_whole else _within(".result", body.whole)
            return WrittenValue([*head.lines, *body.lines], whole)

        if summary(0):
            return self._rows(values, brief, "calls", min(cap, SUMMARY_CAP))
        return self._rows(values, call, "calls", cap)

    def summary(self, account: str, cap: int) -> WrittenValue:
        """What the environment says of the value, instead of it."""
        return WrittenValue(self.text(account, min(cap, SUMMARY_CAP)).lines)

    def _rows(
        self, values: list[Any], write: Callable[[int, int], WrittenValue], noun: str, cap: int,
        *heads: Callable[[int], WrittenValue],
    ) -> WrittenValue:  # fmt: skip
        """As many of `values` as there is room for below the `heads`, each as `write` writes the one at a position."""
        count = len(heads) + len(values)

        def part(position: int, room: int) -> WrittenValue:
            return heads[position](room) if position < len(heads) else write(position - len(heads), room)

        lengths = (len(part(position, cap)) for position in range(count))
        parts = fit(count, lengths, part, cap, 2 * _NOTICE_ROOM)
        lines = [line for written in parts for line in written.lines]
        shown = parts[len(heads) :]
        headed = all(written.is_whole for written in parts[: len(heads)])
        if len(parts) < count:
            rest = json_line({"look": f"{self.name}[{len(shown)}:]"})
            lines.append(self._notice(len(values) - len(shown), len(values), noun, f": {rest}"))
        elif all(written.is_whole for written in parts):
            return WrittenValue(lines, [("", values)])
        whole = [item for index, row in enumerate(shown) for item in _within(f"[{index}]", row.whole)]
        return WrittenValue(lines, whole if headed else [])

    def _notice(self, missing: int, total: int, noun: str, where: str = "") -> str:
        return f"{self.fence}… {missing:,} of {total:,} {noun} are not shown{where}"


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _within(path: str, whole: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    return [(joined(path, inner), value) for inner, value in whole]


def _shared(records: list[dict[str, Any]], cap: int) -> dict[str, Any]:
    """The fields that are the same in all `records`, if there are several; none that is longer than `cap`."""
    return {key: value for key, value in _same_in_all(records).items() if json_length(value, cap) <= cap}


@by_identity(RESULTS_KEPT)
def _same_in_all(records: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields that are the same in all `records`, if there are several.

    Where there are many records, long lists and records in them are not compared: it would take too long.
    """
    if len(records) < 2:
        return {}
    limit = COMPARED // len(records)
    same = {
        key: value
        for key, value in records[0].items()
        if not isinstance(value, (dict, list)) or json_length(value, limit) <= limit
    }
    texts = {key: compact_json(value) for key, value in same.items() if isinstance(value, (dict, list))}
    for record in records[1:]:
        same = {
            key: value
            for key, value in same.items()
            if key in record and _is_same(value, record[key], texts.get(key, ""))
        }
        if not same:
            break
    return same


def _is_same(value: Any, other: Any, text: str) -> bool:
    """Whether `other` is the same JSON as `value`, whose JSON is `text` where it holds others: 1 is not true."""
    if type(value) is not type(other) or value != other:
        return False
    return not isinstance(value, (dict, list)) or text == compact_json(other)


def one_line(text: str) -> str:
    return escape_controls(" ".join(text.split()))
