"""Select, expand, roll out, back up; nothing is run twice."""

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, Trajectory, TreeSearch, from_functions
from pivot_dspy.errors import ConfigurationError, PlanningFailed
from tests.refiners.loops import LARGE, ONE, RIGHT
from tests.refiners.stepping import BAD, MEDIUM, OTHER, SUBMIT, A, B, C, events, searched, shown, turns
from tests.scripted import GARBAGE, scripted, step, submit
from tests.stores import Calls, Store

EVERY = {"s0": [A], "s1": [B], "s2": [C], "s3": [SUBMIT]}
THREE = {"n_generate_sample": 3}
NEVER = {"id": "R9", "check": "total", "args": {"max": 1}}


class Sealed(Store):
    forkable = False


class Outside(Sealed):
    reopenable = False


def grown(options=None, call=None, scripts=None, environment=None, **samples):
    told = {"reflect": [{"reflection": f"Lesson {n}."} for n in range(1, 30)], **(scripts or {})}
    act = turns(**{**EVERY, **samples})
    return searched(TreeSearch, act, {**THREE, **(options or {})}, environment, call, **told)


def acts(engine):
    return [prompt for prompt in engine.prompts if prompt.phase == "act"]


def test_one_roll_out_is_enough_where_its_end_is_perfect():
    result, engine, calls = grown()
    assert result.verified and result.answer == "p2"
    assert engine.count("act") == 3 * 3 + 1  # the first perfect end stops it, and no model is asked for values
    assert calls.count("find") == 2 and calls.count("details") == 2 and calls.count("add p2") == 2  # one is VERIFY


def test_samples_share_a_prompt_and_equal_ones_are_one():
    _, engine, calls = grown(s2=[{**OTHER, "id": "x"}, OTHER, C])
    texts = [prompt.text for prompt in acts(engine) if len(shown(prompt)) == 2]
    assert len(texts) == 3 and len(set(texts)) == 1 and calls.count("add p1") == 1
    assert {prompt.temperature for prompt in acts(engine)} == {1.0}


def test_a_roll_out_follows_the_best_loss_and_of_equals_the_one_sampled_most():
    _, engine, _ = grown(s0=[MEDIUM, A, A], s2=[OTHER, C, BAD])
    assert [shown(prompt) for prompt in acts(engine)][-1] == ("a", "b", "c")
    last = acts(engine)[-1].section("steps_so_far")
    assert '"size": "L"' in last and "min_by" in last


@settings(max_examples=20, deadline=None)
@given(st.data())
def test_no_shared_prefix_is_run_twice(data):
    places = {
        name: data.draw(st.lists(st.sampled_from(steps), min_size=1, max_size=6))
        for name, steps in {"s0": [A, MEDIUM], "s1": [B], "s2": [C, OTHER, BAD], "s3": [SUBMIT, submit()]}.items()
    }
    settled = {"settle": lambda _: {"requirements": [LARGE, ONE, NEVER]}}
    result, _, calls = grown({"iterations": 4}, scripts=settled, **places)
    inspected = [event.trajectory for event in result.history if event.kind == "inspect"]
    assert len({trajectory.id for trajectory in inspected}) == len(inspected)
    found = {trajectory.steps[-1].args["size"] for trajectory in inspected if len(trajectory) == 1}
    assert calls.count("find") == len(found) and result.ledger.usage.tool_calls == len(calls)
    assert result.ledger.usage.tool_calls_reused == sum(
        observation.reused * observation.calls
        for event in result.history
        if event.kind == "inspect"
        for observation in event.execution.observations
    )


def test_rewards_are_backed_up_and_the_next_iteration_goes_elsewhere():
    scripts = {"settle": lambda _: {"requirements": [LARGE, ONE, NEVER]}}
    result, engine, _ = grown({"iterations": 2}, scripts=scripts, s0=[A, MEDIUM, A])
    places = [shown(prompt) for prompt in acts(engine)]
    # Two roll-outs, the second from the first step that was not visited yet.
    assert places == [()] * 3 + [("a",)] * 3 + [("a", "b")] * 3 + [("a", "b", "c")] * 3 + [("a",)] * 3 + places[15:]
    second = acts(engine)[12]
    assert '"size": "M"' in second.section("steps_so_far") and second.section("lessons") == "- Trial 1:\nLesson 1."
    assert not result.verified and len(events(result, "accept")) >= 4


def test_the_last_reflections_are_shown_one_for_each_reward():
    scripts = {"settle": lambda _: {"requirements": [LARGE, ONE, NEVER]}}
    _, engine, _ = grown({"iterations": 6}, scripts=scripts, s0=[A], s2=[C, OTHER, C])
    told = [prompt.section("lessons") for prompt in acts(engine)]
    assert told[0] == "" and engine.count("reflect") == 1 and told[-1] == "- Trial 1:\nLesson 1."
    _, engine, _ = grown({"iterations": 6, "memory": 0}, scripts=scripts)
    assert engine.count("reflect") == 0 and {prompt.section("lessons") for prompt in acts(engine)} == {""}


