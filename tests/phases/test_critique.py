"""Critique, whole rewrite and reflection: what they are shown and how their answers are read."""

import pytest

from pivot_dspy.phases.critique import Critique
from pivot_dspy.phases.reflect import Reflect
from pivot_dspy.phases.rewrite import Rewrite, version
from tests.phases.showing import STEPS, TASK, asked, shown_of
from tests.scripted import step
from tests.stores import executed

FAULTS = ("Step c takes the dearest.", "The total is over 50.")


def criticised(faults, steps=STEPS):
    return asked(Critique(TASK), {"critique": {"faults": faults}}, view=shown_of(steps))


def rewritten(steps, earlier=True):
    shown = shown_of(STEPS)
    versions = [version(1, shown, ["Bad."])] if earlier else []
    return asked(Rewrite(TASK), {"rewrite": {"steps": steps}}, view=shown, faults=FAULTS, earlier_versions=versions)


def reflected(text):
    return asked(Reflect(TASK), {"reflect": {"reflection": text}}, view=shown_of(STEPS))


@pytest.mark.parametrize(
    ("name", "ask", "answer"), [("critique", criticised, []), ("rewrite", rewritten, []), ("reflect", reflected, "x")]
)
def test_the_prompt(snapshot, name, ask, answer):
    _, engine = ask(answer)
    snapshot(f"phases/{name}.txt", engine.prompts[0].text)
    assert engine.count() == 1 and "R2: total" in engine.prompts[0].section("report")


@pytest.mark.parametrize(
    ("said", "read"), [([], ()), (["", "  ", "Bad."], ("Bad.",)), (["a", "b"], ("a", "b")), ([" a\n"], ("a",))]
)
def test_empty_faults_are_none(said, read):
    assert criticised(said)[0].faults == read


def test_a_rewrite_keeps_nothing_by_reference():
    said, engine = rewritten([step("c", "add", product_id="p1"), {"keep": "submit"}])
    child = said.trajectory
    assert child.operator == "rewrite" and child.parent == executed(STEPS).execution.trajectory.id
    assert child.steps[0].args == {"product_id": "p1"} and child.steps[1].problem
    assert '"keep"' not in engine.prompts[0].text


def test_the_first_rewrite_shows_no_earlier_version():
    _, engine = rewritten([], earlier=False)
    assert "earlier_versions" not in engine.prompts[0].sections


def test_a_trajectory_without_steps_can_be_criticised():
    _, engine = criticised([], steps=[])
    assert engine.prompts[0].section("open_steps") == "none"
