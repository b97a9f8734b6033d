"""What ACT is shown, and how the one step that it writes is read."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.phases.act import Act
from tests.phases.showing import STEPS, TASK, asked, shown_of
from tests.scripted import step, submit
from tests.stores import executed

NEXT = {"thought": "It goes in the cart.", "step": step("c", "add", product_id="min_by($b, &price).id")}


def acted(answer=NEXT, steps=STEPS[:2], **options):
    said, engine = asked(Act(TASK), {"act": answer}, view=shown_of(steps), **options)
    return said.trajectory, engine


def test_the_prompt(snapshot):
    siblings = [shown_of([*STEPS[:2], step("c", "add", product_id=bad)]) for bad in ("p9", "p3")]
    _, engine = acted(lessons="- Trial 1:\nTake the cheapest.", siblings=siblings)
    prompt = engine.prompts[0]
    snapshot("phases/act.txt", prompt.text)
    assert prompt.section("siblings").count("\n{") == 1 and "FAILED tool_error" in prompt.section("siblings")
    assert list(prompt.sections).index("request") < list(prompt.sections).index("lessons")


def test_the_first_prompt_says_that_nothing_has_run_and_what_holds():
    _, engine = acted(steps=[])
    assert engine.prompts[0].section("steps_so_far") == "none yet"
    assert engine.prompts[0].section("holding") == 'R2: total {"max": 50}'
    assert "R1: item" in engine.prompts[0].section("report")
    assert not {"siblings", "lessons"} & engine.prompts[0].sections.keys()


def test_the_step_goes_on_from_the_steps_so_far_and_keeps_the_thought():
    trajectory, _ = acted()
    before = executed(STEPS[:2]).execution.trajectory
    assert trajectory.common_prefix(before) == 2 and trajectory.ids == ("a", "b", "c")
    assert trajectory.parent == before.id and trajectory.operator == "extend"
    assert trajectory.steps[-1].why == "It goes in the cart." and trajectory.steps[-1].problem is None


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ({"keep": "a"}, "needs the name of its tool"),
        ({}, "needs the name of its tool"),
        ({"look": "$a"}, "needs the name of its tool"),
        (step("a", "colors"), "already taken"),
        ({"id": "c", "tool": "find", "args": 7}, "args is an object"),
    ],
)
def test_what_cannot_be_read_is_a_step_with_its_problem(written, problem):
    trajectory, _ = acted({"thought": "", "step": written})
    assert len(trajectory) == 3 and problem in trajectory.steps[-1].problem


KEYS = ["id", "tool", "args", "for_each", "why", "keep", "look", "x"]


@given(st.dictionaries(st.sampled_from(KEYS), st.text() | st.none()))
def test_whatever_is_written_is_one_step(written):
    trajectory, _ = acted({"thought": "x", "step": written})
    assert len(trajectory) == 3 and len(set(trajectory.ids)) == 3


def test_submit_ends_it():
    trajectory, _ = acted({"thought": "Done.", "step": submit(answer="$b[0].id")})
    assert trajectory.submit is not None
