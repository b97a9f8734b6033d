"""A strict score of a travel plan beside the official one: the plan is held to the database in all that it says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from programs.deepplanning.travel.database import TravelDatabase
from programs.deepplanning.travel.scoring.official import TravelScore, official_score, read_submission
from programs.deepplanning.travel.scoring.readings import PlanShapeError
from programs.deepplanning.travel.scoring.submission import Check
from programs.deepplanning.travel.truth.costs import true_budget, true_total
from programs.deepplanning.travel.truth.roads import roads_as_listed, roads_between_places
from programs.deepplanning.travel.truth.stays import nights_at_the_hotel, no_place_twice
from programs.deepplanning.travel.truth.timeline import one_timeline
from programs.deepplanning.travel.truth.trips import out_and_back, trips_as_listed, wished_directions

TRUTHS: tuple[Check, ...] = (
    one_timeline, trips_as_listed, out_and_back, roads_between_places, roads_as_listed, nights_at_the_hotel,
    no_place_twice, true_total,
)  # fmt: skip
"""What holds of an honest plan, whatever the task wishes for."""
WISHES: tuple[Check, ...] = (wished_directions, true_budget)
"""What the official check of the hard constraints leaves out."""


@dataclass(frozen=True)
class StrictScore:
    """Whether a plan passes the official evaluator and agrees with the database in everything.

    Args:
        official: its official scores.
        checks: whether each further check passes.
        reasons: why each that fails does, official ones too, in words.
    """

    official: TravelScore
    checks: dict[str, bool]
    reasons: dict[str, tuple[str, ...]] = field(repr=False)

    @property
    def passed(self) -> bool:
        return self.official.case_accuracy == 1.0 and all(self.checks.values())

    @property
    def true_to_database(self) -> bool:
        """Whether all that the plan says is so, whatever the task wishes for."""
        return all(self.checks[check.__name__] for check in TRUTHS)


def strict_score(plan: Any, gold: Mapping[str, Any], database: TravelDatabase) -> StrictScore:
    """Scores a plan of any shape; the arguments are those of `official_score`."""
    official = official_score(plan, gold, database)
    outcomes: dict[str, tuple[str, ...]]
    try:
        submission = read_submission(plan, gold, database)
        outcomes = {check.__name__: tuple(check(submission)) for check in (*TRUTHS, *WISHES)}
    except PlanShapeError as error:
        outcomes = {check.__name__: (str(error),) for check in (*TRUTHS, *WISHES)}
    return StrictScore(
        official=official,
        checks={name: not reasons for name, reasons in outcomes.items()},
        reasons=official.reasons | {name: reasons for name, reasons in outcomes.items() if reasons},
    )
