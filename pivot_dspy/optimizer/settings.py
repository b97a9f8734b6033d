"""What an optimizer is told: how much it may spend, the metric, the tasks; checked before anything is run."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
import numbers
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import dspy

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.base import CALL_OPTIONS, Refiner

Auto = Literal["light", "medium", "heavy"]
Metric = Callable[..., Any]


class Effort(NamedTuple):
    """How far the search goes.

    Attributes:
        seeds: runs of each training task; all but the first are sampled.
        generations: how often unsolved training tasks are run again with what was learned from the others.
        rounds: of proposals in each generation; `proposals` in each round.
        finalists: proposals of a round that are scored on all validation tasks.
    """

    seeds: int
    generations: int
    rounds: int
    proposals: int
    finalists: int


EFFORTS: dict[str, Effort] = {
    "light": Effort(seeds=1, generations=1, rounds=4, proposals=5, finalists=2),
    "medium": Effort(seeds=2, generations=2, rounds=5, proposals=6, finalists=2),
    "heavy": Effort(seeds=3, generations=3, rounds=6, proposals=8, finalists=3),
}


class Limits(NamedTuple):
    """What one compilation may spend: runs of the program on a task, or tokens; None for no limit."""

    effort: Effort
    tasks: int | None = None
    tokens: int | None = None


def limits(auto: str | None, max_tokens: int | None, max_tasks: int | None) -> Limits:
    """The limits as told. Raises ConfigurationError where they are told twice, or cannot work."""
    told = {name: value for name, value in (("auto", auto), ("max_tokens", max_tokens), ("max_tasks", max_tasks))
            if value is not None}  # fmt: skip
    if len(told) > 1:
        raise ConfigurationError(f"pass one of auto=, max_tokens= and max_tasks=; got {' and '.join(told)}")
    for name in ("max_tokens", "max_tasks"):
        value = told.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigurationError(f"{name} is a whole number of at least 1; got {value!r}")
    if max_tokens is not None or max_tasks is not None:
        return Limits(EFFORTS["heavy"], max_tasks, max_tokens)
    name = "light" if auto is None else auto
    if name not in EFFORTS:
        raise ConfigurationError(f"auto is one of {', '.join(EFFORTS)}; got {auto!r}")
    return Limits(EFFORTS[name])


def required_arguments(metric: Metric) -> int:
    """How many arguments a metric has to be given: the gold and the prediction, and up to three more that are None.

    Raises:
        ConfigurationError: it cannot be called like this.
    """
    shape = "metric(gold, pred, trace=None, pred_name=None, pred_trace=None)"
    if not callable(metric):
        raise ConfigurationError(f"metric is a function {shape}; got {metric!r:.80}")
    try:
        signature = inspect.signature(metric)
    except (TypeError, ValueError):
        return 2  # a built-in that tells nothing of its arguments
    for count in (2, 3, 4, 5):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        return count
    raise ConfigurationError(f"the metric takes {signature}, and is called as {shape}; give it these arguments")


def read_score(said: Any) -> tuple[float, str]:
    """Score and feedback of what a metric returned.

    Raises:
        ConfigurationError: it is no finite number and no Prediction with one.
    """
    score, feedback = said, ""
    if isinstance(said, dspy.Prediction):
        score, feedback = said.get("score"), str(said.get("feedback") or "")
    if hasattr(score, "item") and getattr(score, "ndim", None) == 0:
        score = score.item()  # of numpy or torch
    if isinstance(score, bool):
        warnings.warn(
            "the metric returns a bool, which counts as 1 or 0; a graded score with feedback, "
            "dspy.Prediction(score=..., feedback=...), tells more of what is missing",
            stacklevel=2,
        )
        score = float(score)
    if not isinstance(score, numbers.Real) or not math.isfinite(score):
        raise ConfigurationError(
            f"the metric returned {said!r:.120}; it must return a finite number, or dspy.Prediction(score=NUMBER, "
            "feedback=TEXT)"
        )
    return float(score), feedback


def task_key(task: dspy.Example) -> str:
    """A digest of a task's inputs, by which tasks are compared."""
    inputs = dict(task.inputs().items())
    try:
        said = json.dumps(plain(inputs), sort_keys=True)
    except ValueError:
        said = repr(sorted(inputs.items()))
    return hashlib.sha256(said.encode()).hexdigest()[:12]


def tasks(name: str, given: Any, refiner: Refiner | None) -> list[dspy.Example]:
    """The tasks of a set.

    Args:
        refiner: the student, where it is a refiner itself, so that its inputs are known.

    Raises:
        ConfigurationError: there are none, or one of them cannot be run.
    """
    if isinstance(given, (str, dspy.Example)) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{name} is a list of dspy.Example, not {type(given).__name__}")
    found = list(given)
    if not found:
        raise ConfigurationError(f"the {name} is empty; pass at least one dspy.Example(...).with_inputs(...)")
    for number, task in enumerate(found):
        if not isinstance(task, dspy.Example):
            raise ConfigurationError(f"{name}[{number}] is a {type(task).__name__}; it must be a dspy.Example")
        try:
            inputs = set(task.inputs().keys())
        except ValueError as error:
            raise ConfigurationError(
                f"{name}[{number}] does not say which of its fields are inputs; call .with_inputs(...) on it"
            ) from error
        if "commit" in inputs:
            raise ConfigurationError(f"{name}[{number}] asks for commit: compiling makes nothing real; leave it out")
        if refiner is not None:
            _fitting(f"{name}[{number}]", inputs, refiner.signature)
    return found


def _fitting(place: str, inputs: set[str], signature: type[dspy.Signature]) -> None:
    fields = signature.input_fields
    missing = [name for name, field in fields.items() if name not in inputs and field.is_required()]
    unknown = sorted(inputs - fields.keys() - set(CALL_OPTIONS))
    if missing:
        raise ConfigurationError(
            f"{place} lacks the input {', '.join(missing)} of the student's signature, and has "
            f"{', '.join(sorted(inputs)) or 'none'}; name them in .with_inputs(...)"
        )
    if unknown:
        raise ConfigurationError(
            f"{place} has the input {', '.join(unknown)}, which the student's signature does not know; it takes "
            f"{', '.join(fields)}"
        )


def divided(
    trainset: Sequence[dspy.Example], valset: Sequence[dspy.Example] | None, seed: int
) -> tuple[list[dspy.Example], list[dspy.Example]]:
    """Training and validation tasks: without a valset, two fifths of the trainset are held out, by `seed`.

    Warns of tasks that are in both, and of a trainset that is too small to hold any out.
    """
    if valset is not None:
        shared = {task_key(task) for task in trainset} & {task_key(task) for task in valset}
        if shared:
            warnings.warn(
                f"{len(shared)} of {len(valset)} validation tasks are in the trainset too: their scores say nothing of "
                "tasks that were never trained on; pass other tasks as valset",
                stacklevel=4,
            )
        return list(trainset), list(valset)
    if len(trainset) == 1:
        warnings.warn("one training task and no valset: it is validated on itself; pass more tasks", stacklevel=4)
        return list(trainset), list(trainset)
    places = list(range(len(trainset)))
    random.Random(seed).shuffle(places)
    held = set(places[: max(1, round(0.4 * len(trainset)))])
    return (
        [task for place, task in enumerate(trainset) if place not in held],
        [task for place, task in enumerate(trainset) if place in held],
    )
