import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from pivot_dspy.phases.plan import Plan
from pivot_dspy.phases.settle import PlanningInput
from pivot_dspy.prompts.catalogue import render
from pivot_dspy.requirements import Requirement
from tests.phases.showing import TASK, TOOLBOX, asked
from tests.scripted import GARBAGE, plan, scripted, step, submit
from tests.stores import Store

REQUEST = "Buy the cheapest red thing of size L."
STEPS = [
    step("a", "find", color="red", size="L"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="min_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
REQUIREMENTS = [
    {"id": "R1", "check": "item", "args": {"color": "red", "size": "L"}},
    {"id": "R2", "text": "It is cheap."},
]


def catalogue(**changes):
    known = {"policy": Store.policy, "vocabulary": Store.vocabulary, "known": 'colors() -> ["blue", "red"]', **changes}
    return render(TOOLBOX, TASK, **known)


PLANNING = PlanningInput({"request": REQUEST}, catalogue(), TOOLBOX)


def planned(answer, **told):
    return asked(Plan(TASK), {"plan": answer}, planning=PLANNING._replace(**told))


def test_a_plan_is_a_trajectory_and_its_requirements():
    said, engine = planned(plan(STEPS, REQUIREMENTS))
    assert said.trajectory.ids == ("a", "b", "c", "submit") and said.trajectory.operator == "plan"
    assert [(item.id, item.check, item.text) for item in said.requirements] == [
        ("R1", "item", ""),
        ("R2", None, "It is cheap."),
    ]
    assert engine.count() == 1


def test_the_prompt(snapshot):
    given = (Requirement(id="U1", text="Spend at most 50.", origin="user"),)
    _, engine = planned(plan(STEPS), given=given, lessons="Sizes are written in capitals.")
    snapshot("phases/plan.txt", engine.prompts[0].text)
    assert len(engine.prompts[0].text) // 4 < 1350


def test_what_changes_comes_last():
    _, engine = planned(plan(STEPS), lessons="Look twice.")
    assert list(engine.prompts[0].sections) == ["tools", "checks", "policy", "lessons", "known", "request"]


def test_sections_that_are_empty_are_left_out():
    _, engine = planned(plan(STEPS), catalogue=catalogue(policy="", known=""))
    assert list(engine.prompts[0].sections) == ["tools", "checks", "request"]


def test_steps_that_are_wrong_are_part_of_the_plan():
    said, _ = planned(plan([{"id": "a", "tool": "fly"}, {"id": "a", "tool": "find"}, {"no": "step"}]))
    assert [step.problem is None for step in said.trajectory.steps] == [True, False, False]


def test_requirements_of_the_user_keep_their_names():
    given = (Requirement(id="R1", text="Mine.", origin="user"),)
    said, _ = planned(plan(STEPS, REQUIREMENTS), given=given)
    assert [item.id for item in said.requirements] == ["R1_", "R2"]


def test_an_answer_that_cannot_be_read_is_an_error_of_the_adapter():
    with pytest.raises(AdapterParseError):
        planned(GARBAGE)


async def test_it_can_be_awaited():
    lm = scripted(plan=plan(STEPS))
    with dspy.context(lm=lm):
        said = await Plan(TASK).acall(planning=PLANNING)
    assert len(said.trajectory) == 4


def test_a_task_with_several_inputs_of_any_type_is_shown():
    class Two(dspy.Signature):
        """Compare."""

        picture: dspy.Image = dspy.InputField()
        words: list[str] = dspy.InputField()
        same: bool = dspy.OutputField()

    inputs = {"picture": dspy.Image(url="https://example.org/a.png"), "words": ["x", "y"]}
    planning = PlanningInput(inputs, render(TOOLBOX, Two, policy="", vocabulary="", known=""), TOOLBOX)
    said, engine = asked(Plan(Two), {"plan": plan([submit(same=True)])}, planning=planning)
    assert said.trajectory.submit.args == {"same": True}
    assert '["x", "y"]' in engine.prompts[0].text
