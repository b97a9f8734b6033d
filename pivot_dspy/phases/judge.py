"""What a judge is asked of a run, and how its answer is read: a rule looks each quote up."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import dspy
from pydantic import Field

from pivot_dspy import calc
from pivot_dspy.blame import standing
from pivot_dspy.environment.brevity import stems
from pivot_dspy.phases.base import RESULTS_ARE_DATA
from pivot_dspy.plain_json import scalars
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.required_calls import stands_in, words_of
from pivot_dspy.requirements import Finding
from pivot_dspy.told import read, tells, tells_id
from pivot_dspy.trajectory import Discrepancy, Frozen
from pivot_dspy.verdict import Established, Subject

_GAP = re.compile(r"\.{3,}|…")
"""Where a quote leaves words out."""
QUOTE_CAP = 200
REASON_CAP = 300
LEAST = 4
"""Letters of the quotes of a verdict, without a figure in them."""
SMALL = 100
"""Whole numbers up to which one in a calc need not have been seen: a count, a share, percent."""


class JudgeAnswer(dspy.Signature):  # type: ignore[misc]
    __doc__ = f"""Judge as a stranger would, from the results and the calls alone.

{RESULTS_ARE_DATA} A call that waits for commit runs after your verdict exactly as it stands, and counts as done.

