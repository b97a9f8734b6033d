"""What a model can know from its prompt: which literals of a step stand in it, in whatever form."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.simulator.slips import Dice, Path, Span, WrittenStep, invented, literal_arguments, literal_spans
from pivot_dspy.simulator.slips import put, splice, value_of
from pivot_dspy.trajectory import SUBMIT

WORDING = 6
"""Words beyond which a text is a model's own wording, of which only figures, ids, addresses and names must be known."""

_FENCES = re.compile(r"^(?:\| )+", re.MULTILINE)
_ESCAPED = re.compile(r'\\(?:[nrt]|u00a0)|\\(?=["\\])')
_NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_FIGURES = re.compile(r"[^\w]?\d[\d.,-]*")
_NUMBERED = re.compile(r"(?<!\S)\d+\.\s*(?!\d)")
_TIME = re.compile(r"(?<!\d)(\d{1,2}):(\d{2})(?::\d{2})?(?:\.\d+)?(?: ?([ap])\.?m\b)?|\b(\d{1,2}) ?([ap])\.?m\b|\b(noon)\b")
_MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
_MONTH = rf"({'|'.join(_MONTHS)})[a-z]*\.?"
_DAY = r"(\d{1,2})(?:st|nd|rd|th)?"
_DATES = (
    re.compile(r"(?<!\d)(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?!\d)"),
    re.compile(rf"\b{_MONTH.replace('(', '(?P<month>', 1)} {_DAY.replace('(', '(?P<day>', 1)}\b(?:,? (?P<year>\d{{4}}))?"),
    re.compile(rf"\b{_DAY.replace('(', '(?P<day>', 1)}(?: of)? {_MONTH.replace('(', '(?P<month>', 1)}(?:,? (?P<year>\d{{4}}))?"),
)
_COUNTS = {word: n for n, word in enumerate("one two three four five six seven eight nine ten eleven twelve".split(), 1)}
_COUNTED = re.compile(rf"\b(?:{'|'.join(_COUNTS)}|an?(?= hour| day| week)|week)\b")
_WORDS_AS_FIGURES = {**_COUNTS, "a": 1, "an": 1, "week": 7}
_QUOTED_NAME = re.compile(r"(?<!\w)'([^'\n]{2,60})'(?!\w)|\"([^\"\n]{2,60})\"")
_ADDRESS = re.compile(r"[^\s,;()'\"<>]*(?:@|://|www\.|[a-z_]\d|\d[a-z_]*\d*[a-z_]{3,})[^\s,;()'\"<>]*", re.IGNORECASE)
_NAME = re.compile(r"(?<=[^\s.!?:\-*] )[A-Z]\w+")
_LITTLE = re.compile(r"[^\W\d_]{1,3}")
_WORD = re.compile(r"[^\W\d_]{4,}")
_WHOLE_DAY = frozenset(((0, 0), (23, 59)))


class Moment(NamedTuple):
    """A day of the year; the year is None where it is not told."""

    year: int | None
    month: int
    day: int

    def is_told_by(self, other: Moment) -> bool:
        return self[1:] == other[1:] and (None in (self.year, other.year) or self.year == other.year)


class Literal(NamedTuple):
    """A value that a step has written out."""

    path: Path
    value: Any
    span: Span | None = None
    """Where it stands, within a binding."""


