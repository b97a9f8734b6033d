"""One call of a refiner whose model acts as it goes, in the small store."""

from __future__ import annotations

from typing import Any

import dspy

from tests.refiners.loops import LARGE, ONE, REQUEST
from tests.scripted import scripted
from tests.stores import Calls, Store


def made(kind: Any, environment: Any = None, options: dict[str, Any] | None = None, **scripts: Any):
    """The refiner and its model; the requirements that it settles are those of the request."""
    lm = scripted(**{"settle": {"requirements": [LARGE, ONE]}, **scripts})
    return kind("request -> answer", environment or Store, timeout=None, **(options or {})), lm


def acted(kind: Any, environment: Any = None, options: Any = None, called: Any = None, **scripts: Any):
    """The result of one call, the engine, and the tool calls that were really made."""
    calls = Calls()
    module, lm = made(kind, environment or (lambda: Store(calls)), options, **scripts)
    with dspy.context(lm=lm):
        return module(request=REQUEST, **(called or {})), lm.engine, calls


def tools(result: Any) -> list[str]:
    return [step.tool for step in result.trajectory.steps]
