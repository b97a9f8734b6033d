"""One made task: a city, wishes that single out what is meant, a request that says them, and the gold."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.frame import Frame
from programs.deepplanning.travel.generate.city import City
from programs.deepplanning.travel.generate.drafts import Draft, Drawer
from programs.deepplanning.travel.generate.sentences import BUDGETS, CLOSINGS, MEALS, OPENINGS, PARTIES, SENTENCES
from programs.deepplanning.travel.generate.words import WORDS
from programs.deepplanning.travel.planner import PlanningError, plan
from programs.deepplanning.travel.reading import Reading, Wish, fits
from programs.deepplanning.travel.request import Journey

_ATTEMPTS = 300
_DRAWS = 60
_FEW = 3
"""Attractions that one wish asks for at most."""
_ABOVE = 1.1
"""A budget, over what a plan costs that saves nothing."""
_SUBJECTS = {"trip": "", "hotel": "hotel_", "meal": "restaurant_", "visit": "attraction_"}


@dataclass(frozen=True)
class MadeTask:
    """A task with its gold, which is the `meta_info` of the published layout."""

    city: City
    request: str
    gold: dict[str, Any]


def make_task(rng: random.Random, language: Language, *, with_budget: bool) -> MadeTask:
    """A task for which there is a plan."""
    for _ in range(_ATTEMPTS):
        depart = date(2026, 5, 4) + timedelta(days=rng.randrange(28))
        back = depart + timedelta(days=rng.randint(1, 3))
        city = City(rng, language, depart, back)
        world = World(city.database)
        people = rng.randint(1, len(PARTIES[language]))
        frame = Frame(city.origin, city.destination, depart, back, people, -(-people // 2))
        drafts = _drafts(rng, frame, world)
        if drafts is None:
            continue
        reading = _reading(drafts, frame)
        try:
            planned = plan(reading, world)
        except PlanningError:
            continue
        budget = math.ceil(planned.itinerary.total * _ABOVE / 100) * 100 if with_budget else None
        return MadeTask(city, _request(drafts, frame, language, budget), _gold(drafts, frame, world, budget))
    raise RuntimeError(f"no task with a plan in {_ATTEMPTS} attempts; try another seed")


def _drafts(rng: random.Random, frame: Frame, world: World) -> list[Draft] | None:
    """Wishes of a trip, a hotel, one or two meals and visits; None where luck found none that will do."""
    drawer = Drawer(rng, world.atlas, frame, world.database.language)
    draws = [drawer.trip, drawer.hotel, *[drawer.meal] * rng.randint(1, 2), drawer.visit]
    drafts: list[Draft] = []
    for draw in draws:
        fresh = (
            draft
            for draft in (draw() for _ in range(_DRAWS))
            if _singles_out(draft, frame, world) and draft.kind not in {each.kind for each in drafts}
        )
        draft = next(fresh, None)
        if draft is None:
            return None
        drafts.append(draft)
    return drafts


def _singles_out(draft: Draft, frame: Frame, world: World) -> bool:
    try:
        fitting = fits(_wish(draft), frame, world.atlas)
    except ValueError:  # as where no train has the wished seats
        return False
    return bool(fitting.choices) and fitting.tied == 1 and sum(choice.count for choice in fitting.choices) <= _FEW


def _wish(draft: Draft, number: int = 1) -> Wish:
    return {"id": f"R{number}", "check": draft.check, "args": draft.args}


def _reading(drafts: Sequence[Draft], frame: Frame) -> Reading:
    journey = Journey(frame.origin, frame.destination, frame.depart.isoformat(), frame.return_.isoformat())
    wishes = tuple(_wish(draft, number) for number, draft in enumerate(drafts, start=1))
    return Reading(journey, frame.people, frame.rooms, wishes)


def _request(drafts: Sequence[Draft], frame: Frame, language: Language, budget: int | None) -> str:
    said = {
        "origin": frame.origin, "destination": frame.destination, "depart": _day(frame.depart, language),
        "back": _day(frame.return_, language), "party": PARTIES[language][frame.people - 1],
        "weekday": WORDS[language].weekdays[frame.weekday(1) - 1], "max": budget,
    }  # fmt: skip
    turns = iter(MEALS[language])
    sentences = [OPENINGS[language].format(**said)]
    if budget is not None:
        sentences.append(BUDGETS[language].format(**said))
    for draft in drafts:
        turn = next(turns) if draft.check == "meal" else ""
        sentences.append(turn + SENTENCES[f"{draft.check} {_sentence(draft)}"][language].format(**draft.said))
    sentences.append(CLOSINGS[language].format(**said))
    return (" " if language == "en" else "").join(sentences)


def _sentence(draft: Draft) -> str:
    return draft.kind.partition("_")[2] if draft.check == "trip" else draft.kind


def _day(day: date, language: Language) -> str:
    return f"{day:%B} {day.day}, {day.year}" if language == "en" else f"{day.year}年{day.month}月{day.day}号"


def _gold(drafts: Sequence[Draft], frame: Frame, world: World, budget: int | None) -> dict[str, Any]:
    constraints: dict[str, Any] = {
        f"{_SUBJECTS[draft.check]}{draft.kind}": _named(draft, frame, world) for draft in drafts
    }
    if budget is not None:
        constraints["budget_constraint"] = {"max_budget": budget}
    return {
        "org": frame.origin, "dest": [frame.destination], "days": frame.days, "depart_date": frame.depart.isoformat(),
        "return_date": frame.return_.isoformat(), "depart_weekday": frame.weekday(1), "people_number": frame.people,
        "room_number": frame.rooms, "hard_constraints": constraints,
    }  # fmt: skip


def _named(draft: Draft, frame: Frame, world: World) -> dict[str, Any]:
    """What the gold asks to find in a plan."""
    found = [record for choice in fits(_wish(draft), frame, world.atlas).choices for record in choice.among]
    if draft.check == "trip":
        mode, words = draft.args["mode"], {"out": "outbound", "back": "inbound"}
        return {f"{words[record['way']]}_{mode}_no": record["number"] for record in found}
    names = [record["name"] for record in found]
    if draft.check == "visit":
        return {"attraction_names": names}
    return {"hotel_name" if draft.check == "hotel" else "restaurant_name": names[0]}
