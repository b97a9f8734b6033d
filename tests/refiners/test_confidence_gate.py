"""What the model is not sure of is not run, whatever refiner is wrapped."""

from __future__ import annotations

import functools
import itertools

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import (
    BestOfN,
    ConfidenceGate,
    MajorityOfN,
    Pivot,
    PlanExecute,
    PlanningFailed,
    SelfRefine,
    Trajectory,
)
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.loss import EPSILON
from pivot_dspy.phases.base import STEP_BASICS
from pivot_dspy.refiners.confidence_gate import STATED_FORM
from programs.comparison.ablations import PivotWithoutPatches
from tests.refiners.loops import LARGE, ONE, REQUEST, RIGHT, WRONG, from_scratch
from tests.refiners.test_all_refiners import OFTEN, REFINERS, attempt, gated, refiner, scripts
from tests.scripted import plan, rewrite, scripted, step, submit
from tests.stores import Calls, Store

WRAPPED = {name: kind for name, kind in REFINERS.items() if kind is not gated}
SURE = [0.9, 0.9, 0.9, 0.9]


def rated(steps, confidences=SURE):
    return [{**one, "confidence": value} for one, value in zip(steps, confidences, strict=True)]


def run(kind, options=None, threshold=0.5, call=None, **said):
    """The result of one gated call, the engine, and the tool calls that were really made."""
    calls = Calls()
    lm = scripted(**{"audit": {"changes": []}, **said})
    gate = ConfidenceGate(kind("request -> answer", lambda: Store(calls), timeout=None, **(options or {})), threshold)
    with dspy.context(lm=lm):
        return gate(request=REQUEST, **(call or {})), lm.engine, calls


def planned(*confidences, steps=RIGHT):
    return plan(rated(steps, confidences), [LARGE, ONE])


# ------------------------------------------------------------------------------------------------------ what is stopped


def test_the_first_step_below_the_threshold_and_all_after_it_are_not_run():
    result, _, calls = run(PlanExecute, plan=planned(0.9, 0.4, 0.9, 0.3))
    seen = result.execution.observations
    assert [o.status for o in seen] == ["ok", "error", "blocked", "error"] and calls == ["colors", "find"]
    assert [(d.kind, d.step) for d in result.execution.discrepancies] == [
        ("low_confidence", "b"), ("low_confidence", "submit"),
    ]  # fmt: skip
    assert not result.verified and "a confidence of 0.4, below 0.5" in " ".join(result.verdict.reasons)
    [event] = [event for event in result.history if event.kind == "gate"]
    assert event.trajectory == result.trajectory and event.message.startswith("step b has a confidence of 0.4, below")


def test_a_step_that_needs_nothing_of_it_is_not_run_either():
    alone = [step("a", "find", size="L"), step("c", "add", product_id="p2"), submit(answer="p2")]
    result, _, calls = run(PlanExecute, plan=planned(0.1, 0.9, 0.9, steps=alone))
    assert [o.status for o in result.execution.observations] == ["error", "blocked", "blocked"] and calls == ["colors"]


@pytest.mark.parametrize("confidence", [0.5, 0.51, 1.0, "0.7", None, "high", 7])
def test_at_the_threshold_or_above_it_or_without_a_confidence_it_runs(confidence):
    result, _, _ = run(PlanExecute, plan=planned(0.9, confidence, 0.9, 0.9))
    assert result.verified and "gate" not in [event.kind for event in result.history]


def test_a_sampling_refiner_goes_on_to_its_next_sample():
    result, engine, calls = run(BestOfN, plan=[planned(0.4, 0.9, 0.9, 0.9), planned(*SURE)])
    assert result.verified and engine.count() == 2
    assert calls.count("find") == 2  # once for the sample that ran, once to verify it
    assert [event.kind for event in result.history if event.kind in ("gate", "accept", "reject")] == [
        "gate", "accept", "accept",
    ]  # fmt: skip


