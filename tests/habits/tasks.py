"""Tasks in the rooms of `tests.simulator.rooms`, one for each day, and a model that needs one repair for each."""

from __future__ import annotations

import json
from typing import Any

import dspy

from pivot_dspy import Pivot
from pivot_dspy.simulator import Reference, offline_lm
from tests.simulator.rooms import DAY, REQUEST, REQUIREMENTS, STEPS, Book, Rooms, reference

ONE_REPAIR: dict[str, Any] = {"slip": 0.0, "systematic": 1.0, "heed": 1.0, "relapse": 0.0}
"""Every plan errs in the same way, and one rewrite mends it: a run is plan, evolve, compose, judge."""

VARIED: dict[str, Any] = {"slip": 0.4, "heed": 0.7, "relapse": 0.1}
"""Runs differ in how many calls they take, and not all succeed."""

DAYS = tuple(f"2026-03-{number}" for number in range(12, 20))


def request(day: str) -> str:
    return REQUEST.replace("12 March", f"{day[-2:]} March")


def references() -> list[Reference]:
    """One for each of `DAYS`; the first is that of `REQUEST`."""

    def moved(known: Any, day: str) -> Any:
        return json.loads(json.dumps(known).replace(DAY, day))

    return [
        reference(request(day), steps=moved(STEPS, day), requirements=moved(REQUIREMENTS, day)) for day in DAYS
    ]


def simulated(cache: bool = False, **rates: Any) -> dspy.LM:
    """The offline model for the tasks; `lm.engine.calls` is its own count of calls and tokens."""
    return offline_lm(references(), cache=cache, **(rates or ONE_REPAIR))


def pivot(lm: dspy.LM | None = None, **options: Any) -> Pivot:
    made = Pivot(Book, Rooms, **options)
    if lm is not None:
        made.set_lm(lm)
    return made


def examples() -> list[dspy.Example]:
    return [dspy.Example(request=request(day)).with_inputs("request") for day in DAYS]
