"""What an optimizer is told: how much it may spend, the metric, the tasks; checked before anything is run."""

from __future__ import annotations

import inspect
import math
import random
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, NamedTuple

import dspy

from pivot_dspy.episode.result import OWN
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import plain
from pivot_dspy.refiners.arguments import CALL_OPTIONS
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.source_digest import digest

Auto = Literal["light", "medium", "heavy"]
Metric = Callable[..., Any]
METRIC_SHAPE = "metric(gold, pred, trace=None, pred_name=None, pred_trace=None)"
HELD_OUT = 0.4
"""The share of the trainset that is validated on where there is no valset."""


class Effort(NamedTuple):
    """How far the search goes."""

    seeds: int
    """Runs of each training task; all but the first are sampled."""
    generations: int
    """How often unsolved training tasks are run again with what was learned from the others."""
    rounds: int
    """Of proposals, in each generation."""
    proposals: int
    """In each round."""
    finalists: int
    """Proposals of a round that are scored on all validation tasks."""


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
    options = {"auto": auto, "max_tokens": max_tokens, "max_tasks": max_tasks}
    passed = [name for name, value in options.items() if value is not None]
    if len(passed) > 1:
        raise ConfigurationError(f"pass one of auto=, max_tokens= and max_tasks=; got {' and '.join(passed)}")
    check_counts(max_tokens=max_tokens, max_tasks=max_tasks)
    effort = auto
    if effort is None:
        effort = "heavy" if passed else "light"
    if effort not in EFFORTS:
        raise ConfigurationError(f"auto is one of {', '.join(EFFORTS)}; got {auto!r}")
    return Limits(EFFORTS[effort], max_tasks, max_tokens)


def check_counts(**options: Any) -> None:
    """Raises ConfigurationError for an option that is neither None nor a whole number of at least 1."""
    for name, value in options.items():
        if value is not None and (type(value) is not int or value < 1):
            raise ConfigurationError(f"{name} is a whole number of at least 1; got {value!r}")


def required_arguments(metric: Metric) -> int:
    """How many arguments a metric has to be given: the gold and the prediction, and up to three more that are None.

    Raises:
        ConfigurationError: it cannot be called like this.
    """
    if not callable(metric):
        raise ConfigurationError(f"metric is a function {METRIC_SHAPE}; got {metric!r:.80}")
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
    raise ConfigurationError(f"the metric takes {signature}, and is called as {METRIC_SHAPE}; give it these arguments")


def read_score(returned: Any) -> tuple[float, str]:
    """Score and feedback of what a metric returned.

    Raises:
        ConfigurationError: it is no finite number and no Prediction with one.
    """
    score, feedback = returned, ""
    if isinstance(returned, dspy.Prediction):
        score, feedback = returned.get("score"), str(returned.get("feedback") or "")
    if isinstance(score, bool):
        warnings.warn(
            "the metric returns a bool, which counts as 1 or 0; a graded score with feedback, "
            "dspy.Prediction(score=..., feedback=...), tells more of what is missing",
            stacklevel=2,
        )
    try:
        number = math.nan if isinstance(score, str) else float(score)  # of numpy or torch too
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ConfigurationError(
            f"the metric returned {returned!r:.120}; it must return a finite number, or dspy.Prediction(score=NUMBER, "
            "feedback=TEXT)"
        )
    return number, feedback


def task_key(task: dspy.Example) -> str:
    """A digest of a task's inputs, by which tasks are compared."""
    inputs = dict(task.inputs().items())
    try:
        return digest(plain(inputs))
    except ValueError:
        return digest(repr(sorted(inputs.items())))


def tasks(name: str, examples: Any, refiner: Refiner | None) -> list[dspy.Example]:
    """The tasks of a set.

    Args:
        refiner: the student, where it is a refiner itself, so that its inputs are known.

    Raises:
        ConfigurationError: there are none, or one of them cannot be run.
    """
    if isinstance(examples, (str, dspy.Example)) or not isinstance(examples, Iterable):
        raise ConfigurationError(f"{name} is a list of dspy.Example, not {type(examples).__name__}")
    listed = list(examples)
    if not listed:
        raise ConfigurationError(f"the {name} is empty; pass at least one dspy.Example(...).with_inputs(...)")
    for number, task in enumerate(listed):
        problem = _problem(task, refiner)
        if problem:
            raise ConfigurationError(f"{name}[{number}] {problem}")
    return listed


def _problem(task: Any, refiner: Refiner | None) -> str:
    """Why a task cannot be run, and what to do about it; empty where it can."""
    if not isinstance(task, dspy.Example):
        return f"is a {type(task).__name__}; it must be a dspy.Example"
    try:
        inputs = set(task.inputs().keys())
    except ValueError:
        return "does not say which of its fields are inputs; call .with_inputs(...) on it"
    fields = refiner.signature.input_fields if refiner is not None else {}
    if "pivot_commit" in inputs or ("commit" in inputs and "commit" not in fields):
        return "asks for commit: compiling makes nothing real; leave it out"
    if refiner is None:
        return ""
    missing = [name for name, field in fields.items() if name not in inputs and field.is_required()]
    unknown = sorted(inputs - fields.keys() - {*CALL_OPTIONS, *(f"{OWN}{name}" for name in CALL_OPTIONS)})
    if missing:
        return (
            f"lacks the input {', '.join(missing)} of the student's signature, and has "
            f"{', '.join(sorted(inputs)) or 'none'}; name them in .with_inputs(...)"
        )
    if unknown:
        return (
            f"has the input {', '.join(unknown)}, which the student's signature does not know; it takes "
            f"{', '.join(fields)}"
        )
    return ""


def split(
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
    positions = list(range(len(trainset)))
    random.Random(seed).shuffle(positions)
    size = max(1, round(HELD_OUT * len(trainset)))
    training, validation = sorted(positions[size:]), sorted(positions[:size])
    return [trainset[position] for position in training], [trainset[position] for position in validation]