def test_where_all_are_stopped_the_least_bad_is_returned_unverified():
    early, late = planned(0.1, 0.9, 0.9, 0.9), planned(0.9, 0.9, 0.1, 0.9)
    for kind, options in ((BestOfN, {"N": 3}), (MajorityOfN, {"N": 3})):
        result, engine, _ = run(kind, options, plan=[early, late, early])
        assert not result.verified and result.answer is None and engine.count() == 3
        assert [o.status for o in result.execution.observations] == ["ok", "ok", "error", "blocked"]


def test_pivot_rewrites_from_there_and_what_it_lets_stand_is_run():
    result, engine, _ = run(Pivot, plan=planned(0.9, 0.4, 0.9, 0.4), evolve=rewrite([{"keep": ["b", "c", "submit"]}]))
    assert result.verified and result.answer == "p2"
    prompt = engine.last("evolve")
    assert prompt.section("kept").startswith("a find")
    assert "Blame: step b (low_confidence)" in prompt.section("blame")
    assert prompt.section("open_steps").splitlines()[:2] == [
        '{"id": "b", "tool": "details", "args": {"ids": "$a.ids"}} -> FAILED low_confidence',
        "| not run: a confidence of 0.4, below 0.5; keep it if it is right after all",
    ]
    assert [event.message for event in result.history if event.kind == "gate"][1] == (
        "step b stands, and runs; step submit stands, and runs"
    )


def test_pivot_is_stopped_again_where_it_writes_what_it_doubts():
    doubtful = rewrite(rated(RIGHT, (0.4, 0.9, 0.9, 0.9)))
    result, _, _ = run(Pivot, {"patience": 1, "restarts": 0}, plan=planned(0.3, 0.9, 0.9, 0.9), evolve=doubtful)
    said = [event.message for event in result.history if event.kind == "gate"]
    assert not result.verified and len(said) == 2 and all("step a has a confidence of 0" in one for one in said)


def test_what_was_run_already_is_kept_whatever_comes_after_it():
    # The first step's confidence was enough once; the rewrite of a later one does not put it in question.
    wrong = [*RIGHT[:2], step("c", "add", product_id="p9"), RIGHT[3]]
    mended = rewrite([{**RIGHT[2], "confidence": 0.8}, {"keep": "submit"}])
    result, _, calls = run(Pivot, plan=planned(0.5, 0.6, 0.9, 0.9, steps=wrong), evolve=mended)
    assert result.verified and calls.count("add p9") == 1


def test_a_given_trajectory_is_not_doubted():
    trajectory = Trajectory.model_validate({"steps": RIGHT})
    result, _, _ = run(PlanExecute, call={"trajectory": trajectory}, settle={"requirements": [LARGE]})
    assert result.verified


# --------------------------------------------------------------------------------------------------- any refiner at all


@functools.cache
def gate(kind):
    return ConfidenceGate(refiner(kind)[0], 0.5)


@pytest.mark.parametrize("kind", WRAPPED.values(), ids=list(WRAPPED))
@OFTEN
@given(said=scripts, confidences=st.lists(st.floats(0, 1) | st.none(), min_size=1, max_size=5))
def test_nothing_runs_from_the_stop_on_and_what_holds_of_the_refiner_holds(kind, said, confidences):
    said = {phase: [_with(answer, confidences) for answer in answers] for phase, answers in said.items()}
    _, lm, calls = attempt(kind, said)
    try:
        with dspy.context(lm=lm):
            result = gate(kind)(request=REQUEST)
    except PlanningFailed as failure:
        assert failure.ledger.usage.lm_calls == lm.engine.count()
        return
    for execution in [event.execution for event in result.history if event.kind == "inspect"]:
        stops = [n for n, one in enumerate(execution.trajectory.steps) if one.stopped]
        after = execution.observations[stops[0] :] if stops else ()
        assert all(o.status in ("error", "blocked") and o.calls == 0 for o in after)
    losses = accepted_losses(result.history)
    assert all(later <= earlier + EPSILON for earlier, later in itertools.pairwise(losses))
    again = from_scratch(result.trajectory).execution
    assert [o.status for o in again.observations] == [o.status for o in result.execution.observations]
    usage = result.ledger.usage
    assert usage.lm_calls == lm.engine.count() and usage.tool_calls == len(calls) and "order" not in calls
    assert not (result.verified and any(one.stopped for one in result.trajectory.steps))


