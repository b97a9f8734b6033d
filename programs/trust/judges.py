"""Judges of known character in the place of a model: they say of every question what their character says, and quote
from their prompt the words that come nearest to it. Simulated: they say nothing of any real model."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import dspy
from dspy.lm15 import Message, RateLimitError, Request, Response, Usage

from pivot_dspy.prompts.truncation import FENCE
from pivot_dspy.simulator.answer import write
from pivot_dspy.simulator.engine import AsyncOfflineEngine, OfflineEngine, tokens
from pivot_dspy.simulator.prompt import Prompt, json_in, read
from pivot_dspy.simulator.slips import Rates

QUOTE_CAP = 300
"""Characters of a quote."""
GARBAGE = "I would rather talk about the weather."
FAILURES = ("rate limit", "unreadable", "budget")
"""How a judge fails: it raises, it gives what cannot be read, or the budget ends before it is asked."""


class Question(NamedTuple):
    """Something that a judge is asked: a requirement, a call that changes something, or a sentence of the answer."""

    id: str
    text: str


Holds = Callable[[Question], bool]
"""What a judge answers to a question."""


def accept_all(question: Question) -> bool:
    return True


def refuse_all(question: Question) -> bool:
    return False


# ------------------------------------------------------------------------------------------------ what a prompt asks

_ASKED = re.compile(r"^(?:- )?(\w+): (.*)$", re.MULTILINE)
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ASKING = ("requirements", "questions")
"""Sections that list what is asked, an id and a text a line."""
_QUOTABLE = ("observations", "request", "policy")
"""Sections whose words may be quoted."""


def questions(prompt: Prompt) -> list[Question]:
    """What the prompt asks about."""
    listed = "\n".join(prompt.section(name) for name in _ASKING)
    return [Question(*found) for found in _ASKED.findall(listed)]


def sentences(text: str) -> list[str]:
    """The sentences of an answer."""
    return [part for line in text.splitlines() for part in _SENTENCE.split(line.strip()) if part]


def _submitted(prompt: Prompt) -> list[str]:
    """The sentences of what the prompt shows as the answer."""
    outputs = json_in(prompt.section("submitted"))
    values = outputs.values() if isinstance(outputs, Mapping) else ()
    return [sentence for value in values for sentence in sentences(str(value))]


def _quotable(prompt: Prompt) -> Iterator[str]:
    """Pieces of the prompt that a quote may be taken from, each of whole words."""
    for name in _QUOTABLE:
        for line in prompt.section(name).splitlines():
            yield from _pieces(line.removeprefix(FENCE))


@lru_cache(maxsize=4096)
def _pieces(line: str) -> tuple[str, ...]:
    """A line in pieces of about `QUOTE_CAP` characters, cut between words."""
    return tuple(piece.strip() for piece in re.findall(rf"(?:\S{{{QUOTE_CAP},}}|.{{1,{QUOTE_CAP}}}(?!\S))", line))


@lru_cache(maxsize=8192)
def _words(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"\w+", text.lower()))


def _nearest(text: str, pieces: Sequence[str]) -> str:
    """The piece with most words of `text`; of such the shortest."""
    asked = _words(text)
    return max(pieces, key=lambda piece: (len(asked & _words(piece)), -len(piece)), default="")


# ---------------------------------------------------------------------------------------------------------- a model


class JudgeEngine(OfflineEngine):
    """A model that settles the requirements that it was given, rewrites nothing, and judges by its character.

    Args:
        character: what it answers to a question, or one of `FAILURES`.
        drafts: what it settles, as a model writes it.
    """

    def __init__(self, character: Holds | str, drafts: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__((), Rates())
        self.character = character
        self.drafts = drafts
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
        return Response(
            id=None,
            model=request.model,
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=tokens(prompt.text), output_tokens=tokens(text)),
        )

    def _written(self, prompt: Prompt) -> str:
        return write(prompt, {"requirements": list(self.drafts), "changes": []} | self._judged(prompt))

    def _judged(self, prompt: Prompt) -> dict[str, Any]:
        if "verdicts" not in prompt.asks or not callable(self.character):
            return {}
        pieces = tuple(_quotable(prompt))
        verdicts = []
        for question in questions(prompt):
            holds, quote = self.character(question), _nearest(question.text, pieces)
            # By the names of one form of the prompt and of the other.
            ids = {"id": question.id, "about": question.id}
            verdicts.append({**ids, "holds": holds, "quote": quote, "evidence": quote})
        claims = [Question("", sentence) for sentence in _submitted(prompt)]
        unsupported = [claim.text for claim in claims if not self.character(claim)]
        return {"verdicts": verdicts, "unsupported": unsupported}


def judge_lm(name: str, engine: JudgeEngine) -> dspy.LM:
    """The engine as DSPy takes it, neither cached nor tried again."""
    return dspy.LM(
        f"simulated/{name}", engine=engine, async_engine=AsyncOfflineEngine(engine), cache=False, num_retries=0
    )
