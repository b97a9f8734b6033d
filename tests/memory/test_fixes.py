"""Fixes: lessons that are applied to what a model writes, instead of being told to it."""

from __future__ import annotations

import re

import dspy
import jmespath
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from pivot_dspy import CodeActing, Entries, Lesson, Pivot, ReAct, Step, Trajectory, TrajectoryMemory
from pivot_dspy.learning.edits import edits
from pivot_dspy.memory.fixes import Fix, apply_fixes
from pivot_dspy.simulator import Rates
from pivot_dspy.simulator.slips import Surroundings, habit, situations
from programs.comparison.ablations import PivotWithoutPatches
from tests.memory.entries import SIZES, fixes
from tests.memory.test_refiners import every, made, run
from tests.refiners.loops import LARGE, REQUEST, RIGHT, WRONG
from tests.refiners.test_all_refiners import speaking
from tests.scripted import plan, rewrite, step
from tests.simulator.rooms import STEPS

CAPITALS = Lesson(
    environment="Store", trigger="find takes a size", mistake="it was written small", avoid="write it in capitals",
    tools=("find",), fix=Fix(tool="find", kind="upper", place="size"),
)  # fmt: skip
PRICE = Lesson(
    environment="Store", trigger="add compares", mistake="it used cost", avoid="in add the field is price, not cost",
    tools=("add",), fix=Fix(tool="add", kind="field", place="price", wrong="cost"),
)  # fmt: skip
MEMORY = Entries().add(CAPITALS, PRICE)
SMALL = [
    step("a", "find", color="red", size="l"),
    RIGHT[1],
    step("c", "add", product_id="min_by($b, &cost).id"),
    RIGHT[3],
]


def only(text: str, fix: Fix) -> str:
    return str(fix.applied(Step(id="z", tool=fix.tool, args={"of": text}), ["a", "b", "z"]).args["of"])


FIELDS = ("cost", "price", "item.cost", "result.cost.total", "costs", "rating.cost", '"cost"', "$a.cost")
conditions = st.sampled_from(FIELDS).map(lambda name: f"{name} > `2`") | st.just("contains(name, 'cost')")
expressions = st.tuples(st.lists(conditions, min_size=1, max_size=3), st.sampled_from(FIELDS)).map(
    lambda both: f"max_by($a[?{' && '.join(both[0])}], &{both[1]}).name"
)


@given(expressions)
def test_a_field_is_renamed_wherever_it_is_read_and_nowhere_else(text):
    fix = Fix(tool="buy", kind="field", place="price", wrong="cost")
    after = only(text, fix)
    assert only(after, fix) == after
    # Names joined by dots are one path: only that of the record itself is meant, and texts never are.
    kept = ("contains(name, 'cost')", "rating.cost", "result.cost.total", "costs")
    assert all(after.count(part) == text.count(part) for part in kept)
    assert not re.search(r"(?<![\w.'])(item\.|\$a\.)?\"?cost\b(?!')", after)


@given(st.lists(st.fixed_dictionaries({"cost": st.integers(0, 9), "name": st.text(max_size=3)}), min_size=1))
def test_the_renamed_expression_gives_of_renamed_records_what_it_gave(records):
    text = "$a[?cost > `3` && contains(name, 'a')] | sort_by(@, &cost)[].name"
    renamed = only(text, Fix(tool="buy", kind="field", place="price.net", wrong="cost"))
    moved = [{"price": {"net": one["cost"]}, "name": one["name"]} for one in records]
    before, after = (jmespath.search(said.replace("$a", "a"), {"a": data})
                     for said, data in ((text, records), (renamed, moved)))  # fmt: skip
    assert before == after


@given(fixes, st.dictionaries(st.sampled_from(["size", "cost", "x"]), st.text(max_size=8) | st.integers(), max_size=3))
def test_a_fix_changes_its_own_tool_and_place_once(fix, args):
    other = Step(id="a", tool="other", args=args)
    assert fix.applied(other, ["a"]) is other
    mine = Step(id="a", tool=fix.tool, args=args)
    after = fix.applied(mine, ["a"])
    assert fix.applied(after, ["a"]).args == after.args
    assert all(after.args[name] == args[name] for name in args if name != fix.place or not isinstance(args[name], str))


@pytest.mark.parametrize("seed", range(30))
def test_a_fix_learned_from_a_repair_undoes_the_same_habit_in_another_step(seed):
    around, habits = Surroundings(STEPS, ""), Rates(seed=seed).habits()
    right = STEPS[0]
    for name in situations(right, around.ids):
        wrong = habit(right, name, around, habits)
        learned = [change.fix for change in edits(Step(**wrong), Step(**right), around.ids) if change.fix]
        for fix in learned:
            assert fix.applied(Step(**{**wrong, "id": "again"}), around.ids) == Step(**{**right, "id": "again"})


