"""What an answer says, sentence by sentence, and which of its figures nothing that was observed supports. By rule."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

from pivot_dspy import bindings, calc, expressions
from pivot_dspy.identity_cache import RESULTS_KEPT, by_identity
from pivot_dspy.plain_json import plain, scalars
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen

_FIGURE = re.compile(
    # Each alternative can begin only where a run of its characters does, so that megabytes of text take linear time.
    r"(?<![\w.+-])[\w.+-]+@[\w-]+\.\w+"  # e-mail addresses
    r"|https?://\S+"
    r"|\b(?=\w*\d)(?=\w*[A-Za-z_])\w{4,}\b"  # identifiers: letters with digits
    r"|\b(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?\b"  # numbers
)

_CLOCK = re.compile(r"(?<=\d)T(?=\d\d:)")
_ORDINAL = re.compile(r"\A(\d+)(?:st|nd|rd|th|am|pm)\Z", re.IGNORECASE)
_SIGN = re.compile(r"[\d@]|://")
"""Stands in every text that holds a figure, and is sought much faster."""


_AFTER_NOON = re.compile(r"(?<![\d:.,])(1[3-9]|2[0-3]):[0-5]\d")
_SENTENCE_END = re.compile(
    r"(?<!^\d[.])(?<!^\d\d[.])(?<=[.!?。！？])\s+(?=\W*[^\W_a-z])|(?<=[。！？])|\n+", re.MULTILINE
)
"""Not after the number of a line."""
PROSE = 2
"""Words from which on a literal text inside a binding is a claim of its own."""
MOST_STATEMENTS = 20
"""Statements that an answer is cut into; in a longer one, sentences that follow each other make one."""


_MOMENT = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}:\d\d(?::\d\d)?|\d{1,2}[./]\d{1,2}[./]\d{2,4}|\S+://\S+")


class Statement(NamedTuple):
    """A part of an answer that was written rather than bound: a sentence, or a value that is no text."""

    id: str
    """`S1`, `S2` and so on, with more of the letter where a step's id begins so."""
    output: str
    """The output field that says it."""
    text: str
    figures: tuple[str, ...] = ()
    """Those in it that nothing that was observed supports."""

    @property
    def amounts(self) -> tuple[str, ...]:
        """Those of these that can be worked out from numbers: no addresses, nor parts of a date or a time."""
        apart = _FIGURE.findall(_MOMENT.sub(" ", self.text))
        return tuple(figure for figure in self.figures if figure in apart and "@" not in figure)


class Claims(Frozen):
    """The checkable claims of an answer: how many there are, and those that nothing supports."""

    count: int = 0
    unsupported: tuple[Discrepancy, ...] = ()
    nowhere: tuple[tuple[str, str], ...] = ()
    """Those figures, each with the output field that says it."""
    written: tuple[str, ...] = ()
    """Output fields that were written out rather than bound to results."""


def check(execution: Execution, inputs: Mapping[str, Any], known: Iterable[Any] = ()) -> Claims:
    """Look up every number, identifier and address of the written output fields in what was observed or given.

    A number also counts as supported if it is the length or the sum of a list that was observed. What was read too
    early, after a call that waits for commit, supports nothing.

    Args:
        known: what else was read.
    """
    submit = execution.trajectory.submit
    if submit is None or not execution.outputs:
        return Claims()
    step_ids = frozenset(execution.trajectory.ids)
    outputs = ((name, value) for name, value in execution.outputs.items() if name in submit.args)
    written = tuple(name for name, value in outputs if _is_written(submit.args[name], value, step_ids))
    seen = [each for each in execution.observations if each.ok and not each.stale and each.step != submit.id]
    shown = [*inputs.values(), *known, *(data for each in seen for data in (each.value, each.args))]
    figures = {
        _normal(figure): (figure, name)
        for name in written
        for value in scalars(execution.outputs[name])
        for figure in _FIGURE.findall(_text(value))
    }
    # Results are long, and an answer that is bound to them says nothing of its own.
    known = _known(shown) if figures else frozenset[str]()
    addresses = any("://" in figure for figure, _ in figures.values())
    texts = [leaf for leaf in scalars(shown) if isinstance(leaf, str)] if addresses else []
    nowhere = [pair for normal, pair in figures.items() if normal not in known and not _is_told(pair[0], known, texts)]
    unsupported = tuple(
        Discrepancy(
            kind="unsupported_claim",
            step=submit.id,
            message=f"{name} says {_normal(figure)}, which stands in no observation",
            expected="a value that was observed, or a binding to it",
        )
        for figure, name in nowhere
    )
    return Claims(count=len(figures), unsupported=unsupported, nowhere=tuple(nowhere), written=written)


