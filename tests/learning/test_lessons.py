"""Lessons: from repairs to what a planner of another task can use."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Pivot
from pivot_dspy.episode.events import AcceptEvent, GradientEvent, InspectEvent
from pivot_dspy.gradient import Gradient
from pivot_dspy.learning.edits import edits
from pivot_dspy.learning.lessons import count_lessons, lessons_of, repairs
from pivot_dspy.loss import Loss
from pivot_dspy.memory.fixes import Fix
from pivot_dspy.phases.learn import Learn
from pivot_dspy.simulator import Rates, offline_lm
from pivot_dspy.simulator.slips import Surroundings, habit, situations
from pivot_dspy.trajectory import Execution, Observation, Step, Trajectory
from tests.learning.depot import SIGNATURE, Depot, bound, part, refined, said, task
from tests.scripted import scripted, step
from tests.simulator.rooms import REQUEST, STEPS, Book, Rooms, reference

PARTS = [part("AX-100", "Bolt"), part("BQ-200", "Bolt")]
SAID = "Reserve a Bolt."


def one(before, after, ids=("a", "b")):
    return edits(Step(**before), Step(**after), ids)


@pytest.mark.parametrize(
    ("before", "after", "place", "avoid"),
    [
        ({"kind": "bolt"}, {"kind": "BOLT"}, "kind", "write the argument kind of find in capitals"),
        ({"kind": " Bolt"}, {"kind": "Bolt"}, "kind", "without spaces"),
        ({"limit": 500}, {"limit": 50}, "limit", "exactly as it is asked for"),
        ({"limit": "50"}, {"limit": 50}, "limit", "exactly as it is asked for"),
        ({"kind": "Bolt"}, {"kind": ["Bolt"]}, "kind", "exactly as it is asked for"),
        ({"open": True}, {"open": False}, "open", "exactly as it is asked for"),
        ({}, {"kind": "Bolt"}, "kind", "give find its argument kind"),
        ({"kind": "Bolt", "x": 1}, {"kind": "Bolt"}, "x", "leave x out of find"),
        ({"kinds": "Bolt"}, {"kind": "Bolt"}, "kind", "the argument of find is kind, not kinds"),
        ({"kind": "Bolt-17"}, {"kind": "$a.kind"}, "kind", "bind the argument kind of find"),
        ({"kind": "$a[?colour=='red'].id"}, {"kind": "$a[?color=='red'].id"}, "color", "color, not colour"),
        ({"kind": "min_by($a, &cost).id"}, {"kind": "max_by($a, &cost).id"}, "cost", "choose the max by cost"),
    ],
)
def test_a_difference_names_tool_and_place_and_no_value(before, after, place, avoid):
    found = one(step("c", "find", **before), step("c", "find", **after))
    assert [(change.tool, change.place) for change in found] == [("find", place)] and avoid in found[0].texts[2]
    text = " ".join(found[0].texts)
    assert not any(value in text for value in ("Bolt", "BOLT", "50", "17", "red"))


@pytest.mark.parametrize(
    ("before", "after", "fix"),
    [
        ({"kind": "bolt"}, {"kind": "BOLT"}, ("upper", "kind", "")),
        ({"kind": ["Bolt", "Nut"]}, {"kind": ["bolt", "nut"]}, ("lower", "kind", "")),
        ({"kind": "bolt"}, {"kind": "Bolt"}, ("title", "kind", "")),
        ({"kind": " Bolt"}, {"kind": "Bolt"}, ("strip", "kind", "")),
        ({"kind": "$a[?colour=='red'].id"}, {"kind": "$a[?color=='red'].id"}, ("field", "color", "colour")),
        ({"sort": "Bolt"}, {"kind": "Bolt"}, ("argument", "kind", "sort")),
        ({"sort": "Bolt"}, {"kind": "Nut"}, None),
        ({"kind": "bolt m6"}, {"kind": "Bolt M6 x"}, None),
        ({"kind": "boltM6"}, {"kind": "BoltM6"}, None),
        ({"limit": 500}, {"limit": 50}, None),
        ({"kind": "min_by($a, &cost).id"}, {"kind": "max_by($a, &cost).id"}, None),
    ],
)
def test_what_can_be_mended_without_a_model_has_a_fix_that_mends_it(before, after, fix):
    wrong, right = step("c", "find", **before), step("c", "find", **after)
    found = [change.fix for change in one(wrong, right) if change.fix is not None]
    assert [(made.kind, made.place, made.wrong) for made in found] == ([fix] if fix else [])
    for made in found:
        assert made.applied(Step(**wrong), ["a", "c"]) == Step(**right)
        assert made.applied(Step(**right), ["a", "c"]) == Step(**right)


def test_a_tool_that_was_called_otherwise_has_a_fix_where_nothing_else_changed():
    (change,) = one(step("c", "search", kind="Bolt"), step("c", "find", kind="Bolt"))
    assert change.fix == Fix(tool="find", kind="tool", wrong="search")
    assert one(step("c", "search", kind="Bolt"), step("c", "find", kind="Nut")) == []


def test_what_was_chosen_by_hand_teaches_nothing():
    assert one(step("c", "reserve", part_id="min_by($b, &price).id"), step("c", "reserve", part_id="AX-100")) == []
    assert one(step("c", "find", kind="Bolt"), step("c", "find", kind="Bolt")) == []


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(STEPS[:3]), st.data())
def test_every_habit_of_the_simulated_model_is_told_by_its_repair(seed, right, data):
    around = Surroundings(STEPS, "")
    name = data.draw(st.sampled_from(situations(right, around.ids)))
    wrong = habit(right, name, around, Rates(seed=seed).habits())
    found = edits(Step(**wrong), Step(**right), around.ids)
    assert [(change.tool, change.place.rpartition(".")[2]) for change in found] == [(right["tool"], name)]


def test_a_repair_makes_a_lesson_by_rule():
    wrong = bound("Bolt")
    wrong[2]["args"]["part_id"] = "min_by($b, &cost).id"
    mended = [{"keep": ["a", "b"]}, bound("Bolt")[2], {"keep": "submit"}]
    result = refined(lambda: Depot(PARTS, {}), SAID, "Bolt", wrong, [mended])
    assert result.verified and len(list(repairs(result.history))) == 1
    (lesson,) = lessons_of(result, task(SAID, part="AX-100"), "Depot")
    assert lesson.by == "rule" and lesson.tools == ("reserve",)
    assert "the field is price, not cost" in lesson.avoid and "Bolt" not in said(lesson)
    again = lessons_of(result, task("Reserve a Bolt for me."), "Depot")
    assert [(one.id, count) for one, count in count_lessons([lesson, *again])] == [(lesson.id, 2)]


def test_what_a_model_blamed_is_put_into_words_by_one_call():
    wrong, right = (Trajectory(steps=(Step(id="a", tool="find", args={"kind": kind}),)) for kind in ("Bolt7", "Bolt"))
    runs = [Execution(trajectory=one, observations=(Observation(step="a", value={}),)) for one in (wrong, right)]
    blamed = Gradient(locus=0, step="a", kind="unexplained", diagnosis="The kind of AX-100 is off.", by="model")
    history = (
        InspectEvent(trajectory=wrong, execution=runs[0], loss=Loss()),
        AcceptEvent(trajectory=wrong, loss=Loss(total=0.5)),
        GradientEvent(trajectory=wrong, gradient=blamed),
        InspectEvent(trajectory=right, execution=runs[1], loss=Loss()),
        AcceptEvent(trajectory=right, loss=Loss(total=0.2)),
    )
    result = dspy.Prediction(history=history, execution=runs[1])
    answer = {
        "lessons": [
            {"trigger": "a kind is given", "mistake": "it was Bolt7", "avoid": "give find its kind", "tools": ["find"]},
            {"trigger": "", "mistake": "nothing", "avoid": "nothing"},
            "no lesson",
        ]
    }
    lm = scripted(learn=answer)
    with dspy.context(lm=lm):
        (lesson,) = lessons_of(result, task("Find a Bolt."), "Depot", Learn(SIGNATURE))
    assert lm.engine.count() == 1 and lesson.by == "model" and lesson.tools == ("find",)
    assert "Bolt7" not in said(lesson) and lessons_of(result, task("Find a Bolt."), "Depot") == ()


def test_without_feedback_or_progress_there_is_no_repair():
    first, second = (Trajectory(steps=(Step(id="a", tool="find", args={"kind": kind}),)) for kind in "xy")
    seen = [InspectEvent(trajectory=one, execution=Execution(trajectory=one), loss=Loss()) for one in (first, second)]
    start = AcceptEvent(trajectory=first, loss=Loss(total=0.5))
    blamed = GradientEvent(trajectory=first, gradient=Gradient(locus=0, step="a", kind="wrong_value", diagnosis="x"))
    for feedback, loss in (((), 0.1), ((blamed,), 0.5)):
        last = AcceptEvent(trajectory=second, loss=Loss(total=loss))
        assert not list(repairs((*seen, start, *feedback, last)))
    last = AcceptEvent(trajectory=second, loss=Loss(total=0.1))
    assert len(list(repairs((*seen, start, blamed, last)))) == 1


def test_lessons_of_runs_with_habits_avert_them():
    """The whole way round in a small world: what was learned of a habit is heeded by the next plan."""
    lm = offline_lm([reference()], slip=0.0, systematic=1.0, heed=1.0, seed=1, cache=False)
    pivot = Pivot(Book, Rooms, max_iters=12, patience=6)
    pivot.set_lm(lm)
    result = pivot(request=REQUEST)
    found = lessons_of(result, task(REQUEST), "Rooms")
    assert found and all(lesson.tools for lesson in found)
    pivot.memory.entries = pivot.memory.entries.add(*found)
    again = pivot(request=REQUEST)
    losses = [next(e.loss.total for e in one.history if e.kind == "accept") for one in (result, again)]
    assert losses[1] < losses[0]
