"""Near misses of bindings: what was meant as one, and would else be passed on, and posted, as text.

Each names a step, and is a near miss only where there is such a step: `{{name}}` is text like any other elsewhere. What
stands in long prose is text, too, but for `$a.` and `$a[`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from functools import lru_cache
from typing import NamedTuple

from pivot_dspy.expressions import LONGEST, is_valid, parse, references
from pivot_dspy.readings import CALL, roots

PROSE = 200
"""Characters around what looks like a binding from which on it is part of a text, unless it can be nothing else."""

_LOOKS_LIKE_ONE = re.compile(r"[$<(]|\{\w*[{\[]")
_PATH = re.compile(r"(?<!\$)(?:\$\$)*\$(\w+)(?:\[|\.[A-Za-z_*\"\[{])")
_CALL = re.compile(rf"\s*{CALL}")
_TEMPLATE = re.compile(
    r"(?<!\$)(?:\$\$)*\$\{([^{}$]{1,200})\}"  # ${a.b}
    r"|\{\{([^{}$]{1,200})\}\}"  # {{a.b}}
    r"|[<{](\w{1,64}\[[^<>{}$\s]{0,200})[>}]"  # <a[0].b>, {a[0].b}
    r"|\A\s*<(\w{1,64}\.[^<>$\s]{1,200})>\s*\Z"  # <a.b> alone: within a text it may be an address
)


class NearMiss(NamedTuple):
    """A text that was meant as a binding to `step`."""

    step: str
    remedy: str
    """How it is written."""


def near_miss(text: str, step_ids: Collection[str]) -> NearMiss | None:
    """The first near miss in `text` of a binding to one of the steps.

    >>> near_miss("join(', ', a[].body)", {"a"}).remedy
    'functions go without $, and the result of step a is written $a'
    """
    return next((miss for miss in possible(text) if miss.step in step_ids), None)


def possible(text: str) -> tuple[NearMiss, ...]:
    """Near misses in `text`, whatever the steps are called."""
    if len(text) > LONGEST:
        remedy = f"is no binding in a text of more than {LONGEST:,} characters; write $$ for a plain dollar"
        return tuple(NearMiss(name, f"${name} {remedy}") for name in paths(text))
    return _in_short(text)


@lru_cache(maxsize=4096)
def _in_short(text: str) -> tuple[NearMiss, ...]:
    return (*_calls(text), *_templates(text)) if _LOOKS_LIKE_ONE.search(text) else ()


def paths(text: str) -> tuple[str, ...]:
    """Names after a `$` that a `.` and a field, or `[`, follow: such a one is never meant as text."""
    return tuple(dict.fromkeys(_PATH.findall(text))) if "$" in text else ()


def _calls(text: str) -> Iterator[NearMiss]:
    """`join(', ', a[].body)`: a text that is a call of a known function, and nothing else, over what is no binding."""
    if not _CALL.match(text) or references(text) or not is_valid(text):
        return
    for name in roots(parse(text).parsed):
        yield NearMiss(name, f"functions go without $, and the result of step {name} is written ${name}")


def _templates(text: str) -> Iterator[NearMiss]:
    for match in _TEMPLATE.finditer(text):
        inner = str(match[match.lastindex or 0]).strip()
        name = re.split(r"\W", inner, maxsplit=1)[0]
        if len(text) - len(match[0]) <= PROSE and name and is_valid(f"${inner}"):
            yield NearMiss(name, f"to put results into text write join('', ['...', ${inner}, '...'])")
