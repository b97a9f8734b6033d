"""Text in files: read by lines, edited by an exact text, and the nearest place where an edit does not fit.

An edit names the text that it replaces, whole and exact, and not line numbers: models count lines badly, and a text
that is not there, or there twice, is noticed before anything is changed.
"""

from __future__ import annotations

import difflib

from pivot_dspy.errors import ToolError

NEAREST_LINES = 2000
"""Lines of a file among which the nearest place is looked for."""
COMPARED_LINES = 20
"""Lines of the text that is looked for, by which a place is found."""


def text_of(data: bytes, path: str) -> str:
    """The text of a file, its line ends as they are.

    Raises:
        ToolError: it is no UTF-8 text.
    """
    if b"\0" not in data:
        try:
            return data.decode("utf-8")
        except UnicodeDecodeError:
            pass
    raise ToolError(f"{path} is no UTF-8 text ({len(data):,} bytes)")


def replaced(text: str, old: str, new: str, path: str, *, everywhere: bool = False) -> str:
    """`text` with `new` in the place of `old`, which must stand there once, or with `everywhere` at least once.

    Where `text` ends its lines as Windows does and `old` does not, both are taken to.

    Raises:
        ToolError: it does not; the message shows the nearest place.

    >>> replaced("a = 1\\nb = 2\\n", "b = 2", "b = 3", "x.py")
    'a = 1\\nb = 3\\n'
    """
    if not old:
        raise ToolError("old is empty; give the exact text to replace, or use write_file for a whole file")
    if old not in text and "\r\n" in text and "\r" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    count = text.count(old)
    if count == 0:
        raise ToolError(f"old does not stand in {path}; {_nearest(text, old)}")
    if count > 1 and not everywhere:
        lines = ", ".join(str(line) for line in _lines_of(text, old)[:10])
        raise ToolError(
            f"old stands {count} times in {path}, on lines {lines}; give more of the text around the one that is "
            "meant, or everywhere=true"
        )
    return text.replace(old, new)


def _lines_of(text: str, old: str) -> list[int]:
    lines, position = [], text.find(old)
    while position >= 0:
        lines.append(text.count("\n", 0, position) + 1)
        position = text.find(old, position + len(old))
    return lines


def _nearest(text: str, old: str) -> str:
    """The place that is most like `old`: as many lines, around those that are most like its own."""
    lines, wanted = text.splitlines()[:NEAREST_LINES], old.splitlines() or [old]
    if not lines:
        return "it is empty"
    stripped = [line.strip() for line in wanted[:COMPARED_LINES]]
    scores = [0.0] * len(lines)
    for offset, line in enumerate(stripped):
        if not line:
            continue
        matcher = difflib.SequenceMatcher(autojunk=False)
        matcher.set_seq2(line)
        for number, candidate in enumerate(lines):
            matcher.set_seq1(candidate.strip())
            if number >= offset and matcher.real_quick_ratio() > 0.5 and matcher.quick_ratio() > 0.5:
                scores[number - offset] += matcher.ratio() * len(line)
    best = max(range(len(lines)), key=scores.__getitem__)
    if not scores[best]:
        return f"nothing in its {len(lines)} lines is like it"
    shown = "\n".join(lines[best : best + len(wanted)])
    return f"the nearest, from line {best + 1}, is:\n{shown}"
