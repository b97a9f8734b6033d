import itertools
import json

import dspy
import pytest

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.environment.from_class import toolbox_of
from pivot_dspy.execution import allow
from pivot_dspy.phases.base import RunView
from pivot_dspy.phases.inspect import inspect
from pivot_dspy.phases.verify import Judgement, Verdict, Verify, shortcomings
from pivot_dspy.prompts.catalogue import render
from pivot_dspy.requirements import Finding, Requirement, Requirements
from tests.scripted import Store, executed, scripted, step, submit

TASK = dspy.Signature("request -> answer", "Buy what is asked for.")
STEPS = [
    step("a", "find", color="red", size="L"),
    step("b", "add", product_id="$a.ids[0]"),
    submit(answer="$b.items[0]"),
]
RED = Requirement(id="R1", check="item", args={"color": "red"})
NICE = Requirement(id="R2", text="It is nice.")
CHEAP = Requirement(id="R3", text="It is the cheapest.")


def inspected(steps=STEPS, *items, environment=Store, **told):
    settled = Requirements(items=items)
    return inspect(executed(steps, environment), settled, {"request": "Buy something red."}, **told), settled


def verified(inspection, settled, environment=Store, permit=allow):
    session = SessionFactory(environment, timeout=None).open(None)
    phase = Verify(TASK)
    said = phase(inspection=inspection, requirements=settled, session=session, outputs={"answer": str}, permit=permit)
    return said.verdict


def viewed(inspection, settled, inputs):
    catalogue = render(toolbox_of(Store), TASK, policy=Store.policy, vocabulary="", known="")
    return RunView(inputs, catalogue, inspection.execution, Store(), settled, inspection.findings)


def judged(answer, *items):
    inspection, settled = inspected([*STEPS[:2], submit(answer="p2 costs 40 and weighs 9 kg.")], *items)
    lm = scripted(judge=answer)
    with dspy.context(lm=lm):
        said = Verify(TASK).judge(viewed(inspection, settled, {"request": "Buy something red."}))
        try:
            while True:
                effect = next(said)
                effect = said.send(effect.call())
        except StopIteration as stop:
            return stop.value, lm.engine


def test_what_runs_the_same_way_again_and_lacks_nothing_is_verified():
    verdict = verified(*inspected(STEPS, RED))
    assert verdict == Verdict(verified=True)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def told(requirement, status):
    return Finding(requirement=requirement.id, status=status, evidence="seen")


@pytest.mark.parametrize(
    ("steps", "items", "findings", "said"),
    [
        (STEPS[:2], (), (), "nothing was submitted"),
        ([*STEPS[:2], submit()], (), (), "the answer lacks answer"),
        ([step("a", "fly"), *STEPS], (), (), "step a: unknown_tool"),
        (STEPS, (Requirement(id="R9", check="total", args={"max": 1}),), (), "requirement R9 is not met: total 40"),
        (STEPS, (NICE,), (), "requirement R2 could not be judged"),
        (STEPS, (NICE,), (told(NICE, "violated"),), "requirement R2 is not met: seen"),
        ([*STEPS[:2], submit(answer="It weighs 77 kg.")], (), (), "answer says 77"),
    ],
)
def test_whatever_stands_against_it_is_said_and_nothing_is_run_again(steps, items, findings, said):
    inspection, settled = inspected(steps, *items, judged=findings)
    runs = []
    verdict = verified(inspection, settled, permit=runs.append)
    assert not verdict.verified and verdict.departed is None
    assert any(said in reason for reason in verdict.reasons) and runs == []
    assert list(verdict.reasons) == shortcomings(inspection)


def test_a_loss_that_nothing_else_explains_stands_against_it():
    inspection, settled = inspected(STEPS, outcome=0.5)
    assert shortcomings(inspection) == [f"the loss is {inspection.loss.total:.4f}"]


TURNS = itertools.count()  # outside of the class, whose containers each session has for itself


class Fickle(Store):
    """Finds something else each time."""

    @tool(effect="read")
    def find(self, color: str | None = None, size: str | None = None) -> dict[str, list[str]]:
        """Ids of the products that match."""
        return {"ids": [f"p{next(TURNS) % 4 + 1}"]}


def test_a_second_run_that_goes_another_way_names_the_step():
    inspection, settled = inspected(STEPS, environment=Fickle)
    verdict = verified(inspection, settled, Fickle)
    assert not verdict.verified and verdict.departed == "a"
    assert "run again from the start, it went another way: step a gave ids[0] = \"p" in verdict.reasons[0]


def test_where_the_budget_ends_it_is_not_said_to_go_another_way():
    def refuse(reused):
        raise BudgetExhausted("tool_calls", "spent")

    verdict = verified(*inspected(STEPS), permit=refuse)
    assert verdict == Verdict(verified=False, reasons=("the budget ended before it could be run again from the start",))


def test_steps_that_wait_for_commit_are_named():
    verdict = verified(*inspected([*STEPS[:2], step("c", "order"), STEPS[2]]))
    assert verdict == Verdict(verified=True, withheld=("c",))


def test_without_a_session_only_what_is_known_counts():
    inspection, settled = inspected(STEPS)
    said = Verify(TASK)(inspection=inspection, requirements=settled, session=None, outputs={"answer": str})
    assert said.verdict.verified


# -------------------------------------------------------------------------------------------------------------- judging


def test_one_call_judges_every_textual_requirement_and_the_claims():
    said, engine = judged(
        {
            "verdicts": [
                {"id": "R2", "evidence": "red", "holds": True},
                {"id": "R3", "evidence": "40 > 30", "holds": False},
            ],
            "unsupported": ["weighs 9 kg"],
        },
        RED,
        NICE,
        CHEAP,
    )
    assert [(f.requirement, f.status, f.evidence) for f in said.findings] == [
        ("R2", "holds", "red"),
        ("R3", "violated", "40 > 30"),
    ]
    assert said.unsupported == ("weighs 9 kg",) and engine.count() == 1
    assert Judgement.model_validate_json(said.model_dump_json()) == said
    assert engine.prompts[0].section("requirements") == "R2: It is nice.\nR3: It is the cheapest."


def test_the_prompt(snapshot):
    _, engine = judged({"verdicts": [], "unsupported": []}, RED, NICE, CHEAP)
    snapshot("phases/judge.txt", engine.prompts[0].text)


@pytest.mark.parametrize(
    "verdicts",
    [
        [],
        [{"id": "R1", "holds": True}],
        [{"holds": True}],
    ],
)
def test_what_the_judge_leaves_out_stays_unjudged(verdicts):
    said, _ = judged({"verdicts": verdicts, "unsupported": []}, RED, NICE)
    assert said.findings == ()


@pytest.mark.parametrize("holds", ["true", 1, None, "yes", [True]])
def test_only_a_plain_true_holds(holds):
    said, _ = judged({"verdicts": [{"id": "R2", "holds": holds}], "unsupported": []}, NICE)
    assert [finding.status for finding in said.findings] == ["violated"]


def test_the_answer_is_shown_as_json():
    class Answering(Environment):
        @tool(effect="read")
        def look(self) -> int:
            return 1

    from datetime import date

    run = executed([submit(day="2026-03-12")], Answering, {"day": date})
    inspection = inspect(run, Requirements(items=(NICE,)), {})
    lm = scripted(judge={"verdicts": [], "unsupported": []})
    with dspy.context(lm=lm):
        said = Verify(TASK).judge(viewed(inspection, Requirements(items=(NICE,)), {"request": "x"}))
        next(said).call()
    assert json.loads(lm.engine.prompts[0].section("submitted")) == {"day": "2026-03-12"}
