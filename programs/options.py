"""Command line options that the programs share: what is wrong is said before a run, not after it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Iterable
from itertools import chain, zip_longest
from pathlib import Path

_LISTED = 60
"""Tasks up to which all known ones are listed; of more, those that are spelled most like it."""


class DataError(ValueError):
    """The data is missing, in another form, or without what was asked for; the message says which and what to do."""


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(text)


def writable(text: str) -> Path:
    """A path that can be written to."""
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no file in an existing folder")
    return path


def chosen(ids: Iterable[str], wanted: str | None, kind: Callable[[str], str] = lambda name: "") -> list[str]:
    """The ids that `--tasks` asks for: all, so many, from each kind in turn, or those that it names.

    Raises:
        DataError: an id that is not there; the message lists those that are.

    >>> chosen(["a1", "a2", "a3", "b1"], "3", kind=lambda name: name[0])
    ['a1', 'b1', 'a2']
    """
    known = list(ids)
    if wanted is None:
        return known
    if wanted.isdecimal():
        if int(wanted) < 1:
            raise DataError("--tasks takes a count of at least 1, or ids separated by commas")
        kinds: dict[str, list[str]] = {}
        for name in known:
            kinds.setdefault(kind(name), []).append(name)
        return [name for name in chain(*zip_longest(*kinds.values())) if name is not None][: int(wanted)]
    names = list(dict.fromkeys(name.strip() for name in wanted.split(",")))
    unknown = [name or "''" for name in names if name not in known]
    if unknown:
        listed = known if len(known) <= _LISTED else difflib.get_close_matches(unknown[0], known, n=10, cutoff=0.3)
        more = f" and {len(known) - len(listed)} more" if len(listed) < len(known) else ""
        raise DataError(f"no task is called {', '.join(unknown)}; tasks: {', '.join(listed)}{more}")
    return names
