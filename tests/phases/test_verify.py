import itertools

import dspy
import pytest

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.environment.base import UNCHECKABLE, tool
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.phases.inspect import inspect
from pivot_dspy.phases.judge import Answer, Judgement, Question
from pivot_dspy.phases.verify import Verify, shortcomings
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.supervision import allow
from pivot_dspy.verdict import Established, PendingCall, Verdict
from tests.phases.showing import TOOLBOX
from tests.scripted import step, submit
from tests.stores import Store, executed

TASK = dspy.Signature("request -> answer", "Buy what is asked for.")
STEPS = [
    step("a", "find", color="red", size="L"),
    step("b", "add", product_id="$a.ids[0]"),
    submit(answer="$b.items[0]"),
]
RED = Requirement(id="R1", check="item", args={"color": "red"})
NICE = Requirement(id="R2", text="It is nice.")
MET = Established(about="R1", kind="requirement", by="check", evidence="p2 is red, L, Trail Cap")


def inspected(steps=STEPS, *items, environment=Store, **told):
    settled = Requirements(items=items)
    return inspect(executed(steps, environment), settled, {"request": "Buy something red."}, **told), settled


def verified(inspection, settled, environment=Store, permit=allow, judgement=None):
    session = SessionFactory(environment, timeout=None).open(None)
    said = Verify(TASK)(
        inspection=inspection, requirements=settled, toolbox=TOOLBOX, session=session, outputs={"answer": str},
        judgement=judgement, permit=permit,
    )  # fmt: skip
    return said.verdict


def test_what_runs_the_same_way_again_and_lacks_nothing_is_verified_by_its_checks():
    verdict = verified(*inspected(STEPS, RED))
    assert verdict == Verdict(status="checked", established=(MET,)) and verdict.verified
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


def told(requirement, status):
    return Finding(requirement=requirement.id, status=status, evidence="seen")


