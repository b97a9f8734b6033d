"""Candidates for what a program remembers and how it is set, made from what it is now and what training has taught."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import dspy

from pivot_dspy.learning.lessons import count_lessons
from pivot_dspy.memory.fixes import apply_fixes
from pivot_dspy.memory.records import Demonstration, Entries, Entry, Lesson
from pivot_dspy.optimizer.rollout import RolloutResult
from pivot_dspy.optimizer.targets import (
    MEMORY,
    MEMORY_CHOICES,
    THRESHOLD,
    refiners_of,
    settings_of,
    with_memory,
)
from pivot_dspy.refiners.state import tunables
from pivot_dspy.source_digest import digest
from pivot_dspy.trajectory import Trajectory


@dataclass(frozen=True)
class ProgramCandidate:
    """A state of a program."""

    name: str
    """What was done to get it."""
    entries: Mapping[str, Entries]
    """What each refiner remembers, by its path."""
    settings: Mapping[str, Mapping[str, Any]]
    """Of each refiner and gate, by its path."""

    @classmethod
    def of(cls, program: dspy.Module) -> ProgramCandidate:
        """The program as it is."""
        entries = {path: refiner.memory.entries for path, refiner in refiners_of(program).items()}
        return cls("as it was", entries, settings_of(program))

    @cached_property
    def key(self) -> str:
        """Equal for equal states, whatever led to them."""
        memories = {path: entries.model_dump(mode="json") for path, entries in self.entries.items()}
        return digest([memories, self.settings])

    def program(self, student: dspy.Module) -> dspy.Module:
        """A copy of the student in this state."""
        return with_memory(student, self.entries, self.settings)

    def set(self, name: str, path: str, setting: str, value: Any) -> ProgramCandidate:
        """With one setting changed."""
        return replace(self, name=name, settings={**self.settings, path: {**self.settings[path], setting: value}})


class LearnedMaterial:
    """Entries for the refiner at `path`, from runs of many tasks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.required: tuple[Lesson, ...] = ()
        """Lessons with a requirement that was missing."""
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
        learned = (lesson for lesson, count in count_lessons(self._lessons) if count >= least)
        return borne_out(learned, self._right.values())

    @property
    def fixes(self) -> tuple[Lesson, ...]:
        """The lessons that cost no tokens, since a model need not be told of them."""
        return tuple(lesson for lesson in self.lessons() if lesson.fix is not None)


def borne_out(lessons: Iterable[Lesson], right: Collection[Trajectory]) -> tuple[Lesson, ...]:
    """The lessons that trajectories which were `right` leave standing: without those whose fix would change one."""
    return tuple(
        lesson
        for lesson in lessons
        if lesson.fix is None or not any(apply_fixes(trajectory, [lesson.fix])[1] for trajectory in right)
    )


def of_one_outline_each(demonstrations: Iterable[Demonstration]) -> tuple[Demonstration, ...]:
    """The first of those that call the same tools with the same arguments, whatever their values."""
    first: dict[str, Demonstration] = {}
    for demonstration in demonstrations:
        calls = [(step["id"], step["tool"], list(step.get("args", ()))) for step in demonstration.steps]
        first.setdefault(digest([demonstration.environment, demonstration.partial, calls]), demonstration)
    return tuple(first.values())


def additions(base: ProgramCandidate, materials: Mapping[str, LearnedMaterial]) -> Iterator[ProgramCandidate]:
    """The base with what was learned, in several selections: what is accepted is the base of the next round."""
    selections = {path: _selections(material) for path, material in materials.items()}
    for name in dict.fromkeys(chain(*selections.values())):
        entries = {path: held.add(*selections[path].get(name, ())) for path, held in base.entries.items()}
        yield replace(base, name=name, entries=entries)


def _selections(material: LearnedMaterial) -> dict[str, Sequence[Entry]]:
    """Of what was learned for one refiner, by their names in a report."""
    lessons, frequent, fixes = material.lessons(), material.lessons(2), material.fixes
    required = material.required
    alone = {f"one missing requirement ({lesson.id})": (lesson,) for lesson in required if len(required) > 1}
    alone |= {f"one lesson ({lesson.id})": (lesson,) for lesson in lessons[:3]}
    return {
        "missing requirements": required,
        "fixes": fixes,
        "fixes and lessons learned twice": (*fixes, *frequent),
        "lessons": lessons,
        "lessons learned twice": frequent,
        "lessons learned three times": material.lessons(3),
        "requirements and frequent lessons": (*required, *frequent),
        **alone,
        "demonstrations": of_one_outline_each(material.demonstrations),
    }


def changes(
    base: ProgramCandidate, student: dspy.Module, thresholds: Mapping[str, float]
) -> Iterator[ProgramCandidate]:
    """The base with something left out, or one of its settings changed; some may be as the base is.

    Args:
        thresholds: for the confidence gates, as calibration suggests them.
    """
    for kind in ("demonstrations", "notes", "lessons"):
        entries = {path: held.model_copy(update={kind: ()}) for path, held in base.entries.items()}
        yield replace(base, name=f"without {kind}", entries=entries)
    for path, value in thresholds.items():
        yield base.set(f"{path}: {THRESHOLD}={value:.3g}", path, THRESHOLD, value)
    for path, refiner in refiners_of(student).items():
        held = base.entries[path]
        choices = {name: tunable.choices for name, tunable in tunables(type(refiner)).items()}
        choices |= {f"{MEMORY}{name}": few for name, few in MEMORY_CHOICES.items() if getattr(held, name, held)}
        for setting in choices:
            for value in _neighbours(choices[setting], base.settings[path][setting]):
                yield base.set(f"{path}: {setting}={value}", path, setting, value)


def _neighbours(choices: Sequence[Any], value: Any) -> list[Any]:
    """The next smaller and the next larger of the choices, which stand in their order."""
    low, high = bisect_left(choices, value), bisect_right(choices, value)
    return [*choices[max(0, low - 1) : low], *choices[high : high + 1]]
