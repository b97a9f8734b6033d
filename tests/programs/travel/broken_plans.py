"""The good plan of the made town in shapes that no plan should have, for tests of what reads plans."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.programs.travel.town import Edit, activity, day, detailed, good_plan, of_day, timed

SHAPES: list[Edit] = [
    lambda plan: plan.update(daily_plans={"1": day(plan, 1)}),
    lambda plan: plan.update(daily_plans="Day 1"),
    lambda plan: plan["daily_plans"].append("Day 4"),
    lambda plan: plan["daily_plans"].append(None),
    lambda plan: plan.update(budget_summary="1611"),
    lambda plan: plan.update(budget_summary=[1611]),
    of_day(1, current_city=["Aville", "Bton"]),
    of_day(1, activities={"09:00": "Museum"}),
    of_day(1, activities="09:00 Museum"),
    of_day(1, activities=["09:00 Museum"]),
    of_day(1, accommodation={"name": 7}),
    detailed(1, "Museum", name=7),
    detailed(1, "travel_city", to=["Museum"]),
    detailed(1, "travel_intercity_public", cost="inf"),
    timed(1, "Museum", 9.5),
    lambda plan: activity(plan, 1, "Museum").update(details="Museum"),
    lambda plan: activity(plan, 1, "Museum").update(type=None),
]
"""What stops the official evaluator."""

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(["-", "from A to B"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
SLOTS = st.tuples(*[st.integers(0, 26), st.integers(0, 70)] * 2).map(lambda t: f"{t[0]}:{t[1]:02}-{t[2]}:{t[3]:02}")


def _paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The place of everything in a plan."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in items for deeper in _paths(item, (*path, key)))]


@st.composite
def plans(draw: st.DrawFn) -> Any:
    """The good plan with other values in a few places."""
    plan: Any = good_plan()
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(_paths(plan)))
        value = draw(SLOTS if path and path[-1] == "time_slot" else JSON)
        if not path:
            return value
        target = plan
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = value
    return plan
