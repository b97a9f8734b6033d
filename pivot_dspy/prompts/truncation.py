"""Fitting text into a prompt: cut to a length, with fair shares of it, and said how much is left out."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import islice
from typing import Any, TypeVar

FENCE = "| "
"""How each line of what a tool, or the environment, says begins; no other line of a prompt does."""
MIN_SHARE = 24
"""Characters to which nothing is cut further, however much there is beside it."""
SUFFIX_ROOM = 24
"""Room for telling how much is left out; where there is little room, it is not told."""
CUT_ROOM = 32
"""Room for telling the same inside of JSON, where it is always told."""
PART_ROOM = 160
"""Characters of a row that are shown, if there is room for so many at all, before later rows are left out."""
KEY_CAP = 200
"""Characters of a field's name in JSON that has to be cut."""
LONG_TEXT, LEAST_TEXT = 80, 24
"""Characters of a text that is cut before what stands beside it in a record, and of what is left of it at least."""
MAX_DEPTH = 50
"""Levels of lists and records within each other that are written; what is deeper is said to be there."""

Part = TypeVar("Part", bound=Sized)

_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
# Line ends beyond \n, other controls, halves of surrogate pairs: they break a line, a terminal or UTF-8.
_CONTROL = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def truncate(text: str, cap: int) -> str:
    """`text`, or its beginning and the number of characters left out, in at most `cap` characters."""
    if len(text) <= cap:
        return text
    if cap < 3 * SUFFIX_ROOM:
        return f"{text[: cap - 1]}…"
    return f"{text[: cap - SUFFIX_ROOM]}… (+{len(text) - cap + SUFFIX_ROOM} characters)"


def fair_cap(lengths: Sequence[int], cap: int) -> int:
    """The length to which the longest of several texts are to be cut so that all together take about `cap`.

    >>> fair_cap([10, 10, 500], 120)
    100
    """
    left = cap
    for position, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - position)
        if length > share:
            return max(MIN_SHARE, share)
        left -= length
    return max(lengths, default=MIN_SHARE)


