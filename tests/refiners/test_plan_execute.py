"""One plan, run once; nothing is rewritten."""

import dspy
import pytest

from pivot_dspy import Budget, PlanExecute, PlanningFailed
from tests.refiners.loops import LARGE, MENDED, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted
from tests.stores import Calls, Store


def ran(steps, **scripts):
    calls = Calls()
    lm = scripted(**{"plan": plan(steps, [LARGE, ONE]), "evolve": MENDED, **scripts})
    with dspy.context(lm=lm):
        return PlanExecute("request -> answer", lambda: Store(calls), timeout=None)(request=REQUEST), lm.engine, calls


@pytest.mark.parametrize(("steps", "verified"), [(RIGHT, True), (WRONG, False)])
def test_one_plan_is_run_once_and_verified(steps, verified):
    result, engine, _ = ran(steps)
    assert result.verified is verified and [prompt.phase for prompt in engine.prompts] == ["plan"]
    assert [event.kind for event in result.history] == ["plan", "inspect", "accept", "verify"]


def test_a_plan_that_falls_short_says_why_and_is_not_run_again():
    result, _, calls = ran(WRONG)
    assert any("requirement R1 is not met" in reason for reason in result.verdict.reasons)
    assert calls == ["colors", "find", "details", "add p1"]


def test_a_plan_that_stops_before_submit_is_answered_from_what_was_seen():
    result, engine, _ = ran(
        RIGHT[:3], compose={"considerations": "x", "answer": "p2"}
    )
    assert result.verified and result.answer == "p2" and engine.count("compose") == 1


def test_no_plan_at_all_is_an_error_with_its_ledger():
    lm = scripted(plan=GARBAGE)
    with dspy.context(lm=lm), pytest.raises(PlanningFailed) as raised:
        PlanExecute("request -> answer", Store, budget=Budget(lm_calls=9))(request=REQUEST)
    assert raised.value.ledger.usage.lm_calls == lm.engine.count()
