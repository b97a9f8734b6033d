"""Descriptions of tools without what their names and types have said: a prompt has no room to be told twice."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z`\"'(])")
_WORD = re.compile(r"[a-z]{2,}")
_EXACT = re.compile(r"[0-9`'\"]|[A-Z]{3,}")
"""A format, a value or a name: what no other words stand for."""
_RETURNS = re.compile(r"(it )?returns?\b[^0-9`'\":]*$", re.IGNORECASE)
"""What a type tells: nothing exact is in it, and no heading such as `Args:`, which is joined where no full stop is."""
_ABSENT = re.compile(r"if `?(null|none)`?, no\b", re.IGNORECASE)
_QUOTED_NAME = re.compile(r"`(\w+)`")
_STEM = 5
_GOES_WITHOUT_SAYING = """
    the an of to for in on at with from that this which these those it its is are be been by and or as if will must can
    string strings list lists value values given provided specified argument parameter field optional number
    get include retrieve has have each contain new make makes detail details
"""
_EMPTY = frozenset(_GOES_WITHOUT_SAYING.split())
_DIRECTIONS = frozenset(("to", "from", "by"))
"""Which end of a call its parameter is: they tell something of what a tool does, though not of a parameter."""


def describe_briefly(name: str, description: str, parameters: Mapping[str, str], *, result: str = "") -> str:
    """What a tool does and what its parameters mean, in one line, without what goes without saying.

    Args:
        parameters: their descriptions, by name.
        result: the type of what it returns, with the names of its fields; empty where nothing tells it.

    >>> about = "Deletes the email with the given id from the inbox. Returns the email."
    >>> described = {"email_id": "The id of the email to delete.", "day": "In the format YYYY-MM-DD."}
    >>> describe_briefly("delete_email", about, described, result="Email")
    'Deletes the email with the given id from the inbox.; day: In the format YYYY-MM-DD.'
    >>> describe_briefly("delete_email", "Deletes the `email_id` email.", {"email_id": ""})
    ''
    """
    first, *others = _sentences(description) or [""]
    told = [name, *parameters, result]
    unquoted = _QUOTED_NAME.sub(lambda match: match[1] if match[1] in parameters else match[0], first)
    about = [first] if _says_more(unquoted, told, _EMPTY - _DIRECTIONS) else []
    about += [text for text in others if not result or (_says_more(text, told) and not _RETURNS.match(text))]
    texts = [" ".join(about)]
    meanings: dict[str, list[str]] = {}
    for parameter, text in parameters.items():
        new = [sentence for sentence in _sentences(text) if _says_more(sentence, [name, first, *others, parameter])]
        if new:
            meanings.setdefault(" ".join(new), []).append(parameter)
    texts += [f"{', '.join(names)}: {meaning}" for meaning, names in meanings.items()]
    return "; ".join(filter(None, texts))


def _sentences(text: str) -> list[str]:
    text = " ".join(text.split())
    return _SENTENCE.split(text) if text else []


def _says_more(sentence: str, told: Iterable[str], empty: frozenset[str] = _EMPTY) -> bool:
    """Whether a sentence holds more than the words that were `told`, and than that nothing given means nothing done."""
    if not sentence or _ABSENT.match(sentence):
        return False
    return _EXACT.search(sentence) is not None or not stems([sentence], empty) <= stems(told, empty)


def stems(texts: Iterable[str], empty: frozenset[str] = _EMPTY) -> frozenset[str]:
    """How the words of some texts begin, but for those that are `empty`."""
    words = (word for text in texts for word in _WORD.findall(text.lower().replace("_", " ")))
    return frozenset(word[:_STEM].removesuffix("s") for word in words if word not in empty)
