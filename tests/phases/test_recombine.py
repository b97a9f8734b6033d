"""Transfer and restructure: what they are shown and how their answers are read."""

import pytest

from pivot_dspy.phases.recombine import Restructure, Transfer
from tests.phases.showing import STEPS, TASK, asked, shown_of
from tests.scripted import step, submit

WORSE = [step("a", "find", color="blue"), step("b", "details", ids="$z.ids"), submit(answer="none")]
ANSWER = {"summary": " The first finds red things. ", "steps": STEPS}


def recombined(phase, *every, answer=ANSWER):
    """The prediction of a phase that is shown runs of `every` trajectory, its engine, and the runs."""
    runs = [shown_of(steps) for steps in every]
    return *asked(phase(TASK), {"recombine": answer}, runs=runs), runs


@pytest.mark.parametrize(("phase", "name"), [(Transfer, "transfer"), (Restructure, "restructure")])
def test_the_prompt(snapshot, phase, name):
    said, engine, runs = recombined(phase, STEPS, WORSE)
    snapshot(f"phases/{name}.txt", engine.prompts[0].text)
    assert engine.count() == 1 and said.summary == "The first finds red things."
    assert said.trajectory.operator == name and said.trajectory.parent == runs[1].execution.trajectory.id
    assert [one.content() for one in said.trajectory.steps] == STEPS


def test_each_trajectory_stands_beside_its_report():
    _, engine, _ = recombined(Restructure, STEPS, WORSE, [])
    shown, reports = (engine.prompts[0].section(name) for name in ("trajectories", "reports"))
    for number in (1, 2, 3):
        assert shown.count(f"Trajectory {number}:") == reports.count(f"Trajectory {number}:") == 1
    assert shown.endswith("Trajectory 3:\nnone") and "no earlier step is called 'z'" in shown and "Cart: p4" in reports


def test_steps_that_cannot_be_read_are_told():
    written = {"summary": "", "steps": [{"keep": "a"}, submit(answer="x")]}
    said, _, _ = recombined(Transfer, STEPS, WORSE, answer=written)
    assert said.trajectory.steps[0].problem and said.trajectory.submit is not None
