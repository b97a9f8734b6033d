"""What training runs have taught so far: the material from which memories are proposed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, TypeVar

from pydantic import ValidationError

from pivot_dspy import bindings
from pivot_dspy.learning.lessons import counted
from pivot_dspy.memory.fixes import STYLES, Fix, fixed
from pivot_dspy.memory.records import Demonstration, Entries, Entry, Lesson, ToolNote
from pivot_dspy.optimizer.rollout import RolloutResult
from pivot_dspy.trajectory import Trajectory

Kind = TypeVar("Kind", bound=Entry)

EXAMPLES = 2
"""Texts of right trajectories that have to be written in a style before others are put into it."""


class LearnedMaterial:
    """Entries for the refiner at `path`, from runs of many tasks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.required: tuple[Lesson, ...] = ()
        """Lessons with a requirement that was missing."""
        self.notes: tuple[ToolNote, ...] = ()
        self._lessons: list[Lesson] = []
        self._best: dict[int, tuple[RolloutResult, Demonstration]] = {}
        self._right: dict[str, Trajectory] = {}

    def take(self, task: int, outcome: RolloutResult) -> None:
        """Learns from a run of a task what the refiner's calls taught."""
        for call in outcome.calls:
            signal = call.taught
            if call.refiner != self.path or signal is None:
                continue
            self._lessons += signal.lessons
            self.notes += signal.notes
            if signal.demonstration is None:
                continue
            self._right[signal.trajectory.id] = signal.trajectory
            if task not in self._best or outcome.better_than(self._best[task][0]):
                self._best[task] = outcome, signal.demonstration

    def require(self, lessons: Sequence[Lesson]) -> None:
        """Adds requirements that were found missing."""
        self.required = tuple({lesson.id: lesson for lesson in (*self.required, *lessons)}.values())

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The best example of each task."""
        return tuple(demonstration for _, (_, demonstration) in sorted(self._best.items()))

    def lessons(self, least: int = 1) -> tuple[Lesson, ...]:
        """Those that were learned in at least so many runs and are `borne_out`, the most frequent first."""
        learned = (lesson for lesson, count in counted(self._lessons) if count >= least)
        return borne_out(learned, self._right.values())

    @property
    def fixes(self) -> tuple[Lesson, ...]:
        """The lessons that cost no tokens, since a model need not be told of them."""
        return tuple(lesson for lesson in self.lessons() if lesson.fix is not None)


def borne_out(lessons: Iterable[Lesson], right: Collection[Trajectory]) -> tuple[Lesson, ...]:
    """The lessons that trajectories which were `right` leave standing.

    One whose fix would change such a trajectory is no lesson. One that tells how to write a text, and is not shown by
    several texts of them, is for the model to weigh: it has no fix.
    """
    standing = []
    for lesson in lessons:
        fix = lesson.fix
        if fix is None:
            standing.append(lesson)
        elif not any(fixed(trajectory, [fix])[1] for trajectory in right):
            standing.append(lesson if _is_shown(fix, right) else Lesson(**{**dict(lesson), "id": "", "fix": None}))
    return tuple(standing)


def _is_shown(fix: Fix, right: Iterable[Trajectory]) -> bool:
    if fix.kind not in STYLES:
        return True
    texts = {
        text for trajectory in right for step in trajectory.steps for text in fix.examples(step, trajectory.ids)
    }  # fmt: skip
    return len(texts) >= EXAMPLES


def abstracted(demonstrations: Iterable[Demonstration]) -> tuple[Demonstration, ...]:
    """Examples of one outline as a single one, with slots for the values in which they differ."""
    kept: list[Demonstration] = []
    for demonstration in demonstrations:
        for position, other in enumerate(kept):
            common = _common(other, demonstration)
            if common is not None:
                kept[position] = common
                break
        else:
            kept.append(demonstration)
    return tuple(kept)


def _common(one: Demonstration, other: Demonstration) -> Demonstration | None:
    """What two examples have in common; None where their steps are not the same but for values."""
    if _outline(one) != _outline(other):
        return None
    try:
        return Demonstration(
            environment=one.environment,
            task=one.task,
            steps=tuple(_general(*pair, "value") for pair in zip(one.steps, other.steps, strict=True)),
            requirements=tuple(draft for draft in one.requirements if draft in other.requirements),
            partial=one.partial,
        )
    except (_DifferentError, ValidationError):
        return None


def _outline(demonstration: Demonstration) -> list[Any]:
    steps = [(step.get("id"), step.get("tool")) for step in demonstration.steps]
    return [demonstration.environment, demonstration.partial, steps]


class _DifferentError(Exception):
    """The two do different things."""


def _general(one: Any, other: Any, name: str) -> Any:
    """The value that two steps have in common, `<name>` in the place of those in which they differ."""
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        return {key: _general(one[key], other[key], key) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_general(*pair, name) for pair in zip(one, other, strict=True)]
    if not (_is_plain(one) and _is_plain(other)):
        raise _DifferentError
    return f"<{name}>"


def _is_plain(value: Any) -> bool:
    """Whether a value can be left open: none with parts, and no binding."""
    return not isinstance(value, (dict, list)) and not (isinstance(value, str) and bindings.references(value))


def recounted(entries: Entries, before: Entries, shown: Iterable[tuple[frozenset[str], bool]]) -> Entries:
    """The entries, counted as they were `before`, with the runs that showed them since.

    Args:
        shown: of each run, the ids of the entries that it was told, and whether it went better for that.
    """
    retrieved = Counter({entry.id: entry.retrieved for entry in before})
    helped = Counter({entry.id: entry.helped for entry in before})
    for ids, better in shown:
        retrieved.update(ids)
        helped.update(ids if better else ())

    def count(group: Iterable[Kind]) -> tuple[Kind, ...]:
        return tuple(
            entry.model_copy(update={"retrieved": retrieved[entry.id], "helped": helped[entry.id]}) for entry in group
        )

    return Entries(
        demonstrations=count(entries.demonstrations), lessons=count(entries.lessons), notes=count(entries.notes)
    )
