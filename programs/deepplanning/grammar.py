"""What all rules of the reader share: a pattern with the conditions that it makes, and how rules are applied."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from programs.deepplanning.conditions import Condition

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], list[Condition]]]

READ = "|"
"""Stands in a text for what a rule has read."""

ARTICLE = "(?:the |an? )?"
LINK = r"(?:(?: (?:that|which))? (?:is|are|being|of|at|(?:(?:can|must|should) |(?:needs?|ha(?:s|ve)) to )be)|:| =)"
"""What may stand between an attribute and its value."""


class ReadingError(ValueError):
    """A sentence has something that no rule reads, or that can be read in more than one way; the message quotes it."""


def any_of(alternatives: Iterable[str]) -> str:
    """A pattern of the alternatives, tried in their order."""
    return f"(?:{'|'.join(alternatives)})"


def words(alternatives: str) -> str:
    """A pattern of any of the words, whole.

    >>> words("in or")
    '\\\\b(?:in|or)\\\\b'
    """
    return rf"\b{any_of(alternatives.split())}\b"


def spelled(terms: Iterable[str]) -> str:
    """A pattern of terms, with a hyphen or a space between words; of two that begin alike the longer is tried first.

    >>> spelled(["Blue", "Navy Blue"])
    '(?:Navy[- ]Blue|Blue)'
    """
    return any_of(re.sub(r"\\[- ]", "[- ]", re.escape(term)) for term in sorted(terms, key=len, reverse=True))


def key(term: str) -> str:
    """What a term has in common with its other spellings.

    >>> key("Spring/Autumn"), key("all-season"), key("Light grey")
    ('springautumn', 'allseason', 'lightgrey')
    """
    return re.sub(r"\W", "", term).lower()


_GOES_ON = (
    "in and or but nor from by with without for to at as that which whose where has have having is are over under "
    "above below more less fewer rated priced available suitable size color brand"
)
_QUOTE_END = rf"(?=[,.;:!?)|]|$| (?:\||(?-i:{words(_GOES_ON)}(?!-))))"
QUOTED = rf"(?<!\w)(?P<quote>['\"])(?=\S)(?P<text>(?:(?!(?P=quote){_QUOTE_END}).)+)(?P=quote){_QUOTE_END}"
"""A text in quotes; apostrophes and quotes inside end it only where a sentence could go on."""


def plain(text: str) -> str:
    """The text with straight quotes and single spaces."""
    for curly, straight in (("‘", "'"), ("’", "'"), ("“", '"'), ("”", '"')):
        text = text.replace(curly, straight)
    return " ".join(text.split())


def apply(rules: Sequence[Rule], text: str) -> tuple[list[Condition], str]:
    """The conditions that the rules read, in the rules' order, and the text with `READ` in the place of what was read.

    All rules are tried again after a reading, which may have brought words together."""
    conditions: list[Condition] = []
    before = None
    while text != before:
        before = text
        for pattern, made in rules:
            while match := pattern.search(text):
                conditions += made(match)
                text = f"{text[: match.start()]}{READ}{text[match.end() :]}"
    return conditions, text
