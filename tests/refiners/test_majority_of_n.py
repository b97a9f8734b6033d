"""What most of the plans submit, whatever its loss."""

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, MajorityOfN, PlanningFailed
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted, step, submit
from tests.stores import Store

LOST = [None] * 2  # one plan: it is asked for once more, with what was wrong
OPEN = RIGHT[:2]  # it submits nothing, and meets nothing


def saying(answer, product="p1"):
    """A plan that submits `answer`; only with the product p2 it meets the requirements."""
    return [step("a", "add", product_id=product), submit(answer=answer)]


def voted(plans, n=None, **options):
    lm = scripted(plan=[GARBAGE if steps is None else plan(steps, [LARGE, ONE]) for steps in plans])
    with dspy.context(lm=lm):
        made = MajorityOfN("request -> answer", Store, timeout=None, N=n or len(plans), **options)
        return made(request=REQUEST), lm.engine


def test_most_votes_win_over_the_lower_loss():
    result, _ = voted([RIGHT, saying("p1"), saying("p1"), OPEN, OPEN])
    assert result.answer == "p1" and not result.loss.perfect and not result.verified
    accepted = [event for event in result.history if event.kind == "accept"]
    assert [event.message for event in accepted] == ["2 of 5 agree"]
    assert sum(event.kind == "reject" for event in result.history) == 4


def test_a_tie_goes_to_the_lower_loss():
    result, _ = voted([saying("p1"), RIGHT, saying("p4", "p4"), OPEN])
    assert result.answer == "p2" and result.verified


def test_among_those_that_agree_the_lowest_loss_is_returned():
    result, _ = voted([saying("p2", "p1"), saying("p1"), saying("p2", "p2")])
    assert result.answer == "p2" and result.verified


def test_outputs_that_differ_in_order_only_are_one_vote():
    lm = scripted(plan=[plan([submit(answer=said)]) for said in ({"a": 1, "b": 2}, {"b": 2, "a": 1}, {})])
    with dspy.context(lm=lm):
        result = MajorityOfN("request -> answer: dict[str, int]", Store, timeout=None, N=3)(request=REQUEST)
    assert result.answer == {"a": 1, "b": 2} and lm.engine.count("plan") == 2


@settings(max_examples=20)
@given(st.lists(st.sampled_from(["p1", "p2", "p3"]), min_size=1, max_size=7))
def test_it_stops_only_where_no_vote_that_is_left_can_change_the_winner(answers):
    result, engine = voted([saying(answer) for answer in answers])
    counts = {answer: answers.count(answer) for answer in answers}
    assert counts[result.answer] == max(counts.values())
    seen = answers[: engine.count("plan")]
    left = len(answers) - len(seen)
    others = [seen.count(answer) for answer in {*answers, "another"} - {result.answer}]
    assert left == 0 or seen.count(result.answer) > max(others) + left


def test_where_nothing_is_submitted_the_lowest_loss_is_returned():
    result, engine = voted([[step("z", "fly")], OPEN, WRONG[:3]])
    assert engine.count("plan") == 3 and result.answer is None
    assert result.loss.total == min(event.loss.total for event in result.history if event.kind == "inspect")


def test_a_plan_that_cannot_be_read_casts_no_vote():
    result, _ = voted([*LOST, WRONG, RIGHT], n=3)
    accepted = [event for event in result.history if event.kind == "accept"]
    assert result.verified and [event.message for event in accepted] == ["1 of 2 agree"]
    with pytest.raises(PlanningFailed):
        voted(LOST * 2, n=2)


def test_the_budget_ends_the_vote():
    result, engine = voted([saying("p1"), RIGHT, RIGHT], budget=Budget(lm_calls=1))
    assert engine.count() == 1 and result.answer == "p1" and result.exhausted


def test_no_plans_are_refused():
    with pytest.raises(ConfigurationError, match="N is at least 1"):
        MajorityOfN("request -> answer", Store, N=0)
