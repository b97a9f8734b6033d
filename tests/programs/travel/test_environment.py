"""Both forms of a trip as environments: what is read before planning, what rules and wishes say, how days are kept."""

from __future__ import annotations

import time
from contextlib import nullcontext
from datetime import date
from typing import Any

import pytest

from pivot_dspy import Pivot, ToolError, Trajectory
from pivot_dspy.environment.factory import SessionFactory
from programs.deepplanning.travel import rules
from programs.deepplanning.travel.builder_form import TripBuilder
from programs.deepplanning.travel.environment import TravelEnvironment, World, standing_rules
from programs.deepplanning.travel.json_form import WrittenPlan
from programs.deepplanning.travel.request import Journey, read_journey, read_people
from programs.deepplanning.travel.strict import strict_score
from programs.deepplanning.travel.trip_plan import TripPlan
from tests.programs.travel.made_trip import GOLD, atlas, database
from tests.scripted import plan, scripted, step, submit

REQUEST = (
    "We are five people and travel from Aville to Bton on May 1, 2026, returning on the 4th. Take the train there. "
    "Three rooms at the cheapest hotel, please, and we want to see the Museum."
)
WISHES = [
    {"id": "R1", "check": "trip", "args": {"way": "out", "mode": "train", "where": [["dep", "<", "07:00"]]}},
    {"id": "R2", "check": "hotel", "args": {"best": ["min", "price"]}},
    {"id": "R3", "check": "visit", "args": {"where": [["name", "==", "Museum"]]}},
]
DAYS = {
    1: [["A1"], ["R1", "12:30"], ["R3", "17:00"]],
    2: [["A2"], ["R2", "12:00"], ["A3"], ["R4", "18:00"]],
    3: [["A6"], ["R5", "12:00"], ["A4", None, 1], ["R6", "17:00"]],
    4: [["A5", "19:00", 2]],
}
DATES = {"depart": "2026-05-01", "back": "2026-05-04"}
START = step("s", "start", origin="Aville", destination="Bton", **DATES, people=5, rooms=3)


def steps(**days: list[list[Any]]) -> list[dict[str, Any]]:
    """A whole plan, on some days with other stops: d2=[...]."""
    stops = {number: days.get(f"d{number}", DAYS[number]) for number in (1, 2, 3)} | {4: days.get("d4", [])}
    return [
        START,
        step("o", "go", way="out", number="$R1[0].number"),
        step("b", "go", way="back", number="G2"),
        step("h", "stay", hotel="$R2[0].id"),
        *(step(f"d{number}", "day", day=number, stops=each) for number, each in stops.items() if each),
        step("p", "itinerary"),
        submit(plan="$p"),
    ]


WORLD = World(database())


def run(form: type[TravelEnvironment] = TripBuilder, request: str = REQUEST, **answers: Any) -> tuple[Any, Any]:
    pivot = Pivot(TripPlan, lambda: form(WORLD, request), requirements=standing_rules(), restarts=0)
    pivot.set_lm(lm := scripted(**{"audit": {"changes": []}, **answers}))
    return pivot(request=request), lm.engine


def begun(form: type[TravelEnvironment] = TripBuilder) -> Any:
    environment = form(WORLD, REQUEST)
    environment.start("Aville", "Bton", date(2026, 5, 1), date(2026, 5, 4), 5, 3)
    return environment


def test_a_trip_in_one_call_of_which_nothing_is_left_to_a_judge():
    result, engine = run(plan=plan(steps(), WISHES))
    assert result.verdict.status == "checked", result.verdict.reasons
    assert engine.count() == 1 and {entry.by for entry in result.verdict.established} == {"check", "rule"}
    score = strict_score(result.plan, GOLD, database())
    assert score.true_to_database and score.official.commonsense == 1.0
    assert result.trajectory.ids[:3] == ("s", "R1", "o")


def test_the_prompt_of_a_trip(snapshot):
    _, engine = run(plan=plan(steps(), WISHES))
    snapshot("travel_plan.txt", engine.prompts[0].text)


def test_the_prompt_of_a_day_that_is_rewritten(snapshot):
    mended = {"diagnosis": "Day 2.", "requirements": [], "steps": [steps()[5], {"keep": ["d3", "p", "submit"]}]}
    _, engine = run(plan=plan(steps(d2=[["A2"], ["A3"]]), WISHES), evolve=mended)
    snapshot("travel_evolve.txt", engine.prompts[1].text.rpartition("The steps were run")[2])


