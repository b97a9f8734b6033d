"""The travel tasks as a refiner meets them: the signature, the environment of each request, and the plan of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Literal

import dspy

from pivot_dspy import Execution
from pivot_dspy.simulator import Reference
from programs.deepplanning.travel.builder_form import TripBuilder
from programs.deepplanning.travel.environment import TravelEnvironment, World
from programs.deepplanning.travel.json_form import WrittenPlan
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.reference import reference
from programs.deepplanning.travel.shown_records import Plan
from programs.options import DataError

Form = Literal["builder", "json"]

FORMS: Mapping[Form, type[TravelEnvironment]] = {"builder": TripBuilder, "json": WrittenPlan}
"""How an answer is written: as choices from which a builder makes the plan, or as the whole plan."""

PLANNING_TOOLS = ("itinerary", "propose")
"""Tools whose result is a plan."""


class TripPlan(dspy.Signature):  # type: ignore[misc]
    """Plan the trip as the request asks."""

    request: str = dspy.InputField()
    plan: Plan = dspy.OutputField(desc="bound to a step that returns it")


class Agency:
    """The environments of many tasks, opened by the request that a task makes; the tables of each are read once."""

    def __init__(self, tasks: Iterable[TravelTask], form: Form = "builder") -> None:
        self._form = FORMS[form]
        self._tasks = {task.request: task for task in tasks}
        self._world = cache(lambda request: World(self._tasks[request].database))

    def world(self, task: TravelTask) -> World:
        """The tables of a task. Raises DataError where a file of its database is broken."""
        world: World = self._world(task.request)
        return world

    def reference(self, task: TravelTask) -> Reference:
        """What the offline model knows of a task. Raises ValueError where no rule reads the request."""
        return reference(task.request, self.world(task), self._form)

    def open(self, task: dspy.Example) -> TravelEnvironment:
        """A fresh environment for `task.request`. Raises DataError where no task makes this request."""
        if task.request not in self._tasks:
            raise DataError(f"no task makes the request {task.request[:80]!r}; load its data first")
        return self._form(self._world(task.request), task.request)


def final_plan(execution: Execution | None) -> Any:
    """The plan that was submitted, or else the last that a step gave; None where there is none."""
    if execution is None:
        return None
    if execution.outputs.get("plan"):
        return execution.outputs["plan"]
    steps = zip(reversed(execution.trajectory.steps), reversed(execution.observations), strict=True)
    return next((seen.value for step, seen in steps if step.tool in PLANNING_TOOLS and seen.ok), None)
