"""The refiners inside a program, what they are taught, and what tells two states of a program apart."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.dspy_internals import is_compiled
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.records import Entries
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.confidence_gate import ConfidenceGate
from pivot_dspy.refiners.state import tunables

ROOT = "self"
"""The path of a program in itself."""
MEMORY = "memory."
"""What the names of a memory's settings begin with."""
MEMORY_CHOICES: Mapping[str, tuple[int, ...]] = {"demonstrations": (0, 1, 2, 3), "max_tokens": (300, 600, 1200)}
"""Settings of a memory that are tuned, how much a task is shown, and what they may be."""
THRESHOLD = "threshold"
"""The setting of a `ConfidenceGate`: below which confidence a step is not run."""


def refiners_of(program: Any, role: str = "student") -> dict[str, Refiner]:
    """The refiners of a program by their path, `self` for the program itself. What is compiled already stays as it is.

    Raises:
        ConfigurationError: it has none.
    """
    if not isinstance(program, dspy.Module):
        raise ConfigurationError(f"the {role} is a refiner, or a dspy.Module with refiners; got {program!r:.80}")
    modules = program.named_sub_modules(dspy.Module)
    finished = [name for name, part in modules if part is not program and is_compiled(part)]
    inside = tuple(f"{name}{end}" for name in finished for end in (".", "["))
    refiners = {
        name: part for name, part in program.named_sub_modules(Refiner) if not f"{name}.".startswith(inside)
    }
    if not refiners:
        raise ConfigurationError(
            f"the {role}, {type(program).__name__}, is no refiner and has none among its attributes that is not "
            "compiled already; pass pivot_dspy.Pivot(...), say, or a module with self.agent = Pivot(...)"
        )
    return refiners


def gates_of(program: dspy.Module) -> dict[str, ConfidenceGate]:
    """The confidence gates of a program, by their path."""
    return dict(program.named_sub_modules(ConfidenceGate))


def settings_of(program: dspy.Module) -> dict[str, dict[str, Any]]:
    """The tunable settings of all refiners and gates of a program, by path and name."""
    settings: dict[str, dict[str, Any]] = {}
    for path, refiner in refiners_of(program).items():
        own = {name: getattr(refiner, name) for name in tunables(type(refiner))}
        settings[path] = own | {f"{MEMORY}{name}": getattr(refiner.memory, name) for name in MEMORY_CHOICES}
    for path, gate in gates_of(program).items():
        settings[path] = {THRESHOLD: gate.calibrated.value}
    return settings


def with_memory(
    program: dspy.Module, entries: Mapping[str, Entries], settings: Mapping[str, Mapping[str, Any]]
) -> dspy.Module:
    """A copy of the program whose refiners remember `entries` and are set as `settings` say."""
    copied: dspy.Module = program.deepcopy()
    refiners, gates = refiners_of(copied), gates_of(copied)
    for path, gate in gates.items():
        gate.calibrated.value = settings[path][THRESHOLD]
    for path, refiner in refiners.items():
        refiner.memory.entries = entries[path]
        for name in MEMORY_CHOICES:
            setattr(refiner.memory, name, settings[path][f"{MEMORY}{name}"])
        for name in tunables(type(refiner)):
            if getattr(refiner, name) != settings[path][name]:
                refiner.tuned.values = {**refiner.tuned.values, name: settings[path][name]}
    return copied


def with_seed(program: dspy.Module, seed: int) -> dspy.Module:
    """The program itself for seed 0; else a copy whose models are sampled, each seed otherwise."""
    if not seed:
        return program
    copied: dspy.Module = program.deepcopy()
    for predictor in copied.predictors():
        if predictor.lm is not None:
            predictor.lm = lm_with_seed(predictor.lm, seed)
    return copied


def lm_with_seed(lm: Any, seed: int) -> Any:
    """A language model that answers otherwise for each seed above 0."""
    return lm.copy(rollout_id=10_000 * seed, temperature=1.0) if seed else lm
