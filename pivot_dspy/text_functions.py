"""JMESPath's functions, and three more over text: `find_all`, `split` and `replace`.

Each takes a text or a list of texts; `find_all` and `split` give one flat list for all of them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import regex
from jmespath.functions import Functions, signature

LONGEST_READ = 100_000
"""Characters that a function reads, and that `replace` may give, in all."""
SECONDS = 1.0
"""How long `find_all` may look, in all: a pattern can take time that grows exponentially with the text."""

_ANY: Any = {"types": []}  # what does not fit is refused here, in words that name the remedy
_STRING: Any = {"types": ["string"]}


class TextFunctions(Functions):
    """The functions that a binding may call. What they raise is a `ValueError`, as jmespath's own errors are."""

    @signature(_ANY, _STRING)
    def _func_find_all(self, texts: Any, pattern: str) -> list[str]:
        """Every match of a regular expression; of one with a group, what its first group matched."""
        read = _texts("find_all", texts)
        try:
            compiled = regex.compile(pattern)
            found = [match[min(compiled.groups, 1)] for match in _matches(compiled, read)]
        except regex.error as error:
            raise ValueError(f"find_all: {pattern!r} is no regular expression: {error}") from error
        except (TimeoutError, RecursionError, MemoryError) as error:
            raise ValueError(f"find_all: {pattern!r} takes longer than {SECONDS:g} s; repeat less in it") from error
        return [part for part in found if part is not None]

    @signature(_ANY, _STRING)
    def _func_split(self, texts: Any, separator: str) -> list[str]:
        if not separator:
            raise ValueError("split: the separator is empty; find_all(text, '.') gives every character")
        return [part for text in _texts("split", texts) for part in text.split(separator)]

    @signature(_ANY, _STRING, _STRING)
    def _func_replace(self, texts: Any, old: str, new: str) -> str | list[str]:
        if not old:
            raise ValueError("replace: the text to be replaced is empty")
        read = _texts("replace", texts)
        if sum(text.count(old) for text in read) * len(new) > LONGEST_READ:
            raise ValueError(f"replace: it would give more than {LONGEST_READ:,} characters")
        replaced = [text.replace(old, new) for text in read]
        return replaced if isinstance(texts, list) else replaced[0]


def _matches(compiled: Any, texts: list[str]) -> Iterator[Any]:
    deadline = time.monotonic() + SECONDS
    for text in texts:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        yield from compiled.finditer(text, timeout=left)


def _texts(name: str, value: Any) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        if not isinstance(text, str):
            raise ValueError(f"{name} takes a text or a list of texts, not {text!r:.80}; to_string(x) makes text of x")
    if sum(map(len, texts)) > LONGEST_READ:
        raise ValueError(f"{name} reads at most {LONGEST_READ:,} characters; select fewer texts first")
    return texts
