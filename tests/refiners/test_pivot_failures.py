"""Models that fail, and settings that cannot work."""

import pytest
from dspy.lm15 import AuthError, ServerError
from dspy.utils.exceptions import LMAuthError

from pivot_dspy import Pivot, PlanningFailed, Requirement
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, NICE, ONE, RIGHT, UNCHANGED, WRONG, run
from tests.scripted import GARBAGE, Store, plan, submit


def test_garbage_every_time_is_a_planning_failure_with_the_ledger():
    with pytest.raises(PlanningFailed, match="no plan: plan: AdapterParseError") as raised:
        run(plan=GARBAGE)
    assert raised.value.ledger.usage.lm_calls == 2  # it is asked for once more


def test_a_plan_that_cannot_be_read_is_asked_for_once_more_with_what_was_wrong():
    result, engine, _ = run(plan=[GARBAGE, plan(RIGHT, [LARGE])])
    first, second = engine.prompts
    assert result.verified and second.temperature is None
    assert second.text == "\n".join(
        [
            first.text,
            GARBAGE,
            "This could not be read: it lacks requirements and steps\nWrite the whole answer again, as asked for.",
        ]
    )


def test_server_errors_at_plan_are_a_planning_failure():
    with pytest.raises(PlanningFailed, match="LMServerError") as raised:
        run(plan=ServerError("500"))
    assert raised.value.ledger.usage.lm_calls == 1 and raised.value.__cause__ is not None


@pytest.mark.parametrize("evolve", [ServerError("500"), GARBAGE])
def test_a_model_that_fails_at_evolve_leaves_the_best_so_far(evolve):
    result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=evolve)
    assert not result.verified and result.answer == "p1" and result.loss == result.history[1].loss
    failures = [event.message for event in result.history if event.kind == "failure"]
    assert failures and all(message.startswith("evolve: ") and len(message) < 320 for message in failures)


NEVER = Requirement(id="L", test=lambda run: False)


@pytest.mark.parametrize(
    ("phase", "scripts", "required"),
    [
        ("plan", {}, []),
        ("evolve", {"plan": plan(WRONG, [LARGE])}, []),
        ("judge", {"plan": plan(RIGHT, [NICE])}, []),
        ("compose", {"plan": plan([*RIGHT[:3], submit()], [LARGE])}, []),
        ("localise", {"plan": plan(RIGHT), "evolve": UNCHANGED}, [NEVER]),
        ("audit", {"plan": plan(WRONG, [LARGE]), "evolve": UNCHANGED}, []),
    ],
)
def test_nothing_hides_that_the_model_cannot_be_reached_at_all(phase, scripts, required):
    with pytest.raises(LMAuthError):
        run(**{**scripts, phase: AuthError("no such key")}, pivot={"requirements": required})


@pytest.mark.parametrize("bad", [{"candidates": 0}, {"max_iters": -1}, {"patience": 0}, {"audit": "sometimes"}])
def test_what_cannot_work_is_refused_at_construction(bad):
    with pytest.raises(ConfigurationError):
        Pivot("request -> answer", Store, **bad)
