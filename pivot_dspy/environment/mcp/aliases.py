"""Ids that a server draws anew: what it calls something in one life, and what in another in which it did the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

_WORD = re.compile(r"[\w-]+")
_SHORTEST = 4
"""Characters of the shortest word that may be an id; the clock's parts are shorter."""


class Aliases:
    """Translates between what was seen of one life of a server and what stands in another.

    Learned are words with a digit in them, and numbers, that differ at the same place of the same call's results.

    >>> aliases = Aliases()
    >>> aliases.learn({"id": "a3f-77", "text": "a3f-77 at 10:15"}, {"id": "c90-12", "text": "c90-12 at 10:16"})
    >>> aliases.there({"ids": ["a3f-77"]}), aliases.here("c90-12 is used")
    ({'ids': ['c90-12']}, 'a3f-77 is used')
    """

    def __init__(self) -> None:
        self._there: dict[Any, Any] = {}
        self._here: dict[Any, Any] = {}

    def learn(self, seen: Any, now: Any) -> None:
        """Compare what a call gave with what it gives in the other life."""
        if isinstance(seen, dict) and isinstance(now, dict) and len(seen) == len(now):
            for (key, value), (other_key, other) in zip(seen.items(), now.items(), strict=True):
                self.learn(key, other_key)
                self.learn(value, other)
        elif isinstance(seen, list) and isinstance(now, list) and len(seen) == len(now):
            for value, other in zip(seen, now, strict=True):
                self.learn(value, other)
        elif isinstance(seen, str) and isinstance(now, str):
            words, others = _WORD.findall(seen), _WORD.findall(now)
            for word, other in zip(words, others, strict=True) if len(words) == len(others) else ():
                self._note(word, other)
        elif type(seen) is int and type(now) is int:
            self._note(seen, now)

    def there(self, value: Any) -> Any:
        """A value in the words of the other life."""
        return _translated(value, self._there)

    def here(self, value: Any) -> Any:
        """A value of the other life in the words that were seen."""
        return _translated(value, self._here)

    def _note(self, word: Any, other: Any) -> None:
        if word != other and _may_be_id(word) and _may_be_id(other):
            self._there.setdefault(word, other)
            self._here.setdefault(other, word)


def _may_be_id(word: Any) -> bool:
    text = str(word)
    return len(text) >= _SHORTEST and any(character.isdigit() for character in text)


def _translated(value: Any, words: Mapping[Any, Any]) -> Any:
    if not words:
        return value
    if isinstance(value, dict):
        return {_translated(key, words): _translated(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [_translated(inner, words) for inner in value]
    if isinstance(value, str):
        return _WORD.sub(lambda match: words.get(match[0], match[0]), value)
    return words.get(value, value) if type(value) is int else value
