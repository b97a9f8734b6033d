"""What every refiner does with a memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import dspy
import pytest

from pivot_dspy import Budget, ConfidenceGate, Entries, Pivot, ReAct, RewardRising, Trajectory
from pivot_dspy.errors import ConfigurationError
from tests.memory.entries import ENTRIES, EXAMPLE, ONE, SIZES, UNKNOWN
from tests.refiners.loops import LARGE, REQUEST, RIGHT, WRONG
from tests.refiners.test_all_refiners import REFINERS, small_tree, speaking
from tests.refiners.test_base import answers
from tests.scripted import plan
from tests.stores import Store

every = pytest.mark.parametrize("kind", list(REFINERS.values()), ids=list(REFINERS))
LEARNED = {"id": "L1", "check": "only", "args": {"count": 1}}
STEPWISE = (ReAct, RewardRising, small_tree)


def holder(module):
    return module.refiner if isinstance(module, ConfidenceGate) else module


def made(kind, entries=ENTRIES, **options):
    module = kind("request -> answer", Store, timeout=None, **options)
    holder(module).memory.entries = entries
    return module


def run(kind, entries=ENTRIES, steps=RIGHT, requirements=(LARGE,), **call):
    lm = speaking(kind, plan=lambda _: plan(steps, requirements))
    module = made(kind, entries)
    with dspy.context(lm=lm):
        return module(request=REQUEST, **call), lm.engine


@every
def test_an_empty_memory_leaves_the_prompts_as_they_are(kind):
    result, engine = run(kind, Entries())
    assert result.retrieved == () and not any("lessons" in prompt.sections for prompt in engine.prompts)


@every
def test_the_prompts_tell_what_earlier_tasks_have_taught(kind):
    bare, before = run(kind, Entries())
    result, engine = run(kind, requirements=[LARGE, LEARNED])
    assert set(result.retrieved) == {entry.id for entry in ENTRIES} and result.verified
    first = engine.prompts[0]
    assert LEARNED["check"] in first.section("lessons") and '"id": "L1"' in first.section("lessons")
    told = next(prompt for prompt in engine.prompts if prompt.phase in ("plan", "act", "react", "code"))
    assert "- When find takes a size" in told.section("lessons") and EXAMPLE.task[:-1] in told.section("lessons")
    assert len(engine.prompts) == len(before.prompts)
    added = result.ledger.usage.prompt_tokens - bare.ledger.usage.prompt_tokens
    text = sum(len(prompt.section("lessons")) for prompt in engine.prompts) // 4
    assert text <= added <= text + 80 * len(engine.prompts)
    if kind in STEPWISE:  # the steps are no place for requirements, which are settled by then
        assert "L1" not in told.section("lessons") and first.phase == "settle"
        assert "- When" not in first.section("lessons")


@every
def test_a_learned_requirement_is_an_amendment_that_names_the_lesson(kind):
    result, _ = run(kind, requirements=[LARGE, LEARNED])
    item = result.requirements["L1"]
    assert (item.origin, item.check, item.args) == ("lesson", "only", {"count": 1})
    assert result.requirements["R1"].origin == "task"
    (amendment,) = result.requirements.amendments
    assert amendment.before is None and amendment.after == item and amendment.by == "memory"
    assert amendment.reason.startswith(f"lesson {ONE.id}: When anything is bought: more than one")
    events = [event for event in result.history if event.kind == "amend"]
    assert [event.message for event in events] == [f"L1: {amendment.reason}"]
    assert events[0].requirements == result.requirements


@every
def test_a_learned_requirement_counts_like_any_other(kind):
    twice = [*RIGHT[:3], {**RIGHT[2], "id": "d"}, RIGHT[3]]
    result, _ = run(kind, steps=twice, requirements=[LARGE, LEARNED])
    assert not result.verified and result.loss.total > 0
    found = [finding.status for finding in result.findings if finding.requirement == "L1"]
    assert found == ["holds" if kind in (RewardRising, small_tree) else "violated"]  # those take no step for the worse


def test_a_requirement_that_was_not_written_is_not_made_up():
    result, _ = run(Pivot)
    assert [item.id for item in result.requirements.items] == ["R1"] and not result.requirements.amendments


def test_a_given_trajectory_is_told_of_requirements_only():
    lm = speaking(Pivot, settle={"requirements": [LARGE, LEARNED]})
    given = Trajectory.model_validate({"steps": RIGHT})
    with dspy.context(lm=lm):
        result = made(Pivot)(request=REQUEST, trajectory=given)
        own = made(Pivot)(request=REQUEST, trajectory=given, requirements=[{"check": "only", "args": {"count": 1}}])
    assert result.retrieved == (ONE.id,) and result.requirements["L1"].origin == "lesson"
    assert own.retrieved == () and lm.engine.count() == 1


def test_the_settling_prompt(snapshot):
    _, engine = run(RewardRising)
    snapshot("memory/settle.txt", engine.prompts[0].text)


def test_own_lessons_come_after_those_of_earlier_tasks():
    lm = speaking(
        REFINERS["reflexion"],
        plan=[plan(WRONG, [LARGE]), plan(RIGHT, [LARGE])],
        reflect={"reflection": "Step a looked for the wrong size."},
    )
    with dspy.context(lm=lm):
        result = made(REFINERS["reflexion"])(request=REQUEST)
    earlier, second = (prompt.section("lessons") for prompt in lm.engine.prompts if prompt.phase == "plan")
    assert second.startswith(earlier) and second.endswith("\n\n- Trial 1:\nStep a looked for the wrong size.")
    assert result.verified and set(result.retrieved) == {entry.id for entry in ENTRIES}


def test_what_is_retrieved_counts_towards_the_least_that_a_plan_takes():
    needed = 1300
    with dspy.context(lm=speaking(Pivot, plan=lambda _: plan(RIGHT, [LARGE]))):
        assert made(Pivot, Entries())(request=REQUEST, budget=Budget(tokens=needed)).verified
        long = (SIZES.model_copy(update={"id": f"x{n}", "avoid": f"word{n} " * 60}) for n in range(9))
        entries = ENTRIES.add(*long)
        with pytest.raises(ConfigurationError, match="does not pay for one plan"):
            made(Pivot, entries)(request=REQUEST, budget=Budget(tokens=needed))


@every
def test_copies_share_nothing_that_changes(kind):
    first = made(kind)
    second = first.deepcopy()
    mine, other = holder(first).memory, holder(second).memory
    assert mine is not other and mine.entries == other.entries
    other.entries, other.lessons = other.entries.without([ONE.id]), 1
    assert mine.entries == ENTRIES and mine.lessons == 6
    reset = first.reset_copy()
    assert holder(reset).memory.entries == ENTRIES
    assert not any("memory" in name for name, _ in first.named_predictors())


def test_threads_share_a_memory_and_a_run_changes_nothing_of_it():
    module = Pivot("question -> answer", Store)
    module.memory.entries = ENTRIES
    lm = speaking(Pivot, plan=answers)
    with dspy.context(lm=lm), ThreadPoolExecutor(8) as pool:
        contexts = [copy_context() for _ in range(16)]
        calls = [pool.submit(c.run, module, question=f"Buy p{n % 4 + 1}") for n, c in enumerate(contexts)]
        results = [call.result() for call in calls]
    assert all(result.verified and set(result.retrieved) == {e.id for e in ENTRIES} for result in results)
    assert module.memory.entries is ENTRIES


async def test_a_call_that_is_awaited_is_told_the_same():
    for kind in (Pivot, ReAct, REFINERS["dspy-refine"]):
        lm = speaking(kind, plan=lambda _: plan(RIGHT, [LARGE]))
        module = made(kind)
        with dspy.context(lm=lm):
            awaited, called = await module.acall(request=REQUEST), module(request=REQUEST)
        assert awaited.retrieved == called.retrieved and UNKNOWN.id in awaited.retrieved
        half = len(lm.engine.prompts) // 2
        assert [p.sections for p in lm.engine.prompts[:half]] == [p.sections for p in lm.engine.prompts[half:]]
