"""Judges of known character in the place of a model: they say of every question what their character says, and quote
from their prompt the words that come nearest to it. Simulated: they say nothing of any real model."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import cache, lru_cache
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import RateLimitError, Request, Response, Usage

from pivot_dspy.prompts import report
from pivot_dspy.prompts.truncation import FENCE
from pivot_dspy.simulator.answer import write
from pivot_dspy.simulator.engine import AsyncOfflineEngine, OfflineEngine, response_to, tokens
from pivot_dspy.simulator.prompt import Prompt, read
from pivot_dspy.simulator.slips import Rates

QUOTE_CAP = 300
"""Characters of a quote."""
MADE_UP = (100, 1, 0.01)
"""Numbers that any figure is a sum of."""
GARBAGE = "I would rather talk about the weather."
FAILURES = ("rate limit", "unreadable", "budget")
"""How a judge fails: it raises, it gives what cannot be read, or the budget ends before it is asked."""


class Question(NamedTuple):
    """Something that a judge is asked: a requirement, a call that changes something, or a sentence of the answer."""

    id: str
    text: str
    kind: str
    """`requirement`, `call` or `sentence`."""
    figures: tuple[str, ...] = ()
    """Of a sentence: those that have to be worked out."""


Holds = Callable[[Question], bool]
"""What a judge answers to a question."""


def accept_all(question: Question) -> bool:
    return True


def refuse_all(question: Question) -> bool:
    return False


# ------------------------------------------------------------------------------------------------ what a prompt asks

_LISTED = re.compile(r"^(\w+): (.*)$", re.MULTILINE)
_STATED = re.compile(r"^(S\d+) (.*)$", re.MULTILINE)
_CALLED = re.compile(r"^(\w+) (\w+ .*)->", re.MULTILINE)
_NOWHERE = re.compile(r"((?:\d[\d.,]*, )*\d[\d.,]*) stands in no result")
_RESULTS = "observations"
_ASKERS = ("request", "policy")
"""The sections of those who may ask for something, whose words a call is answered with."""


def questions(prompt: Prompt) -> list[Question]:
    """What the prompt asks about, each with its text from where it is listed, in the order of asking."""
    known = {
        **{name: Question(name, text, "call") for name, text in _CALLED.findall(prompt.section(_RESULTS))},
        **{name: Question(name, text, "sentence") for name, text in _STATED.findall(prompt.section("submitted"))},
        **{name: Question(name, text, "requirement") for name, text in _LISTED.findall(prompt.section("requirements"))},
    }
    asked = report.questions_in(prompt.section("questions"))
    return [known[name]._replace(figures=_figures(note)) for name, note in asked if name in known]


def _figures(note: str) -> tuple[str, ...]:
    """The figures that a note says stand in no result."""
    found = _NOWHERE.search(note)
    return tuple(found[1].strip().split(", ")) if found else ()


def quotable(prompt: Prompt, kind: str) -> list[str]:
    """Pieces of the prompt that may be quoted for a question of this kind, each of whole words."""
    names = _ASKERS if kind == "call" else (_RESULTS,)  # only what was seen shows that something holds
    lines = (line.removeprefix(FENCE) for name in names for line in prompt.section(name).splitlines())
    return [piece for line in lines for piece in _pieces(line)]


@lru_cache(maxsize=4096)
def _pieces(line: str) -> tuple[str, ...]:
    """A line in pieces of about `QUOTE_CAP` characters, cut between words."""
    return tuple(piece.strip() for piece in re.findall(rf"(?:\S{{{QUOTE_CAP},}}|.{{1,{QUOTE_CAP}}}(?!\S))", line))


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def nearest(text: str, pieces: Sequence[str]) -> str:
    """The piece with most words of `text`; of such the first."""
    asked = _words(text)
    return max(pieces, key=lambda piece: len(asked & _words(piece)), default="")


@cache
def sum_of(figure: str, parts: tuple[float, ...]) -> str:
    """The figure as a sum of multiples of the parts, as few as can be; empty where it is none.

    >>> sum_of("1,180", (1000, 60)), sum_of("7", (2,)), sum_of("0.5", (0.25,))
    ('1 * 1000 + 3 * 60', '', '2 * 0.25')
    """
    amount = float(figure.replace(",", ""))
    scale = 1 if amount.is_integer() else 100
    units = {round(scale * part): f"{part:g}" for part in parts if round(scale * part)}
    last: dict[int, tuple[int, int]] = {0: (0, 0)}
    """How many parts make a total, and one of them."""
    for total in range(1, round(scale * amount) + 1):
        ways = [(last[total - unit][0] + 1, unit) for unit in units if total - unit in last]
        if ways:
            last[total] = min(ways)
    total, times = round(scale * amount), Counter[int]()
    while total and total in last:
        times[last[total][1]] += 1
        total -= last[total][1]
    return " + ".join(f"{times[unit]} * {units[unit]}" for unit in sorted(times, reverse=True))


# ---------------------------------------------------------------------------------------------------------- a model


class JudgeEngine(OfflineEngine):
    """A model that settles the requirements that it was given, rewrites nothing, and judges by its character.

    Args:
        character: what it answers to a question, or one of `FAILURES`.
        drafts: what it settles, as a model writes it.
        worked_out: the numbers that figures come from; without it they are made up of such as need not be shown.
    """

    def __init__(
        self,
        character: Holds | str,
        drafts: Sequence[Mapping[str, Any]] = (),
        worked_out: Mapping[str, Sequence[float]] | None = None,
    ) -> None:
        super().__init__((), Rates())
        self.character = character
        self.drafts = drafts
        self.worked_out = worked_out
        self.prompts: list[Prompt] = []
        """Those in which it was asked to judge."""

    def answer(self, request: Request) -> Response:
        """One answer. Raises dspy.lm15.RateLimitError, where that is its character and it is asked to judge."""
        prompt = read(request)
        judges = "verdicts" in prompt.asks
        if judges:
            self.prompts.append(prompt)
        if judges and self.character == "rate limit":
            raise RateLimitError("429: too many requests", provider="simulated")
        text = GARBAGE if judges and self.character == "unreadable" else self._written(prompt)
        return response_to(request, text, Usage(input_tokens=tokens(prompt.text), output_tokens=tokens(text)))

    def _written(self, prompt: Prompt) -> str:
        return write(prompt, {"requirements": list(self.drafts), "changes": []} | self._judged(prompt))

    def _judged(self, prompt: Prompt) -> dict[str, Any]:
        if "verdicts" not in prompt.asks or not callable(self.character):
            return {}
        pieces = {kind: quotable(prompt, kind) for kind in ("requirement", "call", "sentence")}
        verdicts = []
        for question in questions(prompt):
            quote = nearest(question.text, pieces[question.kind])
            verdict = {"about": question.id, "holds": self.character(question), "quote": quote}
            verdicts.append(verdict | ({"calc": self._calculations(question)} if question.figures else {}))
        return {"verdicts": verdicts}

    def _calculations(self, question: Question) -> list[str]:
        known = self.worked_out
        made = (sum_of(it, MADE_UP if known is None else tuple(known.get(it, ()))) for it in question.figures)
        return [formula for formula in made if formula]


def judge_lm(name: str, engine: JudgeEngine) -> dspy.LM:
    """The engine as DSPy takes it, neither cached nor tried again."""
    return dspy.LM(
        f"simulated/{name}", engine=engine, async_engine=AsyncOfflineEngine(engine), cache=False, num_retries=0
    )