@pytest.mark.parametrize(
    ("steps", "items", "findings", "said"),
    [
        (STEPS[:2], (RED,), (), "nothing was submitted"),
        ([*STEPS[:2], submit()], (RED,), (), "the answer lacks answer"),
        ([step("a", "fly"), *STEPS], (RED,), (), "step a: unknown_tool"),
        (STEPS, (Requirement(id="R9", check="total", args={"max": 1}),), (), "requirement R9 is not met: total 40"),
        (STEPS, (NICE,), (), "requirement R2 could not be judged"),
        (STEPS, (NICE,), (told(NICE, "violated"),), "requirement R2 is not met: seen"),
        ([*STEPS[:2], submit(answer="It weighs 77 kg.")], (RED,), (), "answer says 77"),
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
    assert 'run again from the start, it went another way: step a gave ids[0] = "p' in verdict.reasons[0]


def test_where_the_budget_ends_it_is_not_said_to_go_another_way():
    def refuse(reused):
        raise BudgetExhausted("tool_calls", "spent")

    verdict = verified(*inspected(STEPS, RED), permit=refuse)
    assert verdict.reasons == ("the budget ended before it could be run again from the start",)
    assert verdict.status == "unverified" and not verdict.verified and verdict.departed is None


def test_calls_that_wait_for_commit_are_named():
    verdict = verified(*inspected([*STEPS[:2], step("c", "order"), STEPS[2]], RED))
    assert verdict == Verdict(
        status="checked", established=(MET,), pending=(PendingCall(step="c", tool="order"),)
    ) and verdict.withheld == ("c",)  # fmt: skip


def test_without_a_session_only_what_is_known_counts():
    inspection, settled = inspected(STEPS, RED)
    told = {"inspection": inspection, "requirements": settled, "toolbox": TOOLBOX, "outputs": {"answer": str}}
    assert Verify(TASK)(session=None, **told).verdict.verified


def test_where_nothing_is_required_nothing_is_verified():
    verdict = verified(*inspected(STEPS))
    assert verdict.status == "unverified" and not verdict.verified
    assert verdict.reasons == ("no requirement says what has to hold: pass requirements=[...]",)


def of_nice(by, evidence="said so", kind="requirement", about="R2"):
    return Judgement(established=(Established(about=about, kind=kind, by=by, evidence=evidence),))


def test_what_a_judge_established_is_judged():
    holds = Finding(requirement="R2", status="holds", evidence="said so")
    inspection, settled = inspected(STEPS, RED, NICE, judged=(holds,))
    verdict = verified(inspection, settled, judgement=of_nice("judge"))
    assert verdict.status == "judged" and verdict.verified and verdict.reasons == ()
    assert [(entry.about, entry.by) for entry in verdict.established] == [("R1", "check"), ("R2", "judge")]


def test_a_requirement_that_nobody_could_judge_is_named_with_the_reason():
    inspection, settled = inspected(STEPS, RED, NICE)
    verdict = verified(inspection, settled, judgement=of_nice("nobody", "the judge failed"))
    assert verdict.status == "unverified"
    assert verdict.reasons == ("requirement R2 could not be judged: the judge failed",)


@pytest.mark.parametrize(("kind", "about"), [("call", "step b"), ("claim", "All is well.")])
def test_a_call_or_claim_that_nobody_could_judge_stands_against_it(kind, about):
    inspection, settled = inspected(STEPS, RED)
    verdict = verified(inspection, settled, judgement=of_nice("nobody", "the judge failed", kind, about))
    assert verdict.status == "unverified" and verdict.reasons == (f"{about}: the judge failed",)


def test_a_requirement_that_a_model_dropped_stands_against_it_unless_a_judge_upholds_it():
    inspection, settled = inspected(STEPS, RED)
    both = Requirements(items=(RED, NICE))
    dropped = both.amend("R2", None, reason="nobody can tell", by="audit")
    verdict = verified(inspection, dropped)
    assert verdict.status == "unverified"
    assert verdict.reasons == ("requirement R2 was dropped by audit without evidence: nobody can tell",)
    changed = both.amend("R2", NICE.model_copy(update={"text": "It is red."}), reason="misread", by="audit")
    assert verified(inspect(executed(STEPS), changed, {}), changed).reasons[-1] == (
        "requirement R2 was changed by audit without evidence: misread"
    )
    founded = both.amend("R2", None, reason="nobody can tell", by="audit", evidence="not found")
    assert verified(inspection, founded).reasons == verdict.reasons  # a quote alone is not weighed by anybody

    def weighed(holds):
        return Judgement(answers=(Answer(Question("R2_audit", "requirement", "dropped"), holds, "not found"),))

    assert verified(inspection, founded, judgement=weighed(None)).reasons == verdict.reasons
    assert verified(inspection, founded, judgement=weighed(True)).verified
    uncheckable = both.amend("R2", None, reason="nobody can tell", by="audit", evidence=UNCHECKABLE + "no")
    assert verified(inspection, uncheckable).status == "checked"


class Paying(Store):
    """It orders one product, for good."""

    @tool(effect="irreversible")
    def order_of(self, product_id: str) -> str:
        """Order a product."""
        self.cart.append(product_id)
        return product_id


def test_a_check_on_what_a_held_call_will_do_is_pending_and_a_preview_is_suggested():
    steps = [*STEPS[:2], step("c", "order_of", product_id="p4"), STEPS[2]]
    due = Requirement(id="R5", check="item", args={"name": "p4"})
    settled = Requirements(items=(RED, due))
    inspection = inspect(executed(steps, Paying), settled, {})
    assert [finding.status for finding in inspection.findings] == ["holds", "pending"]
    toolbox = SessionFactory(Paying, timeout=None).open(None).toolbox
    session = SessionFactory(Paying, timeout=None).open(None)
    told = {"inspection": inspection, "requirements": settled, "toolbox": toolbox, "outputs": {"answer": str}}
    verdict = Verify(TASK)(session=session, **told).verdict
    assert verdict.status == "provisional" and not verdict.verified
    assert verdict.reasons[0].startswith("requirement R5 can only be checked when c has run")
    assert "preview" in verdict.reasons[-1]
    assert verdict.pending == (PendingCall(step="c", tool="order_of", args={"product_id": "p4"}),)


def test_what_is_open_for_a_stale_read_makes_it_provisional():
    inspection, settled = inspected([*STEPS[:2], step("c", "order"), step("d", "colors"), STEPS[2]], RED)
    assert inspection.execution.by_step["d"].stale
    told = of_nice("nobody", "it was read too early", "claim", "It is so.")
    verdict = verified(inspection, settled, judgement=told.model_copy(update={"waiting": ("It is so.",)}))
    assert verdict.status == "provisional" and not verdict.verified
    assert verdict.reasons[0] == "It is so.: it was read too early (d was read before c runs)"
    assert "preview" in verdict.reasons[-1]
    assert verified(inspection, settled, judgement=told).status == "unverified"  # no commit would tell
