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
_STEM = 5
_GOES_WITHOUT_SAYING = """
    the an of to for in on at with from that this which these those it its is are be been by and or as if will must can
    string strings list lists value values given provided specified argument parameter field optional number
    get include retrieve
"""
_EMPTY = frozenset(_GOES_WITHOUT_SAYING.split())


def describe_briefly(name: str, description: str, parameters: Mapping[str, str], *, has_result: bool) -> str:
    """What a tool does and what its parameters mean, in one line, without what goes without saying.

    Args:
        parameters: their descriptions, by name.
        has_result: whether a type tells what it returns.

    >>> about = "Deletes the email with the given id. Returns the email."
    >>> described = {"email_id": "The id of the email to delete.", "day": "In the format YYYY-MM-DD."}
    >>> describe_briefly("delete_email", about, described, has_result=True)
    'Deletes the email with the given id.; day: In the format YYYY-MM-DD.'
    """
    first, *others = _sentences(description) or [""]
    about = [first, *(text for text in others if not (has_result and _RETURNS.match(text)))]
    known = stems([name, *about])
    texts = [" ".join(about)]
    for parameter, text in parameters.items():
        told = known | stems([parameter])
        new = [sentence for sentence in _sentences(text) if _says_more(sentence, told)]
        if new:
            texts.append(f"{parameter}: {' '.join(new)}")
    return "; ".join(filter(None, texts))


def _sentences(text: str) -> list[str]:
    text = " ".join(text.split())
    return _SENTENCE.split(text) if text else []


def _says_more(sentence: str, told: frozenset[str]) -> bool:
    """Whether a sentence holds more than the words that were `told`, and than that nothing given means nothing done."""
    if _ABSENT.match(sentence):
        return False
    return _EXACT.search(sentence) is not None or not stems([sentence]) <= told


def stems(texts: Iterable[str]) -> frozenset[str]:
    """How the words of some texts begin, but for those that go without saying."""
    words = (word for text in texts for word in _WORD.findall(text.lower().replace("_", " ")))
    return frozenset(word[:_STEM].removesuffix("s") for word in words if word not in _EMPTY)
