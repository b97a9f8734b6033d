"""A pool of plans, crossed without a model call, then revised, transferred to and restructured."""

import dspy
import pytest

from pivot_dspy import Budget, SelfEvolution, Step, Trajectory
from pivot_dspy.crossover import distance
from pivot_dspy.episode.episode import Candidate
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from pivot_dspy.phases.inspect import inspect
from pivot_dspy.refiners.self_evolution import Population
from pivot_dspy.requirements import Requirements
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted, step, submit
from tests.stores import Calls, Store, executed

EMPTY = [submit(answer="p2")]
LOST = [step("a", "find", color="red", size="L"), step("b", "details", ids="$nothing.ids"), *RIGHT[2:]]
SPELT = [step("a", "find", colour="red", size="L"), *RIGHT[1:]]
CITY = [step("a", "find", color="blue"), *RIGHT[1:]]
FAULTS = {"faults": ["Step a looks for size M."]}


def evolved(plans, options=None, **scripts):
    calls = Calls()
    lm = scripted(plan=[plan(steps, [LARGE, ONE]) for steps in plans], **scripts)
    with dspy.context(lm=lm):
        made = SelfEvolution("request -> answer", lambda: Store(calls), timeout=None, **(options or {}))
        return made(request=REQUEST), lm.engine, calls


def phases(engine):
    return [prompt.phase for prompt in engine.prompts]


def recombined(steps):
    return {"summary": "The first finds it.", "steps": steps}


def test_two_broken_plans_are_crossed_into_a_right_one_without_another_call():
    result, engine, _ = evolved([SPELT, LOST])
    assert result.verified and result.answer == "p2" and phases(engine) == ["plan", "plan"]
    assert result.trajectory.operator == "crossover"
    kinds = [(event.kind, getattr(event, "message", "")) for event in result.history]
    assert ("rewrite", "crossover") in kinds and kinds[-1][0] == "verify"


def test_a_perfect_plan_ends_the_search():
    result, engine, _ = evolved([WRONG, RIGHT, CITY])
    assert result.verified and phases(engine) == ["plan", "plan"]


def test_a_generation_revises_transfers_and_restructures():
    result, engine, _ = evolved(
        [WRONG, CITY], {"pool_size": 2, "max_iters": 1}, critique=FAULTS, rewrite={"steps": EMPTY},
        recombine=[recombined([*CITY[:2], submit(answer="none")]), recombined(RIGHT)],
    )  # fmt: skip
    assert phases(engine) == ["plan", "plan", "critique", "rewrite", "recombine", "recombine"]
    assert result.verified and result.trajectory.operator == "restructure"
    said = [(event.kind, event.message, event.diagnosis) for event in result.history if event.kind == "rewrite"]
    assert ("rewrite", "transfer", "The first finds it.") in said
    transfer, restructure = (prompt for prompt in engine.prompts if prompt.phase == "recombine")
    assert transfer.section("trajectories").count("Trajectory ") == 2
    assert restructure.section("trajectories").count("Trajectory ") >= 3
    assert "The first did better" in transfer.text and "none of them is right" in restructure.text


def test_a_revision_is_of_the_best_and_then_of_those_not_yet_revised():
    _, engine, _ = evolved(
        [EMPTY, WRONG], {"pool_size": 2, "max_iters": 2, "patience": 2}, critique={"faults": []},
        recombine=recombined(WRONG),
    )  # fmt: skip
    first, second = (prompt for prompt in engine.prompts if prompt.phase == "critique")
    assert '"size": "M"' in first.section("open_steps") and '"size"' not in second.section("open_steps")


def test_it_has_converged_when_a_generation_brings_nothing_better():
    for patience in (1, 2):
        result, engine, calls = evolved(
            [WRONG, WRONG], {"pool_size": 2, "max_iters": 9, "patience": patience}, critique=FAULTS,
            rewrite={"steps": WRONG},
        )  # fmt: skip
        assert engine.count("critique") == patience and not result.verified
        assert calls.count("find") == 1  # the second plan and the rewrites do the same, and are not run
        assert "it was there before" in [getattr(event, "message", "") for event in result.history]
    assert engine.last("critique").temperature == engine.last("rewrite").temperature == 1.0  # the same question again


def test_the_first_plan_need_not_be_usable():
    # One plan is asked for up to four times: DSPy asks again for JSON, and the refiner once more.
    lm = scripted(plan=[*[GARBAGE] * 4, plan(RIGHT, [LARGE, ONE])])
    with dspy.context(lm=lm):
        found = SelfEvolution("request -> answer", Store, timeout=None, pool_size=3)(request=REQUEST)
    assert found.verified and [event.kind for event in found.history].count("failure") == 2


def test_one_plan_must_be_usable():
    with dspy.context(lm=scripted()), pytest.raises(PlanningFailed, match="no plan"):
        SelfEvolution("request -> answer", Store, timeout=None, pool_size=2)(request=REQUEST)


def test_the_budget_ends_it_between_calls_and_the_best_comes_back():
    scripts = {"critique": FAULTS, "rewrite": {"steps": CITY}, "recombine": recombined(EMPTY)}
    for limit in range(1, 6):
        result, engine, _ = evolved([WRONG, EMPTY], {"pool_size": 2, "budget": Budget(lm_calls=limit)}, **scripts)
        assert engine.count() <= limit and result.loss.total == accepted_losses(result.history)[-1]
        assert result.exhausted or engine.count() < limit


def test_a_failed_operator_leaves_the_others():
    result, engine, _ = evolved(
        [WRONG, CITY], {"pool_size": 2}, critique=GARBAGE, recombine=[recombined(RIGHT)],
    )  # fmt: skip
    assert result.verified and result.trajectory.operator == "transfer"


@pytest.mark.parametrize("wrong", [{"pool_size": 0}, {"max_iters": -1}, {"patience": 0}])
def test_settings_that_cannot_work_are_refused(wrong):
    with pytest.raises(ConfigurationError, match=f"{next(iter(wrong))} is at least"):
        SelfEvolution("request -> answer", Store, **wrong)


RIGHT_ONE = Trajectory(steps=tuple(Step(**one) for one in RIGHT))


def candidate(steps):
    settled = Requirements()
    run = executed(steps)
    return Candidate(run, inspect(run, settled, {}))


def test_the_pool_keeps_the_best_and_what_differs():
    pool = Population(3)
    near = [*RIGHT[:2], step("c", "add", product_id="max_by($b, &price).id"), RIGHT[3]]
    every = {name: candidate(steps) for name, steps in
             {"right": RIGHT, "near": near, "wrong": WRONG, "lost": LOST}.items()}  # fmt: skip
    for one in every.values():
        pool.add(one, one.trajectory)
    renamed = [{**one, "id": "x" + one["id"]} for one in WRONG[:1]]
    assert pool.knows(candidate(WRONG).trajectory) and not pool.knows(candidate(renamed).trajectory)
    assert pool.members[-1] is every["lost"] and len(pool.members) == 4
    pool.refine()  # lost differs least from the best two, of which it shares the first step
    assert pool.members == [every["right"], every["near"], every["wrong"]]
    assert pool.best is every["right"] and pool.farthest() is every["wrong"]
    assert distance(RIGHT_ONE, every["wrong"].trajectory) == 1 and distance(RIGHT_ONE, every["lost"].trajectory) == 0.75
    pool.add(every["lost"], every["lost"].trajectory)
    assert len(pool.members) == 3  # it was there before
