"""Answers that are bound to what waits for commit lack nothing: no model is asked for them, and commit gives them."""

from __future__ import annotations

import dspy
import pytest

from pivot_dspy import Pivot, from_functions
from tests.scripted import plan, scripted, step, submit


@pytest.mark.parametrize("required", [[], [{"check": "many", "args": {"least": 2}}]])
def test_an_answer_that_waits_costs_no_rewrite_and_is_known_after_commit(required):
    orders: list[str] = []

    def order(item: str) -> int:
        orders.append(item)
        return len(orders)

    def many(least: int) -> bool:
        return len(orders) >= least

    steps = [step("a", "order", item="eggs"), step("b", "order", item="milk"), submit(answer="$b")]
    asked = [{"id": f"R{item}", "call": {"tool": "order", "args": {"item": item}}} for item in ("eggs", "milk")]
    lm = scripted(plan=plan(steps, asked))
    with dspy.context(lm=lm):
        environment = from_functions([order], checks=[many])
        pivot = Pivot("question -> answer: int", environment, requirements=required, audit="never")
        result = pivot(question="Order eggs, milk.")
    assert {prompt.phase for prompt in lm.engine.prompts} <= {"plan", "judge"}
    assert (result.answer, result.loss.total, orders) == (None, 0.0, [])
    assert result.verdict.status == "provisional"
    assert "the answer is known only when b has run" in result.verdict.reasons
    result.commit(allow="all")
    assert (result.answer, orders) == (2, ["eggs", "milk"])