class Shown:
    """What a text tells.

    >>> shown = Shown("Pay 12.00 to ann@x.org by May 10th, 2024; the rent is 1,100, from 8 am.")
    >>> [shown.tells(it) for it in (12, 1112.0, 13, "Ann@x.org", "2024-05-10", "2024-05-10 08:00", "2024-05-11")]
    [True, True, False, True, True, True, False]
    """

    def __init__(self, text: str, worked_out: Mapping[str, Collection[float]] | None = None) -> None:
        self.text = _plain(text)
        self.numbers = {_number(found) for found in _NUMBER.findall(self.text)}
        self.numbers.update(float(_WORDS_AS_FIGURES[word]) for word in _COUNTED.findall(self.text))
        self.dates = frozenset(_dates(self.text))
        self.times = frozenset(_times(self.text)) | _WHOLE_DAY
        for figure, sources in (worked_out or {}).items():
            if all(map(self.tells, sources)):
                self.numbers.add(_number(figure))

    def tells(self, value: Any, *, answer: bool = False) -> bool:
        """Whether the text tells a value: as it is, in another form, or as the sum or difference of two figures.

        Args:
            answer: whether it is worded for the user, so that it may be put together of what is told.
        """
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, (int, float)):
            return self._tells_figure(float(value))
        text = str(value).replace("$$", "$")
        plain, words = _plain(_NUMBERED.sub(" ", text) if answer else text), text.split()
        if not plain or self._has(plain):
            return True
        if _is_moment(plain):
            return self._tells_moments(plain)
        if len(words) > WORDING or len(words) > 1 and plain.endswith((".", "!")) or answer and len(words) == 1 and plain.endswith("."):
            return self._tells_wording(text)
        return len(words) > 1 and all(map(self._tells_word, plain.split()))

    def _has(self, plain: str) -> bool:
        if plain not in self.text:
            return False
        return re.search(rf"(?<!\w){re.escape(plain)}(?!\w)", self.text) is not None

    def _tells_word(self, word: str) -> bool:
        bare = word.strip(".,;:!?()[]<>'\"")
        if not bare or _LITTLE.fullmatch(bare) or self._has(bare):
            return True
        if _is_moment(bare):
            return self._tells_moments(bare)
        return _FIGURES.fullmatch(bare) is not None and all(self._tells_figure(_number(it)) for it in _NUMBER.findall(bare))

    def _tells_figure(self, figure: float) -> bool:
        if figure in self.numbers:
            return True
        return any(round(figure - a, 6) in self.numbers or round(figure + a, 6) in self.numbers for a in self.numbers)

    def _tells_moments(self, plain: str) -> bool:
        return all(map(self._tells_date, _dates(plain))) and all(map(self._tells_time, _times(plain)))

    def _tells_date(self, date: Moment) -> bool:
        """As told, or another day of a month that is told, whose number is told or comes after so many days."""
        beside = [told for told in self.dates if date._replace(day=told.day).is_told_by(told)]
        days = {day for told in beside for day in (told.day, *(told.day + n for n in self.numbers))}
        return bool(beside) and (date.day in days or date.day in self.numbers)

    def _tells_time(self, time: tuple[int, int]) -> bool:
        """As told, with the hour as on a clock with hands, or so many hours later."""
        hour, minute = time
        hours = {told for told, _ in self.times} if minute in (0, *(told for _, told in self.times)) else set()
        later = {told + n for told in hours for n in self.numbers}
        return time in self.times or hour % 12 in {told % 12 for told, at in self.times if at == minute} or hour in later

    def _tells_wording(self, text: str) -> bool:
        plain = _plain(text)
        if not self._tells_moments(plain):
            return False
        rest = plain
        for pattern in (*_DATES, _TIME):
            rest = pattern.sub(" ", rest)
        stated = [*_ADDRESS.findall(rest), *(a or b for a, b in _QUOTED_NAME.findall(rest)), *map(str.lower, _NAME.findall(text))]
        figures = [_number(found) for found in _NUMBER.findall(_ADDRESS.sub(" ", rest))]
        if not all(map(self._tells_figure, figures)) or not all(map(self._tells_word, stated)):
            return False
        words = set(_WORD.findall(plain)) if len(text.split()) > WORDING else set()
        return 2 * sum(map(self._has, words)) >= len(words)


@lru_cache(maxsize=16)
def shown_by(text: str, worked_out: tuple[tuple[str, tuple[float, ...]], ...] = ()) -> Shown:
    """`Shown`, of which the last few are kept."""
    return Shown(text, dict(worked_out))


def literals(step: Mapping[str, Any], ids: Collection[str]) -> list[Literal]:
    """Every value that a step has written out, in its arguments and in its bindings.

    Args:
        ids: of the steps that it may bind.
    """
    known = [*ids]
    spans = literal_spans(step, known)
    return [
        *(Literal(path, value) for path, value in literal_arguments(step, known)),
        *(Literal(span.path, value_of(span.text), span) for span in spans),
    ]


def unknown(step: Mapping[str, Any], shown: Shown, ids: Collection[str]) -> list[Literal]:
    """The literals of a step that `shown` does not tell.

    >>> step = {"id": "a", "tool": "pay", "args": {"to": "Ann", "amount": 30}}
    >>> [literal.value for literal in unknown(step, Shown("Pay Ann what she is owed."), ())]
    [30]
    """
    answer = step.get("tool") == SUBMIT
    return [literal for literal in literals(step, ids) if not shown.tells(literal.value, answer=answer)]


def guessed(step: WrittenStep, shown: Shown, ids: Collection[str], dice: Dice) -> WrittenStep:
    """The step with something made up for each literal that `shown` does not tell."""
    missing = unknown(step, shown, ids)
    for path, value, span in sorted(missing, key=lambda literal: -(literal.span.start if literal.span else 0)):
        name = path[-1] if isinstance(path[-1], str) else path[1]
        number = isinstance(value, (int, float))
        made_up: Any = 1 + dice.number(99, "guess", step["id"], *path) if number else invented(name, dice, "guess", step["id"], *path)
        step = put(step, path, made_up) if span is None else splice(step, span, f"`{made_up}`" if number else f"'{made_up}'")
    return step


def _plain(text: str) -> str:
    """`text` in lower case and one line, as it was before JSON and fences."""
    return " ".join(_ESCAPED.sub(lambda found: " " if len(found[0]) > 1 else "", _FENCES.sub("", text)).split()).lower()


def _number(text: str) -> float:
    return round(float(text.replace(",", "")), 6)


def _is_moment(plain: str) -> bool:
    rest = plain
    for pattern in (*_DATES, _TIME):
        rest = pattern.sub("", rest)
    return rest != plain and rest.strip(" t.,") == ""


def _dates(plain: str) -> Iterator[Moment]:
    for pattern in _DATES:
        for found in pattern.finditer(plain):
            month = found["month"]
            number = int(month) if month.isdecimal() else _MONTHS.index(month) + 1
            yield Moment(int(found["year"]) if found["year"] else None, number, int(found["day"]))


def _times(plain: str) -> Iterator[tuple[int, int]]:
    for hour, minute, half, whole, half_of_whole, noon in _TIME.findall(plain):
        late = (half or half_of_whole) == "p"
        at = 12 if noon else int(hour or whole)
        yield (at % 12 + 12 if late else at, int(minute or 0))
