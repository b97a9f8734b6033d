"""Critique and whole rewrite, in turns, with the history in the prompt."""

import dspy
import pytest

from pivot_dspy import Budget, SelfRefine
from pivot_dspy.errors import ConfigurationError
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG
from tests.scripted import GARBAGE, plan, scripted, step, submit
from tests.stores import Calls, Store

EMPTY = [submit(answer="p2")]
DEAR = [*RIGHT[:2], step("c", "add", product_id="max_by($b, &price).id"), step("d", "add", product_id="p3"), RIGHT[3]]
FAULTS = {"faults": ["Step a looks for size M."]}


def refined(first=WRONG, options=None, **scripts):
    calls = Calls()
    lm = scripted(plan=plan(first, [LARGE, ONE]), **scripts)
    with dspy.context(lm=lm):
        made = SelfRefine("request -> answer", lambda: Store(calls), timeout=None, **(options or {}))
        return made(request=REQUEST), lm.engine, calls


def phases(engine):
    return [prompt.phase for prompt in engine.prompts]


def test_the_whole_is_written_again_from_its_critique():
    result, engine, calls = refined(critique=FAULTS, rewrite={"steps": RIGHT})
    assert result.verified and result.answer == "p2" and phases(engine) == ["plan", "critique", "rewrite"]
    assert engine.last("rewrite").section("critique") == "- Step a looks for size M."
    assert "keep" not in engine.last("rewrite").text
    assert result.trajectory.operator == "rewrite" and result.trajectory.parent == result.history[0].trajectory.id
    kinds = [event.kind for event in result.history]
    assert kinds == ["plan", "inspect", "accept", "critique", "rewrite", "inspect", "accept", "verify"]


def test_it_stops_when_the_critique_finds_nothing():
    result, engine, _ = refined(critique={"faults": []}, rewrite={"steps": RIGHT})
    assert phases(engine) == ["plan", "critique"] and not result.verified


def test_a_perfect_version_is_not_criticised():
    result, engine, _ = refined(RIGHT, critique=FAULTS)
    assert result.verified and phases(engine) == ["plan"]


@pytest.mark.parametrize("max_iters", [0, 1, 4])
def test_it_stops_at_the_maximum(max_iters):
    result, engine, _ = refined(
        critique=FAULTS, rewrite=[{"steps": steps} for steps in [DEAR, WRONG] * 3], options={"max_iters": max_iters}
    )
    assert engine.count("rewrite") == engine.count("critique") == max_iters and not result.verified


def test_every_version_and_critique_is_in_the_next_prompt():
    said = [{"faults": [f"Fault {n}."]} for n in range(3)]
    _, engine, _ = refined(
        critique=said, rewrite=[{"steps": s} for s in (DEAR, EMPTY, WRONG)], options={"max_iters": 3}
    )
    prompts = [prompt for prompt in engine.prompts if prompt.phase == "rewrite"]
    assert prompts[0].section("earlier_versions") == ""
    shown = prompts[2].section("earlier_versions")
    assert [shown.count(text) for text in ("Version 1:", "Version 2:", "Version 3:", "- Fault 0.", "- Fault 1.")] == [
        1, 1, 0, 1, 1
    ]  # fmt: skip
    assert '"size": "M"' in shown and "max_by($b, &price)" in shown


def test_a_worse_version_is_gone_on_with_but_the_best_is_returned():
    result, engine, _ = refined(
        critique=[FAULTS, FAULTS], rewrite=[{"steps": EMPTY}, {"steps": DEAR}], options={"max_iters": 2}
    )
    second = [prompt for prompt in engine.prompts if prompt.phase == "critique"][1]
    assert second.section("open_steps").startswith('{"id": "submit"')  # the worse one is what is criticised
    inspected = {event.trajectory.id: event.loss.total for event in result.history if event.kind == "inspect"}
    assert result.loss.total == min(inspected.values()) and len(inspected) == 3
    assert "reject" in [event.kind for event in result.history]


def test_a_prefix_that_did_not_change_is_not_run_again():
    _, _, calls = refined(DEAR, critique=FAULTS, rewrite={"steps": RIGHT})
    assert calls.count("find") == 2  # the first run, and the verification


def test_what_cannot_be_read_costs_an_iteration_and_is_asked_again_as_a_sample():
    result, engine, _ = refined(critique=[GARBAGE, GARBAGE, FAULTS], rewrite={"steps": RIGHT})
    assert result.verified and engine.last("critique").temperature == 1.0
    assert sum(event.kind == "failure" for event in result.history) >= 1


def test_a_version_that_changed_nothing_is_not_run_again():
    result, engine, calls = refined(critique=FAULTS, rewrite={"steps": WRONG}, options={"max_iters": 2})
    messages = [getattr(event, "message", "") for event in result.history]
    assert calls.count("find") == 1 and "nothing was changed" in messages
    assert engine.last("critique").temperature == 1.0  # the same question again


def test_the_budget_ends_it_between_critique_and_rewrite():
    result, engine, _ = refined(critique=FAULTS, rewrite={"steps": RIGHT}, options={"budget": Budget(lm_calls=2)})
    assert phases(engine) == ["plan", "critique"] and result.exhausted and not result.verified


def test_a_negative_maximum_is_refused():
    with pytest.raises(ConfigurationError, match="max_iters is at least 0"):
        SelfRefine("request -> answer", Store, max_iters=-1)
