"""The official score of a plan: its checks, dimensions and hard constraints, put together as the benchmark does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from programs.deepplanning.travel.database import TravelDatabase
from programs.deepplanning.travel.scoring.constraints import hard_constraints
from programs.deepplanning.travel.scoring.costs import cost_calculation_correctness
from programs.deepplanning.travel.scoring.diversity import diverse_attraction_options, diverse_meal_options
from programs.deepplanning.travel.scoring.durations import reasonable_duration_at_attractions, reasonable_meal_duration
from programs.deepplanning.travel.scoring.opening import (
    attraction_visit_within_opening_hours,
    avoidance_of_closure_days,
    dining_within_service_hours,
)
from programs.deepplanning.travel.scoring.readings import PlanShapeError, read_itinerary
from programs.deepplanning.travel.scoring.route import (
    closed_loop_route_structure,
    seamless_intercity_transfers,
    valid_trip_duration,
)
from programs.deepplanning.travel.scoring.sandbox import (
    validated_accommodation,
    validated_attractions,
    validated_meals,
    validated_transportation,
)
from programs.deepplanning.travel.scoring.structure import (
    ends_with_accommodation,
    essential_attraction_coverage,
    essential_meal_coverage,
    traceable_accommodation,
)
from programs.deepplanning.travel.scoring.submission import Check, Submission, TaskMeta
from programs.deepplanning.travel.scoring.tables import Tables
from programs.deepplanning.travel.scoring.timing import no_time_overlaps, reasonable_transfer_time

DIMENSIONS: dict[str, tuple[Check, ...]] = {
    "Route Consistency": (valid_trip_duration, closed_loop_route_structure, seamless_intercity_transfers),
    "Sandbox Compliance": (
        validated_accommodation, validated_attractions, validated_meals, validated_transportation,
    ),
    "Itinerary Structure": (
        traceable_accommodation, ends_with_accommodation, essential_meal_coverage, essential_attraction_coverage,
    ),
    "Time Feasibility": (no_time_overlaps, reasonable_transfer_time),
    "Business Hours": (
        attraction_visit_within_opening_hours, dining_within_service_hours, avoidance_of_closure_days,
    ),
    "Duration Rationality": (reasonable_duration_at_attractions, reasonable_meal_duration),
    "Cost Calculation Accuracy": (cost_calculation_correctness,),
    "Activity Diversity": (diverse_meal_options, diverse_attraction_options),
}  # fmt: skip
"""The checks of each dimension; a check is reported under its function's name."""
_SILENT_WITHOUT_DAYS = avoidance_of_closure_days
"""What the official evaluator does not report where there are no days."""


@dataclass(frozen=True)
class TravelScore:
    """The official scores of one plan.

    Args:
        checks: whether each of the 21 checks passes.
        dimensions: 1 where all checks of a dimension pass, else 0.
        hard_constraints: whether each constraint of the task is met.
        commonsense: the mean of the dimensions.
        personalized: 1 where all hard constraints are met, else 0.
        composite: the mean of commonsense and personalized.
        case_accuracy: 1 where both are 1, else 0.
        reasons: why each check and constraint that fails does, in words.
    """

    checks: dict[str, bool]
    dimensions: dict[str, float]
    hard_constraints: dict[str, bool]
    commonsense: float
    personalized: float
    composite: float
    case_accuracy: float
    reasons: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False)


def official_score(plan: Any, gold: Mapping[str, Any], database: TravelDatabase) -> TravelScore:
    """Scores a plan of any shape; one that stops the official evaluator fails everything, as it does there.

    Args:
        plan: the plan's JSON value.
        gold: the task's `meta_info`.
        database: the task's own.
    """
    try:
        submission = read_submission(plan, gold, database)
    except PlanShapeError as error:
        broken = (str(error),)
        return _score(_failed(broken), dict.fromkeys(gold.get("hard_constraints", {}), broken))
    constraints = hard_constraints(submission)
    if not submission.itinerary.days:
        return _score(_failed(("There are no daily_plans",)), constraints)
    checks = (check for dimension in DIMENSIONS.values() for check in dimension)
    return _score({check.__name__: tuple(check(submission)) for check in checks}, constraints)


def read_submission(plan: Any, gold: Mapping[str, Any], database: TravelDatabase) -> Submission:
    """What the checks see of a plan.

    Raises:
        PlanShapeError: the plan stops the official evaluator.
    """
    return Submission(read_itinerary(plan), TaskMeta.of(gold), Tables(database))


def _failed(reasons: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    checks = (check for dimension in DIMENSIONS.values() for check in dimension)
    return {check.__name__: reasons for check in checks if check is not _SILENT_WITHOUT_DAYS}


def _score(checks: dict[str, tuple[str, ...]], constraints: dict[str, tuple[str, ...]]) -> TravelScore:
    dimensions = {
        name: 0.0 if any(checks.get(check.__name__) for check in members) else 1.0
        for name, members in DIMENSIONS.items()
    }
    commonsense = sum(dimensions.values()) / len(dimensions)
    personalized = 1.0 if constraints and not any(constraints.values()) else 0.0
    return TravelScore(
        checks={name: not reasons for name, reasons in checks.items()},
        dimensions=dimensions,
        hard_constraints={name: not reasons for name, reasons in constraints.items()},
        commonsense=commonsense,
        personalized=personalized,
        composite=(commonsense + personalized) / 2,
        case_accuracy=1.0 if commonsense == personalized == 1.0 else 0.0,
        reasons={name: reasons for name, reasons in {**checks, **constraints}.items() if reasons},
    )
