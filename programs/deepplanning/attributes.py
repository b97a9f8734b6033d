"""Rules for what a sentence says of a product's brand, its coupons, and the fields that take the store's own terms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from programs.deepplanning.conditions import Condition
from programs.deepplanning.coupons import COUPONS
from programs.deepplanning.grammar import ARTICLE, LINK, QUOTED, ReadingError, Rule, key, spelled
from programs.deepplanning.vocabulary import (
    COLLARS,
    COLORS,
    DEMOGRAPHICS,
    ELASTICITIES,
    FITS,
    LETTERS,
    ORIGINS,
    PROVIDERS,
    SEASONS,
    THICKNESSES,
)

_START = r"(?<![\w'/-])"
_END = r"(?![\w'-]|/\w)"  # no part of a longer word: neither "Blue" of "Blue-Grey" nor "Men" of "Men's"


@dataclass(frozen=True)
class _Attribute:
    """How one field is spoken of.

    Attributes:
        nouns: what it is called.
        values: each way to write a value, with the store's term for it.
        short: ways to write a value that are plain only beside a noun.
        leads: what may stand before a value that has no noun beside it.
        tails: what may stand after such a value.
        adjective: whether a value may stand right before "products".
        capital: whether a value that has no noun beside it must be in capitals.
    """

    nouns: str
    values: Mapping[str, str]
    short: Mapping[str, str] = field(default_factory=dict)
    leads: str = ""
    tails: str = ""
    adjective: bool = False
    capital: bool = False

    @property
    def terms(self) -> dict[str, str]:
        """The store's terms by what identifies a spelling."""
        return {key(written): term for written, term in {**self.values, **self.short}.items()}

    def sentences(self) -> Iterator[str]:
        """Patterns of the forms in which any attribute may be spoken of."""
        near, alone = _value({**self.values, **self.short}), _value(self.values, "-i" * self.capital)
        yield rf"\b(?:{self.nouns}){LINK}? {ARTICLE}{near}{_END}(?: (?:{self.nouns})\b)?"
        if self.leads:
            tails = "|".join(filter(None, (self.nouns, self.tails)))
            yield rf"\b(?:{self.leads}) {ARTICLE}{alone}{_END}(?: (?:{tails})\b)?"
        yield rf"{near}(?:[- ]| in )(?:{self.nouns})(?![\w-])"
        if self.adjective:
            yield rf"{alone}(?:'s|')?(?= (?:\| )*(?:products?|items?)\b)"


def _value(written: Iterable[str], flags: str = "") -> str:
    return rf"{_START}(?P<quote>['\"]?)(?P<value>(?{flags}:{spelled(written)}))(?P=quote)"


def _same(terms: Iterable[str]) -> dict[str, str]:
    return {term: term for term in terms}


def _without_last_word(terms: Iterable[str]) -> dict[str, str]:
    return {term.split()[0]: term for term in terms if " " in term}


_GOOD = "(?:(?:suitable|suited|designed|made|meant|intended|ideal|perfect|appropriate|targeted) )?"
_SHIP = r"(?:ship|deliver|sen[dt]|dispatch|transport)\w*"
_ATTRIBUTES = {
    "shipping_info.provider": _Attribute(
        "(?:(?:shipping|delivery|logistics|transport) )?(?:provider|carrier|courier)",
        _same(PROVIDERS),
        leads=f"(?:{_SHIP} )?(?:by|via|with|through|using)",
    ),
    "shipping_info.origin": _Attribute(
        "(?:(?:shipping|product) )?origin|place of origin",
        _same(ORIGINS),
        leads=f"(?:{_SHIP}|originat(?:es?|ing)) (?:from|in)",
        tails="province",
    ),
    "color": _Attribute(
        r"colou?r(?:s|ed)?",
        {**_same(COLORS), **{term.replace("Grey", "Gray"): term for term in COLORS}},
        leads="in",
        adjective=True,
    ),
    "size": _Attribute(
        "sizes?|sized",
        _same(LETTERS),
        {**_same(f"{size}{half}" for size in range(10, 100) for half in ("", ".5")), "One Size": "One Size"},
        leads="in",
        adjective=True,
        capital=True,
    ),
    "suitable_season": _Attribute(
        "(?:suitable )?seasons?",
        {
            **_same(SEASONS),
            "All Season": "All Seasons",
            **{f"Spring{joint}{name}": SEASONS[0] for joint in ("/", " / ", " and ", " or ", " & ", " ", ", ", ", and ")
               for name in ("Autumn", "Fall")},
        },
        leads=f"{_GOOD}for|in|during",
        tails="weather|wear|use",
        adjective=True,
    ),
    "target_demographic": _Attribute(
        "(?:target(?:ed)? )?(?:demographics?|audience|gender|group)",
        {**_same(DEMOGRAPHICS), "Male": "Men", "Males": "Men", "Female": "Women", "Females": "Women", "Kid": "Kids"},
        leads=f"{_GOOD}for|targeted (?:at|to|towards)|targeting|aimed at",
        tails="customers|buyers|shoppers",
        adjective=True,
    ),
    "thickness": _Attribute("thickness", {}, _same(THICKNESSES)),
    "elasticity": _Attribute("elasticity", _same(ELASTICITIES), adjective=True),
    "version_type": _Attribute(
        "version(?: type)?|fit(?: type)?",
        {**_same(FITS), "Loose Fit": FITS[2]},
        _without_last_word(FITS),
    ),
    "collar_type": _Attribute(
        "collar(?: (?:type|style))?", _same(COLLARS), _without_last_word(COLLARS), adjective=True
    ),
}  # fmt: skip