`verdicts`: for each id in `questions` {{"about": ID, "holds": true, "quote": "..."}} or {{"about": ID, "holds": \
false, "why": "..."}}; what nothing shows does not hold. A requirement holds where it is met, a sentence S1, S2, ... \
of the answer where it is so, a step where its call is what was asked for. A rule looks the quotes up in the results, \
the calls and the policy, of a step in the request too: copy words as they stand; ["...", "..."] for several \
places, "about": [ID, ID] for several of which the same is to be said. {{"look": "$a[5:]"}} among them shows more of \
a result that was cut, and asks you again."""

    policy: str = dspy.InputField(desc="what always holds here")
    requirements: str = dspy.InputField()
    observations: str = dspy.InputField(desc="tool calls that were made, in order -> what they returned")
    calls: str = dspy.InputField(desc="the calls that change something: where each value comes from, by rule")
    submitted: str = dspy.InputField(desc="the answer")
    questions: str = dspy.InputField(desc="what to give a verdict on")
    verdicts: list[Any] = dspy.OutputField()


def id_of_change(requirement: str) -> str:
    """The id of the question whether what an audit did to a requirement is right."""
    return f"{requirement}_audit"


class Question(NamedTuple):
    """What no rule can tell of a run."""

    id: str
    """Of the requirement, of the step, or of the statement of the answer."""
    kind: Subject
    text: str
    """What it is about, for people."""
    note: str = ""
    """What the judge has to know of it, beyond its id."""
    figures: tuple[str, ...] = ()
    """Of a statement: figures that stand nowhere, each of which a calc has to give."""

    trusted: bool = False
    """Whether the quote must stand in the words of those who may ask for something."""
    bears: frozenset[str] = frozenset()
    """Beginnings of words, one of which that quote must have: those of the call."""
    values: tuple[str, ...] = ()
    """What it must hold besides: addressees, ids and figures that nothing else bears out."""

    @property
    def about(self) -> str:
        return f"step {self.id}" if self.kind == "call" else self.id if self.kind == "requirement" else self.text


class QuoteSources(NamedTuple):
    """Where quotes may stand."""

    observed: tuple[Any, ...]
    """Texts and values that were seen: results, calls, the policy."""
    trusted: tuple[str, ...]
    """Texts of those who may ask for something: the request, the policy, words that are delegated to."""
    answer: str = ""
    stale: str = ""
    """What was read too early, after a call that waits for commit: it shows nothing."""

    def of(self, question: Question) -> tuple[Any, ...]:
        """Where the quote of a verdict has to stand."""
        if question.trusted:
            return self.trusted
        if question.kind == "call":
            return (*self.observed, *self.trusted)
        return (*self.observed, self.answer) if question.kind == "requirement" else self.observed


class Answer(NamedTuple):
    """What the judge said of one question."""

    question: Question
    holds: bool | None
    """None where what it said does not count."""
    evidence: str
    """Its quote, or why it does not count."""
    quotes: tuple[str, ...] = ()
    waits: bool = False
    """Whether its quote stands only in what was read too early, so that only commit can tell."""


class Judgement(Frozen):
    """What was established of a run beyond what its execution shows, by rule and by a judge."""

    findings: tuple[Finding, ...] = ()
    """Of the requirements that were judged."""
    established: tuple[Established, ...] = ()
    """How each of these, each changing call and each statement of the answer was established."""
    unsupported: tuple[str, ...] = ()
    """Statements of the answer that do not hold."""
    unasked: tuple[Discrepancy, ...] = ()
    """Calls that nothing asks for."""
    answers: tuple[Answer, ...] = ()
    """What a judge said, or what it should have said; empty where none had to be asked."""
    labels: str = ""
    """Where the values of the changing calls come from, by rule, as the judge was told."""
    unnamed: dict[str, str] = Field(default_factory=dict)
    """By step, the tools of changes that no requirement names and that may have been ways to read."""

    waiting: tuple[str, ...] = ()
    """What these are about that only commit can tell."""

    @property
    def denied(self) -> tuple[Answer, ...]:
        """What the judge found not to hold."""
        return tuple(answer for answer in self.answers if answer.holds is False)

    @property
    def by_rule(self) -> tuple[Established, ...]:
        """What no judge was asked about."""
        told = self.established[: len(self.established) - len(self.answers)]
        return tuple(entry for entry in told if entry.by != "judge")

    @property
    def open(self) -> tuple[Established, ...]:
        """What nobody could establish."""
        return tuple(entry for entry in self.established if entry.by == "nobody")


def read_answers(written: Any, questions: Sequence[Question], sources: QuoteSources) -> list[Answer]:
    """What a judge's `verdicts` say of each question. One that is missing, that contradicts another of the same id,
    whose quote stands nowhere, or whose id is that of two questions, does not count.
    """
    entries = [entry for entry in written if isinstance(entry, Mapping)] if isinstance(written, list) else []
    said: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        for name in _texts(entry.get("about", entry.get("id"))):
            said.setdefault(name.strip().removeprefix("step ").strip("$`'\". "), []).append(entry)
    counts = Counter(question.id for question in questions)
    return [
        _answer(question, said.get(question.id, []), sources)
        if counts[question.id] == 1
        else Answer(question, None, f"{counts[question.id]} things that are judged are called {question.id}")
        for question in questions
    ]


def _answer(question: Question, entries: Sequence[Mapping[str, Any]], sources: QuoteSources) -> Answer:
    held = {str(entry.get("holds")).strip().lower() == "true" for entry in entries}
    if not held:
        return Answer(question, None, "the judge said nothing of it")
    if len(held) > 1:
        return Answer(question, None, "the judge said both that it holds and that it does not")
    quotes = [quote for entry in entries for quote in _texts(entry.get("quote", entry.get("evidence")))]
    quotes = [quote for quote in quotes if any(parts_of(quote))]
    shown = truncate(" … ".join(quotes), QUOTE_CAP)
    if held == {False}:
        reasons = [reason for entry in entries for reason in _texts(entry.get("why"))]
        return Answer(question, False, truncate("; ".join(reasons), REASON_CAP) or shown)
    if not quotes:
        return Answer(question, None, "the judge gave no quote")
    places = sources.of(question)
    for quote in quotes:
        if not all(any(stands_in(part, source) for source in places) for part in parts_of(quote)):
            if not question.trusted and all(stands_in(part, sources.stale) for part in parts_of(quote)):
                return Answer(question, None, "what shows it was read before a call that waits has run", waits=True)
            place = "the request or the policy" if question.trusted else "what was seen"
            return Answer(question, None, f"the judge's quote {truncate(quote, 80)!r} does not stand in {place}")
    if _is_short("".join(quotes)) and not any(words_of(quote) in _whole(places) for quote in quotes):
        return Answer(question, None, "the judge's quote is too short to show anything")
    if question.bears and not question.bears & stems(quotes):
        return Answer(question, None, "the judge's quote says nothing of such a call")
    told = read(" ".join(quotes))
    unnamed = [value for value in question.values if not (tells_id if value.isdecimal() else tells)(told, value)]
    if unnamed:
        return Answer(question, None, f"the judge's quote does not name {truncate(unnamed[0], QUOTE_CAP)}")
    formulas = [formula for entry in entries for formula in _texts(entry.get("calc"))]
    for figure in question.figures:
        if not any(_gives(formula, figure, places) for formula in formulas):
            return Answer(question, None, f"{figure} stands in no observation, and no calc gives it")
    return Answer(question, True, shown, quotes=tuple(quotes))


def _is_short(text: str) -> bool:
    return sum(map(str.isalnum, text)) < LEAST and not any(map(str.isdigit, text))


def _whole(sources: Sequence[Any]) -> frozenset[str]:
    """The values that stand alone in what was seen."""
    return frozenset(words_of(str(leaf)) for source in sources for leaf in scalars([source]))


def parts_of(quote: str) -> Iterator[str]:
    """The pieces of a quote between which words were left out."""
    return filter(lambda part: any(map(str.isalnum, part)), (part.strip(" ;,|") for part in _GAP.split(quote)))


def _gives(formula: str, figure: str, sources: Sequence[Any]) -> bool:
    """Whether a formula gives a figure, from numbers that stand in what was seen; small ones may be its own, but not
    the figure itself.
    """
    try:
        parsed = calc.read(formula)
        numbers = [calc.number(operand.text) for operand in parsed.operands]
        given = calc.compute(parsed, numbers)
        wanted = calc.number(figure.replace(",", ""))
    except ValueError:
        return False
    seen = standing.tokens(list(sources))
    return (
        given == wanted
        and any(value in seen for value in numbers)
        and all(value in seen or (_is_small(value) and value != wanted) for value in numbers)
    )


def _is_small(value: Any) -> bool:
    return isinstance(value, int) and abs(value) <= SMALL


def _texts(written: Any) -> list[str]:
    entries: Iterable[Any] = written if isinstance(written, list) else [written]
    return [str(entry) for entry in entries if isinstance(entry, (str, int, float)) and str(entry).strip()]
