"""The benchmark's own kind of agent, as a baseline: a plain loop over its nine tools that ends with a plan as text.

It has the published tools, their answers to the letter and what the published prompt demands of a plan, in our words.
Nothing is run beforehand, checked or repaired. A rule reads the text, where the benchmark has another model do it.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, ContextWindowExceededError

from programs.deepplanning.travel.database import Language, TravelDatabase
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.lookup import TravelLookup
from programs.deepplanning.travel.plan_text import ParsedPlan, parse_plan
from programs.deepplanning.travel.tools import TOOLS, call

TURNS = 60
"""Turns after which the agent must hand in what it has; the recorded runs took a median of 15."""

DEMANDS = """\
Plan the trip that the request asks for, day by day, and hand it in as text. Nothing can be asked back. Take every \
fact from the tools, and every name from them letter by letter.

What a plan must keep:
- It leaves home on the first day and is back at the home station on the last: a closed loop. Trips between cities \
stand as they are listed. Each night but the last day's ends at the hotel.
- The lines of a day follow each other in time, without gaps and without overlaps. Between any two places stands a \
travel_city line, whose minutes are those of the tool, give or take 5. Waiting is a buffer line: 30 to 45 minutes \
after an arrival, and enough before a departure.
- A meal takes 1 to 2 hours, within the opening hours; no breakfast. A full day has lunch and dinner, 2 hours apart or \
more. A day of arrival has both when arriving before 10:00, one or both before 15:00, at most one after it. A day of \
departure has none when leaving before 9:00, at most one before 15:00, one or both after it.
- A visit takes no less and no more time than the attraction's details say, within its hours, not on a closed day. A \
full day has 2 attractions, or 4 hours of them; a day of arrival before 12:00 or of departure after 16:00 has one.
- No restaurant and no attraction comes twice in the whole trip.
- The budget at the end sums up all: trips, meals and tickets for each person, rooms for each night, roads for each \
car of four people. The total is exact, and within the user's budget."""

FORMS: Mapping[Language, str] = {
    "en": """\
Day 1:
Current City: from A to B    (on a day without a trip between cities: B)
Accommodation: NAME, ¥PRICE/room/night    (on the last day: -)
07:00-09:30 | travel_intercity_public | train G1, STATION - STATION, ¥650/person
09:30-10:00 | buffer | free words
10:00-10:30 | travel_city | PLACE - PLACE, 12km, 30min, ¥40
10:30-12:00 | attraction | NAME, ¥60/person
12:00-13:00 | meal | Lunch, NAME, ¥100/person
20:00-24:00 | hotel | Check-in, NAME
Budget Summary: ... by kinds ...
Total Estimated Budget: ¥1234""",
    "zh": """\
Day 1:
Current City: from 甲 to 乙    (没有城际交通的日子写：乙)
Accommodation: 酒店名，￥价格/间/晚    (最后一天写：-)
07:00-09:30 | travel_intercity_public | train G1，车站 - 车站，￥650/人
09:30-10:00 | buffer | 说明
10:00-10:30 | travel_city | 地点 - 地点，12km，30min，￥40
10:30-12:00 | attraction | 景点名，￥60/人
12:00-13:00 | meal | 午餐，餐厅名，￥100/人
20:00-24:00 | hotel | 办理入住，酒店名
Budget Summary: ... 分项 ...
总预算：￥1234""",
}
"""How a plan is written, by language."""
_VALUES: Mapping[Language, Mapping[str, str]] = {
    "en": {
        "seatClassName": "Second Class Seat, First Class Seat, Business Seat, Hard Seat, Economy Class or First Class",
        "hotelStar": "2, 3, 4 or 5",
        "hotelBrands": "Home Inn, Ji Hotel, Atour Hotel, Hanting Hotel, Hilton, Orange Hotel, Jinjiang Inn or Marriott",
        "attraction_type": "Historical and Cultural, Natural Scenery, Art Exhibition, City Landmark or Leisure "
        "Experience",
    },
    "zh": {
        "seatClassName": "二等座, 一等座, 商务座, 硬座, 无座, 经济舱 or 头等舱",
        "hotelStar": "2, 3, 4 or 5",
        "hotelBrands": "如家, 全季, 亚朵, 汉庭, 希尔顿, 桔子, 锦江之星 or 万豪",
        "attraction_type": "历史文化, 自然风光, 艺术展览, 城市地标 or 休闲体验",
    },
}
"""The values that arguments take, by language."""
_COORDINATES = '"latitude,longitude", as the tools give them'
_MEANINGS: Mapping[str | tuple[str, str], str] = {
    "depDate": "YYYY-MM-DD", "checkinDate": "YYYY-MM-DD", "checkoutDate": "YYYY-MM-DD",
    ("query_road_route_info", "origin"): _COORDINATES, ("query_road_route_info", "destination"): _COORDINATES,
}  # fmt: skip
_TAGS = re.compile(r"</?plan>", re.I)


class PublishedPlan(dspy.Signature):  # type: ignore[misc]
    """Replaced by the demands."""

    request: str = dspy.InputField()
    plan: str = dspy.OutputField(desc="the whole plan in the form above")


@dataclass(frozen=True)
class Handed:
    """What the agent handed in.

    Args:
        parsed: None where it handed in nothing, for the reason in `problem`.
        tool_calls: how many of the nine tools' answers it read.
    """

    parsed: ParsedPlan | None
    tool_calls: int
    problem: str = ""


def solve(task: TravelTask, turns: int = TURNS) -> Handed:
    """One task planned by DSPy's current model.

    Raises:
        LMError: the model cannot be asked.
    """
    calls: list[str] = []
    agent = dspy.ReActV2(
        PublishedPlan.with_instructions(f"{DEMANDS}\n\nHow it is written:\n{FORMS[task.language]}"),
        tools=[_tool(name, task.database, calls) for name in TOOLS],
        max_iters=turns,
    )
    try:
        text = agent(request=task.request).plan
    except (AdapterParseError, ContextWindowExceededError, ValueError) as error:  # it did not come to an end
        return Handed(None, len(calls), f"no plan was handed in: {' '.join(str(error).split())[:200]}")
    return Handed(parse_plan(_TAGS.sub("", text)), len(calls))


def _tool(name: str, database: TravelDatabase, calls: list[str]) -> dspy.Tool:
    """A published tool, whose refusals are answers, too; `calls` is told of each call."""
    method = getattr(TravelLookup, name)

    def ask(**arguments: Any) -> str:
        calls.append(name)
        return call(database, name, json.dumps(arguments, ensure_ascii=False))

    parameters = [each for each in inspect.signature(method).parameters.values() if each.name != "self"]
    return dspy.Tool(
        ask,
        name=name,
        # What the database looks away from is not told.
        desc=(inspect.getdoc(method) or "").splitlines()[0].partition(";")[0],
        args={each.name: _schema(name, each, database.language) for each in parameters},
        arg_types={each.name: str for each in parameters},
    )


def _schema(tool: str, parameter: inspect.Parameter, language: Language) -> dict[str, str]:
    name = parameter.name
    meaning = _VALUES[language].get(name) or _MEANINGS.get((tool, name)) or _MEANINGS.get(name, "")
    optional = "" if parameter.default is parameter.empty else "optional"
    words = ", ".join(filter(None, (optional, meaning)))
    return {"type": "string", "description": words} if words else {"type": "string"}
