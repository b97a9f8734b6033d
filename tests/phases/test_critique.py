"""Critique, whole rewrite and reflection: what they are shown and how their answers are read."""

import dspy
import pytest

from pivot_dspy import requirements as module
from pivot_dspy.phases.critique import Critique
from pivot_dspy.phases.reflect import Reflect
from pivot_dspy.phases.rewrite import Rewrite, version
from tests.phases.test_evolve import CATALOGUE, SETTLED, STEPS, TASK
from tests.scripted import executed, scripted, step

FAULTS = ("Step c takes the dearest.", "The total is over 50.")


def asked(phase, steps=STEPS, **options):
    """The prediction of a phase, and its engine."""
    scripts = {name: options.pop(name) for name in ("critique", "rewrite", "reflect") if name in options}
    run = executed(steps)
    lm = scripted(**scripts)
    shown = {} if phase is Reflect else {"catalogue": CATALOGUE}
    if phase is Rewrite:
        shown |= {"faults": FAULTS, "earlier_versions": [version(1, run.execution, run.session.environment, ["Bad."])]}
    with dspy.context(lm=lm):
        said = phase(TASK)(
            inputs={"request": "Buy the cheapest red thing."},
            execution=run.execution,
            environment=run.session.environment,
            requirements=SETTLED,
            findings=module.evaluate(SETTLED, run.execution, run.session),
            **{**shown, **options},
        )
    return said, lm.engine


@pytest.mark.parametrize(
    ("phase", "name", "answer"),
    [
        (Critique, "critique", {"faults": []}),
        (Rewrite, "rewrite", {"steps": []}),
        (Reflect, "reflect", {"reflection": "x"}),
    ],
)
def test_the_prompt(snapshot, phase, name, answer):
    _, engine = asked(phase, **{name: answer})
    snapshot(f"phases/{name}.txt", engine.prompts[0].text)
    assert engine.count() == 1 and "R2: total" in engine.prompts[0].section("report")


@pytest.mark.parametrize(
    ("said", "read"), [([], ()), (["", "  ", "Bad."], ("Bad.",)), (["a", "b"], ("a", "b")), ([" a\n"], ("a",))]
)
def test_empty_faults_are_none(said, read):
    assert asked(Critique, critique={"faults": said})[0].faults == read


def test_a_rewrite_keeps_nothing_by_reference():
    said, engine = asked(Rewrite, rewrite={"steps": [step("c", "add", product_id="p1"), {"keep": "submit"}]})
    child = said.trajectory
    assert child.operator == "rewrite" and child.parent == executed(STEPS).execution.trajectory.id
    assert child.steps[0].args == {"product_id": "p1"} and child.steps[1].problem
    assert '"keep"' not in engine.prompts[0].text


def test_the_first_rewrite_shows_no_earlier_version():
    _, engine = asked(Rewrite, rewrite={"steps": []}, earlier_versions=[])
    assert "earlier_versions" not in engine.prompts[0].sections


def test_a_trajectory_without_steps_can_be_criticised():
    _, engine = asked(Critique, [], critique={"faults": []})
    assert engine.prompts[0].section("open_steps") == "none"
