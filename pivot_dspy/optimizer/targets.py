"""The refiners inside a program, what they are taught, and what tells two states of a program apart."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import dspy
from pydantic import BaseModel

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory.records import Entries
from pivot_dspy.refiners.base import Refiner
from pivot_dspy.refiners.confidence_gate import ConfidenceGate
from pivot_dspy.refiners.state import tunables

ROOT = "self"
"""The path of a program in itself."""
MEMORY = ("demonstrations", "lessons", "max_tokens")
"""Settings of a memory that are tuned: how much a task is shown."""
_PLAIN = (int, float, str, BaseModel)
THRESHOLD = "threshold"
"""The setting of a `ConfidenceGate`: below which confidence a step is not run."""


def refiners_of(program: Any, role: str = "student") -> dict[str, Refiner]:
    """The refiners of a program by their path, `self` for the program itself. What is compiled already stays as it is.

    Raises:
        ConfigurationError: it has none.
    """
    if not isinstance(program, dspy.Module):
        raise ConfigurationError(f"the {role} is a refiner, or a dspy.Module with refiners; got {program!r:.80}")
    shut = [name for name, part in program.named_sub_modules(dspy.Module) if part is not program and part._compiled]
    found = {
        name: part
        for name, part in program.named_sub_modules(Refiner)
        if not any(name == one or name.startswith((f"{one}.", f"{one}[")) for one in shut)
    }
    if not found:
        raise ConfigurationError(
            f"the {role}, {type(program).__name__}, is no refiner and has none among its attributes that is not "
            "compiled already; pass pivot_dspy.Pivot(...), say, or a module with self.agent = Pivot(...)"
        )
    return found


def gates_of(program: dspy.Module) -> dict[str, ConfidenceGate]:
    """The confidence gates of a program, by their path."""
    return dict(program.named_sub_modules(ConfidenceGate))


def settings_of(program: dspy.Module) -> dict[str, dict[str, Any]]:
    """The tunable settings of all refiners and gates of a program, by path and name."""
    found: dict[str, dict[str, Any]] = {}
    for path, refiner in refiners_of(program).items():
        found[path] = {name: getattr(refiner, name) for name in tunables(type(refiner))}
        found[path] |= {f"memory.{name}": getattr(refiner.memory, name) for name in MEMORY}
    for path, gate in gates_of(program).items():
        found.setdefault(path, {})[THRESHOLD] = gate.calibrated.value
    return found


def with_memory(
    program: dspy.Module, entries: Mapping[str, Entries], settings: Mapping[str, Mapping[str, Any]]
) -> dspy.Module:
    """A copy of the program whose refiners remember `entries` and are set as `settings` say."""
    copied = program.deepcopy()
    refiners, gates = refiners_of(copied), gates_of(copied)
    for path, held in entries.items():
        refiners[path].memory.entries = held
    for path, values in settings.items():
        for name, value in values.items():
            if name == THRESHOLD:
                gates[path].calibrated.value = value
            elif name.startswith("memory."):
                setattr(refiners[path].memory, name.partition(".")[2], value)
            elif getattr(refiners[path], name) != value:
                refiners[path].tuned.values = {**refiners[path].tuned.values, name: value}
    return copied


def seeded(program: dspy.Module, seed: int) -> dspy.Module:
    """The program itself for seed 0; else a copy whose models are sampled, each seed otherwise."""
    if not seed:
        return program
    copied: dspy.Module = program.deepcopy()
    for predictor in copied.predictors():
        if predictor.lm is not None:
            predictor.lm = sampled(predictor.lm, seed)
    return copied


def sampled(lm: Any, seed: int) -> Any:
    """A language model that answers otherwise for each seed above 0."""
    return lm.copy(rollout_id=10_000 * seed, temperature=1.0) if seed else lm


def digest(value: Any) -> str:
    """Twelve hexadecimal digits that change with any part of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def fingerprint(program: dspy.Module) -> dict[str, Any]:
    """What decides how a program behaves, as far as it can be told: kinds, signatures, prompts, models and settings."""
    refiners = refiners_of(program)
    return {
        "class": type(program).__name__,
        "refiners": {
            path: {
                "class": type(one).__name__,
                "signature": one.signature.__name__,
                "environment": one._source.name,
                "memory": digest(one.memory.dump_state()),
                "arguments": digest(
                    {name: repr(value) for name, value in vars(one).items() if isinstance(value, _PLAIN)}
                ),
            }
            for path, one in refiners.items()
        },
        "settings": settings_of(program),
        "prompts": {
            name: digest([one.signature.instructions, list(one.signature.fields), _shown(one.demos), _model(one.lm)])
            for name, one in program.named_predictors()
        },
    }


def _shown(demos: Any) -> list[Any]:
    return [dict(demo) for demo in demos]


def _model(lm: Any) -> list[Any] | None:
    return None if lm is None else [lm.model, {name: str(value) for name, value in lm.kwargs.items()}]