BROKEN = {
    "a day without meals": ("meals", {"d2": [["A2"], ["A3"]]}),
    "a visit that is too long": ("lengths", {"d2": [["A2", None, 3.5], ["R2", "13:00"], ["A3"], ["R4", "18:00"]]}),
    "a closed restaurant": ("hours", {"d2": [["A3", "17:00", 1], ["A2"], ["R2"], ["R4", "23:00"]]}),
    "a restaurant for the second time": ("repeats", {"d2": [["A2"], ["R1", "12:00"], ["A3"], ["R4", "18:00"]]}),
    "too little to see": ("visits", {"d2": [["A3"], ["R2", "12:00"], ["R4", "18:00"]]}),
    "meals in a row": ("meals", {"d2": [["A2"], ["A3"], ["R2", "16:00"], ["R4", "17:00"]]}),
}


@pytest.mark.parametrize(("about", "days"), BROKEN.values(), ids=BROKEN)
def test_the_day_that_breaks_a_rule_is_blamed_and_rewritten_alone(about, days):
    rest = [steps()[5], {"keep": ["d3", "p", "submit"]}]
    mended = {"diagnosis": "Day 2.", "requirements": [], "steps": [{"keep": "d1"}, *rest]}
    result, engine = run(plan=plan(steps(**days), WISHES), evolve=mended)
    assert result.verdict.status == "checked", result.verdict.reasons
    gradient = next(event.gradient for event in result.history if event.kind == "gradient")
    assert gradient.step == ("d1" if about == "repeats" else "d2")  # of two that are the same, the first
    assert f"{about}: plan_rules" in engine.prompts[1].section("report")
    first, last = result.history[0].trajectory, result.trajectory
    kept = {step.id: step for step in first.steps}
    assert all(step == kept[step.id] for step in last.steps if step.id != "d2")


def test_what_was_kept_is_not_run_again():
    mended = {"diagnosis": "Day 2.", "requirements": [], "steps": [steps()[5], {"keep": ["d3", "p", "submit"]}]}
    result, _ = run(plan=plan(steps(d2=[["A2"], ["A3"]]), WISHES), evolve=mended)
    again = [event.execution for event in result.history if event.kind == "inspect"][1]
    assert [seen.step for seen in again.observations if seen.reused] == ["s", "R1", "o", "b", "R2", "h", "d1"]


def test_a_tie_on_a_wish_is_named_in_the_first_report():
    early = [["arr", "<", "12:00"], ["arr_day", "==", 0]]
    loose = [{"id": "R1", "check": "trip", "args": {"way": "out", "mode": "train", "where": early}}, *WISHES[1:]]
    every = {"keep": [each["id"] for each in steps()[1:]]}
    stands = {"diagnosis": "Any train will do.", "requirements": [], "steps": [every]}
    _, engine = run(plan=plan(steps(), loose), evolve=stands)
    assert "fit it equally well" in engine.prompts[1].section("report") and engine.count() == 2


def test_a_plan_that_is_written_out_is_held_to_the_same():
    built, _ = run(plan=plan(steps(), WISHES))
    written = [START, step("w", "propose", plan=built.plan), submit(plan="$w")]
    result, engine = run(WrittenPlan, plan=plan(written, WISHES))
    assert result.verdict.status == "checked" and engine.count() == 1, result.verdict.reasons
    assert result.plan == built.plan

    first, second, *others = built.plan["daily_plans"]
    lacking = {**built.plan, "daily_plans": [first, {**second, "activities": second["activities"][:2]}, *others]}
    result, _ = run(WrittenPlan, plan=plan([START, step("w", "propose", plan=lacking), submit(plan="$w")], WISHES))
    assert next(event.gradient.step for event in result.history if event.kind == "gradient") == "w"

    wrong = {**built.plan, "budget_summary": {**built.plan["budget_summary"], "total_estimated_budget": 1}}
    result, _ = run(WrittenPlan, plan=plan([START, step("w", "propose", plan=wrong), submit(plan="$w")], WISHES))
    assert any(reason.startswith("requirement costs is not met") for reason in result.verdict.reasons)


@pytest.mark.parametrize("value", [None, [], {}, {"daily_plans": None}, {"daily_plans": [{"activities": None}]}, "no"])
def test_a_plan_of_any_shape_is_scored_and_never_raises(value):
    environment = begun(WrittenPlan)
    environment.written = value
    for about in rules.ABOUT:
        answer = environment.plan_rules(about)
        assert not answer.holds or answer.evidence
    assert not environment.budget(100).holds or environment.budget(100).evidence
    assert environment.describe() == "No plan is written." or "days is written" in environment.describe()


