"""What training runs have taught so far: the material from which memories are proposed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

from pydantic import ValidationError

from pivot_dspy import bindings
from pivot_dspy.crossover import Parent, crossover
from pivot_dspy.learning.lessons import count_lessons
from pivot_dspy.memory.fixes import STYLES, Fix, apply_fixes
from pivot_dspy.memory.records import Demonstration, Entries, Entry, Lesson, ToolNote, words
from pivot_dspy.optimizer.rollout import RolloutResult, TrainingSignal
from pivot_dspy.trajectory import Trajectory


class TrainingRun(NamedTuple):
    """The trajectory of a training task, in words, and what its run taught."""

    task: str
    taught: TrainingSignal


def crossed(failed: TrainingRun, donors: Sequence[TrainingRun], most: int = 1) -> list[Trajectory]:
    """Trajectories to begin the failed task anew with, from the most similar tasks that were solved.

    Requirements of two tasks are told apart by what they check, not by their ids, which mean nothing across tasks.
    """
    own = _comparable(failed.taught)
    mine = set(words(failed.task))

    def likeness(donor: TrainingRun) -> float:
        theirs = set(words(donor.task))
        return len(mine & theirs) / max(1, len(mine | theirs))

    found: dict[str, Trajectory] = {}
    for donor in sorted(donors, key=lambda donor: (-likeness(donor), donor.taught.parent.trajectory.id)):
        child = crossover(own, _comparable(donor.taught))
        if child.id != own.trajectory.id:
            found.setdefault(child.id, child)
        if len(found) >= most:
            break
    return list(found.values())


def _comparable(taught: TrainingSignal) -> Parent:
    checks = {item.id: item.check or item.text for item in taught.requirements.items}
    purposes = {step: checks[name] for step, name in taught.parent.purposes.items() if name in checks}
    return taught.parent.model_copy(update={"purposes": purposes})


Kind = TypeVar("Kind", bound=Entry)

ALIKE = 0.6
"""Share of common words from which on two lessons about the same tools are merged."""


EXAMPLES = 2
"""Texts of right trajectories that have to be written in a style before others are put into it."""


class LearnedMaterial:
    """Entries for one refiner, from runs of many tasks.

    Attributes:
        required: lessons with a requirement that was missing.
    """

    def __init__(self) -> None:
        self.required: tuple[Lesson, ...] = ()
        self._lessons: list[Lesson] = []
        self._notes: list[ToolNote] = []
        self._best: dict[int, tuple[RolloutResult, Demonstration]] = {}
        self._right: dict[str, Trajectory] = {}

    def take(self, task: int, outcome: RolloutResult, paths: Iterable[str]) -> None:
        """Learns from a run of a task what calls of the refiners at `paths` taught."""
        for call in outcome.calls:
            if call.refiner not in paths or call.taught is None:
                continue
            self._lessons += call.taught.lessons
            self._notes += call.taught.notes
            example = call.taught.demonstration
            if example is not None:
                right = call.taught.parent.trajectory
                self._right[right.id] = right
            known = self._best.get(task)
            if example is not None and (known is None or outcome.better_than(known[0])):
                self._best[task] = outcome, example

    def require(self, lessons: Sequence[Lesson]) -> None:
        """Adds requirements that were found missing."""
        self.required = tuple({lesson.id: lesson for lesson in (*self.required, *lessons)}.values())

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """The best example of each task."""
        return tuple(example for _, (_, example) in sorted(self._best.items()))

    @property
    def notes(self) -> tuple[ToolNote, ...]:
        return tuple(self._notes)

    def lessons(self, least: int = 1) -> tuple[Lesson, ...]:
        """Those that were learned in at least so many runs and are `borne_out`, the most frequent first."""
        learned = (lesson for lesson, count in count_lessons(self._lessons) if count >= least)
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
    kept = (
        lesson for lesson in lessons
        if lesson.fix is None or not any(apply_fixes(one, [lesson.fix])[1] for one in right)
    )  # fmt: skip
    return tuple(lesson if _shown(lesson.fix, right) else _told(lesson) for lesson in kept)


def _shown(fix: Fix | None, right: Collection[Trajectory]) -> bool:
    if fix is None or fix.kind not in STYLES:
        return True
    texts = {text for one in right for step in one.steps for text in fix.examples(step, one.ids)}
    return len(texts) >= EXAMPLES


def _told(lesson: Lesson) -> Lesson:
    return Lesson(**{**dict(lesson), "id": "", "fix": None})


def merged(lessons: Iterable[Lesson]) -> tuple[Lesson, ...]:
    """One of all lessons on the same tools that say much the same: the first."""
    kept: list[Lesson] = []
    for lesson in lessons:
        if not any(_alike(lesson, other) for other in kept):
            kept.append(lesson)
    return tuple(kept)


def abstracted(examples: Iterable[Demonstration]) -> tuple[Demonstration, ...]:
    """Examples of one outline as a single one, with slots for the values in which they differ."""
    kept: list[Demonstration] = []
    for example in examples:
        for place, other in enumerate(kept):
            common = _common(other, example)
            if common is not None:
                kept[place] = common
                break
        else:
            kept.append(example)
    return tuple(kept)


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

    def of(entry: Kind) -> Kind:
        return entry.model_copy(update={"retrieved": retrieved[entry.id], "helped": helped[entry.id]})

    return Entries(
        demonstrations=tuple(map(of, entries.demonstrations)),
        lessons=tuple(map(of, entries.lessons)),
        notes=tuple(map(of, entries.notes)),
    )


def _alike(one: Lesson, other: Lesson) -> bool:
    if (one.environment, frozenset(one.tools), one.requirement) != (
        other.environment, frozenset(other.tools), other.requirement
    ):  # fmt: skip
        return False
    mine, theirs = ({*words(lesson.mistake), *words(lesson.avoid)} for lesson in (one, other))
    return len(mine & theirs) >= ALIKE * len(mine | theirs)


def _common(one: Demonstration, other: Demonstration) -> Demonstration | None:
    """What two examples have in common; None where their steps are not the same but for values."""
    if (one.environment, one.partial, len(one.steps)) != (other.environment, other.partial, len(other.steps)):
        return None
    try:
        steps = tuple(_general(mine, theirs, "value") for mine, theirs in zip(one.steps, other.steps, strict=True))
        required = tuple(draft for draft in one.requirements if draft in other.requirements)
        return Demonstration(
            environment=one.environment, task=one.task, steps=steps, requirements=required, partial=one.partial
        )
    except (_Other, ValidationError):
        return None


class _Other(Exception):
    """The two do different things."""


def _general(one: Any, other: Any, name: str) -> Any:
    if one == other:
        return one
    if isinstance(one, dict) and isinstance(other, dict) and one.keys() == other.keys():
        fixed = {"id", "tool"} & one.keys() if name == "value" else set()
        if any(one[key] != other[key] for key in fixed):
            raise _Other
        return {key: _general(one[key], other[key], key) for key in one}
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        return [_general(mine, theirs, name) for mine, theirs in zip(one, other, strict=True)]
    if any(isinstance(value, (dict, list)) or (isinstance(value, str) and bindings.references(value))
           for value in (one, other)):  # fmt: skip
        raise _Other
    return f"<{name}>"

