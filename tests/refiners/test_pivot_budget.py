"""Spent budgets: the best so far is given, and no limit is passed."""

import itertools

import dspy
import pytest

from pivot_dspy import Budget, Pivot
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, MENDED, ONE, REQUEST, RIGHT, WRONG, run
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store


def test_a_budget_that_is_spent_gives_the_best_so_far():
    worse = itertools.count()
    result, engine, _ = run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot={"budget": Budget(lm_calls=2), "patience": 9},
    )
    assert result.exhausted == "lm_calls: 2 of 2" and not result.verified and engine.count() == 2
    assert result.answer == "p1"


def test_a_budget_for_one_plan_is_enough_where_it_is_right():
    result, _, _ = run(plan=plan(RIGHT, [LARGE]), pivot={"budget": Budget(lm_calls=1, tool_calls=50)})
    assert result.verified and result.exhausted is None


def test_a_call_may_have_a_budget_of_its_own():
    result, engine, _ = run(plan=plan(WRONG, [LARGE]), evolve=MENDED, call={"budget": Budget(lm_calls=1)})
    assert not result.verified and result.exhausted == "lm_calls: 1 of 1"


@pytest.mark.parametrize("limit", range(1, 8))
def test_a_budget_of_tool_calls_is_kept(limit):
    result, _, calls = run(plan=plan(RIGHT, [LARGE]), pivot={"budget": Budget(tool_calls=limit)})
    assert len(calls) <= limit and result.ledger.usage.tool_calls == len(calls)
    assert result.verified == (limit >= 7)
    if not result.verified:
        assert result.exhausted == f"tool_calls: {limit} of {limit}"
        assert all("another way" not in reason for reason in result.verdict.reasons)


def test_a_budget_below_one_plan_is_refused_before_any_call():
    calls = Calls()
    lm = scripted(plan=plan(RIGHT))
    with (
        dspy.context(lm=lm),
        pytest.raises(ConfigurationError, match=r"does not pay for one plan.*raise Budget\(tokens"),
    ):
        Pivot("request -> answer", lambda: Store(calls), budget=Budget(tokens=50))(request=REQUEST)
    assert lm.engine.count() == 0


def test_a_rewrite_that_the_rest_does_not_pay_for_is_not_begun():
    free, _, _ = run(plan=plan(WRONG, [LARGE]), evolve=MENDED)
    planned = free.ledger.phases["plan"].total_tokens
    result, engine, _ = run(plan=plan(WRONG, [LARGE]), evolve=MENDED, pivot={"budget": Budget(tokens=planned + 20)})
    assert engine.count("evolve") == 0 and not result.verified
    assert result.ledger.usage.total_tokens == planned
    assert "and a rewrite takes more than" in result.exhausted


def test_what_localising_has_spent_leaves_nothing_for_a_rewrite():
    """Without a limit of tokens, too: the call that named the cause was the last that the budget paid for."""
    steps = [step("a", "add", product_id="p9"), submit(answer="done")]
    here = {"diagnosis": "p9 is no product.", "step": "a", "correction": "Add p2."}
    result, engine, _ = run(
        plan=plan(steps, [LARGE]), evolve=rewrite([{"keep": ["a", "submit"]}]), localise=here,
        pivot={"budget": Budget(lm_calls=3)},
    )  # fmt: skip
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "localise"]
    assert result.exhausted == "lm_calls: 3 of 3" and not result.verified
