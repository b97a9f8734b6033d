"""How a refiner meets a travel task: the environment of its request, in both forms, and the plan of a run."""

from __future__ import annotations

from typing import Any

import dspy
import pytest

from pivot_dspy import Execution, Step, Trajectory
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.trajectory import Observation
from programs.deepplanning.travel.builder_form import TripBuilder
from programs.deepplanning.travel.json_form import WrittenPlan
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.trip_plan import FORMS, Agency, TripPlan, final_plan
from programs.options import DataError
from tests.programs.travel.cities import city

TASK = TravelTask("en-1", "en", 1, "To Bton, please.", city)


def asked(request: str) -> dspy.Example:
    return dspy.Example(request=request).with_inputs("request")


def test_each_form_has_its_environment_over_the_same_tables() -> None:
    assert dict(FORMS) == {"builder": TripBuilder, "json": WrittenPlan}
    agency = Agency([TASK], "json")
    first, second = agency.open(asked(TASK.request)), agency.open(asked(TASK.request))
    assert type(first) is WrittenPlan and first is not second and first.world is second.world is agency.world(TASK)
    assert type(Agency([TASK]).open(asked(TASK.request))) is TripBuilder


def test_a_request_that_no_task_makes_is_told() -> None:
    with pytest.raises(DataError, match="no task makes the request 'To Cton'"):
        Agency([TASK]).open(asked("To Cton"))


def test_what_has_not_the_form_of_a_plan_is_not_submitted() -> None:
    session = SessionFactory(Agency([TASK]).open, timeout=None).open(asked(TASK.request))
    outputs = {name: field.annotation for name, field in TripPlan.output_fields.items()}
    steps = [Step(id="r", tool="roads"), Step(id="submit", tool="submit", args={"plan": "$r"})]
    try:
        seen = run_sync(execute(Trajectory(steps=tuple(steps)), session, outputs=outputs)).execution
    finally:
        session.close()
    assert seen.by_step["r"].ok and isinstance(seen.by_step["r"].value, dict)
    assert not seen.by_step["submit"].ok and seen.outputs == {}


def ran(*steps: tuple[str, Any], **outputs: Any) -> Execution:
    trajectory = Trajectory(steps=tuple(Step(id=f"s{at}", tool=tool) for at, (tool, _) in enumerate(steps)))
    seen = tuple(
        Observation(step=step.id, value=value, status="error" if value is None else "ok")
        for step, (_, value) in zip(trajectory.steps, steps, strict=True)
    )
    return Execution(trajectory=trajectory, observations=seen, outputs=outputs)


def test_the_plan_of_a_run_is_what_was_submitted_or_else_the_last_that_was_made() -> None:
    one, other = {"daily_plans": [1]}, {"daily_plans": [2]}
    assert final_plan(ran(("propose", one), ("itinerary", other), plan=one)) == one
    assert final_plan(ran(("propose", one), ("itinerary", other), ("stay", {}))) == other
    assert final_plan(ran(("propose", one), ("propose", None))) == one
    assert final_plan(ran(("stay", {}))) is None and final_plan(None) is None
    assert list(TripPlan.output_fields) == ["plan"]
