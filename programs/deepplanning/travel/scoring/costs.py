"""Cost Calculation Accuracy: the total agrees with the plan's own prices."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from programs.deepplanning.travel.scoring.readings import ATTRACTION, MEAL, ROAD, TRIP, first_price, read_number
from programs.deepplanning.travel.scoring.submission import Submission

_TOLERANCE = 0.10


def cost_calculation_correctness(submission: Submission) -> Iterator[str]:
    """The total lies within 10% of the sum of the plan's own prices."""
    given = submission.itinerary.summary.get("total_estimated_budget")
    total = read_number(given)
    if total is None:
        yield f"The total is {given!r}, which is no number"
        return
    own = own_sum(submission)
    # Relative to the total with its sign, as the official check has it: a negative total always passes.
    close = own == 0 if total == 0 else abs(own - total) / total <= _TOLERANCE
    if not close:
        yield f"The total is {total:g}, and the plan's prices come to {own:g}"


def own_sum(submission: Submission) -> float:
    """What the plan's own prices come to; of each day only the first trip whose fare can be read counts."""
    itinerary, task = submission.itinerary, submission.task
    transport = lodging = meals = tickets = 0.0
    for day in itinerary.days:
        fares = (read_number(trip.details.get("cost", 0)) for trip in day.of(TRIP))
        fare = next((fare for fare in fares if fare is not None), 0.0)
        transport += fare * task.people if fare > 0 else 0.0
    for night in itinerary.nights:
        if isinstance(night.accommodation, Mapping):
            price = first_price(night.accommodation, "price", "price_per_night", "cost")
            lodging += (read_number(price) or 0.0) * task.rooms
    for meal in itinerary.of(MEAL):
        meals += (read_number(meal.cost) or 0.0) * task.people
    for visit in itinerary.of(ATTRACTION):
        tickets += (read_number(visit.cost) or 0.0) * task.people
    for road in itinerary.of(ROAD):
        transport += (read_number(road.cost) or 0.0) * task.cars
    return transport + lodging + meals + tickets
