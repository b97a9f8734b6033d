from datetime import date
from enum import Enum
from typing import Literal

import dspy
import pytest
from pydantic import BaseModel

from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.phases.compose import Compose
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Step, Trajectory
from tests.phases.showing import asked, shown
from tests.scripted import step, submit
from tests.stores import executed

TASK = dspy.Signature("request -> answer, price: int", "Buy what is asked for.")
OUTPUTS = {"answer": str, "price": int}
STEPS = [step("a", "find", color="red", size="L"), step("b", "add", product_id="$a.ids[0]"), submit(price="$b.price")]


def composed(said, steps=STEPS, task=TASK, outputs=OUTPUTS):
    run = executed(steps, outputs=outputs)
    answer = {"considerations": "The cart holds p2.", **said}
    told = shown(run, Requirements(), {"request": "Buy something red."})
    composed, engine = asked(Compose(task), {"compose": answer}, view=told)
    return composed.trajectory, run, engine


def test_what_is_missing_is_filled_in_and_what_is_bound_stays():
    child, run, engine = composed({"answer": "p2 is in the cart."})
    assert child.submit.args == {"price": "$b.price", "answer": "p2 is in the cart."}
    assert (child.parent, child.operator) == (run.execution.trajectory.id, "compose")
    assert child.common_prefix(run.execution.trajectory) == 2
    assert engine.count() == 1 and "`price`" not in engine.prompts[0].text


def test_the_prompt(snapshot):
    _, _, engine = composed({"answer": "x"})
    snapshot("phases/compose.txt", engine.prompts[0].text)
    assert "State:\n| Cart: p2" in engine.prompts[0].section("observations")


def test_where_there_is_no_submit_one_is_added():
    child, _, _ = composed({"answer": "x", "price": 40}, STEPS[:2])
    assert child.ids == ("a", "b", "submit") and child.submit.args == {"answer": "x", "price": 40}


def test_a_step_that_is_called_submit_does_not_stand_in_the_way():
    child, _, _ = composed({"answer": "x", "price": 40}, [step("submit", "find")])
    assert child.ids == ("submit", "submit_2") and child.submit.id == "submit_2"


def test_what_is_worded_is_never_read_as_a_binding():
    child, run, _ = composed({"answer": "It costs $b.price, or $40."})
    again = run_sync(execute(child, run.session, outputs=OUTPUTS))
    assert again.execution.outputs["answer"] == "It costs $b.price, or $40."


class Color(Enum):
    RED = "red"


class Item(BaseModel):
    id: str
    bought: date
    color: Color


@pytest.mark.parametrize(
    ("annotation", "said", "value"),
    [
        (int, 7, 7),
        (list[str], ["$b", "y"], ["$b", "y"]),
        (
            Item,
            {"id": "p", "bought": "2026-03-12", "color": "red"},
            Item(id="p", bought=date(2026, 3, 12), color=Color.RED),
        ),
        (list[Item], [{"id": "p", "bought": "2026-03-12", "color": "red"}], None),
        (Literal["yes", "no"], "yes", "yes"),
        (date, "2026-03-12", date(2026, 3, 12)),
        (Color, "red", Color.RED),
        (bool, True, True),
        (int | None, None, None),
        (dict[str, int], {"a": 1}, {"a": 1}),
    ],
)
def test_outputs_of_any_type_survive_the_way_through_the_plan(annotation, said, value):
    task = dspy.Signature({"request": (str, dspy.InputField()), "items": (annotation, dspy.OutputField())})
    child, run, _ = composed({"items": said}, [submit()], task, {"items": annotation})
    child = Trajectory.from_json(child.to_json())
    again = run_sync(execute(child, run.session, outputs={"items": annotation})).execution
    assert again.missing_outputs == () and not again.discrepancies
    assert again.outputs["items"] == (value if value is not None or said is None else again.outputs["items"])


def test_all_fields_may_be_missing():
    child, _, _ = composed({"answer": "y", "price": 4}, [Step(id="submit", tool="submit").model_dump()])
    assert child.submit.args == {"answer": "y", "price": 4}
