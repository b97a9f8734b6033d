"""What a capable model would write for a travel request: requirements, and a plan in either form of an answer.

Made by rule for the offline model: from the request's words (`reading`), and from what can be read before planning
(`planner`). The gold is not looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial

from pivot_dspy.simulator import Reference
from programs.deepplanning.travel import rules
from programs.deepplanning.travel.builder_form import TripBuilder
from programs.deepplanning.travel.environment import TravelEnvironment, World
from programs.deepplanning.travel.frame import Way
from programs.deepplanning.travel.planner import plan
from programs.deepplanning.travel.reading import read
from programs.deepplanning.travel.sources import Sources, Step
from programs.deepplanning.travel.written_reference import worked_out, written

_OF_DAYS = ("meals", "visits", "times", "hours", "lengths", "repeats", "costs")
"""What the rules are about that the stops of a day can break."""


def reference(request: str, world: World, form: type[TravelEnvironment] = TripBuilder) -> Reference:
    """The reference of a task, for one of the two forms.

    Raises:
        ReadingError: no rule reads the request.
        PlanningError: no plan was found for it.
    """
    reading = read(request, world)
    planned = plan(reading, world)
    in_loop = _reference(request, Sources(reading, planned, world.atlas, bound=False), world, form)
    known = _reference(request, Sources(reading, planned, world.atlas), world, form)
    return known.model_copy(update={"told": partial(_of_the_prompt, in_loop)})


def _of_the_prompt(in_loop: Reference, sections: Mapping[str, str], known: Reference) -> Reference:
    """In the loop of `dspy.ReAct`, which has no requirements to bind, what was seen is copied."""
    return in_loop if "trajectory" in sections else known


def _reference(request: str, sources: Sources, world: World, form: type[TravelEnvironment]) -> Reference:
    reading = sources.reading
    requirements = [dict(wish) for wish in reading.wishes]
    ends: list[Step] = [{"id": "submit", "tool": "submit", "args": {"plan": "$p"}}]
    if issubclass(form, TripBuilder):
        chosen, days = list(_chosen(sources)), list(_days(sources))
        steps = [_start(sources), *sources.reads, *chosen, *days, {"id": "p", "tool": "itinerary", "args": {}}, *ends]
        return Reference(
            match=request,
            requirements=requirements,
            steps=steps,
            serves=_serves(sources, steps),
            worked_out=_lengths(sources),
        )
    proposed = written(sources, world.database.language)
    steps = [_start(sources), *sources.reads, proposed, *ends]
    return Reference(
        match=request,
        requirements=requirements,
        steps=steps,
        serves={
            "s": rules.ABOUT,
            **{step["id"]: ["times", "costs", "meals"] for step in sources.reads},
            "p": [*rules.ABOUT, *(wish["id"] for wish in reading.wishes)],
        },
        worked_out=worked_out(sources.planned, world.database.language),
    )


def _start(sources: Sources) -> Step:
    reading = sources.reading
    origin, destination, depart, back = reading.journey
    args = {"origin": origin, "destination": destination, "depart": depart, "back": back}
    return {"id": "s", "tool": "start", "args": {**args, "people": reading.people, "rooms": reading.rooms}}


def _chosen(sources: Sources) -> Iterator[Step]:
    ways: tuple[tuple[str, Way], ...] = (("o", "out"), ("b", "back"))
    for name, way in ways:
        yield {"id": name, "tool": "go", "args": {"way": way, "number": sources.trip(way, "number")}}
    yield {"id": "h", "tool": "stay", "args": {"hotel": sources.hotel("id")}}


def _days(sources: Sources) -> Iterator[Step]:
    for day, stops in enumerate(sources.planned.days, start=1):
        if stops:
            listed = [[sources.place(str(place), "id"), *rest] for place, *rest in stops]
            yield {"id": f"d{day}", "tool": "day", "args": {"day": day, "stops": listed}}


def _lengths(sources: Sources) -> dict[str, list[str]]:
    """Hours that a visit is cut down to, from the opening hours."""
    return {
        str(hours): [attraction["open"], attraction["close"]]
        for stops in sources.planned.days
        for place, _, hours in (stop for stop in stops if len(stop) > 2)
        if (attraction := sources.atlas.attractions[str(place)])["max_hours"] != hours
    }


def _serves(sources: Sources, steps: list[Step]) -> dict[str, list[str]]:
    """What each step is there for: the rules that it can break, and the wishes that it can meet."""
    of_trips, budget = sources.wishes("trip"), sources.wishes("budget")
    serves: dict[str, list[str]] = {
        "s": [*rules.ABOUT],
        "o": ["trips", *of_trips, *budget],
        "b": ["trips", *of_trips, *budget],
        "h": ["nights", *sources.wishes("hotel"), *budget],
    }
    for step in steps:
        if step["tool"] == "day":
            places = [str(place) for place, *_ in sources.planned.days[step["args"]["day"] - 1]]
            serves[step["id"]] = [*_OF_DAYS, *sources.met_by(places), *budget]
    return serves
