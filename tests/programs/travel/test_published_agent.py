"""The published kind of agent: it sees the published answers and nothing else, and its text becomes a plan."""

from __future__ import annotations

import json
from typing import Any

import dspy
from dspy.utils.dummies import DummyLM

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.published_agent import DEMANDS, FORMS, solve
from programs.deepplanning.travel.tools import TOOLS, call
from tests.programs.travel.cities import city

TEXT = """\
<plan>
Day 1:
Current City: from Aville to Bton
Accommodation: Inn, ¥222/room/night
08:00-09:30 | travel_intercity_public | train G9, Aville Station - Bton Station, ¥80/person
10:00-24:00 | hotel | Check-in, Inn
Total Estimated Budget: ¥302
</plan>"""


def task(language: Language = "en") -> TravelTask:
    return TravelTask(f"{language}-1", language, 1, "To Bton, please.", lambda: city(language))


def turn(*calls: tuple[str, dict[str, Any]]) -> dict[str, str]:
    named = [{"name": name, "args": args} for name, args in calls]
    return {"next_thought": "On.", "tool_calls": json.dumps({"tool_calls": named})}


def prompts(lm: DummyLM) -> list[str]:
    return ["\n".join(f"{message['content']}" for message in entry["messages"]) for entry in lm.history]


def test_it_reads_published_answers_and_hands_in_a_text() -> None:
    asked = {"origin": "Aville", "destination": "Bton", "depDate": "2026-05-01"}
    lm = DummyLM([turn(("query_train_info", asked), ("search_location", {"place_name": "X"})),
                  turn(("submit", {"plan": TEXT}))])  # fmt: skip
    with dspy.context(lm=lm):
        handed = solve(task())
    assert handed.tool_calls == 2 and handed.parsed is not None and handed.parsed.share == 1.0
    [day] = handed.parsed.plan["daily_plans"]
    assert day["accommodation"] == {"name": "Inn", "price_per_night": 222}
    assert day["activities"][0]["details"]["number"] == "G9"
    assert handed.parsed.plan["budget_summary"]["total_estimated_budget"] == 302
    answered = call(city(), "query_train_info", json.dumps(asked))
    assert json.dumps(answered)[1:-1] in prompts(lm)[1] and "Coordinate information not found" in prompts(lm)[1]


def test_it_knows_the_demands_the_tools_and_nothing_that_was_looked_up() -> None:
    lm = DummyLM([turn(("submit", {"plan": TEXT}))])
    with dspy.context(lm=lm):
        solve(task())
    [prompt] = prompts(lm)
    said = " ".join(prompt.split())
    assert " ".join(DEMANDS.split()) in said and " ".join(FORMS["en"].split()) in said
    assert all(name in prompt for name in TOOLS) and "To Bton, please." in prompt
    assert not any(words in prompt for words in ("Museum", "Noodles", "G9", "not looked at", "s3cret"))


def test_each_language_has_its_own_words() -> None:
    lm = DummyLM([turn(("submit", {"plan": ""}))])
    with dspy.context(lm=lm):
        solve(task("zh"))
    assert "历史文化" in prompts(lm)[0] and "办理入住" in prompts(lm)[0] and "Hard Seat" not in prompts(lm)[0]


def test_an_agent_that_comes_to_no_end_hands_in_nothing() -> None:
    lm = DummyLM([{"next_thought": "Hm.", "tool_calls": "none"}] * 8)
    with dspy.context(lm=lm):
        handed = solve(task())
    assert handed.parsed is None and handed.problem.startswith("no plan was handed in: ")


def test_after_its_turns_it_has_to_hand_in() -> None:
    again = turn(("search_location", {"place_name": "Museum"}))
    lm = DummyLM([again, again, turn(("submit", {"plan": TEXT}))])
    with dspy.context(lm=lm):
        handed = solve(task(), turns=2)
    assert handed.tool_calls == 2 and handed.parsed is not None