def test_what_lacks_a_place_is_about_the_day_that_comes_nearest_to_it():
    environment = begun()
    assert environment.visit([["name", "==", "Garden"]]).about == ("A3",)  # no day goes anywhere yet
    environment.day(1, DAYS[1])
    environment.day(2, [["A2"], ["R2", "12:00"]])
    answer = environment.visit([["name", "==", "Garden"]])
    assert answer.about == ("day 1",) and answer.evidence.endswith("lacking: A3 (5 min from R3 on day 1)")


def test_forks_are_apart_and_cheap():
    environment = begun()
    environment.day(1, DAYS[1])
    fork = environment.fork()
    fork.day(2, DAYS[2])
    assert fork.describe() != environment.describe() and environment.held is not fork.held
    assert fork.world is environment.world
    started = time.perf_counter()
    for _ in range(200):
        environment.fork()
    assert (time.perf_counter() - started) / 200 < 0.001


def test_mistakes_name_the_remedy():
    environment = TripBuilder(WORLD, REQUEST)
    for call in (lambda: environment.go("out", "G1"), lambda: environment.stay("H1"), lambda: environment.day(1, [])):
        with pytest.raises(ValueError, match=r"the first step is start\(\.\.\.\)"):
            call()
    environment = begun()
    with pytest.raises(ValueError, match="no trip 'G9' from Aville to Bton on 2026-05-01; direct ones: MU1, MU3"):
        environment.go("out", "G9")
    with pytest.raises(ValueError, match="no place 'Musem'; nearest names: .'Museum'"):
        environment.day(1, [["Musem"]])
    with pytest.raises(ValueError, match="the trip has the days 1 to 4"):
        environment.day(5, [])
    with pytest.raises(LookupError, match="no place 'Nowhere'"):
        environment.find_restaurants("Nowhere")
    assert environment.find_trips("Aville", "Bton", "2030-01-01") == []
    with pytest.raises(ValueError, match="brand"):
        environment.hotel([["brand", "==", "Hiltn"]])


def test_wishes_before_the_start_are_not_met():
    environment = TripBuilder(WORLD, REQUEST)
    assert not environment.trip("out").holds and not environment.plan_rules("trips").holds
    assert environment.describe() == "Nothing is started."


@pytest.mark.parametrize(
    "request_",
    [
        "From Aville to Bton on May 1, 2026, back on May 4.",
        "Aville - Bton, 2026-05-01 to 2026-05-04",
        "On 1 May 2026 from Aville to Bton, returning on the 4th.",
        "2026年5月1号从 Aville 去 Bton，4号回来",
        "From Àville to Btön on May 1, 2026, back on May 4.",
    ],
)
def test_cities_and_dates_are_read_where_the_request_names_them(request_):
    assert read_journey(request_, atlas()) == Journey("Aville", "Bton", "2026-05-01", "2026-05-04")


@pytest.mark.parametrize(
    ("request_", "people"),
    [
        ("We are 4 people.", 4),
        ("the three of us", 3),
        ("我们两个人去，订一间房", 2),
        ("共5位", 5),
        ("My wife and I", None),
        ("3 people, of whom one person cannot walk", None),
        ("", None),
    ],
)
def test_a_number_of_people_is_read_where_the_request_names_one(request_, people):
    assert read_people(request_) == people
    environment = TripBuilder(WORLD, request_)
    for number in (1, 2, 3, 4, 5):
        wrong = people not in (None, number)
        with pytest.raises(ToolError, match="people") if wrong else nullcontext():
            environment.start("Aville", "Bton", date(2026, 5, 1), date(2026, 5, 4), people=number)


@pytest.mark.parametrize("request_", ["A trip to Bton on May 1, 2026.", "From Aville to Bton in June.", ""])
def test_what_is_not_named_is_not_guessed(request_):
    assert read_journey(request_, atlas()) is None
    environment = TripBuilder(WORLD, request_)
    assert environment.orientation[0] == "find_hotels"
    session = SessionFactory(lambda: TripBuilder(WORLD, request_), timeout=None).open(None)
    assert session.toolbox.of_orientation(environment.orientation)
    session.family.close()


def test_a_trajectory_of_days_goes_to_json_and_back():
    result, _ = run(plan=plan(steps(), WISHES))
    assert Trajectory.from_json(result.trajectory.to_json()) == result.trajectory