def statements(execution: Execution, claims: Claims) -> tuple[Statement, ...]:
    """What the written outputs say, one statement for each sentence. None has the name of a step.

    >>> split_sentences("Paid 10.5 to Ann.\\n- Told Bob. All done!")
    ['Paid 10.5 to Ann.', '- Told Bob.', 'All done!']
    """
    parts = [
        (name, text)
        for name in claims.written
        for text in _parts(execution.outputs[name], MOST_STATEMENTS // max(1, len(claims.written)) or 1)
    ]
    prefix, found = "S", []
    while any(step.startswith(prefix) for step in execution.trajectory.ids):
        prefix += "S"
    for number, (name, text) in enumerate(parts, start=1):
        own = [figure for figure, output in claims.nowhere if output == name and figure in _FIGURE.findall(text)]
        found.append(Statement(f"{prefix}{number}", name, text, tuple(own)))
    return tuple(found)


def text_of(outputs: Mapping[str, Any]) -> str:
    """The texts of an answer, one after the other."""
    return "\n".join(_text(leaf) for value in outputs.values() for leaf in scalars(plain(value)))


def split_sentences(text: str) -> list[str]:
    """The sentences and lines of a text, without those that say nothing."""
    return [" ".join(part.split()) for part in _SENTENCE_END.split(text) if part and any(map(str.isalnum, part))]


def _parts(value: Any, most: int) -> list[str]:
    if not isinstance(value, str):
        return [] if value is None else [json.dumps(plain(value), ensure_ascii=False)]
    sentences = split_sentences(value) or [json.dumps(value, ensure_ascii=False)]
    size = -(-len(sentences) // most) or 1
    return [" ".join(sentences[start : start + size]) for start in range(0, len(sentences), size)]


def _is_written(argument: Any, value: Any, step_ids: frozenset[str]) -> bool:
    """Whether an output is the model's own words, in whole or in part: a leaf that is not bound, a binding with a text
    of its own in what it gives, or a calc with figures of its own.
    """
    if bindings.is_calc(argument):
        return any(not part.bound for part in calc.read(argument[bindings.CALC]).operands)
    if isinstance(argument, (Mapping, list, tuple)):
        leaves = argument.values() if isinstance(argument, Mapping) else argument
        return not argument or any(_is_written(leaf, value, step_ids) for leaf in leaves)
    if not isinstance(argument, str) or not bindings.dependencies(argument, step_ids):
        return argument is not None
    said = "\n".join(_text(leaf) for leaf in scalars(value))
    own = [str(literal) for literal in expressions.content(argument).literals]
    return sum(len(text.split()) for text in own if text in said) >= PROSE or any(map(_is_unspaced, own))


def _is_unspaced(text: str) -> bool:
    """Whether a text has letters of a script that sets no words apart, and so may say much in one word."""
    return any(character >= "\u0e00" and character.isalpha() for character in text)


def _normal(text: str) -> str:
    text = text.rstrip(".,;:!?").lower()
    plain = text.replace(",", "")
    if plain.isdecimal():
        return plain.lstrip("0") or "0"  # as it is: an identifier may have more digits than a float holds
    try:
        return _figure(float(plain))
    except ValueError:
        return text


def _figure(amount: float) -> str:
    """A number as text; of a float 12 digits, beyond which sums go astray."""
    if isinstance(amount, int):
        return str(amount)
    return str(int(amount)) if abs(amount) < 1e15 and amount.is_integer() else f"{amount:.12g}"


def _text(value: Any) -> str:
    return "" if value is None or isinstance(value, bool) else str(value)


def _evidence(values: Iterable[Any]) -> set[str]:
    figures: set[str] = set()
    stack = list(values)
    while stack:
        value = stack.pop()
        if isinstance(value, Mapping):
            stack.extend(value.values())
            stack.extend(str(key) for key in value)
        elif isinstance(value, (list, tuple)):
            figures.add(f"{len(value)}")
            figures.update(_sums(value))
            stack.extend(value)
        elif text := _text(value):
            figures.add(_normal(text))
            if _SIGN.search(text):
                figures.update(map(_normal, set(_FIGURE.findall(text))))
    return figures


def _sums(values: Iterable[Any]) -> Iterator[str]:
    """The sum of the numbers in a list, and of each numeric field of its records."""
    columns: dict[Any, list[float]] = {}
    for value in values:
        cells = value.items() if isinstance(value, Mapping) else ((None, value),)
        for key, cell in cells:
            if isinstance(cell, (int, float)) and not isinstance(cell, bool):
                columns.setdefault(key, []).append(cell)
    for column in columns.values():
        with suppress(OverflowError):  # floats beside an integer that none can hold have no sum
            yield _figure(sum(column))


def with_unsupported(claims: Claims, execution: Execution, unsupported: Iterable[str]) -> Claims:
    """`claims` with a judge's list of unsupported claims in place of the rule's."""
    submit = execution.trajectory.submit
    listed = tuple(
        Discrepancy(kind="unsupported_claim", step=submit.id if submit else None, message=str(claim))
        for claim in unsupported
    )
    return claims.model_copy(update={"unsupported": listed, "count": max(claims.count, len(listed))})


def figures_beyond(text: str, shown: Iterable[Any]) -> tuple[str, ...]:
    """The numbers, identifiers and addresses in a text that stand in nothing that was shown, once each.

    >>> figures_beyond("3 of them, the 15th at 10am: ann@x.org", [["a", "b", "c"], "2024-05-15T10:00"])
    ('ann@x.org',)
    """
    found = {_normal(_ORDINAL.sub(r"\1", figure)): figure for figure in _FIGURE.findall(text)}
    known = _known(list(shown)) if found else frozenset[str]()
    return tuple(figure for normal, figure in found.items() if normal not in known)


def _is_told(figure: str, known: Collection[str], texts: Iterable[str]) -> bool:
    if "://" in figure:  # where an address ends, a text does not always tell
        return any(figure.rstrip(".,;:!?)") in text for text in texts)
    return _normal(_ORDINAL.sub(r"\1", figure)) in known


def _known(values: Sequence[Any]) -> set[str]:
    """The figures of some data, those of its times in the other forms that these are told in."""
    known: set[str] = set()
    for value in values:
        if isinstance(value, str):
            known |= _figures_of_text(value)
        else:
            known |= _kept_figures(value) if isinstance(value, (dict, list)) else _figures_in(value)
    return known


def _figures_in(value: Any) -> set[str]:
    timed = [it for it in scalars(value) if isinstance(it, str) and ":" in it]
    hours = {str(int(hour) - 12) for text in timed for hour in _AFTER_NOON.findall(text)}
    return _evidence([value, *(_CLOCK.sub(" ", text) for text in timed)]) | hours


_kept_figures = by_identity(RESULTS_KEPT)(_figures_in)
_figures_of_text = lru_cache(maxsize=RESULTS_KEPT)(_figures_in)
