"""What tells whether a program is still the one that a compilation was begun with."""

from __future__ import annotations

from typing import Any

import dspy
from pydantic import BaseModel

from pivot_dspy.optimizer.targets import refiners_of, settings_of
from pivot_dspy.source_digest import source_digest

_PLAIN = (int, float, str, BaseModel)


def program_fingerprint(program: dspy.Module) -> dict[str, Any]:
    """What decides how a program behaves, as far as it can be told: kinds, signatures, prompts, models, settings,
    requirements and the user's own code. What an instance of an environment holds is not looked at."""
    refiners = refiners_of(program)
    return {
        "kinds": [type(part).__name__ for part in (program, *refiners.values())],
        "signatures": [refiner.signature.__name__ for refiner in refiners.values()],
        "environments": [source_digest(refiner.session_factory.code) for refiner in refiners.values()],
        "requirements": [source_digest(refiner._required) for refiner in refiners.values()],
        "acceptance": [source_digest(refiner._acceptance) for refiner in refiners.values()],
        "arguments": [
            {name: repr(value) for name, value in vars(refiner).items() if isinstance(value, _PLAIN)}
            for refiner in refiners.values()
        ],
        "settings": settings_of(program),
        "state": program.dump_state(),
    }
