"""What tools that only read files return: lists, texts and matches, cut where they are long, and what was left out."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from typing_extensions import TypedDict

from pivot_dspy.environments.files.content import version_of
from pivot_dspy.environments.files.editing import text_of
from pivot_dspy.environments.files.tree import Tree
from pivot_dspy.errors import ToolError

MAX_SHOWN = 40_000
"""Characters of a file that one call shows."""
MAX_LINE = 300
"""Characters of a line that matches."""
SEARCHED = 4 << 20
"""Bytes of a file beyond which it is not searched."""
SECONDS = 5.0
"""That a regular expression may take."""


class FileList(TypedDict):
    """Files by their paths."""

    files: list[str]
    left_out: int
    """How many more there are."""
    version: str
    """Of the whole list."""


class FileText(TypedDict):
    """Lines of a file."""

    path: str
    text: str
    first: int
    last: int
    """The last line that is shown; less than `first` where none is."""
    lines: int
    """That the whole file has."""
    left_out: str
    """What of the asked lines is not shown, and how to see it; empty for nothing."""
    version: str
    """Of the whole file."""


class Match(TypedDict):
    """A line that matches."""

    path: str
    line: int
    text: str


class Matches(TypedDict):
    """What a search gave."""

    matches: list[Match]
    left_out: str
    """What was not shown or not searched; empty for nothing."""
    version: str
    """Of the matches."""


def listing(tree: Tree, pattern: str, limit: int) -> FileList:
    """The files of a tree that fit a pattern."""
    paths = [path for path in tree.paths() if not pattern or fits(path, [pattern])]
    shown = paths[: max(0, limit)]
    return FileList(files=shown, left_out=len(paths) - len(shown), version=version_of_data(paths))


def file_text(tree: Tree, path: str, first: int, last: int | None) -> FileText:
    """Lines of a file.

    Raises:
        ToolError: there is no such file, it is no text, or has no such lines.
    """
    place = tree.resolve(path)
    data = tree.read(place)
    lines = text_of(data, path).splitlines(keepends=True)
    end = len(lines) if last is None else min(last, len(lines))
    if first < 1 or (lines and first > len(lines)) or (last is not None and last < first):
        raise ToolError(f"{path} has {len(lines)} lines; lines {first} to {last or 'the end'} are none of them")
    text, shown = "", first - 1
    for line in lines[first - 1 : end]:
        if len(text) + len(line) > MAX_SHOWN:
            break
        text += line
        shown += 1
    left_out = ""
    if shown < end and not text:
        text, shown = lines[first - 1][:MAX_SHOWN], first
        left_out = f"line {first} goes on for {len(lines[first - 1]) - MAX_SHOWN:,} more characters; "
    if shown < end:
        left_out += f"lines {shown + 1} to {end}: read_file with first={shown + 1}"
    return FileText(
        path=place, text=text, first=first, last=shown, lines=len(lines), left_out=left_out, version=version_of(data)
    )


def matches(tree: Tree, expression: str, pattern: str, limit: int) -> Matches:
    """The lines that a regular expression matches; binary and very large files are passed over.

    Raises:
        ToolError: it is no regular expression, or takes too long.
    """
    import regex

    try:
        compiled = regex.compile(expression, regex.MULTILINE)
    except regex.error as error:
        message = f"{expression!r} is no regular expression: {error}; put a backslash before . ( [ * + ?"
        raise ToolError(message) from error
    seen: list[Match] = []
    unread, deadline = 0, time.monotonic() + SECONDS
    for path in tree.paths():
        if (pattern and not fits(path, [pattern])) or tree.is_link(path):  # what a link leads to is searched there
            continue
        try:
            data = tree.read(path)
            text = text_of(data, path) if len(data) <= SEARCHED else None
        except ToolError:
            text = None
        if text is None:
            unread += 1
            continue
        try:
            seen += _matches_in(path, text, compiled.finditer(text, timeout=max(0.001, deadline - time.monotonic())))
        except TimeoutError as error:
            raise ToolError(
                f"the search took more than {SECONDS:g} s, up to {path}; search fewer files by `pattern`, or write "
                f"{expression!r} without nested repeats"
            ) from error
    shown = seen[: max(0, limit)]
    left_out = [f"{len(seen) - len(shown)} more matches"] if len(shown) < len(seen) else []
    left_out += [f"{unread} files that are no text, too large or unreadable"] if unread else []
    return Matches(matches=shown, left_out="; ".join(left_out), version=version_of_data(seen))


def _matches_in(path: str, text: str, found: Iterable[Any]) -> Iterator[Match]:
    """The lines in which matches begin, each once."""
    line, counted, last = 1, 0, 0
    for match in found:
        line += text.count("\n", counted, match.start())
        counted = match.start()
        if line != last:
            begin = text.rfind("\n", 0, counted) + 1
            shown = text[begin : begin + MAX_LINE].partition("\n")[0].rstrip("\r")
            yield Match(path=path, line=line, text=shown)
        last = line


def fits(path: str, patterns: Iterable[str]) -> bool:
    """Whether a path fits one of some patterns as in a `.gitignore` file.

    >>> fits("src/a.py", ["*.py"]), fits("src/a.py", ["docs/"])
    (True, False)
    """
    return bool(_spec(tuple(patterns)).match_file(path))


def version_of_data(data: Any) -> str:
    """The version of plain data."""
    return version_of(json.dumps(data, ensure_ascii=False, sort_keys=True).encode("utf-8"))


def first_difference(there: str, wanted: str) -> str:
    """The first line in which two texts differ, in words."""
    pairs = zip([*there.splitlines(), None], [*wanted.splitlines(), None], strict=False)
    for number, (line, other) in enumerate(pairs, 1):
        if line != other:
            return f"line {number} is {line!r:.120} and not {other!r:.120}"
    return "the line ends differ"


@lru_cache(maxsize=256)
def _spec(patterns: tuple[str, ...]) -> Any:
    from pathspec import GitIgnoreSpec

    try:
        return GitIgnoreSpec.from_lines(patterns)
    except ValueError as error:
        raise ToolError(f"{', '.join(patterns)} is no pattern as in a .gitignore file: {error}") from error
