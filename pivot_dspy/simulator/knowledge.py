"""What a model can know from its prompt: which literals of a step stand in it, in whatever form."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy.simulator.slips import (
    Dice,
    Path,
    Span,
    WrittenStep,
    in_condition,
    invented,
    literal_arguments,
    literal_spans,
    put,
    splice,
    value_of,
)  # fmt: skip
from pivot_dspy.trajectory import SUBMIT

WORDING = 6
"""Words beyond which a text is a model's own wording, of which only figures, ids, addresses and names must be known."""

_FENCES = re.compile(r"^(?:\| )+", re.MULTILINE)
_ESCAPED = re.compile(r'\\[nrt]|\\(?=["\\])')
_NUMBER = re.compile(r"(?<![\w.,])(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")
_FIGURES = re.compile(r"\W?\d[\d.,-]*")
_NUMBERED = re.compile(r"(?<!\S)\d+\.\s*(?!\d)")
_COUNTS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "a": 1, "an": 1, "week": 7,
}  # fmt: skip
_COUNTED = re.compile(rf"\b(?:{'|'.join([*_COUNTS][:12])}|an?(?= hour| day| week)|week)\b")
_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_MONTH, _DAY = rf"(?P<month>{'|'.join(_MONTHS)})[a-z]*\.?", r"(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?:,? (?P<year>\d{4}))?"
_MOMENTS = tuple(
    map(
        re.compile,
        (
            r"(?<!\d)(?P<year>\d{4})[-/](?P<month>\d{1,2})[-/](?P<day>\d{1,2})(?!\d)",
            rf"\b{_MONTH} {_DAY}\b{_YEAR}",
            rf"\b{_DAY}(?: of)? {_MONTH}{_YEAR}",
            r"(?<!\d)(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::\d{2})?(?: ?(?P<half>[ap])\.?m\b)?",
            r"\b(?P<hour>\d{1,2}) ?(?P<half>[ap])\.?m\b",
        ),
    )
)
_ADDRESS = re.compile(r"[^\s,;()'\"<>]*(?:@|://|www\.|[a-z_]\d|\d[a-z_]*\d*[a-z_]{3,})[^\s,;()'\"<>]*", re.IGNORECASE)
_QUOTED = re.compile(r"(?<!\w)(['\"])([^'\"\n]{2,60})\1(?!\w)")
_NAME = re.compile(r"(?<=[^\s.!?:\-*] )[A-Z]\w+")
_LITTLE = re.compile(r"[^\W\d_]{1,3}")
_WORD = re.compile(r"[^\W\d_]{4,}")
_WHOLE_DAY = ((0, 0), (23, 59))


class Date(NamedTuple):
    """A day; the year is None where it is not told."""

    year: int | None
    month: int
    day: int


class Literal(NamedTuple):
    """A value that a step has written out."""

    path: Path
    value: Any
    span: Span | None = None
    """Where it stands, within a binding."""
    worded: bool = False
    """Whether it is a part of a text that the binding puts together."""


class Shown:
    """What a text tells: words and texts as they stand, but for case and white space; numbers by value, or as the sum
    or difference of two; dates and times in any form.

    >>> shown = Shown("Pay 12.00 to ann@x.org by May 10th, 2024; the rent is 1,100, from 8 am.")
    >>> [shown.tells(it) for it in (12, 1112.0, 13, "Ann@x.org", "2024-05-10", "2024-05-10 08:00", "2024-05-11")]
    [True, True, False, True, True, True, False]
    """

    def __init__(self, text: str) -> None:
        self._text = _plain(text)
        self._numbers = {*map(_number, _NUMBER.findall(self._text))}
        self._numbers.update(float(_COUNTS[word]) for word in _COUNTED.findall(self._text))
        self._dates, times = _moments(self._text)
        self._times = {*times, *_WHOLE_DAY}

    def tells(self, value: Any, *, answer: bool = False) -> bool:
        """Whether the text tells a value.

        Args:
            answer: whether it is worded for the user, and so may be a sentence of a single word.
        """
        if value is None or isinstance(value, bool):
            return True
        if isinstance(value, (int, float)):
            return self._tells_figure(float(value))
        text = value.replace("$$", "$")
        plain = _plain(_NUMBERED.sub(" ", text) if answer else text)
        words = plain.split()
        if not re.search(r"\w", plain) or self._has(plain):
            return True
        if _is_moment(plain):
            return self._tells_moments(plain)
        if len(words) > WORDING or (answer or len(words) > 1) and plain.endswith((".", "!")):
            return self.tells_wording(text) and self._has_half_the_words(words)
        return len(words) > 1 and all(map(self._tells_word, words))

    def tells_wording(self, text: str) -> bool:
        """Whether the text tells the figures, ids, addresses and names in a wording."""
        plain = _plain(text)
        rest = plain
        for pattern in _MOMENTS:
            rest = pattern.sub(" ", rest)
        quoted = [name for _, name in _QUOTED.findall(rest)]
        stated = [*_ADDRESS.findall(rest), *quoted, *map(str.lower, _NAME.findall(text))]
        figures = map(_number, _NUMBER.findall(_ADDRESS.sub(" ", rest)))
        return self._tells_moments(plain) and all([*map(self._tells_figure, figures), *map(self._tells_word, stated)])

    def _has_half_the_words(self, words: Collection[str]) -> bool:
        """Of what is long enough to be more than a phrase: nobody writes what is in a text that he has not seen."""
        long = {*_WORD.findall(" ".join(words))} if len(words) > WORDING else set()
        return 2 * sum(map(self._has, long)) >= len(long)

    def _has(self, plain: str) -> bool:
        return plain in self._text and re.search(rf"(?<!\w){re.escape(plain)}(?!\w)", self._text) is not None

    def _tells_word(self, word: str) -> bool:
        bare = word.strip(".,;:!?()[]<>'\"")
        if not bare or _LITTLE.fullmatch(bare) or self._has(bare):
            return True
        if _is_moment(bare):
            return self._tells_moments(bare)
        return bool(_FIGURES.fullmatch(bare)) and all(map(self._tells_figure, map(_number, _NUMBER.findall(bare))))

    def _tells_figure(self, figure: float) -> bool:
        known = self._numbers
        return figure in known or any(round(it - figure, 6) in known or round(figure - it, 6) in known for it in known)

    def _tells_moments(self, plain: str) -> bool:
        dates, times = _moments(plain)
        return all(map(self._tells_date, dates)) and all(map(self._tells_time, times))

    def _tells_date(self, date: Date) -> bool:
        """As told, or so many days from one in the same month, or by its number alone beside such a one."""
        beside = [it.day for it in self._dates if it.month == date.month and it.year in (None, date.year)]
        return any(date.day in self._numbers or abs(date.day - day) in {0, *self._numbers} for day in beside)

    def _tells_time(self, time: tuple[int, int]) -> bool:
        """As told, with the hour as on a clock with hands, or so many hours later."""
        hour, minute = time
        told = {at for at, past in self._times if past == minute or minute == 0}
        return any(past == minute and (hour - at) % 12 == 0 for at, past in self._times) or any(
            float(hour - at) in self._numbers for at in told
        )