def test_steps_that_have_been_run_stay():
    first = Trajectory(steps=tuple(Step(**one) for one in SMALL))
    child = first.replace_from(2, [Step(**SMALL[2]), Step(**SMALL[3])], operator="evolve")
    whole, used = apply_fixes(child, [CAPITALS.fix, PRICE.fix])
    assert (whole.operator, whole.parent) == ("evolve", first.id) and used == (CAPITALS.fix, PRICE.fix)
    assert [one.args for one in whole.steps] == [one["args"] for one in RIGHT]
    part, used = apply_fixes(child, [CAPITALS.fix, PRICE.fix], known=first.steps[:2])
    assert part.steps[0] == first.steps[0] and used == (PRICE.fix,)
    assert apply_fixes(whole, [CAPITALS.fix, PRICE.fix]) == (whole, ())


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "field", "place": "size"},
        {"kind": "field", "place": "size", "wrong": "size"},
        {"kind": "argument", "wrong": "size"},
        {"kind": "lower", "place": "size", "wrong": "x"},
        {"kind": "lower"},
        {"kind": "tool", "place": "size", "wrong": "search"},
        {"kind": "tool", "wrong": "find"},
        {"kind": "bold", "place": "size"},
    ],
)
def test_a_fix_that_says_nothing_is_refused(wrong):
    with pytest.raises(ValidationError):
        Fix(tool="find", **wrong)


def test_names_that_no_tool_knows_are_replaced_and_those_that_one_knows_stay():
    lesson = CAPITALS.model_copy(update={"id": "", "fix": Fix(tool="find", kind="tool", wrong="search_items")})
    known = CAPITALS.model_copy(update={"id": "k", "fix": Fix(tool="find", kind="tool", wrong="details")})
    renamed = CAPITALS.model_copy(update={"id": "r", "fix": Fix(tool="find", kind="argument", place="size", wrong="s")})
    swapped = CAPITALS.model_copy(
        update={"id": "s", "fix": Fix(tool="details", kind="argument", place="size", wrong="ids")}
    )
    steps = [step("a", "search_items", color="red", s="L"), *RIGHT[1:]]
    result, engine = run(Pivot, Entries(lessons=(lesson, known, renamed, swapped)), steps=steps)
    assert result.verified and list(result.trajectory.steps) == [Step(**one) for one in RIGHT]
    (mended,) = [event.message for event in result.history if event.kind == "fix"]
    assert mended.count("lesson ") == 2 and f"lesson {lesson.id}" in mended and "lesson r" in mended
    assert engine.last("plan").section("lessons").count("\n- ") == 1  # what cannot be applied is told, once


def test_what_is_mended_need_not_be_told():
    found = TrajectoryMemory(MEMORY.add(SIZES.model_copy(update={"id": "told", "avoid": "measure twice"}))).retrieve(
        REQUEST, "Store", ["find", "add"]
    )
    assert {lesson.id for lesson in found.fixes} == {CAPITALS.id, PRICE.id} and found.ids == ("told",)
    assert not TrajectoryMemory(MEMORY).retrieve(REQUEST, "Another").fixes
    assert TrajectoryMemory(MEMORY).retrieve(REQUEST, "Store", ["find"]).fixes == (CAPITALS,)


def test_a_field_that_some_result_has_is_not_renamed():
    """The catalogue names the fields of all results: what stands there may be meant."""
    field = PRICE.model_copy(update={"id": "", "fix": Fix(tool="add", kind="field", place="price", wrong="size")})
    steps = [*RIGHT[:2], step("c", "add", product_id="min_by($b[?size=='L'], &price).id"), RIGHT[3]]
    result, engine = run(Pivot, Entries().add(field), steps=steps)
    assert result.verified and "size=='L'" in result.trajectory.steps[2].args["product_id"]
    assert "price, not cost" in engine.last("plan").section("lessons") and result.retrieved == (field.id,)


@every
def test_what_a_model_always_gets_wrong_is_mended_without_another_call(kind):
    bare, _ = run(kind, Entries(), steps=RIGHT)
    result, engine = run(kind, MEMORY, steps=SMALL)
    if kind in (ReAct, CodeActing):  # they call tools as they go, and write no steps: they are told
        told = next(prompt for prompt in engine.prompts if prompt.phase in ("react", "code")).section("lessons")
        assert told.startswith("Often done wrong:\n- ") and "price, not cost" in told
        return
    assert result.verified and result.loss.total == bare.loss.total == 0
    assert [one.args for one in result.trajectory.steps] == [one["args"] for one in RIGHT]
    assert result.ledger.usage.lm_calls == bare.ledger.usage.lm_calls
    assert not any("lessons" in prompt.sections for prompt in engine.prompts)
    assert set(result.retrieved) == {CAPITALS.id, PRICE.id}
    mended = [event for event in result.history if event.kind == "fix"]
    assert mended and all("lesson " in event.message and event.trajectory is not None for event in mended)


def test_a_rewrite_is_mended_from_the_blamed_step_on_and_a_given_trajectory_stays():
    settled = {"requirements": [LARGE]}
    evolved = rewrite([SMALL[0], {"keep": ["b", "c", "submit"]}])
    lm = speaking(PivotWithoutPatches, plan=plan(WRONG, [LARGE]), settle=settled, evolve=evolved)
    with dspy.context(lm=lm):
        result = made(PivotWithoutPatches, MEMORY)(request=REQUEST)
        given = made(Pivot, MEMORY)(request=REQUEST, trajectory=Trajectory.model_validate({"steps": RIGHT}))
    assert result.verified and result.trajectory.steps[0].args["size"] == "L" and lm.engine.count("evolve") == 1
    assert not any(event.kind == "fix" for event in given.history)
