"""Rules for what a sentence says of a product's name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial

from programs.deepplanning import attributes, quantities
from programs.deepplanning.conditions import Condition
from programs.deepplanning.grammar import LINK, QUOTED, ReadingError, Rule, words

_NAME = r"(?<!brand )(?:product(?:'s)? )?(?:names?|titles?)"
_CONTAINS = "(?:contain(?:s|ing)?|includ(?:es?|ing)|ha(?:s|ve|ving)|featur(?:es?|ing))"
_WORDING = "(?:the (?:words?|phrase|text|term) )?"
_IN_NAME = rf"(?:in|as part of) (?:the|its|their) {_NAME}\b"
_CALLED = words("named called titled")
# Where a name without quotes ends: where another clause begins, in small letters as sentences are.
_CLAUSE = words(
    "the an? it its it's they there has have having is are with for in from by that which whose where at no not more "
    "less fewer over under above below exactly suitable available rated priced \\d+ "
    "(?i:brand|colou?r|size|season|target|stock|total|monthly|average|rating|transport|delivery|shipping|price)"
)
_BARE_END = (
    rf"(?=[,;|]|\.?$|(?-i: (?:and|but) (?:also )?{_CLAUSE}| with (?=[a-z\d])| (?:that|which|whose|where)\b"
    r"| (?:available|suitable)\b| in (?:an? |the )?(?:size|colou?r)\b| (?:from|of|by) the brand\b))"
)
_BARE = rf"(?P<bare>(?!['\"])[^,;|]+?){_BARE_END}"
_CAPITALS = r"(?-i:(?P<bare>[A-Z0-9][^\s,;|]*(?: [A-Z0-9&][^\s,;|]*)*))"
# What stands in no name that has no quotes, so that it must have ended before.
_FOREIGN = re.compile(
    words(
        "and or but not no is are has have than least most between except without must should that which whose where "
        "colou?r size brand season demographic ratings? reviews? score stars? stock sales price transport delivery "
        "shipping days? names? starts? starting ends? ending"
    )
)


def _quoted(symbol: str, match: re.Match[str]) -> list[Condition]:
    name, quote = match["text"].strip(), match["quote"]
    if re.search(rf"\S{quote}[\s,.;].*\s{quote}\S", name):  # one text in quotes, and then another
        raise _untold(name)
    return [["name", symbol, name]]


def _bare(symbol: str, match: re.Match[str]) -> list[Condition]:
    name = match["bare"].strip()
    opened = len(re.findall(r"(?<!\S)['\"](?!\d\d)", name))
    closed = len(re.findall(r"(?<=\S)(?:'|(?<!\d)\")(?!\w)", name))
    # A quote that is but closed may be an apostrophe, unless the name ends with it.
    if opened > closed or (opened < closed and name[-1] in "'\""):
        raise _untold(name)
    small = [word[0].islower() for word in name.split()]
    if any(small) and not _plainly_small(name, symbol, small):
        raise _untold(name)
    return [["name", symbol, name]]


def _plainly_small(name: str, symbol: str, small: Sequence[bool]) -> bool:
    """Whether words in small letters belong to the name: none of them says something else of the product."""
    if small[0] and not (all(small) and symbol == "contains"):
        return False
    others = (pattern for pattern, _ in (*quantities.RULES, *attributes.RULES))
    return not _FOREIGN.search(name) and not any(pattern.search(name) for pattern in others)


def _untold(text: str) -> ReadingError:
    return ReadingError(f"it cannot be told what of {text!r} is the name")


_SAYS = rf"\b{_NAME}(?: (?:that|which))?(?: must| should)? {_CONTAINS}"
_A_NAME = r"\b(?:with|and|has|have) (?:the|a) (?:product )?name(?= (?-i:[A-Z\d]))"
_FORMS = (
    ("contains", _quoted, rf"{_SAYS} {_WORDING}{QUOTED}"),
    ("contains", _quoted, rf"(?:\b{_CONTAINS} )?{_WORDING}{QUOTED} {_IN_NAME}"),
    ("==", _quoted, rf"(?:\b{_NAME}{LINK}?|{_CALLED})(?: exactly)? {QUOTED}"),
    ("contains", _bare, rf"{_SAYS} {_WORDING}{_BARE}"),
    ("contains", _bare, rf"\b(?:{_CONTAINS}|with) {_CAPITALS} {_IN_NAME}"),
    ("==", _bare, rf"(?:\b{_NAME}{LINK}|{_CALLED}|{_A_NAME}) {_BARE}"),
)
RULES: tuple[Rule, ...] = tuple(
    (re.compile(form, re.IGNORECASE), partial(made, symbol)) for symbol, made, form in _FORMS
)