@lru_cache(maxsize=16)
def shown_by(text: str, worked_out: tuple[tuple[str, tuple[Any, ...]], ...] = ()) -> Shown:
    """What a text tells, and what is worked out from that: each value beside those that it comes from."""
    shown = Shown(text)
    more = [value for value, sources in worked_out if all(map(shown.tells, sources))]
    return Shown("\n".join([text, *more])) if more else shown


def literals(step: Mapping[str, Any], ids: Collection[str]) -> list[Literal]:
    """Every value that a step has written out, in its arguments and in its bindings.

    Args:
        ids: of the steps that it may bind.
    """
    spans = literal_spans(step, ids)
    return [
        *(Literal(path, value) for path, value in literal_arguments(step, ids)),
        *(Literal(span.path, value_of(span.text), span, not in_condition(step, span)) for span in spans),
    ]


def unknown(step: Mapping[str, Any], shown: Shown, ids: Collection[str]) -> list[Literal]:
    """The literals of a step that `shown` does not tell.

    >>> step = {"id": "a", "tool": "pay", "args": {"to": "Ann", "amount": 30}}
    >>> [literal.value for literal in unknown(step, Shown("Pay Ann what she is owed."), ())]
    [30]
    """
    answer = step.get("tool") == SUBMIT
    return [
        it
        for it in literals(step, ids)
        if not (shown.tells_wording(str(it.value)) if it.worded else shown.tells(it.value, answer=answer))
    ]


def guessed(step: WrittenStep, shown: Shown, ids: Collection[str], dice: Dice) -> WrittenStep:
    """The step with something made up for each literal that `shown` does not tell."""
    for path, value, span, _ in reversed(unknown(step, shown, ids)):
        labels = ("guess", step["id"], *path)
        if isinstance(value, (int, float)):
            made_up: Any = 1 + dice.number(99, *labels)
        else:
            made_up = invented(path[min(1, len(path) - 1)], dice, *labels)
        step = put(step, path, made_up) if span is None else splice(step, span, f"`{json.dumps(made_up)}`")
    return step


def _plain(text: str) -> str:
    """`text` in lower case and one line, as it was before JSON and fences."""
    return " ".join(_ESCAPED.sub(lambda found: " "[: len(found[0]) - 1], _FENCES.sub("", text)).split()).lower()


def _number(text: str) -> float:
    return round(float(text.replace(",", "")), 6)


def _is_moment(plain: str) -> bool:
    rest = plain
    for pattern in _MOMENTS:
        rest = pattern.sub("", rest)
    return rest != plain and not rest.strip(" t.,")


def _moments(plain: str) -> tuple[set[Date], set[tuple[int, int]]]:
    """The dates and the times, as hour and minute, in a text."""
    dates, times = set(), set()
    for found in _all_moments(plain):
        if "month" in found:
            month = found["month"]
            number = int(month) if month.isdecimal() else _MONTHS.index(month) + 1
            dates.add(Date(int(found["year"]) if found["year"] else None, number, int(found["day"])))
        else:
            hour = int(found["hour"])
            times.add((hour % 12 + 12 if found["half"] == "p" else hour, int(found.get("minute") or 0)))
    return dates, times


def _all_moments(plain: str) -> Iterator[dict[str, str]]:
    for pattern in _MOMENTS:
        yield from (found.groupdict() for found in pattern.finditer(plain))
