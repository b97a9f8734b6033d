"""Candidates for what a program remembers and how it is set, made from what it is now and what training has taught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dspy

from pivot_dspy.memory.records import Entries, Entry
from pivot_dspy.optimizer.material import LearnedMaterial, abstracted, merged
from pivot_dspy.optimizer.targets import MEMORY, THRESHOLD, digest, refiners_of, settings_of, with_memory
from pivot_dspy.refiners.state import tunables

_CHOICES: Mapping[str, tuple[int, ...]] = {
    "demonstrations": (0, 1, 2, 3), "lessons": (3, 6, 10), "max_tokens": (300, 600, 1200)
}  # fmt: skip
"""Of how much a memory shows."""


@dataclass(frozen=True)
class ProgramCandidate:
    """A state of a program.

    Attributes:
        name: what was done to get it.
        entries: what each refiner remembers, by its path.
        settings: of each refiner and gate, by its path.
    """

    name: str
    entries: Mapping[str, Entries]
    settings: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, program: dspy.Module) -> ProgramCandidate:
        """The program as it is."""
        entries = {path: refiner.memory.entries for path, refiner in refiners_of(program).items()}
        return cls("as it was", entries, settings_of(program))

    @cached_property
    def key(self) -> str:
        """Equal for equal states, whatever led to them."""
        held = {path: entries.model_dump(mode="json") for path, entries in self.entries.items()}
        return digest([held, self.settings])

    @cached_property
    def content(self) -> str:
        """Equal for states that differ in nothing but how often entries were counted."""
        held = {path: [[type(entry).__name__, entry.id] for entry in entries] for path, entries in self.entries.items()}
        return digest([held, self.settings])

    def program(self, student: dspy.Module) -> dspy.Module:
        """A copy of the student in this state."""
        return with_memory(student, self.entries, self.settings)

    def set(self, name: str, path: str, setting: str, value: Any) -> ProgramCandidate:
        """With one setting changed."""
        changed = {**self.settings, path: {**self.settings[path], setting: value}}
        return ProgramCandidate(name, self.entries, changed)

    def remembering(self, name: str, entries: Mapping[str, Entries]) -> ProgramCandidate:
        """With other entries."""
        return ProgramCandidate(name, {**self.entries, **entries}, self.settings)


def contents(base: ProgramCandidate, pools: Mapping[str, LearnedMaterial]) -> Iterator[ProgramCandidate]:
    """What the pools have to add to the base, in several selections: what is accepted is the base of the next round."""

    def added(name: str, chosen: Mapping[str, Iterable[Entry]]) -> ProgramCandidate:
        return base.remembering(name, {path: base.entries[path].added(*entries) for path, entries in chosen.items()})

    def learned(least: int) -> dict[str, tuple[Entry, ...]]:
        return {path: (*pool.lessons(least), *(pool.notes if least == 1 else ())) for path, pool in pools.items()}

    required = {path: pool.required for path, pool in pools.items()}
    fixes = {path: pool.fixes for path, pool in pools.items()}
    examples = {path: pool.demonstrations for path, pool in pools.items()}
    every, frequent = learned(1), learned(2)
    yield added("missing requirements", required)
    yield added("fixes", fixes)
    yield added("fixes and lessons learned twice", {path: (*fixes[path], *frequent[path]) for path in pools})
    yield added("lessons", every)
    yield added("lessons learned twice", frequent)
    yield added("lessons learned three times", learned(3))
    yield added("demonstrations", examples)
    yield added("lessons and demonstrations", {path: (*every[path], *examples[path]) for path in pools})
    yield added("requirements and frequent lessons", {path: (*required[path], *frequent[path]) for path in pools})
    for path, lessons in required.items():
        for lesson in lessons if len(lessons) > 1 else ():
            yield added(f"one missing requirement ({lesson.id})", {path: (lesson,)})
    for path, pool in pools.items():
        for lesson in pool.lessons()[:3]:
            yield added(f"one lesson ({lesson.id})", {path: (lesson,)})
    yield added("merged lessons", {path: merged(pool.lessons()) for path, pool in pools.items()})
    yield added("abstracted demonstrations", {path: abstracted(examples[path]) for path in pools})


def changes(
    base: ProgramCandidate, student: dspy.Module, thresholds: Mapping[str, float]
) -> Iterator[ProgramCandidate]:
    """The base with something left out, or one of its settings changed.

    Args:
        thresholds: for the confidence gates, as calibration suggests them.
    """
    for kind in ("demonstrations", "notes", "lessons"):
        if any(getattr(held, kind) for held in base.entries.values()):
            without = {path: held.model_copy(update={kind: ()}) for path, held in base.entries.items()}
            if any(len(held) for held in without.values()):
                yield base.remembering(f"without {kind}", without)
    for least, name in ((0.0, "without what has not helped"), (1.0, "without what seldom helped")):
        weak = {path: _weak(held, least) for path, held in base.entries.items()}
        if any(weak.values()):
            yield base.remembering(name, {path: held.without(weak[path]) for path, held in base.entries.items()})
    examples = {path: held.model_copy(update={"demonstrations": abstracted(held.demonstrations)})
                for path, held in base.entries.items()}  # fmt: skip
    yield base.remembering("abstracted demonstrations", examples)
    lessons = {path: held.model_copy(update={"lessons": merged(held.lessons)}) for path, held in base.entries.items()}
    yield base.remembering("merged lessons", lessons)
    for path, value in thresholds.items():
        if base.settings[path][THRESHOLD] != value:
            yield base.set(f"{path}: {THRESHOLD}={value:.3g}", path, THRESHOLD, value)
    for path, refiner in refiners_of(student).items():
        told = base.settings[path]
        for name, tunable in tunables(type(refiner)).items():
            near = _near(tunable.choices, told[name])
            yield from (base.set(f"{path}: {name}={one}", path, name, one) for one in near)
        for name in MEMORY:
            setting = f"memory.{name}"
            if getattr(base.entries[path], name, base.entries[path]):
                yield from (base.set(f"{path}: {setting}={one}", path, setting, one)
                            for one in _near(_CHOICES[name], told[setting]))  # fmt: skip


def _weak(entries: Entries, least: float) -> list[str]:
    """Entries that were shown and helped in no larger share of the runs than `least` times what all of them did."""
    known = [entry for entry in entries if entry.retrieved > 1]
    share = sum(entry.helped for entry in known) / max(1, sum(entry.retrieved for entry in known))
    rated = ((entry, entry.helped / entry.retrieved) for entry in known)
    return [entry.id for entry, rate in rated if rate <= least * share and (rate < share or not rate)]


def _near(choices: Iterable[Any], value: Any) -> list[Any]:
    """The next smaller and the next larger choice."""
    smaller = [one for one in choices if one < value]
    larger = [one for one in choices if one > value]
    return [*smaller[-1:], *larger[:1]]
