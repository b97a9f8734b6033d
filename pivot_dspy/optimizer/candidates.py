"""Candidates for what a program remembers and how it is set, made from what it is now and what training has taught."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import dspy

from pivot_dspy.memory.records import Entries, Entry
from pivot_dspy.optimizer.material import LearnedMaterial, abstracted
from pivot_dspy.optimizer.targets import (
    MEMORY,
    MEMORY_CHOICES,
    THRESHOLD,
    digest,
    refiners_of,
    settings_of,
    with_memory,
)
from pivot_dspy.refiners.state import tunables


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

    @cached_property
    def content(self) -> str:
        """Equal for states that differ in nothing but how often entries were counted."""
        ids = {path: [[type(entry).__name__, entry.id] for entry in entries] for path, entries in self.entries.items()}
        return digest([ids, self.settings])

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


def additions(base: ProgramCandidate, materials: Mapping[str, LearnedMaterial]) -> Iterator[ProgramCandidate]:
    """The base with what was learned, in several selections: what is accepted is the base of the next round."""

    def joined(*groups: Mapping[str, Sequence[Entry]]) -> dict[str, list[Entry]]:
        return {path: [entry for group in groups for entry in group[path]] for path in materials}

    required = {path: material.required for path, material in materials.items()}
    fixes = {path: material.fixes for path, material in materials.items()}
    demonstrations = {path: material.demonstrations for path, material in materials.items()}
    lessons = {path: material.lessons() for path, material in materials.items()}
    frequent = {path: material.lessons(2) for path, material in materials.items()}
    selections: list[tuple[str, Mapping[str, Sequence[Entry]]]] = [
        ("missing requirements", required),
        ("fixes", fixes),
        ("fixes and lessons learned twice", joined(fixes, frequent)),
        ("lessons", lessons),
        ("lessons learned twice", frequent),
        ("lessons learned three times", {path: material.lessons(3) for path, material in materials.items()}),
        ("demonstrations", demonstrations),
        ("lessons and demonstrations", joined(lessons, demonstrations)),
        ("requirements and frequent lessons", joined(required, frequent)),
    ]
    for path in materials:
        if len(required[path]) > 1:
            selections += [(f"one missing requirement ({one.id})", {path: (one,)}) for one in required[path]]
    for path in materials:
        selections += [(f"one lesson ({one.id})", {path: (one,)}) for one in lessons[path][:3]]
    selections.append(
        ("abstracted demonstrations", {path: abstracted(examples) for path, examples in demonstrations.items()})
    )
    for name, entries in selections:
        yield base.remembering(name, {path: base.entries[path].added(*added) for path, added in entries.items()})


def changes(
    base: ProgramCandidate, student: dspy.Module, thresholds: Mapping[str, float]
) -> Iterator[ProgramCandidate]:
    """The base with something left out, or one of its settings changed.

    Args:
        thresholds: for the confidence gates, as calibration suggests them.
    """
    for kind in ("demonstrations", "notes", "lessons"):
        without = {path: entries.model_copy(update={kind: ()}) for path, entries in base.entries.items()}
        if without != base.entries and any(map(len, without.values())):
            yield base.remembering(f"without {kind}", without)
    useless = [entry.id for entries in base.entries.values() for entry in entries if entry.retrieved > 1 > entry.helped]
    if useless:
        helpful = {path: entries.without(useless) for path, entries in base.entries.items()}
        yield base.remembering("without what has not helped", helpful)
    general = {path: entries.model_copy(update={"demonstrations": abstracted(entries.demonstrations)})
               for path, entries in base.entries.items()}  # fmt: skip
    yield base.remembering("abstracted demonstrations", general)
    for path, value in thresholds.items():
        if base.settings[path][THRESHOLD] != value:
            yield base.set(f"{path}: {THRESHOLD}={value:.3g}", path, THRESHOLD, value)
    for path, refiner in refiners_of(student).items():
        choices = {name: tunable.choices for name, tunable in tunables(type(refiner)).items()}
        for name, memory_choices in MEMORY_CHOICES.items():
            if getattr(base.entries[path], name, base.entries[path]):
                choices[f"{MEMORY}{name}"] = memory_choices
        for setting in choices:
            for value in _neighbours(choices[setting], base.settings[path][setting]):
                yield base.set(f"{path}: {setting}={value}", path, setting, value)


def _neighbours(choices: Iterable[Any], value: Any) -> list[Any]:
    """The next smaller and the next larger choice."""
    smaller = [choice for choice in choices if choice < value]
    larger = [choice for choice in choices if choice > value]
    return [*smaller[-1:], *larger[:1]]