def _with(answer, confidences):
    if not isinstance(answer, dict) or not isinstance(answer.get("steps"), list):
        return answer
    cycle = itertools.cycle(confidences)
    return {**answer, "steps": [{**one, "confidence": next(cycle)} for one in answer["steps"]]}


async def test_sync_and_async_are_the_same():
    said = {"plan": planned(0.9, 0.4, 0.9, 0.4), "evolve": rewrite([{"keep": ["b", "c", "submit"]}])}
    gate = ConfidenceGate(Pivot("request -> answer", Store, timeout=None), 0.5)
    with dspy.context(lm=scripted(**said)):
        one, other = gate(request=REQUEST), await gate.acall(request=REQUEST)
    assert one.trajectory == other.trajectory and [e.kind for e in one.history] == [e.kind for e in other.history]


def test_votes_weigh_what_the_model_was_sure_of_if_asked_to():
    def saying(answer, confidence):
        return planned(confidence, confidence, steps=[step("a", "add", product_id=answer), submit(answer=answer)])

    plans = [saying("p1", 0.55), saying("p1", 0.55), saying("p2", 0.99), saying("p2", 0.4), saying("p3", 0.99)]
    equal, _, _ = run(MajorityOfN, plan=plans)
    assert equal.answer == "p1"
    plans[4] = saying("p2", 0.51)  # 0.99 + 0.51 against 0.55 + 0.55; the stopped one has no vote
    weighed, _, _ = run(MajorityOfN, {"weighted": True}, plan=plans)
    assert weighed.answer == "p2"


# --------------------------------------------------------------------------------------- asking, and asking nobody else


def test_only_the_gates_own_copy_asks_for_a_confidence():
    pivot = PivotWithoutPatches("request -> answer", Store, timeout=None)
    gate = ConfidenceGate(pivot, 0.5)
    asked = [name for name, one in gate.named_predictors() if STATED_FORM in one.signature.instructions]
    assert asked == ["refiner.plan.predict", "refiner.evolve.predict"]
    assert not any(STATED_FORM in one.signature.instructions for one in pivot.predictors())
    quiet = ConfidenceGate(pivot, 0.5, stated=False)
    assert not any(STATED_FORM in one.signature.instructions for one in quiet.predictors())
    lm = scripted(plan=plan(rated(WRONG), [LARGE, ONE]), evolve=rewrite(rated(RIGHT)))
    with dspy.context(lm=lm):
        assert gate(request=REQUEST).verified
    for phase in ("plan", "evolve"):
        told = " ".join(f"{STEP_BASICS}\n{STATED_FORM}".split())
        assert " ".join(lm.engine.last(phase).text.split()).count(told) == 1


def test_instructions_that_were_tuned_are_added_to():
    refiner = SelfRefine("request -> answer", Store)
    refiner.rewrite.predict.signature = refiner.rewrite.predict.signature.with_instructions("Write better.")
    told = ConfidenceGate(refiner, 0.5).refiner.rewrite.predict.signature.instructions
    assert told == f"Write better.\n{STATED_FORM}"


def test_a_confidence_that_nobody_asked_for_is_no_part_of_a_step():
    with dspy.context(lm=scripted(plan=planned(*SURE))):
        result = PlanExecute("request -> answer", Store, timeout=None)(request=REQUEST)
    assert [one.confidence for one in result.trajectory.steps] == [None] * 4


def test_a_confidence_is_on_record_and_does_not_change_what_a_trajectory_is():
    one, _, _ = run(PlanExecute, plan=planned(*SURE))
    other, _, _ = run(PlanExecute, plan=planned(0.8, 0.7, 0.6, 0.5))
    assert [step.confidence.value for step in other.trajectory.steps] == [0.8, 0.7, 0.6, 0.5]
    assert one.trajectory.id == other.trajectory.id and one.trajectory.common_prefix(other.trajectory) == 4
    assert [step.to_prompt() for step in one.trajectory.steps] == [step.to_prompt() for step in other.trajectory.steps]
    assert Trajectory.from_json(other.trajectory.to_json()) == other.trajectory