# A brand is any run of words with capitals, up to one that must be the beginning of something else.
_OTHER = spelled(term for attribute in _ATTRIBUTES.values() for term in attribute.values if term[0].isupper())
_FIELD = (
    "(?i:brand|colou?r|size|season|suitable|target|price|name|rating|stock|total|monthly|average|transport|delivery)"
)
_FREE = rf"(?!(?:{_OTHER}|{_FIELD})\b)"
_WORD = r"[A-Z][\w&-]*(?:['.][\w&-]+)*"
_MORE = rf"(?: {_FREE}{_WORD})*"
_BRAND_NOUN = "(?i:(?:(?:from|of|by|under) )?(?:the )?brand(?: name)?)"
_BRANDS = (
    rf"\b{_BRAND_NOUN}{LINK}? {QUOTED}",
    rf"\b{_BRAND_NOUN}{LINK}? (?P<value>{_WORD}{_MORE})",
    rf"\b(?i:from|by) {QUOTED}(?i: brand)?",
    rf"\b(?i:from|by) (?P<value>{_FREE}{_WORD}{_MORE})(?i: brand\b)?",
    rf"(?<=[\w|,] )(?P<value>{_FREE}{_WORD}{_MORE})[- ](?i:brand(?:ed)?)\b",
)

_COUPON = (
    r"(?:(?:eligible|valid) for |accept(?:s|ing)? )?(?:the )?"
    r"(?:(?:applicable )?coupons?(?: (?:is|are|includes?|contains?))? )?"
    rf"(?P<quote>['\"]?)(?P<kind>{spelled(sorted({coupon.kind for coupon in COUPONS.values()}))}):? "
    r"¥?(?P<off>\d[\d,]*) off (?:every |each )?¥?(?P<each>\d[\d,]*)\b(?P=quote)(?: coupons?\b)?"
)


def _coupon(match: re.Match[str]) -> list[Condition]:
    kind, off, each = key(match["kind"]), *(float(match[name].replace(",", "")) for name in ("off", "each"))
    for coupon in COUPONS.values():
        if (key(coupon.kind), coupon.discount, coupon.threshold) == (kind, off, each):
            return [["applicable_coupons", "contains", coupon.name]]
    raise ReadingError(f"there is no coupon {match[0]!r}")


def _brand(match: re.Match[str]) -> list[Condition]:
    groups = match.groupdict()
    return [["brand", "==", groups.get("text") or groups["value"]]]


def _term(name: str, terms: Mapping[str, str], match: re.Match[str]) -> list[Condition]:
    return [[name, "==", terms[key(match["value"])]]]


def _rules() -> Iterator[Rule]:
    for name, attribute in _ATTRIBUTES.items():
        if name == "color":
            yield from ((re.compile(sentence), _brand) for sentence in _BRANDS)
        for sentence in attribute.sentences():
            yield re.compile(sentence, re.IGNORECASE), partial(_term, name, attribute.terms)


COUPON_RULE: Rule = (re.compile(_COUPON, re.IGNORECASE), _coupon)
"""Goes before all others: a coupon is told by its wording, which may stand in quotes as names do."""
RULES: tuple[Rule, ...] = tuple(_rules())
