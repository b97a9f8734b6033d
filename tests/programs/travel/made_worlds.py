"""One generated city in both languages, in which the same places have the same ids."""

from __future__ import annotations

import random
from datetime import date

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.generate.city import City

DEPART, BACK = date(2026, 5, 6), date(2026, 5, 8)


def made_world(language: Language) -> World:
    return World(City(random.Random(3), language, DEPART, BACK).database)


WORLDS: dict[Language, World] = {"en": made_world("en"), "zh": made_world("zh")}
"""From Brightwater to Eastholm, and from 澜城 to 枫州."""
OPENINGS: dict[Language, str] = {
    "en": "I'm planning a trip from Brightwater to Eastholm on May 6, 2026, returning on the 8th. ",
    "zh": "我打算2026年5月6号从澜城去枫州玩，8号就回来。",
}
