"""A plan that is written out as a whole, in the form in which the benchmark's evaluator reads it."""

from __future__ import annotations

from typing import Any

from pivot_dspy import tool
from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.environment import TravelEnvironment, World
from programs.deepplanning.travel.shown_records import Plan
from programs.deepplanning.travel.truth.costs import true_sum

PLAN_FORM = """\
plan: {"daily_plans": [{"day_number", "current_city": "from A to B" or "B", "accommodation": {"name", \
"price_per_night"} (not on the last day), "activities": [{"time_slot": "HH:MM-HH:MM", "type", "details"}]}], \
"budget_summary": {"transportation", "accommodation", "meals", "attractions_and_tickets", "other", \
"total_estimated_budget", "currency"}}. Details by type: travel_intercity_public {"mode": "train" or "flight", \
"number", "from", "to" (stations), "cost" (one person)}; travel_city {"from", "to", "distance": "1.2km", "duration": \
"5min", "cost" (one car of four)}; attraction {"name", "city", "cost" (one person)}; meal {"meal_type", "name", "cost" \
(one person)}; hotel {"activity", "name"}; buffer {"description"}. Activities in order of time without gaps: a road \
between any two places with the minutes of the table, waits as buffer (30 minutes after a train's arrival, 45 after a \
flight's), each day but the last ends at the hotel until 24:00. The total counts trips, meals and tickets for each \
person, rooms for each night, roads for each car."""


class WrittenPlan(TravelEnvironment):
    """One life of a plan that is written out."""

    vocabulary = f"{TravelEnvironment.vocabulary}"
    policy = f"{TravelEnvironment.policy}\n{PLAN_FORM}"

    def __init__(self, world: World, request: str = "") -> None:
        super().__init__(world, request)
        self.written: dict[str, Any] = {}

    def plan(self) -> dict[str, Any]:
        return self.written

    @tool(effect="write", draft=True, returns=Plan)
    def propose(self, plan: dict[str, Any]) -> dict[str, Any]:
        """Write the plan down; a later one replaces it.

        Args:
            plan: as the policy says.
        """
        if self.frame is None:
            raise ValueError("nothing is started: the first step is start(...)")
        self.written = plan
        self._changed()
        return plan

    @tool(effect="read")
    def road(self, origin: str, destination: str) -> dict[str, Any]:
        """A road with its distance and cost.

        Args:
            origin: id or exact name, as of the destination.
        """
        road = self.world.atlas.road(origin, destination)
        if road is None:
            raise ValueError(f"no road is known from {origin} to {destination}")
        return {
            "from": _name(self.world.atlas, origin), "to": _name(self.world.atlas, destination),
            "distance": f"{road.distance_in_meters / 1000:.1f}km", "duration": f"{road.duration_in_minutes}min",
            "cost": road.cost,
        }  # fmt: skip

    def costs(self) -> tuple[float, str]:
        if self.held.plan is None:
            return 0, self.held.problem
        return round(true_sum(self.held.plan), 2), "as the tables have it"

    def describe(self) -> str:
        days = self.written.get("daily_plans") if isinstance(self.written, dict) else None
        return f"A plan of {len(days)} days is written." if isinstance(days, list) else "No plan is written."

    def summarise(self, tool: str, value: Any) -> str | None:
        return self.describe() if tool == "propose" else super().summarise(tool, value)


def _name(atlas: Atlas, place: str) -> str:
    return atlas.find(place)["name"]
