"""Words as a reader takes them: without what depends on how a prompt shows them."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

_FENCE = re.compile(r"^(?:\| ?)+", re.MULTILINE)
_ESCAPED = re.compile(r"\\+([nrt]|(?=[\"\\]))")


def flat(text: str) -> str:
    r"""A text in one line, without the fences and the escapes of a prompt.

    >>> flat('| {"body": "Say\\n\\"yes\\"."}')
    '{"body": "Say "yes"."}'
    """
    return " ".join(_ESCAPED.sub(lambda found: " " if found[1] else "", _FENCE.sub("", text)).split())


def common_words(text: str, source: str, most: int = 24) -> str:
    """The longest run of words of `source` that `text` has too; the first of its words where there is none.

    >>> common_words("Pay the whole bill", "Please pay the bill, or the whole bill twice")
    'the whole bill'
    """
    sought, words = text.split(), source.split()
    run = SequenceMatcher(None, words, sought, autojunk=False).find_longest_match()
    return " ".join(words[run.a : run.a + run.size][:most] if run.size else words[:most])
