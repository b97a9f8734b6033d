"""How sure a model is of the steps that it writes: as it states, or as the log-probabilities of its tokens tell.

DeepConf, arXiv 2508.15260: token, group and lowest group confidence. A token's confidence is not a probability: it is
larger where the model's choice was clearer, and only ever compared with others of the same model.
"""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

Source = Literal["stated", "tokens"]

_LEAST = -100.0
"""Log-probabilities are cut off here; providers write -9999 or -inf for what has next to none."""


class Confidence(BaseModel):
    """The confidence in one step."""

    model_config = ConfigDict(frozen=True)

    value: float
    """In [0, 1] if `stated`; if from `tokens`, a mean of token confidences, at least 0."""
    source: Source = "stated"
    """Who says so: the model in so many words, or the log-probabilities of its tokens."""


def read_stated(value: Any) -> Confidence | None:
    """What a model wrote as the confidence of a step, a number from 0 to 1 or its text; None for anything else.

    >>> read_stated("0.8"), read_stated(80), read_stated(True)
    (Confidence(value=0.8, source='stated'), None, None)
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return Confidence(value=number) if 0 <= number <= 1 and not isinstance(value, bool) else None


def lowest(confidences: Iterable[Confidence | None]) -> Confidence | None:
    """The least of those that are known: a trace is as good as its worst place. None where none is known."""
    known = [confidence for confidence in confidences if confidence is not None]
    return min(known, key=lambda confidence: confidence.value, default=None)


class _Alternative(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    logprob: float


class _Token(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    token: str
    top_logprobs: list[_Alternative] | None = None


_TOKENS = TypeAdapter(list[_Token])


def read_tokens(logprobs: Any) -> list[dict[str, Any]]:
    """The tokens of an answer from OpenAI's `logprobs`, in mappings or, as some clients give them, in objects.

    Raises:
        ValueError: they are of another form.

    >>> read_tokens({"content": [{"token": "a", "logprob": -0.1, "top_logprobs": [{"token": "a", "logprob": -0.1}]}]})
    [{'token': 'a', 'top_logprobs': [{'logprob': -0.1}]}]
    """
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else getattr(logprobs, "content", None)
    return [token.model_dump() for token in _TOKENS.validate_python(content or [])]


def token_confidences(tokens: Iterable[Mapping[str, Any]], top_k: int = 20) -> list[float]:
    """-(1/k) times the sum of the k largest log-probabilities at each token.

    Args:
        tokens: as in OpenAI's `logprobs.content`, each with its `top_logprobs`; all where there are fewer than k.

    Raises:
        ValueError: a token comes without alternatives, so that nothing tells how clear the choice was.
    """
    confidences: list[float] = []
    for token in tokens:
        logprobs = [max(float(alternative["logprob"]), _LEAST) for alternative in token.get("top_logprobs") or ()]
        largest = sorted(logprobs, reverse=True)[:top_k]
        if len(largest) < 2:
            raise ValueError(f"token {len(confidences)} has {len(largest)} alternatives; at least 2 are needed")
        confidences.append(-math.fsum(largest) / len(largest))
    return confidences


def group_confidences(tokens: Sequence[float], window: int) -> list[float]:
    """Means over the window as it slides over the token confidences; of all of them, where they do not fill it.

    >>> group_confidences([1.0, 2.0, 3.0, 6.0], 2)
    [1.5, 2.5, 4.5]
    """
    if len(tokens) <= window:
        return [sum(tokens) / len(tokens)] if tokens else []
    sums = [0.0, *accumulate(tokens)]
    return [(end - start) / window for start, end in zip(sums, sums[window:], strict=False)]


def step_confidences(
    steps: Sequence[Any], tokens: Sequence[Mapping[str, Any]], *, top_k: int = 20, window: int = 64
) -> list[float]:
    """The confidence of each step of an answer, so that the first below a threshold is where a trace would be stopped.

    It is the least of the full windows that end in the step's own JSON; where none does, the mean over its tokens. A
    step that is not found in the text, as it was mended or quoted, gets the lowest group of the whole answer.

    Args:
        steps: as they were read from the answer.
        tokens: of the whole answer, with their `token` text and `top_logprobs`.

    Raises:
        ValueError: there are no tokens, or they come without alternatives.
    """
    confidences = token_confidences(tokens, top_k)
    if not confidences:
        raise ValueError("the answer has no tokens")
    text = "".join(token["token"] for token in tokens)
    ends = list(accumulate(len(token["token"]) for token in tokens))
    groups = group_confidences(confidences, window)
    offset = min(window, len(confidences)) - 1  # group n ends at token n + offset
    values, after = [], 0
    for step in steps:  # they stand in the text in their order
        start, end = _find_json(step, text, after)
        after = max(after, end)
        first, last = bisect_right(ends, start), bisect_right(ends, end)
        own = confidences[first:last]
        otherwise = sum(own) / len(own) if own else min(groups)
        values.append(min(groups[max(0, first - offset) : max(0, last - offset)], default=otherwise))
    return values


def _find_json(value: Any, text: str, after: int) -> tuple[int, int]:
    """Where the JSON of `value` begins and ends in `text`, twice 0 where it is not found."""
    decoder = json.JSONDecoder()
    start = text.find("{", after) if isinstance(value, Mapping) else -1
    while start >= 0:
        try:
            decoded, end = decoder.raw_decode(text, start)
            if decoded == value:
                return start, end
        except (ValueError, RecursionError):
            pass  # no JSON begins here
        start = text.find("{", start + 1)
    return 0, 0
