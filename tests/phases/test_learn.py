"""LEARN: what it is shown of repairs, and how its answers are read."""

import dspy
import pytest

from pivot_dspy.learning.lessons import lessons_of
from pivot_dspy.phases.learn import Find, Learn
from tests.phases.showing import TASK
from tests.scripted import scripted, step, submit

REPAIRS = ["Blame: step a.\nBefore:\n{...} -> FAILED\nAfter:\n{...} -> 2 found", "Another."]


def learned(answer):
    lm = scripted(learn=answer)
    with dspy.context(lm=lm):
        return Learn(TASK)(inputs={"request": "Buy the cheapest red thing."}, repairs=REPAIRS), lm.engine


def test_the_prompt(snapshot):
    """A repair of a real run of Self-Refine, whose critique only a model can put into words."""
    from pivot_dspy import SelfRefine
    from tests.scripted import plan
    from tests.stores import Store

    steps = [step("a", "find", color="Red"), step("b", "add", product_id="$a.ids[0]"), submit(answer="$b.items[0]")]
    mended = [step("a", "find", color="red"), *steps[1:]]
    required = [{"id": "R1", "check": "item", "args": {"color": "red"}}]
    lm = scripted(
        plan=plan(steps, required), critique={"faults": ["a: colors are written small"]}, rewrite={"steps": mended},
        learn={"lessons": []},
    )  # fmt: skip
    with dspy.context(lm=lm):
        result = SelfRefine(TASK, Store)(request="Buy a red thing.")
        task = dspy.Example(request="Buy a red thing.").with_inputs("request")
        assert lessons_of(result, task, "Store", Learn(TASK)) == () and lm.engine.count("learn") == 1
    snapshot("phases/learn.txt", lm.engine.last("learn").text)


@pytest.mark.parametrize("written", [[], ["x", 3], [{"trigger": "t"}, ["x"]]])
def test_what_cannot_be_read_is_left_out(written):
    said, engine = learned({"lessons": written})
    assert said.lessons == [one for one in written if isinstance(one, dict)] and engine.count() == 1
    assert engine.prompts[0].section("repairs").startswith("Repair 1:\nBlame") and "Repair 2:" in engine.prompts[0].text


async def test_awaited():
    lm = scripted(learn={"lessons": [{"trigger": "t"}]}, find={"proposals": [{"text": "x"}]})
    with dspy.context(lm=lm):
        assert (await Learn(TASK).acall(inputs={"request": "x"}, repairs=REPAIRS)).lessons == [{"trigger": "t"}]
        assert (await Find().acall(checks="", policy="", cases=["x"])).proposals == [{"text": "x"}]
