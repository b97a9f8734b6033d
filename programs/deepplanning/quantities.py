"""Rules for what a sentence says of a product's numbers: ratings, sales, stock, price, days of delivery."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from programs.deepplanning.conditions import DELIVERY, Condition
from programs.deepplanning.grammar import ARTICLE, LINK, Rule, any_of, apply

STARS, REVIEWS, SCORE = "rating.distribution", "rating.total_reviews", "rating.average_score"

_MORE_THAN, _LESS_THAN = (rf"(?:{words}) than" for words in ("more|greater|higher|larger", "less|fewer|lower|smaller"))
_COMPARISONS: dict[str, tuple[str, ...]] = {
    ">=": (
        "at least", "at or above", f"(?:no|not) {_LESS_THAN}", "not (?:under|below)", f"{_MORE_THAN} or equal to",
        "(?:an? )?minimum(?: of)?", "≥", ">=",
    ),
    "<=": (
        "at most", "at or below", f"(?:no|not) {_MORE_THAN}", "(?:no|not) (?:longer|later) than", "not (?:over|above)",
        f"{_LESS_THAN} or equal to", "(?:(?:do|does|must|should) )?not exceed(?:ing)?", "up to", "within",
        "(?:an? )?maximum(?: of)?", "≤", "<=",
    ),
    ">": (_MORE_THAN, "over", "above", "exceed(?:s|ing)?", "in excess of", ">"),
    "<": (_LESS_THAN, "(?:shorter|faster) than", "under", "below", "<"),
    "==": ("exactly", "precisely", "equal to", "just", "only"),
}  # fmt: skip
_COMPARED = rf"(?<![\w<>=≥≤]){any_of(f'(?P<op{n}>{any_of(told)})' for n, told in enumerate(_COMPARISONS.values()))} ?"
_WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\b"
_ANY_NUMBER = rf"(?P<number>{_DIGITS}|(?:{'|'.join(_WORDS)}|a single)\b)"
_NUMBER = rf"{_ANY_NUMBER}(?![-%])"
# What makes a bound of the number before it.
_LEAST = r"\+| (?:or|and) (?:more|greater|higher|larger|above|over|better|up)\b| at (?:the )?(?:least|minimum)\b"
_MOST = r" (?:or|and) (?:less|fewer|lower|smaller|under|below|faster|sooner|shorter)\b| at (?:the )?(?:most|maximum)\b"
_BOUND = rf"(?:(?P<least>{_LEAST})|(?P<most>{_MOST}))"
# Right after "and" a bare number may share the comparison before it: in "more than 100 reviews and stock 50" the stock
# need not be exactly 50.
_APART = "".join(rf"(?<!\b{word} {article})" for word in ("and", "or") for article in ("", "a ", "an ", "the "))


@dataclass(frozen=True)
class _Quantity:
    """How one field is spoken of.

    Attributes:
        nouns: what it is called, before its number or after it.
        units: what may follow the number.
        counted: what it is called only where the number stands before it.
        sign: what may stand before the number.
    """

    nouns: str
    units: str
    counted: str = ""
    sign: str = ""

    def sentences(self) -> Iterator[str]:
        """Patterns of the forms in which any quantity may be spoken of."""
        nouns, number, unit = f"(?:{self.nouns})", f"{self.sign}{_NUMBER}", f"(?: (?:{self.units})\\b)?"
        counted = f"(?:{self.nouns}{'|' * bool(self.counted)}{self.counted})"
        share = "(?:(?:of|for|in) )?(?:(?:them|which) (?:are |being )?)?"
        yield f"{_COMPARED}{ARTICLE}{number}{unit} {share}{counted}"
        yield rf"\b{nouns}{LINK}? {_COMPARED}{number}{unit}"
        yield rf"(?<![\w.]){number}{_BOUND}{unit} {share}{counted}"
        yield rf"\b(?:has|have|having|with|there (?:is|are)) {ARTICLE}{number}{unit} {counted}"
        yield rf"\b{nouns}{LINK}? between {number}{unit} and {self.sign}(?P<high>{_DIGITS})(?![-%]){unit}"
        yield rf"\b(?P<extreme>minimum|maximum) {nouns}{LINK}? {number}{unit}"
        for bare in (rf"\b{nouns}{LINK}", rf"{_APART}\b{nouns}"):
            yield f"{bare} {number}{unit}{_BOUND}"
            yield f"{bare} {number}{_BOUND}{unit}"
            yield f"{bare} {number}{unit}"


_SOLD = "(?: (?:volumes?|figures?|counts?))?"
_ALL_REVIEWS = "(?:product |customer |user )?(?:reviews|ratings)"
_SPEED = "(?:transport|transportation|delivery|shipping|transit)"
_QUANTITIES = {
    STARS: _Quantity(
        r"(?:(?:number|count) of )?(?<![\d.])(?P<stars>[1-5]|one|two|three|four|five)[- ]star\b"
        r"(?: (?:reviews?|ratings?))?(?: (?:counts?|distribution))?",
        "reviews?|ratings?",
    ),
    REVIEWS: _Quantity(
        rf"total (?:number of )?(?:reviews?|ratings)(?: counts?)?|(?:total )?(?:review|rating)s? counts?"
        rf"|(?:total )?(?:number|count) of (?:total )?{_ALL_REVIEWS}|{_ALL_REVIEWS} in total",
        "reviews?|ratings?",
        # "100 reviews of at least 4 stars" are not 100 reviews in all.
        rf"{_ALL_REVIEWS}\b(?! (?:of|with|at|above|over|below|under|rated|having|that|which)\b)",
    ),
    SCORE: _Quantity(
        "(?:(?:average|overall|mean) )?(?:(?:product|customer|user|star) )?(?:rating|score)"
        "(?: (?:average )?(?:score|rating))?|(?:average|overall|mean) ratings|rated",
        "(?:stars?|points?)(?: out of (?:5|five)(?: stars)?)?|out of (?:5|five)(?: stars)?",
    ),
    "sales_volume.monthly": _Quantity(
        f"monthly sales{_SOLD}|sales(?: volume)? (?:per|a|each) month", "units?|pieces?"
    ),
    "sales_volume.total": _Quantity(f"total sales{_SOLD}|sales(?: volume)? in total", "units?|pieces?"),
    "stock_quantity": _Quantity(
        "(?:(?:units|items|pieces) )?in stock|stock(?: (?:quantity|levels?|counts?))?|(?:available )?quantity",
        "units?|pieces?|items?",
    ),
    DELIVERY: _Quantity(f"{_SPEED} times?", "days?", f"{_SPEED}(?! time)"),
    "price": _Quantity("price[ds]?|cost(?:s|ing)?", "yuan|RMB|CNY", sign="(?:¥ ?)?"),
}
_SHIPS = any_of(
    ("arriv(?:es?|ing)", "deliver(?:ed|s|y)?", "ship(?:s|ped|ping)?", "transported", "gets? (?:here|to me)")
)
_STAR_RATING = "(?:average |overall )?(?:customer |user )?(?:rating|score)"
# Forms in which a unit or a verb tells what is meant.
_TELLING = {
    SCORE: (
        rf"{_COMPARED}{ARTICLE}(?P<number>\d\.\d+)[- ]stars? {_STAR_RATING}",
        rf"(?<![\w.])(?P<number>\d(?:\.\d+)?)[- ]stars? {_STAR_RATING}{_BOUND}",
        rf"(?<![\w.])(?P<number>\d\.\d+)(?:[- ]stars?)? {_STAR_RATING}",
        rf"{_COMPARED}{_NUMBER} stars\b(?: out of (?:5|five))?",
        rf"(?<![\w.]){_NUMBER} stars{_BOUND}",
        rf"(?<![\w.]){_NUMBER}{_BOUND} stars\b(?: out of (?:5|five))?",
    ),
    DELIVERY: (
        rf"\b{_SHIPS} (?:in )?{_COMPARED}{_NUMBER}(?: days?\b)?",
        rf"(?:\bin )?{_COMPARED}{_NUMBER} days?\b",
        rf"(?:\b(?:{_SHIPS} )?in )?(?<![\w.]){_NUMBER} days?{_BOUND}",
        rf"(?:\b(?:{_SHIPS} )?in )?(?<![\w.]){_NUMBER}{_BOUND} days?\b",
        rf"\b{_ANY_NUMBER}-day(?:{_BOUND})? {_SPEED}(?: time)?",
        rf"\b(?:same|next)(?P<soon>[- ]day) {_SPEED}(?: time)?",
        rf"\b{_SPEED} time{LINK}? (?:same|next)(?P<soon>[- ]day)",
    ),
    "price": (rf"{_COMPARED}¥ ?{_NUMBER}(?: yuan\b)?", rf"{_COMPARED}{_NUMBER} (?:yuan|RMB|CNY)\b"),
}


def mentions(text: str, *, price: bool = True) -> tuple[list[Condition], str]:
    """The numeric conditions that stand anywhere in a text, and the text without them."""
    return apply([rule for field, rules in _BY_FIELD.items() if price or field != "price" for rule in rules], text)


def problem(condition: Condition) -> str | None:
    """Why a number cannot be meant of its field, if so."""
    field, _, value = condition
    if field == SCORE and value > 5:
        return f"an average rating is at most 5, not {value}"
    if field.startswith((STARS, REVIEWS)) and value != int(value):
        return f"{value} is no number of reviews"
    return None


def number(text: str) -> float:
    """A number that is written in digits or in words; whole ones as integers."""
    word = text.lower()
    if word in (*_WORDS, "a single"):
        return _WORDS.index(word) if word in _WORDS else 1
    value = float(text.replace(",", ""))
    return int(value) if value == int(value) else value


def _conditions(field: str, match: re.Match[str]) -> list[Condition]:
    groups = match.groupdict()
    if groups.get("soon"):
        return [[DELIVERY, "<=", 1]]  # what the benchmark's users mean by same-day
    if stars := groups.get("stars"):
        field = f"{field}.{number(stars)}_star"
    value = number(groups["number"])
    if high := groups.get("high"):
        return [[field, ">=", value], [field, "<=", number(high)]]
    return [[field, _symbol(groups), value]]


def _symbol(groups: dict[str, str | None]) -> str:
    extreme = (groups.get("extreme") or "").lower()
    if groups.get("least") or extreme == "minimum":
        return ">="
    if groups.get("most") or extreme == "maximum":
        return "<="
    return next((symbol for place, symbol in enumerate(_COMPARISONS) if groups.get(f"op{place}")), "==")


def _rules(field: str, quantity: _Quantity) -> tuple[Rule, ...]:
    sentences = (*quantity.sentences(), *_TELLING.get(field, ()))
    return tuple((re.compile(sentence, re.IGNORECASE), partial(_conditions, field)) for sentence in sentences)


_BY_FIELD = {field: _rules(field, quantity) for field, quantity in _QUANTITIES.items()}
RULES: tuple[Rule, ...] = tuple(rule for rules in _BY_FIELD.values() for rule in rules)