def test_accepted_losses_fall_and_the_best_is_returned_though_it_was_not_the_last():
    scripts = {"settle": lambda _: {"requirements": [LARGE, ONE, NEVER]}}
    result, _, _ = grown({"iterations": 3}, scripts=scripts, s0=[A, MEDIUM, A])
    losses = [loss.total for _, loss in events(result, "accept")]
    assert losses == sorted(losses, reverse=True) and result.loss.total == losses[-1]
    judged = len(events(result, "accept")) + len(events(result, "reject"))
    assert judged == len(events(result, "inspect")) - 1  # all but the root


def test_paths_end_at_the_depth_limit():
    result, engine, _ = grown({"max_depth": 2, "iterations": 3})
    assert max(len(shown(prompt)) for prompt in acts(engine)) == 1 and len(result.trajectory) == 2
    assert not result.verified and result.answer is None


def test_steps_that_failed_are_left_out_of_an_end():
    end = {**SUBMIT, "args": {"answer": "$d.items[0]"}}
    late = step("d", "add", product_id="min_by($b, &price).id")
    result, engine, _ = grown({"n_generate_sample": 1, "iterations": 1}, s2=[BAD], s3=[late], s4=[end])
    assert result.verified and result.trajectory.ids == ("a", "b", "d", "submit") and engine.count("reflect") == 0


def test_a_trajectory_that_is_given_is_the_first_path():
    given = Trajectory.model_validate({"steps": [A, B, OTHER, {**SUBMIT, "args": {"answer": "$c.items[0]"}}]})
    result, engine, calls = grown(call={"trajectory": given})
    assert result.verified and [prompt.phase for prompt in engine.prompts[:3]] == ["settle", "reflect", "act"]
    assert acts(engine)[0].section("lessons") == "- Trial 1:\nLesson 1."
    assert calls.count("find") == 2 and calls.count("add p1") == 1
    right = Trajectory.model_validate({"steps": RIGHT})
    result, engine, _ = grown(call={"trajectory": right, "requirements": [LARGE, ONE]})
    assert result.verified and engine.count() == 0


def test_where_everything_ended_it_stops():
    result, engine, _ = grown({"n_generate_sample": 1}, s0=[submit(answer="p2")])
    assert engine.count("act") == 1 and not result.verified


def test_steps_that_cannot_be_read_cost_samples_and_no_more():
    result, engine, _ = grown(s1=[GARBAGE, GARBAGE, B])
    assert result.verified
    with pytest.raises(PlanningFailed, match="no step"):
        searched(TreeSearch, GARBAGE)


@pytest.mark.parametrize("limit", range(1, 12))
def test_the_budget_ends_it_with_the_best_so_far(limit):
    result, engine, _ = grown({"budget": Budget(lm_calls=limit)}, s2=[BAD, OTHER, C])
    if result.exhausted:
        assert engine.count() == limit
        assert result.loss.total == min(loss.total for _, loss in events(result, "accept"))


def double(number: int) -> int:
    """Twice the number."""
    return 2 * number


def keep(number: int) -> int:
    """Remember a number."""
    return number


@pytest.mark.parametrize(
    ("where", "tier"),
    [
        ({"environment": Sealed}, "replay"),
        ({"environment": Outside}, "live"),
        ({"environment": Sealed()}, "live"),
        ({"tools": [double, keep], "effects": {"double": "read"}}, "live"),
    ],
)
def test_without_forks_it_is_refused_at_once(where, tier):
    with pytest.raises(ConfigurationError, match=f"needs the tier 'fork'; the tier of .* is '{tier}'.*no forks: Pivot"):
        TreeSearch("request -> answer", **where)


def test_a_factory_is_refused_before_any_model_is_asked():
    lm = scripted()
    made = TreeSearch("request -> answer", lambda: Sealed())
    with dspy.context(lm=lm), pytest.raises(ConfigurationError, match="is 'replay'"):
        made(request="x")
    assert lm.engine.count() == 0
    TreeSearch("request -> answer", from_functions([double], effects="read"))
    TreeSearch("request -> answer", Store(Calls()))


@pytest.mark.parametrize(
    "bad", [{"iterations": 0}, {"n_generate_sample": 0}, {"max_depth": 0}, {"memory": -1}, {"exploration": -1.0}]
)
def test_what_cannot_work_is_refused(bad):
    with pytest.raises(ConfigurationError, match=f"{next(iter(bad))} is at least"):
        TreeSearch("request -> answer", Store, **bad)
