"""Trips shown: the days of a plan of any shape, in the terminal, as a sketch, and as a page that needs nothing else."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from pivot_dspy import Requirement
from programs.deepplanning.travel.loader import TravelTask
from programs.deepplanning.travel.scoring.tables import Tables
from programs.deepplanning.travel.showing.outcome import Checked, ShownTrip, shown_trip, wish_words
from programs.deepplanning.travel.showing.page import page
from programs.deepplanning.travel.showing.sketch import sketch
from programs.deepplanning.travel.showing.terminal import show_trip
from programs.deepplanning.travel.showing.view import Line, Point, ShownDay, ShownPlan, shown_plan
from programs.deepplanning.travel.strict import strict_score
from tests.programs.travel.town import GOLD, detailed, edited, good_plan, of_day, replaced, town

TOWN = town()
TABLES = Tables(TOWN)
ROW: dict[str, Any] = {
    "verified": True, "status": "checked", "reasons": [], "official_pass": True, "strict_pass": False, "lm_calls": 2,
    "prompt_tokens": 4000, "completion_tokens": 500, "commonsense": 1.0, "personalized": 1.0, "composite": 1.0,
}  # fmt: skip


def shown(plan: Any) -> ShownPlan:
    return shown_plan(plan, GOLD, TABLES)


def trip(plan: Any, request: str = "A trip to Bton, please.", **changes: Any) -> ShownTrip:
    task = TravelTask("en-7", "en", 7, request, lambda: TOWN)
    score = strict_score(plan, GOLD, TOWN)
    return shown_trip(task, GOLD, TABLES, plan=plan, score=score, result=None, row={**ROW, **changes})


def day_of(plan: ShownPlan, number: int) -> ShownDay:
    return plan.days[number - 1]


def line_of(plan: ShownPlan, number: int, kind: str) -> Line:
    return next(line for line in day_of(plan, number).lines if line.kind == kind)


def told(trip: ShownTrip, width: int = 100) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    show_trip(trip, console)
    return console.export_text()


# ------------------------------------------------------------------------------------------------------------ the view


def test_days_have_their_dates_and_lines() -> None:
    plan = shown(good_plan())
    assert [day.title for day in plan.days] == [
        "Day 1, Friday 1 May", "Day 2, Saturday 2 May", "Day 3, Sunday 3 May"
    ]  # fmt: skip
    train = line_of(plan, 1, "trip")
    assert (train.time, train.what, train.where) == ("07:00-09:00", "Train G1", "Aville Station → Bton Station")
    lunch = line_of(plan, 1, "meal")
    assert (lunch.what, lunch.where, lunch.cost) == ("Lunch", "Noodles", 106)  # two people
    assert line_of(plan, 1, "road").where == ""  # the lines around it say it


def test_the_costs_come_to_the_total_of_an_honest_plan() -> None:
    plan = shown(good_plan())
    assert plan.costs == {"trip": 400, "hotel": 400, "meal": 446, "visit": 170, "road": 195}
    assert sum(plan.costs.values()) == plan.total == 1611
    assert sum(line.cost or 0 for day in plan.days for line in day.lines) == 1611


def test_a_road_that_leads_elsewhere_is_told_with_both_ends() -> None:
    plan = shown(edited(detailed(1, "travel_city", to="Garden")))
    assert line_of(plan, 1, "road").where == "Bton Station → Garden"


def test_the_way_of_a_day_is_numbered_from_where_it_begins_to_the_hotel() -> None:
    plan = shown(good_plan())
    first = {point.name: point.marks for point in day_of(plan, 1).points}
    assert first == {
        "Bton Station": (1,), "Museum": (2,), "Noodles": (3,), "Garden": (4,), "Dumplings": (5,), "Inn": (6,)
    }  # fmt: skip
    second = {point.name: point.marks for point in day_of(plan, 2).points}
    assert second["Inn"] == (1, 6)  # one comes back to it
    assert [line.mark for line in day_of(plan, 2).lines if line.mark] == [2, 3, 4, 5, 6]
    last = {point.name: point.marks for point in day_of(plan, 3).points}
    assert list(last) == ["Inn", "Tower", "Cafe", "Bton Station"] and last["Bton Station"] == (4,)


def test_a_place_without_coordinates_has_no_mark() -> None:
    plan = shown(edited(detailed(1, "Museum", name="Nowhere")))
    assert next(line.mark for line in day_of(plan, 1).lines if line.where == "Nowhere") is None
    assert "Nowhere" not in [point.name for point in day_of(plan, 1).points]


@pytest.mark.parametrize(
    ("plan", "problem"),
    [
        (None, "There is no plan."),
        ([], "The plan cannot be read: the plan is no object."),
        ({}, "The plan has no days."),
        ({"daily_plans": ["Monday"]}, "The plan cannot be read: day 1 is no object."),
    ],
)
def test_a_plan_that_cannot_be_shown_says_why(plan: Any, problem: str) -> None:
    assert shown(plan).problem == problem and not shown(plan).days
    assert problem.removesuffix(".") in told(trip(plan)) and problem in page([trip(plan)], {**ROW}, "t", [])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
ACTIVITIES = st.fixed_dictionaries(
    {
        "time_slot": st.sampled_from(["09:00-10:00", "never", ""]) | st.text(max_size=9),
        "type": st.sampled_from(["meal", "attraction", "hotel", "travel_city", "travel_intercity_public", "x"]),
        "details": st.dictionaries(
            st.sampled_from(["name", "from", "to", "cost", "mode", "number", "description", "distance"]),
            st.text(max_size=9) | st.floats() | st.integers(),
            max_size=6,
        ),
    }
)


@given(
    st.lists(st.fixed_dictionaries({"current_city": st.text(max_size=9), "activities": st.lists(ACTIVITIES)}))
    | JSON
)
def test_a_plan_of_any_shape_is_shown(days: Any) -> None:
    made = trip({"daily_plans": days, "budget_summary": {"total_estimated_budget": days}})
    assert told(made) and page([made], {**ROW}, "Trips", []).endswith("</html>\n")


# ------------------------------------------------------------------------------------------------------------ in words


@pytest.mark.parametrize(
    ("check", "args", "words"),
    [
        ("trip", {"way": "both", "mode": "train"}, "trip both ways: by train"),
        ("trip", {"way": "out", "where": [["dep", ">=", "07:00"]], "best": ["min", "price"]},
         "trip out: dep ≥ 07:00, lowest price"),
        ("meal", {"near": "Museum", "where": [["tags", "contains", "Queue"]]}, "meal near Museum: tags has Queue"),
        ("visit", {"best": ["max", "rating"], "top": 3}, "visit: the 3 with the highest rating"),
        ("visit", {"where": [["name", "in", ["A", "B"]]]}, "visit: name is one of A, B"),
        ("budget", {"max": 900}, "budget: at most 900"),
        ("hotel", {"where": ["odd"]}, "hotel: odd"),
    ],
)  # fmt: skip
def test_wishes_in_words(check: str, args: dict[str, Any], words: str) -> None:
    assert wish_words(Requirement(id="R1", check=check, args=args)) == words


def test_the_benchmarks_checks_say_what_fails() -> None:
    good, bad = trip(good_plan()), trip(edited(detailed(2, "Pagoda", name="Museum", cost=40)))
    assert all(check.holds for check in good.scored)
    failed = {check.label: check.text for check in bad.scored if not check.holds}
    assert "Activity Diversity" in failed and "Museum" in failed["Activity Diversity"]


def test_the_terminal_shows_days_total_and_checks() -> None:
    text = told(trip(good_plan()))
    assert max(map(len, text.splitlines())) <= 100
    for words in ("en-7  checked", "Day 2, Saturday 2 May · Bton", "Train G1", "Total ¥1,611", "Hotel 400"):
        assert words in text
    assert "Benchmark: " in text and "✓ Route Consistency" in text and "Rules" not in text
    checked = trip(good_plan())
    checked = ShownTrip(**{**vars(checked), "rules": (Checked("meals", False, "Day 1: 0 meals"), Checked("x", None))})
    assert "Rules: 0 of 2 hold" in told(checked) and "✗ meals  Day 1: 0 meals" in told(checked)


def test_the_terminal_obeys_no_text_of_a_plan() -> None:
    evil = "\x1b[31mred\x1b[0m [bold]loud[/bold]"
    text = told(trip(edited(detailed(1, "Museum", name=evil)), request=evil))
    assert "\x1b" not in text and "[bold]loud[/bold]" in text


# ------------------------------------------------------------------------------------------------------------ the page

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=y>&amp;"


class Elements(HTMLParser):
    """What a page is made of."""

    VOID = ("meta", "br", "img", "input", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if re.fullmatch(r"h\d", tag):
            self.headings.append(int(tag[1]))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def values(self, attribute: str) -> Iterator[str]:
        return (attrs[attribute] or "" for _, attrs in self.tags if attribute in attrs)


@pytest.fixture(scope="module")
def made() -> Elements:
    several = [trip(good_plan()), trip(edited(detailed(2, "Pagoda", cost=1)), verified=False, reasons=["Too dear."])]
    several[1] = ShownTrip(**{**vars(several[1]), "id": "en-8"})
    return Elements(page(several, {**ROW}, "Trips", ["SIMULATED: a remark"]))


def test_a_page_has_landmarks_and_headings_in_order(made: Elements) -> None:
    tags = [tag for tag, _ in made.tags]
    assert [tags.count(name) for name in ("header", "nav", "main", "footer", "h1")] == [3, 1, 1, 1, 1]
    assert made.headings[0] == 1 and all(b <= a + 1 for a, b in zip(made.headings, made.headings[1:], strict=False))
    assert dict(made.tags)["html"] == {"lang": "en"}


def test_a_page_needs_nothing_else_and_its_links_lead_somewhere(made: Elements) -> None:
    ids = list(made.values("id"))
    assert len(set(ids)) == len(ids)
    assert all(link.startswith("#") and link[1:] in ids for link in made.values("href"))
    assert not list(made.values("src")) and not [tag for tag, _ in made.tags if tag in ("script", "link", "img")]
    assert all(name in ids for value in made.values("aria-labelledby") for name in value.split())
    assert any("default-src 'none'" in value for value in made.values("content"))


def test_every_table_and_sketch_is_labelled(made: Elements) -> None:
    assert all(attrs.get("scope") for tag, attrs in made.tags if tag == "th")
    sketches = [attrs for tag, attrs in made.tags if tag == "svg"]
    assert len(sketches) == 6 and all(attrs["role"] == "img" and attrs["aria-label"] for attrs in sketches)


def planted(where: str) -> Any:
    edits: dict[str, Callable[[Any], None]] = {
        "name": detailed(1, "Museum", name=EVIL),
        "slot": lambda plan: plan["daily_plans"][0]["activities"][2].update(time_slot=EVIL),
        "type": lambda plan: plan["daily_plans"][0]["activities"][2].update(type=EVIL),
        "mode": detailed(1, "travel_intercity_public", mode=EVIL, number=EVIL),
        "city": of_day(2, current_city=EVIL),
        "road": detailed(1, "travel_city", distance=EVIL),
    }
    return edited(edits[where])


@pytest.mark.parametrize("where", ["name", "slot", "type", "mode", "city", "road"])
def test_no_text_of_a_plan_becomes_markup(where: str) -> None:
    text = page([trip(planted(where), request=EVIL, reasons=[EVIL])], {**ROW}, EVIL, [EVIL])
    found = Elements(text)
    assert "<script" not in text and "&lt;script&gt;" in text
    assert not [tag for tag, attrs in found.tags if tag == "img" or any(name.startswith("on") for name in attrs)]


def test_a_sketch_escapes_names_and_keeps_its_marks_apart() -> None:
    points = tuple(Point(EVIL, "meal", 30.0 + at * 1e-7, 120.0, (at + 1,)) for at in range(5))
    drawn = sketch(ShownDay(1, "", "", (), points), EVIL)
    assert "<script" not in drawn and len(Elements(drawn).tags) > 10
    spots = [(float(x), float(y)) for x, y in re.findall(r'<text x="([\d.]+)" y="([\d.]+)">\d', drawn)]
    near = [abs(a - c) + abs(b - d) for at, (a, b) in enumerate(spots) for c, d in spots[:at]]
    assert len(spots) == 5 and min(near) > 20
    assert all(0 < x < 360 and 0 < y < 240 for x, y in spots)


@given(
    st.lists(
        st.tuples(st.floats(-80, 80), st.floats(-180, 180), st.integers(1, 9)), min_size=2, max_size=9
    )
)
def test_every_marker_stays_on_the_sketch(places: list[tuple[float, float, int]]) -> None:
    points = tuple(Point(f"{at}", "visit", y, x, (mark,)) for at, (y, x, mark) in enumerate(places))
    drawn = sketch(ShownDay(1, "", "", (), points), "arrow")
    assert "nan" not in drawn and "inf" not in drawn
    for x, y in re.findall(r'<rect x="(-?[\d.]+)" y="(-?[\d.]+)"', drawn):
        assert 0 <= float(x) <= 360 and 0 <= float(y) <= 240


def test_a_day_at_one_place_has_no_sketch() -> None:
    plan = shown(edited(replaced(2)))
    assert sketch(day_of(plan, 2), "arrow") == ""
