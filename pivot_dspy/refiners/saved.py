"""States that were saved before refiners learned anything: they are loaded as those of refiners that did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import dspy

from pivot_dspy.calibration import Calibration
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.memory import TrajectoryMemory
from pivot_dspy.refiners.tunable import Tuned

_LATER = (TrajectoryMemory, Tuned, Calibration)
"""Parameters that refiners have had only since they can be compiled."""


def completed(program: dspy.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """The saved `state`, with the program's own memories, settings and calibrations where it was saved without any.

    Refiners and `ConfidenceGate` load like this by themselves. A larger program loads as DSPy does, which takes a state
    only if it is complete: `program.load_state(completed(program, state))`.

    Raises:
        ConfigurationError: the state lacks anything else, and so is that of another program.
    """
    lacking = {name: part for name, part in program.named_parameters() if name not in state}
    others = [name for name, part in lacking.items() if not isinstance(part, _LATER)]
    if others:
        raise ConfigurationError(
            f"the saved state is not that of this {type(program).__name__}: it has no {', '.join(others)}, only "
            f"{', '.join(name for name in state if name != 'metadata') or 'nothing'}; load it into a program made like "
            "the one that was saved"
        )
    return {**state, **{name: part.dump_state() for name, part in lacking.items()}}
