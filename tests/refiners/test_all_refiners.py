"""What holds for every refiner, whatever its model says."""

from __future__ import annotations

import functools
import itertools
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import dspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import (
    BestOfN,
    Budget,
    CodeActing,
    ConfidenceGate,
    DspyRefine,
    Event,
    MajorityOfN,
    Pivot,
    PlanExecute,
    PlanningFailed,
    ReAct,
    Refined,
    Reflexion,
    RewardRising,
    SelfEvolution,
    SelfRefine,
    Trajectory,
    TreeSearch,
)
from pivot_dspy.episode.events import accepted_losses
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.loss import EPSILON
from pivot_dspy.simulator import offline_lm
from tests.acting import acted, coded
from tests.refiners.loops import LARGE, MENDED, ONE, REQUEST, RIGHT, WRONG, from_scratch
from tests.refiners.stepping import stepwise
from tests.refiners.test_base import answers, state_of
from tests.refiners.test_pivot_properties import BROKEN, conversations, told
from tests.scripted import plan, scripted
from tests.simulator.rooms import REQUEST as ROOM
from tests.simulator.rooms import Book, Rooms
from tests.simulator.rooms import reference as room_reference
from tests.stores import Calls, Store


def gated(*args, **options):
    return ConfidenceGate(BestOfN(*args, **options), 0.5)


def small_tree(*args, **options):
    return TreeSearch(*args, iterations=2, n_generate_sample=2, **options)


REFINERS = {
    "pivot": Pivot,
    "plan-execute": PlanExecute,
    "best-of-n": BestOfN,
    "majority-of-n": MajorityOfN,
    "self-refine": SelfRefine,
    "reflexion": Reflexion,
    "dspy-refine": DspyRefine,
    "react": ReAct,
    "code-acting": CodeActing,
    "self-evolution": SelfEvolution,
    "confidence-gate": gated,
    "reward-rising": RewardRising,
    "tree-search": small_tree,
}
every = pytest.mark.parametrize("kind", list(REFINERS.values()), ids=list(REFINERS))
OFTEN = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
SELDOM = settings(OFTEN, max_examples=6)

rewrites = st.sampled_from([RIGHT, WRONG, RIGHT[:2], [*RIGHT[:3], {"id": "submit", "tool": "submit"}], MENDED["steps"]])
more = st.fixed_dictionaries(
    {
        "critique": st.lists(
            st.sampled_from([[], ["Step a looks for the wrong size."], [""]]).map(lambda said: {"faults": said})
            | BROKEN,
            max_size=4,
        ),
        "rewrite": st.lists(rewrites.map(lambda steps: {"steps": steps}) | BROKEN, max_size=4),
        "recombine": st.lists(rewrites.map(lambda steps: {"summary": "x", "steps": steps}) | BROKEN, max_size=3),
        "feedback": st.lists(
            st.sampled_from(["N/A", "Step a: use L."]).map(
                lambda said: {"discussion": "x", "advice": {"plan.predict": said}}
            )
            | BROKEN,
            max_size=3,
        ),
        "reflect": st.lists(
            st.sampled_from(["", "Step a: use L."]).map(lambda said: {"reflection": said}) | BROKEN, max_size=3
        ),
    }
)
scripts = st.builds(lambda one, two: {**one, **two}, conversations, more)
budgets = st.none() | st.builds(
    Budget,
    lm_calls=st.none() | st.integers(1, 6),
    tokens=st.none() | st.integers(900, 6000),
    tool_calls=st.none() | st.integers(1, 12),
)


@functools.cache
def refiner(kind):
    """One for all examples, since a call leaves nothing on it, and the tool calls that were really made."""
    calls = Calls()
    return kind("request -> answer", lambda: Store(calls), timeout=None), calls


@functools.cache
def booking(kind):
    return kind(Book, Rooms, timeout=None)


def attempt(kind, said):
    """The refiner as if none had called its tools, a model that says that, and the tool calls from now on."""
    made, calls = refiner(kind)
    calls.clear()
    return made, speaking(kind, **said), calls


def speaking(kind, **said):
    if kind in (RewardRising, small_tree):
        return scripted(**stepwise(said))
    spoken = {ReAct: acted, CodeActing: coded}.get(kind, dict)
    return scripted(**spoken(said))


@every
@OFTEN
@given(said=scripts)
def test_accepted_losses_never_rise_and_the_result_is_what_a_run_from_scratch_gives(kind, said):
    made, lm, calls = attempt(kind, said)
    try:
        with dspy.context(lm=lm):
            result = made(request=REQUEST)
    except PlanningFailed as failure:
        assert failure.ledger.usage.lm_calls == lm.engine.count()
        return
    losses = accepted_losses(result.history)
    assert all(later <= earlier + EPSILON for earlier, later in itertools.pairwise(losses))
    assert losses[-1:] in ([], [result.loss.total]) and isinstance(result, Refined)
    again = from_scratch(result.trajectory).execution
    assert [(o.status, o.value) for o in again.observations] == [
        (o.status, o.value) for o in result.execution.observations
    ]
    assert again.outputs == result.execution.outputs and result.answer == again.outputs.get("answer")
    usage = result.ledger.usage
    assert usage.lm_calls == lm.engine.count() and usage.tool_calls == len(calls) and "order" not in calls
    assert result.verified == (not result.verdict.reasons) and (result.loss.perfect or not result.verified)


