"""A reviewer that answers from gold, to measure the most that a person in the loop can bring."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import dspy

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.human.feedback import Approve, Comment
from pivot_dspy.human.review import Review
from pivot_dspy.plain_json import plain

FULL = 1.0
"""The score from which on nothing is wrong."""


class OracleReviewer:
    """Approves what the metric holds for right, and comments with the metric's feedback on everything else.

    It is an upper bound, and no person: it knows the gold. Count what it was asked by `questions`.

    Args:
        metric: `metric(gold, pred)` gives `dspy.Prediction(score=, feedback=)` or a number; `pred` has the outputs,
            `trajectory` and `execution` of the review.
        golds: the tasks with their gold, known by their inputs.

    Raises:
        ConfigurationError: an example does not say which of its fields are inputs; in a review, its task is none of
            the golds.

    >>> gold = dspy.Example(question="1 + 1", answer=2).with_inputs("question")
    >>> oracle = OracleReviewer(lambda gold, pred: float(gold.answer == pred.answer), [gold])
    >>> oracle.questions
    0
    """

    def __init__(self, metric: Callable[..., Any], golds: Iterable[dspy.Example]) -> None:
        self._metric = metric
        self._golds: dict[str, dspy.Example] = {}
        for gold in golds:
            try:
                self._golds[_key(dict(gold.inputs().items()))] = gold
            except ValueError as error:
                raise ConfigurationError("a gold example does not say its inputs; call .with_inputs(...)") from error
        self.questions = 0

    def __call__(self, review: Review) -> Approve | Comment:
        self.questions += 1
        gold = self._golds.get(_key(review.task))
        if gold is None:
            raise ConfigurationError(f"none of the golds is the task {review.task!r:.200}")
        known = dspy.Prediction(**review.outputs, trajectory=review.trajectory, execution=review.execution)
        judged = self._metric(gold, known)
        score = judged.score if isinstance(judged, dspy.Prediction) else judged
        if float(score) >= FULL:
            return Approve()
        feedback = str(judged.get("feedback") or "") if isinstance(judged, dspy.Prediction) else ""
        return Comment(message=feedback or f"The outcome is not right: it scores {float(score):.2f} of {FULL:.0f}.")


def _key(task: dict[str, Any]) -> str:
    return repr(sorted(plain(task, fallback=str).items()))
