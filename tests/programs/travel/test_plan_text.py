"""The line parser: plans written out in the published form come back, and what models add to it does no harm."""

from __future__ import annotations

import copy
import gzip
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from programs.deepplanning.travel.judged import judge_texts
from programs.deepplanning.travel.plan_text import parse_plan
from programs.deepplanning.travel.scoring.official import official_score
from tests.programs.travel.cities import NO_DATA, TRAVEL
from tests.programs.travel.town import GOLD, good_plan, town


def written(plan: dict[str, Any], chinese: bool = False) -> str:
    """A plan in the published form."""
    comma, yen = ("，", "￥") if chinese else (", ", "¥")
    person, night = ("/人", "/间/晚") if chinese else ("/person", "/room/night")
    forms = {
        "travel_intercity_public": "{mode} {number}, {from} - {to}, ¥{cost}/person",
        "travel_city": "{from} - {to}, {distance}, {duration}, ¥{cost}",
        "attraction": "{name}, ¥{cost}/person",
        "meal": "{meal_type}, {name}, ¥{cost}/person",
        "hotel": "{activity}, {name}",
        "buffer": "{description}",
    }
    if chinese:
        for published, translated in ((", ", comma), ("¥", yen), ("/person", person)):
            forms = {kind: form.replace(published, translated) for kind, form in forms.items()}
    lines = []
    for day in plan["daily_plans"]:
        hotel = day.get("accommodation")
        where = f"{hotel['name']}{comma}{yen}{hotel['price_per_night']}{night}" if hotel else "-"
        lines += [f"Day {day['day_number']}:", f"Current City: {day['current_city']}", f"Accommodation: {where}"]
        for activity in day["activities"]:
            details = forms[activity["type"]].format_map(activity["details"])
            lines.append(f"{activity['time_slot']} | {activity['type']} | {details}")
        lines.append("")
    total = plan["budget_summary"]["total_estimated_budget"]
    budget = ["**Budget Summary**:", "**Accommodation: 7 RMB**", f"**Total Estimated Budget: {total} RMB**"]
    return "\n".join([*lines, *budget])


def details_of(line: str, accommodation: str = "Inn, ¥200/room/night") -> dict[str, Any]:
    """The details of one activity."""
    parsed = parse_plan(f"Day 1:\nCurrent City: from Aville to Bton\nAccommodation: {accommodation}\n{line}\n")
    assert parsed.unread == () and parsed.share == 1.0
    (activity,) = parsed.plan["daily_plans"][0]["activities"]
    details: dict[str, Any] = activity["details"]
    return details


@pytest.mark.parametrize("chinese", [False, True])
def test_a_written_plan_comes_back(chinese: bool) -> None:
    parsed = parse_plan(written(good_plan(), chinese))
    plan = good_plan()
    plan["daily_plans"][0]["activities"][2]["details"]["city"] = "Bton"
    assert parsed.plan == plan and parsed.share == 1.0 and parsed.activities == 30
    assert official_score(parsed.plan, GOLD, town()).case_accuracy == 1.0


def test_names_with_dashes_commas_and_bars() -> None:
    renamed = {
        "Inn": "Home Inn - Station North, Branch 2 | East", "Museum": "Prison - Old Museum",
        "Noodles": "A, B & C - Noodles", "Square": "Academy, Observatory (East, upper)",
    }  # fmt: skip
    text = written(good_plan())
    plan = json.dumps(good_plan())
    for short, long in renamed.items():
        text, plan = text.replace(short, long), plan.replace(short, long)
    assert parse_plan(text).plan == json.loads(plan)


@pytest.mark.parametrize(
    ("line", "details"),
    [
        ("9:00-10:00 | attraction | Museum", {"name": "Museum", "city": "Aville", "cost": 0}),
        ("9:00-10:00｜attraction｜ Museum，免费", {"name": "Museum", "city": "Aville", "cost": 0}),
        ("9:00-10:00 | attraction | Museum, ¥1,040.5/person (ticket)", {
            "name": "Museum", "city": "Aville", "cost": 1040.5,
        }),
        ("9:00-10:00 | attraction | 老街（夜，景），￥0/人（评分，4.9）", {
            "name": "老街（夜，景）", "city": "Aville", "cost": 0,
        }),
        ("9:00-10:00 | meal | Dinner, ¥100/person", {"meal_type": "Dinner", "name": "", "cost": 100}),
        ("- 9:00-10:00 | meal | 午餐，面馆，50元/人", {"meal_type": "午餐", "name": "面馆", "cost": 50}),
        ("9:00-10:00 | hotel | Check out", {"activity": "Check out", "name": "Inn"}),
        ("9:00-10:00 | hotel | Pack, rest, Inn (room)", {"activity": "Pack, rest", "name": "Inn"}),
        ("9:00-10:00 | hotel | 休闲（Inn）", {"activity": "休闲", "name": "Inn"}),
        ("9:00-10:00 | hotel | Check-in, Holiday Inn", {"activity": "Check-in", "name": "Holiday Inn"}),
        ("9:00-10:00 | hotel | Rest, Hostel", {"activity": "Rest", "name": "Hostel"}),
        ("9:00-10:00 | travel_city | A - B, 16min, ¥39/车", {
            "from": "A", "to": "B", "distance": "", "duration": "16min", "cost": 39,
        }),
        ("9:00-10:00 | travel_city | Walk", {"from": "Walk", "to": "", "distance": "", "duration": "", "cost": 0}),
        ("9:00-10:00 | travel_intercity_public | 高铁G1，A站- B站，￥9/人", {
            "mode": "train", "number": "G1", "from": "A站", "to": "B站", "cost": 9,
        }),
        ("9:00-10:00 | travel_intercity_public | Flight 8L9536, A - B", {
            "mode": "flight", "number": "8L9536", "from": "A", "to": "B", "cost": 0,
        }),
        ("9:00-10:00 | buffer | Wait | rest", {"description": "Wait | rest"}),
    ],
)  # fmt: skip
def test_lines_as_models_write_them(line: str, details: dict[str, Any]) -> None:
    assert details_of(line) == details