@every
@OFTEN
@given(said=scripts, budget=budgets)
def test_the_budget_is_never_exceeded_by_more_than_the_call_in_flight(kind, said, budget):
    made, lm, _ = attempt(kind, said)
    try:
        with dspy.context(lm=lm):
            usage = made(request=REQUEST, budget=budget).ledger.usage
    except PlanningFailed as failure:
        usage = failure.ledger.usage
    except ConfigurationError as error:
        assert "does not pay for one plan" in str(error) and lm.engine.count() == 0
        return
    if budget is None:
        return
    # Where DSPy cannot read an answer it asks once more, for JSON, within the same call.
    if budget.lm_calls is not None:
        assert usage.lm_calls <= budget.lm_calls + 1
    if budget.tool_calls is not None:
        assert usage.tool_calls <= budget.tool_calls + 1  # the orientation reads are booked, never refused
    if budget.tokens is not None:
        largest = max(len(prompt.text) for prompt in lm.engine.prompts) // 4 + 1000
        assert usage.total_tokens < budget.tokens + 2 * largest


@every
@SELDOM
@given(said=scripts)
async def test_sync_and_async_are_the_same_and_so_is_a_second_call(kind, said):
    outcomes = []
    for way in ("sync", "again", "async"):
        made, lm, _ = attempt(kind, said)
        with dspy.context(lm=lm):
            try:
                outcomes.append(told(await made.acall(request=REQUEST) if way == "async" else made(request=REQUEST)))
            except PlanningFailed as failure:
                outcomes.append(str(failure))
    assert outcomes[0] == outcomes[1] == outcomes[2]


@every
@SELDOM
@given(seed=st.integers(0, 10**6))
def test_the_same_seed_gives_the_same_result_on_the_offline_model(kind, seed):
    made = booking(kind)

    def once():
        lm = offline_lm([room_reference()], slip=0.4, seed=seed, cache=False)
        with dspy.context(lm=lm):
            result = made(request=ROOM)
        assert result.ledger.usage.lm_calls == lm.engine.calls.lm_calls
        assert result.ledger.usage.total_tokens == lm.engine.calls.total_tokens
        return result.trajectory, result.loss, result.verdict, [event.kind for event in result.history]

    assert once() == once()


@every
def test_threads_share_a_module_and_a_call_leaves_nothing_on_it(kind):
    module = kind("question -> answer", Store)
    before = state_of(module)
    with dspy.context(lm=speaking(kind, plan=answers)), ThreadPoolExecutor(8) as pool:
        contexts = [copy_context() for _ in range(8)]
        calls = [pool.submit(c.run, module, question=f"Buy p{n % 4 + 1}") for n, c in enumerate(contexts)]
        results = [call.result() for call in calls]
    assert [result.answer for result in results] == [f"p{n % 4 + 1}" for n in range(8)]
    assert all(result.verified for result in results) and state_of(module) == before


@every
def test_one_plan_is_enough_where_it_is_right_and_a_budget_below_it_is_refused(kind):
    seen: list[Event] = []
    made = kind("request -> answer", Store, timeout=None, on_event=seen.append)
    lm = speaking(kind, plan=lambda _: plan(RIGHT, [LARGE, ONE]))
    with dspy.context(lm=lm):
        result = made(request=REQUEST)
        assert result.verified and result.answer == "p2" and seen == list(result.history)
        calls = {MajorityOfN: 3, ReAct: 7, CodeActing: 6, RewardRising: 5, small_tree: 8}.get(kind, 1)
        assert lm.engine.count() == calls
        with pytest.raises(ConfigurationError, match=r"does not pay for one plan.*raise Budget\(tokens"):
            made(request=REQUEST, budget=Budget(tokens=50))


@every
def test_a_trajectory_that_is_given_is_run_first(kind):
    made, lm, _ = attempt(kind, {"plan": lambda _: plan(RIGHT, []), "settle": {"requirements": [LARGE]}})
    given = Trajectory.model_validate({"steps": RIGHT})
    with dspy.context(lm=lm):
        result = made(request=REQUEST, trajectory=given)
    first = next(event for event in result.history if event.kind == "inspect")
    assert result.verified and first.trajectory == given and lm.engine.prompts[0].phase == "settle"


@every
def test_outputs_that_are_left_open_are_composed(kind):
    steps = [*RIGHT[:3], {"id": "submit", "tool": "submit", "args": {}}]
    composed = {"considerations": "x", "answer": "It is p2."}
    said = {"plan": lambda _: plan(steps, [LARGE]), "compose": lambda _: composed}
    made, lm, _ = attempt(kind, said)
    with dspy.context(lm=lm):
        result = made(request=REQUEST)
    assert result.verified and result.answer == "It is p2."


@every
def test_every_phase_is_a_predictor_that_optimizers_see(kind):
    made = kind("request -> answer", Store)
    own = {
        SelfRefine: ["critique.predict", "rewrite.predict"],
        Reflexion: ["reflect.predict"],
        ReAct: ["react", "extract.predict"],
        CodeActing: ["program.predict"],
        RewardRising: ["act.predict"],
        small_tree: ["act.predict", "reflect.predict"],
        SelfEvolution: ["critique.predict", "rewrite.predict", "transfer.predict", "restructure.predict"],
    }.get(kind, [])
    assert [name for name, _ in made.named_predictors()][7:] == own
    assert not {*map(id, made.deepcopy().predictors())} & {*map(id, made.predictors())}
