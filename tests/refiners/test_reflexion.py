"""Trials from scratch, with the last reflections in the prompt of the plan."""

import dspy
import pytest

from pivot_dspy import Budget, Reflexion
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted, submit
from tests.stores import Calls, Store

EMPTY = [submit(answer="p2")]


def reflected(plans, options=None, **scripts):
    calls = Calls()
    said = [steps if isinstance(steps, str) else plan(steps, [LARGE, ONE]) for steps in plans]
    lm = scripted(**{"plan": said, "reflect": [{"reflection": f"Lesson {n}."} for n in range(1, 9)], **scripts})
    with dspy.context(lm=lm):
        made = Reflexion("request -> answer", lambda: Store(calls), timeout=None, **(options or {}))
        return made(request=REQUEST), lm.engine, calls


def lessons(engine):
    return [prompt.section("lessons") for prompt in engine.prompts if prompt.phase == "plan"]


def test_a_failed_trial_is_reflected_on_and_the_next_is_planned_from_scratch():
    result, engine, calls = reflected([WRONG, RIGHT])
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "reflect", "plan"]
    assert lessons(engine) == ["", "- Trial 1:\nLesson 1."]
    assert '"size": "M"' in engine.last("reflect").section("open_steps")
    assert "open_steps" not in engine.last("plan").sections and result.trajectory.operator == "plan"
    assert calls.count("find") == 3  # nothing is taken over: two trials and the verification


def test_a_trial_that_succeeds_is_not_reflected_on():
    result, engine, _ = reflected([RIGHT])
    assert result.verified and engine.count() == 1


def test_only_the_last_reflections_are_shown():
    _, engine, _ = reflected([WRONG, EMPTY] * 3, {"max_trials": 6})
    assert engine.count("plan") == 6
    assert lessons(engine)[-1] == "- Trial 3:\nLesson 3.\n- Trial 4:\nLesson 4.\n- Trial 5:\nLesson 5."
    _, engine, _ = reflected([WRONG, EMPTY, WRONG], {"memory": 1, "max_trials": 3})
    assert lessons(engine)[-1] == "- Trial 2:\nLesson 2."


def test_a_worse_trial_is_reflected_on_too_but_the_best_is_returned():
    result, engine, _ = reflected([WRONG, EMPTY, WRONG], {"max_trials": 3})
    shown = [prompt.section("open_steps") for prompt in engine.prompts if prompt.phase == "reflect"]
    assert [text.startswith('{"id": "submit"') for text in shown] == [False, True]
    inspected = [event.loss.total for event in result.history if event.kind == "inspect"]
    assert result.loss.total == min(inspected) and inspected[1] > inspected[0]


def test_without_a_reflection_the_plan_is_sampled():
    result, engine, _ = reflected([WRONG, RIGHT], reflect=GARBAGE)
    assert result.verified and lessons(engine) == ["", ""] and engine.last("plan").temperature == 1.0


def test_a_plan_that_cannot_be_read_costs_a_trial_and_no_second_reflection():
    result, engine, _ = reflected([WRONG, *[GARBAGE] * 4, RIGHT])
    assert result.verified and engine.count("reflect") == 1 and engine.last("plan").temperature == 1.0


def test_the_budget_ends_it():
    result, engine, _ = reflected([WRONG, RIGHT], {"budget": Budget(lm_calls=2)})
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "reflect"] and result.exhausted


@pytest.mark.parametrize("bad", [{"max_trials": 0}, {"memory": 0}])
def test_what_cannot_work_is_refused(bad):
    with pytest.raises(ConfigurationError, match=f"{next(iter(bad))} is at least"):
        Reflexion("request -> answer", Store, **bad)