def test_the_city_changes_with_the_trip() -> None:
    parsed = parse_plan(
        "### Day 1 (2026-05-01, Friday):\n**Current City**: from Aville to Bton\n08:00-09:00 | attraction | Gate\n"
        "09:00-10:00 | travel_intercity_public | train G1, A - B, ¥9\n10:00-11:00 | attraction | Museum\n"
        "第2天：\n当前城市：Bton\n住宿：-\n10:00–11:00 | attraction | Square"
    )
    activities = [activity for day in parsed.plan["daily_plans"] for activity in day["activities"]]
    assert [activity["details"].get("city") for activity in activities] == ["Aville", None, "Bton", "Bton"]
    assert activities[-1]["time_slot"] == "10:00-11:00"
    assert ["accommodation" in day for day in parsed.plan["daily_plans"]] == [False, False]


def test_lines_in_no_known_form_are_reported() -> None:
    parsed = parse_plan("Day 1:\n09:00-10:00 | museum | Museum\n10:00-11:00 Lunch\n11:00-12:00 | buffer | Rest\n")
    assert parsed.unread == ("09:00-10:00 | museum | Museum", "10:00-11:00 Lunch")
    assert parsed.share == pytest.approx(1 / 3)
    assert parse_plan("I cannot plan this.").share == 0.0


@pytest.mark.parametrize(
    ("budget", "total"),
    [
        ("**Total Estimated Budget: 6,280.5 RMB**", 6280.5),
        ("- **Total Estimated Budget**: ¥1 + ¥2 = ¥3", 3),
        ("总预算：100 + 200 = 300元", 300),
        ("**总计预算: ￥5484元**", 5484),
        ("- 总计：480元\n**Total Estimated Budget: ￥1,213 元**", 1213),
        ("**总预算 (Total Estimated Budget):**\n￥3 + ￥4 = **￥7**", 7),
        ("- 总计：480元", 480),
        ("Transport: 5", None),
        ("", None),
    ],
)
def test_totals(budget: str, total: float | None) -> None:
    parsed = parse_plan(f"Day 1:\n09:00-10:00 | meal | Lunch, Total Budget 9, ¥5\n\n{budget}\n")
    assert parsed.plan["budget_summary"]["total_estimated_budget"] == total


def test_days_are_not_found_in_the_budget() -> None:
    parsed = parse_plan(f"{written(good_plan())}\n- Day 2 lunch: 30\n**Day 3: ¥30**\nDay 3 30*2 = 60\n")
    assert len(parsed.plan["daily_plans"]) == 3 and len(parsed.plan["daily_plans"][2]) == 3


LINES = st.sampled_from(written(good_plan()).splitlines() + written(good_plan(), True).splitlines())


@settings(deadline=None)
@given(st.lists(LINES | st.text(), max_size=12).map("\n".join))
def test_no_text_raises(text: str) -> None:
    parsed = parse_plan(text)
    assert 0.0 <= parsed.share <= 1.0 and len(parsed.unread) <= parsed.activities
    official_score(copy.deepcopy(parsed.plan), GOLD, town())


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_recorded_texts_score_as_another_model_read_them() -> None:
    """Two texts differ: there a remark in brackets stands after a name, which the other model dropped."""
    agreement = judge_texts(TRAVEL)
    assert (agreement.plans.total(), agreement.equal.total()) == (46, 44)
    assert (agreement.checks, agreement.checks_equal) == (966, 963)


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_every_plan_of_the_planner_comes_back() -> None:
    with gzip.open(TRAVEL / "judged_plans.jsonl.gz", "rt", encoding="utf-8") as lines:
        records = [record for record in map(json.loads, lines) if record["source"].startswith("planner")]
    assert len(records) == 184
    for record in records:
        parsed = parse_plan(written(record["plan"], record["language"] == "zh"))
        assert parsed.plan["daily_plans"] == record["plan"]["daily_plans"]
