"""The lowest loss of N sampled plans, and no plan after one that is good enough."""

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import BestOfN, Budget, PlanningFailed
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted, step, submit
from tests.stores import Store

EMPTY = [submit(answer="p2")]
TWO = [step("a", "add", product_id="p2"), step("b", "add", product_id="p4"), submit(answer="p2")]
LOST = [None] * 2  # one plan: it is asked for once more, with what was wrong
PLANS = {"empty": EMPTY, "wrong": WRONG, "two": TWO, "right": RIGHT}


def sampled(said, **options):
    lm = scripted(plan=[GARBAGE if one is None else plan(one, [LARGE, ONE]) for one in said])
    with dspy.context(lm=lm):
        return BestOfN("request -> answer", Store, timeout=None, **options)(request=REQUEST), lm.engine


@settings(max_examples=20)
@given(st.lists(st.sampled_from(sorted(PLANS)), min_size=4, max_size=4))
def test_the_lowest_loss_is_kept_and_a_perfect_one_ends_it(names):
    result, engine = sampled([PLANS[name] for name in names], N=4)
    losses = [event.loss.total for event in result.history if event.kind == "inspect"]
    assert result.loss.total == min(losses)
    assert engine.count("plan") == len(losses) == (names.index("right") + 1 if "right" in names else 4)
    assert all(prompt.temperature == 1.0 for prompt in engine.prompts)
    assert result.verified is ("right" in names)


@pytest.mark.parametrize(("threshold", "plans"), [(0.0, 1), (0.4, 2), (1.0, 3)])
def test_the_threshold_is_a_reward(threshold, plans):
    result, engine = sampled([EMPTY, WRONG, WRONG], threshold=threshold)
    rewards = [1 - event.loss.total for event in result.history if event.kind == "inspect"]
    assert len(rewards) == engine.count("plan") == plans
    assert all(reward < threshold for reward in rewards[:-1])


def test_a_plan_that_cannot_be_read_is_passed_over():
    result, engine = sampled([*LOST, WRONG, RIGHT], N=3)
    assert result.verified and engine.count("plan") == 4
    assert sum(event.kind == "failure" for event in result.history) == 1


def test_more_failures_than_fail_count_end_it_with_the_best_so_far():
    result, engine = sampled([WRONG, *LOST, RIGHT], fail_count=0)
    assert result.answer == "p1" and engine.count("plan") == 3


def test_nothing_at_all_raises():
    with pytest.raises(PlanningFailed):
        sampled(LOST * 3)


def test_the_budget_ends_it_with_the_best_so_far():
    result, engine = sampled([WRONG, EMPTY, RIGHT], budget=Budget(lm_calls=2))
    assert engine.count() == 2 and result.exhausted and not result.verified
    assert result.loss.total == min(event.loss.total for event in result.history if event.kind == "inspect")


@pytest.mark.parametrize("bad", [{"N": 0}, {"threshold": 1.5}, {"threshold": -0.1}, {"fail_count": -1}])
def test_what_cannot_work_is_refused(bad):
    with pytest.raises(ConfigurationError, match=rf"{next(iter(bad))} (is at least [01]|lies in \[0, 1\]); got"):
        BestOfN("request -> answer", Store, **bad)