def fit(count: int, lengths: Iterable[int], write: Callable[[int, int], Part], room: int, reserve: int) -> list[Part]:
    """The first of `count` parts, as many as there is room for.

    Long parts are cut so that all fit, but none to less than a quarter of the room; then the last ones are left out.

    Args:
        lengths: of each part as it is written in all of the room; read only as far as there may be room.
        write: the part at a position, in about so many characters at most.
        reserve: characters to keep free where not all parts fit, for saying so.
    """
    share, used = min(room // 4, max(PART_ROOM, room // max(1, count))), 0
    measured: list[int] = []
    for length in lengths:
        measured.append(length)
        used += min(length, share)
        if used > room:
            break
    level = max(share, fair_cap(measured, room))
    if len(measured) < count or sum(min(length, level) for length in measured) > room:
        level = (room - reserve) // 4
    free = room
    parts: list[Part] = []
    for position, length in enumerate(measured):
        part = write(position, room if length <= level else level)
        if len(part) > free:
            break
        parts.append(part)
        free -= len(part)
    while parts and len(parts) < count and free < reserve:
        free += len(parts.pop())
    return parts


def longest_start(text: str, cap: int, write: Callable[[str], str]) -> int:
    """How many leading characters of `text` `write` puts into at most `cap` characters; each takes one at least."""
    plain = cap - len(write(""))  # so many where none is escaped, as in most texts
    if 0 < plain <= len(text) and len(write(text[:plain])) == cap:
        return plain
    return bisect_right(range(1, min(len(text), cap) + 1), cap, key=lambda count: len(write(text[:count])))


def compact_json(value: Any) -> str:
    return _encode(value)


def escape_controls(text: str) -> str:
    """`text` in one line: what ends a line, and other controls than tabs, is written as in JSON.

    >>> escape_controls("a\\u2028b")
    'a\\\\u2028b'
    """
    return _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def json_line(value: Any) -> str:
    """`value` as compact JSON that is one line for every reader."""
    return escape_controls(compact_json(value))


def json_length(value: Any, limit: int, depth: int = 0) -> int:
    """The length of `json_line(value)`, or some number above `limit` where it is longer or nested too deep.

    Takes no longer than the writing of `limit` characters would, whatever the size of `value`.
    """
    length, pending = 0, [(value, depth)]
    while pending and length <= limit:
        item, level = pending.pop()
        if isinstance(item, str):
            length += len(json_line(item)) if len(item) <= limit else len(item)
            continue
        if not isinstance(item, (dict, list)):
            length += len(repr(item))  # as long as its JSON
            continue
        # Brackets, commas and colons with their spaces.
        length += max(2, (4 if isinstance(item, dict) else 2) * len(item))
        least = (3 if isinstance(item, dict) else 1) * len(item)  # of the parts: a key has quotes
        if length + least > limit or (item and level >= MAX_DEPTH):
            return max(length, limit + 1)
        if isinstance(item, dict):
            pending += ((key, level) for key in item)
        pending += ((part, level + 1) for part in (item.values() if isinstance(item, dict) else item))
    return length


def _with_texts_cut(record: dict[str, Any], cap: int) -> str | None:
    """A record in which long texts alone are cut, so that all else in it stays whole; None where that is not enough."""
    if 4 * len(record) > cap:  # the names of its fields alone are too long
        return None
    texts = {key: item for key, item in record.items() if isinstance(item, str) and len(item) > LONG_TEXT}
    others = json_length({**record, **dict.fromkeys(texts, "")}, cap)
    room = (cap - others) // max(1, len(texts)) - CUT_ROOM
    if not texts or room < LEAST_TEXT:
        return None
    kept = {key: longest_start(text, room, json_line) for key, text in texts.items()}
    cut = {key: f"{text[: kept[key]]}… (+{len(text) - kept[key]:,} characters)" for key, text in texts.items()}
    return json_line({**record, **{key: cut[key] for key, text in texts.items() if len(cut[key]) < len(text)}})


def json_within(value: Any, cap: int, depth: int = 0) -> str:
    """`json_line(value)`, or JSON of about `cap` characters in which each cut says how much it leaves out.

    >>> json_within({"id": 7, "text": "x" * 1000, "tags": ["a"] * 50}, 120)
    '{"id": 7, "text": "xxxxxxxxxx… (+990 characters)", "tags": ["a", "a", "… (+48 more)"]}'
    """
    cap = max(cap, CUT_ROOM)
    if json_length(value, cap, depth) <= cap:
        return json_line(value)
    if not isinstance(value, (dict, list)):
        text = value if isinstance(value, str) else compact_json(value)
        kept = longest_start(text, cap - CUT_ROOM, json_line)
        return json_line(f"{text[:kept]}… (+{len(text) - kept:,} characters)")
    if depth >= MAX_DEPTH:
        return json_line(f"… (+{len(value):,}, nested deeper)")
    if isinstance(value, dict) and (shorter := _with_texts_cut(value, cap)) is not None:
        return shorter
    if isinstance(value, dict):
        brackets, rest = "{}", '"…": "+{:,} more"'
        names, items = [*islice(value, cap)], [*islice(value.values(), cap)]  # there is no room for more of them
    else:
        brackets, rest, names, items = "[]", '"… (+{:,} more)"', [], value
    if cap == CUT_ROOM:  # no room for parts, however deep they go
        return f"{brackets[0]}{rest.format(len(value))}{brackets[1]}"

    def label(position: int) -> str:
        return f"{json_within(str(names[position]), KEY_CAP)}: " if names else ""

    def write(position: int, room: int) -> str:
        name = label(position)
        return f"{name}{json_within(items[position], room - len(name) - 2, depth + 1)}, "

    lengths = (len(label(position)) + json_length(item, cap, depth + 1) + 2 for position, item in enumerate(items))
    parts = fit(len(value), lengths, write, cap - 2, CUT_ROOM)
    left_out = [rest.format(len(value) - len(parts))] if len(parts) < len(value) else []
    return f"{brackets[0]}{', '.join([*(part.removesuffix(', ') for part in parts), *left_out])}{brackets[1]}"
