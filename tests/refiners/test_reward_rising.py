"""At each step, samples until one rises; the rest are its rejected siblings."""

import pytest

from pivot_dspy import Budget, RewardRising, Trajectory
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from tests.refiners.loops import LARGE, RIGHT
from tests.refiners.stepping import BAD, OTHER, SUBMIT, A, B, C, events, searched, turns
from tests.scripted import GARBAGE, step
from tests.stores import Calls, Store

EVERY = {"s0": [A], "s1": [B], "s2": [C], "s3": [SUBMIT]}


class Sealed(Store):
    forkable = False


def rising(options=None, call=None, environment=None, scripts=None, **samples):
    act = turns(**{**EVERY, **samples})
    told = {"settle": lambda _: {"requirements": [LARGE]}, **(scripts or {})}
    return searched(RewardRising, act, options, environment, call, **told)


def test_where_every_first_sample_rises_one_is_enough():
    result, engine, calls = rising()
    assert result.verified and result.answer == "p2" and engine.count("act") == 4 and engine.count() == 5
    assert not events(result, "reject") and calls.count("find") == 2  # the search, and the verification
    losses = [loss.total for _, loss in events(result, "accept")]
    assert losses == sorted(losses, reverse=True) and losses[-1] == 0


def test_the_first_sample_that_rises_is_taken_and_the_others_are_its_rejected_siblings():
    result, engine, _ = rising(s2=[BAD, OTHER, C, step("c", "add", product_id="p3")])
    assert result.verified and engine.count("act") == 6
    rejected = events(result, "reject")
    assert [args["product_id"] for args, _ in rejected] == ["p9", "p1"]
    taken = next(event for event in result.history if event.kind == "accept" and len(event.trajectory) == 3)
    for event in result.history:
        if event.kind == "reject":
            assert event.trajectory.common_prefix(taken.trajectory) == 2 and len(event.trajectory) == 3
            assert taken.loss.better_than(event.loss)


def test_a_full_set_without_a_rise_falls_back_on_the_best():
    result, engine, _ = rising({"max_samples": 3}, s2=[BAD, OTHER, BAD], s3=[SUBMIT])
    assert engine.count("act") == 1 + 1 + 3 + 1
    assert result.trajectory.steps[2].args == OTHER["args"]
    assert [args["product_id"] for args, _ in events(result, "reject") if "product_id" in args] == ["p9"]


def test_a_sample_that_does_the_same_as_another_is_not_run_again():
    again = {**OTHER, "id": "zz"}
    result, engine, calls = rising({"max_samples": 3}, s2=[OTHER, again, C])
    assert result.verified and engine.count("act") == 6 and calls.count("add p1") == 1


def test_a_reading_step_need_not_rise_but_may_not_fail():
    result, engine, _ = rising(s1=[step("b", "details", ids="$zz"), B])
    assert result.verified and engine.count("act") == 5
    strict, engine, _ = rising({"ties": False, "max_samples": 2})
    assert strict.verified and engine.count("act") == 5  # details is sampled twice: it changes nothing


def test_siblings_are_shown_where_that_is_asked_for():
    for show in (False, True):
        _, engine, _ = rising({"show_siblings": show}, s2=[BAD, C])
        told = [prompt.section("siblings") for prompt in engine.prompts if prompt.phase == "act"]
        assert ["p9" in text and "FAILED" in text for text in told] == [False] * 3 + [show, False]


def test_steps_that_failed_are_left_out_of_the_end_result():
    late = step("d", "add", product_id="min_by($b, &price).id")
    end = {**SUBMIT, "args": {"answer": "$d.items[0]"}}
    result, _, _ = rising({"max_samples": 1}, s2=[BAD], s3=[late], s4=[end])
    assert result.verified and result.trajectory.ids == ("a", "b", "d", "submit")


def test_it_ends_at_the_maximum_of_steps():
    result, engine, _ = rising({"max_steps": 2})
    assert engine.count("act") == 2 and result.trajectory.ids == ("a", "b") and not result.verified


def test_a_trajectory_that_is_given_is_sampled_first_as_long_as_it_rises():
    given = Trajectory.model_validate({"steps": [A, B, OTHER, {**SUBMIT, "args": {"answer": "$c.items[0]"}}]})
    result, engine, calls = rising(call={"trajectory": given})
    assert result.verified and engine.count("act") == 2 and calls.count("find") == 2 and calls.count("add p1") == 1
    assert [args["product_id"] for args, _ in events(result, "reject") if "product_id" in args] == ["p1"]
    right = Trajectory.model_validate({"steps": RIGHT})
    result, engine, _ = rising(call={"trajectory": right, "requirements": [LARGE]})
    assert result.verified and engine.count() == 0


def test_without_forks_it_runs_the_steps_before_again():
    calls = Calls()
    result, _, _ = rising(environment=lambda: Sealed(calls), s2=[BAD, C])
    assert result.verified and result.tier == "replay" and calls.count("find") == 2 and calls.count("add p2") == 3


def test_a_step_that_cannot_be_read_costs_a_sample():
    result, engine, _ = rising(s2=[GARBAGE, GARBAGE, C])
    assert result.verified and any(event.kind == "failure" for event in result.history)


def test_the_budget_ends_it_between_samples():
    result, engine, _ = rising({"budget": Budget(lm_calls=4)}, s2=[BAD, OTHER, C])
    assert engine.count() == 4 and result.exhausted and not result.verified
    assert result.loss.total == min(loss.total for _, loss in events(result, "accept"))


def test_without_any_step_there_is_no_plan():
    with pytest.raises(PlanningFailed, match="no step"):
        searched(RewardRising, GARBAGE)
    with pytest.raises(PlanningFailed, match="no requirements"):
        searched(RewardRising, turns(**EVERY), settle=GARBAGE)
    result, _, _ = rising({"budget": Budget(lm_calls=1)})
    assert result.exhausted and len(result.trajectory) == 0 and not result.verified


@pytest.mark.parametrize("bad", [{"max_samples": 0}, {"max_steps": 0}])
def test_what_cannot_work_is_refused(bad):
    with pytest.raises(ConfigurationError, match=f"{next(iter(bad))} is at least"):
        RewardRising("request -> answer", Store, **bad)


def test_samples_are_drawn_at_a_temperature():
    _, engine, _ = rising(s2=[BAD, C])
    assert {prompt.temperature for prompt in engine.prompts if prompt.phase == "act"} == {1.0}
