"""The language of bindings: JMESPath (https://jmespath.org) in which `$a` is the result of the step `a`.

Its functions are those of `pivot_dspy.text_functions`. What a text means where it may be an expression or plain text is
for `pivot_dspy.bindings` to say.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.parser import ParsedResult

from pivot_dspy.text_functions import TextFunctions

LONGEST = 5000
"""Characters; a longer string is text, and no expression is looked for in it."""

# Beside its own errors (ValueErrors), jmespath lets through what the text provokes in Python: a slice with step zero,
# brackets nested too deep.
FAILURES = (ValueError, TypeError, RecursionError, ArithmeticError, LookupError)
# Strings, quoted identifiers and literals of JMESPath are skipped: a dollar inside them is text.
LITERAL = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?:\\.|[^`\\])*`"""
FUNCTIONS = tuple(sorted(TextFunctions.FUNCTION_TABLE))
CALL = rf"(?:{'|'.join(FUNCTIONS)})\("
TOKEN = re.compile(rf"{LITERAL}|\$\$|\$(?!{CALL})(\w+)")
"""Its group is the name of a step."""
_OPTIONS = jmespath.Options(custom_functions=TextFunctions())


def quote(text: str) -> str:
    """Write `text` so that it stands for itself."""
    return "$'" + text.replace("$", "$$") + "'"


def is_quoted(text: str) -> bool:
    return len(text) > 2 and text.startswith("$'") and text.endswith("'")


@lru_cache(maxsize=4096)
def references(text: str) -> tuple[str, ...]:
    """Names after `$` in `text`, in order, once each; literals of the expression do not count.

    >>> references("max_by($b[?name=='$c'], &price).id")
    ('b',)
    """
    if len(text) > LONGEST or is_quoted(text):
        return ()
    return tuple(dict.fromkeys(filter(None, TOKEN.findall(text))))


@lru_cache(maxsize=4096)
def parse(text: str) -> ParsedResult:
    """The expression `text`, parsed. Raises one of `FAILURES` where it is not valid."""
    return jmespath.compile(TOKEN.sub(lambda m: f'"{m[1]}"' if m[1] else ("$" if m[0] == "$$" else m[0]), text))


@lru_cache(maxsize=4096)
def is_valid(text: str) -> bool:
    """Whether `text` is a valid expression."""
    try:
        parse(text)
    except FAILURES:
        return False
    return True


def search(text: str, data: Any) -> Any:
    """Value of the expression `text` over `data`. Raises one of `FAILURES`."""
    return parse(text).search(data, _OPTIONS)
