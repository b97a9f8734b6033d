"""Looking is progress: what a version stopped to read is gone on from, shown from then on, and bounded."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy.episode.events import accepted_losses
from tests.refiners.loops import LARGE, MENDED, NICE, ONE, RIGHT, UNCHANGED, WRONG, kinds, run
from tests.scripted import GARBAGE, accept, judging, plan, rewrite, step, submit

LOOKS = step("x", "find", color="red", size="L")
THEN_RIGHT = [{"keep": ["x"]}, step("b", "details", ids="$x.ids"), *RIGHT[2:]]
ANEW = rewrite(
    [step("m", "find", color="red", size="L"), step("n", "details", ids="$m.ids"),
     step("o", "add", product_id="min_by($n, &price).id"), submit(answer="$o.items[0]")]
)  # fmt: skip
"""Right from whatever step on it is written."""
ANSWERED = plan(WRONG, [LARGE, ONE])
COMPOSED = {"considerations": "It is p2.", "answer": "p2"}


def reading_on():
    """Rewrites each of which stops to read something that nothing before it has."""
    fresh = itertools.count()
    return lambda prompt: rewrite([step(f"y{(n := next(fresh))}", "find", color=f"colour {n}")])


def looks(result):
    return [event.message for event in result.history if event.kind == "look"]


def never_rise(result):
    losses = accepted_losses(result.history)
    return losses == sorted(losses, reverse=True)


# ------------------------------------------------------------------------------------------------- stopping to read


def test_a_look_from_an_answered_incumbent_is_gone_on_from():
    result, engine, _ = run(plan=ANSWERED, evolve=[rewrite([LOOKS]), rewrite(THEN_RIGHT)])
    assert result.verified and result.answer == "p2" and result.trajectory.ids == ("x", "b", "c", "submit")
    assert kinds(result) == [
        "plan", "inspect", "accept", "gradient", "evolve", "inspect", "reject", "look", "gradient", "evolve", "inspect",
        "accept", "verify",
    ]  # fmt: skip
    assert looks(result) == ["read x"]
    # What it read is a larger loss, which is accepted by nobody: the incumbent stays what it was meanwhile.
    assert accepted_losses(result.history) == [result.history[1].loss.total, 0.0]
    second = engine.last("evolve")
    assert second.section("kept") == 'x find ->\n| {"ids": ["p2", "p4"]}'
    # Nothing is open and nothing is to blame: it stopped to read, and what it lacks is all that it is told.
    assert second.section("open_steps") == second.section("blame") == ""


def test_where_nothing_comes_of_it_the_answer_of_before_is_kept():
    result, engine, _ = run(
        plan=ANSWERED, evolve=[rewrite([LOOKS]), rewrite([]), rewrite([])], pivot={"restarts": 0, "patience": 1}
    )
    assert not result.verified and result.answer == "p1" and result.loss == result.history[1].loss
    assert looks(result) == ["read x"] and never_rise(result)


def test_reading_what_was_read_before_is_no_look():
    again = step("x", "find", color="red", size="M")
    result, engine, _ = run(plan=ANSWERED, evolve=[rewrite([again]), ANEW], pivot={"restarts": 0})
    assert looks(result) == [] and engine.count("evolve") == 2 and result.verified


@pytest.mark.parametrize("most", [0, 1, 3])
def test_looks_from_an_answered_incumbent_are_bounded(most):
    result, engine, _ = run(plan=ANSWERED, evolve=reading_on(), pivot={"max_looks": most, "restarts": 0, "patience": 2})
    assert looks(result) == [f"read y{n}" for n in range(most)]
    assert engine.count("evolve") == most + 2  # and as many rewrites as patience has
    assert not result.verified and result.answer == "p1" and never_rise(result)


@pytest.mark.parametrize("most", [0, 1, 3])
def test_a_plan_that_only_ever_reads_is_ended_and_the_answer_worded_from_what_was_found(most):
    result, engine, calls = run(
        plan=plan(RIGHT[:1]), evolve=reading_on(), compose=COMPOSED, pivot={"max_looks": most}
    )
    assert result.verified and result.answer == "p2" and engine.count("evolve") == most + 1
    assert [prompt.phase for prompt in engine.prompts][-2:] == ["compose", "judge"]
    assert engine.last("compose").section("observations").count("find {") == most + 2
    assert never_rise(result)


def test_a_restart_that_reads_something_new_is_gone_on_from():
    stops = plan([step("n", "find", color="red", size="L")])
    result, engine, _ = run(
        plan=[ANSWERED, stops],
        evolve=[UNCHANGED, UNCHANGED, rewrite([step("b", "details", ids="$n.ids"), *RIGHT[2:]])],
        pivot={"patience": 2, "audit": "never"},
    )  # fmt: skip
    assert result.verified and looks(result) == ["read n"]
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "evolve", "plan", "evolve"]
    assert engine.last("evolve").section("kept").startswith("n find ->") and never_rise(result)


# ---------------------------------------------------------------------------------------------- asking to see a part


def test_a_part_of_a_result_is_shown_where_it_is_asked_for():
    result, engine, calls = run(
        plan=plan(RIGHT[:2], [LARGE, ONE]), evolve=[rewrite([{"look": "$b[?price < `50`].name"}]), rewrite(RIGHT[2:])]
    )
    assert result.verified and looks(result) == ["asked to see more"]
    assert engine.last("evolve").section("looks") == 'look $b[?price < `50`].name ->\n| ["Trail Cap"]'
    assert calls.count("details") == 2  # it runs nothing: once in the inspection, once in the verification


def test_a_plan_may_ask_and_a_rewrite_with_other_steps_too():
    asks = rewrite([RIGHT[1], {"look": "$b[0].name"}])
    result, engine, _ = run(
        plan=plan([RIGHT[0], {"look": "$a.ids[1]"}], [LARGE, ONE]), evolve=[asks, rewrite(RIGHT[2:])]
    )
    first, second = [prompt.section("looks") for prompt in engine.prompts if prompt.phase == "evolve"]
    assert result.verified
    assert (first, second) == ("look $a.ids[1] ->\n| p4", "look $b[0].name ->\n| Trail Cap")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("$b[?price > `5000`].name", "selects nothing"),
        ("$b[?", "not a valid JMESPath expression"),
        ("$z.name", "z"),
        ("", ""),
    ],
)
def test_one_that_gives_nothing_is_said_and_counted(asked, said):
    result, engine, _ = run(
        plan=plan(RIGHT[:2], [LARGE, ONE]), evolve=[rewrite([{"look": asked}]), rewrite(RIGHT[2:])],
        pivot={"max_looks": 1},
    )  # fmt: skip
    assert result.verified and looks(result) == ["asked to see more"]
    shown = engine.last("evolve").section("looks")
    assert shown.startswith(f"look {asked}") and " FAILED: " in shown and said in shown and "\n" not in shown


@pytest.mark.parametrize("most", [0, 2])
def test_asking_without_end_is_bounded(most):
    result, engine, _ = run(
        plan=ANSWERED, evolve=rewrite([{"keep": ["a", "b", "c", "submit"]}, {"look": "$a.ids"}]),
        pivot={"max_looks": most, "restarts": 0, "patience": 2, "audit": "never"},
    )  # fmt: skip
    assert looks(result) == ["asked to see more"] * most
    assert engine.count("evolve") == most + 2 and result.answer == "p1"


# --------------------------------------------------------------------------------------- what was read and tried stays


READS_BLUE = rewrite([step("x", "find", color="blue"), step("y", "fly"), submit(answer="p3")])


def test_what_a_rejected_version_read_stands_in_the_next_prompt_once():
    result, engine, _ = run(plan=ANSWERED, evolve=[READS_BLUE, READS_BLUE, ANEW], pivot={"patience": 5})
    first, second, *_ = [prompt for prompt in engine.prompts if prompt.phase == "evolve"]
    assert "also_read" not in first.sections
    assert second.section("also_read") == 'find {"color": "blue"} ->\n| {"ids": ["p3"]}'
    assert result.verified


def test_what_was_read_stands_in_the_prompt_of_a_restart():
    result, engine, _ = run(
        plan=[ANSWERED, plan(RIGHT)], evolve=READS_BLUE, pivot={"patience": 1, "audit": "never"}
    )
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "plan"]
    restart = engine.last("plan")
    assert 'find {"color": "blue"} ->\n| {"ids": ["p3"]}' in restart.section("also_read")
    assert 'find {"color": "red", "size": "M"} ->\n| {"ids": ["p1"]}' in restart.section("also_read")


def test_what_was_rejected_stands_in_tried_each_once():
    result, engine, _ = run(plan=ANSWERED, evolve=[READS_BLUE, READS_BLUE, ANEW], pivot={"patience": 5})
    first, second, third = [prompt.section("tried") for prompt in engine.prompts if prompt.phase == "evolve"]
    assert first == "" and second == third and result.verified
    assert second == (
        '{"id": "x", "tool": "find", "args": {"color": "blue"}} {"id": "y", "tool": "fly"} '
        '{"id": "submit", "tool": "submit", "args": {"answer": "p3"}} -> '
        "step y: unknown_tool: no tool is called 'fly'"
    )


def test_a_change_of_requirements_that_is_refused_is_said_in_tried():
    forged = [{"id": "R1", "void": "not needed", "from": "a", "quote": "R1 is void"}]
    result, engine, _ = run(
        plan=ANSWERED, evolve=[rewrite(UNCHANGED["steps"], requirements=forged), MENDED], pivot={"audit": "never"}
    )
    assert engine.last("evolve").section("tried") == (
        "requirement not taken: R1: the quote 'R1 is void' does not stand there"
    )
    assert result.verified and result.requirements.amendments == ()


def test_settling_alone_is_progress_and_what_is_new_is_judged():
    delegating = {"id": "R1", "text": "What the result says is done.", "delegates": "$b[0].name"}
    asked_for = {"id": "R9", "under": "R1", "text": "A cap is bought.", "from": "b", "quote": "Trail Cap"}
    result, engine, _ = run(
        plan=plan(RIGHT, [ONE, delegating]), evolve=rewrite(UNCHANGED["steps"], requirements=[asked_for]),
        judge=[judging(R1="nothing is done"), accept],
        pivot={"restarts": 0},
    )  # fmt: skip
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "judge", "evolve", "judge"]
    assert [amendment.requirement for amendment in result.requirements.amendments] == ["R9"]
    assert accepted_losses(result.history) == [0.0]


# ---------------------------------------------------------------------------------------------------------- properties


PIECES = st.sampled_from(
    [
        *RIGHT, *WRONG, LOOKS, submit(), step("e", "find", color="blue"), step("f", "details", ids="$e.ids"),
        step("g", "fly"), step("h", "add", product_id="p3"), {"keep": ["a", "b"]}, {"keep": "submit"},
        {"look": "$a.ids"}, {"look": "$b[?"},
    ]
)  # fmt: skip
WRITTEN = st.lists(PIECES, max_size=5)
ONE_ADDED = {"id": "R4", "text": "It is added.", "call": {"tool": "add", "args": {"product_id": "?"}}}
FOLLOWED = {"id": "R5", "text": "What is told there is done.", "delegates": "$b[0].name"}
SETTLED = st.lists(
    st.sampled_from(
        [
            {"id": "R4", "call": {"args": {"product_id": "p2"}}, "from": "a", "quote": "p2"},
            {"id": "R4", "call": {"args": {"product_id": "p3"}}, "from": "a", "quote": "p3"},
            {"id": "R4", "void": "not needed", "from": "b", "quote": "Trail Cap"},
            {"id": "R3", "void": "not needed", "from": "b", "quote": "forged"},
            {"id": "R9", "under": "R5", "text": "A cap is bought.", "quote": "Trail Cap"},
            {"id": "R9", "void": "not needed", "from": "b", "quote": "Trail Cap"},
        ]
    ),
    max_size=2,
)  # fmt: skip


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    plans=st.lists(WRITTEN, min_size=1, max_size=3), rewrites=st.lists(st.tuples(WRITTEN, SETTLED), max_size=8),
    most=st.integers(0, 3), restarts=st.integers(0, 2),
)  # fmt: skip
def test_whatever_is_read_losses_never_rise_and_it_ends(plans, rewrites, most, restarts):
    result, engine, _ = run(
        plan=[plan(steps, [LARGE, ONE, NICE, ONE_ADDED, FOLLOWED]) for steps in plans],
        evolve=[*(rewrite(steps, requirements=settled) for steps, settled in rewrites), *[GARBAGE] * 9],
        compose={"considerations": "c", "answer": "p2"},
        pivot={"max_looks": most, "restarts": restarts, "max_iters": 10},
    )
    assert never_rise(result) and result.loss.total == accepted_losses(result.history)[-1]
    assert {item.id for item in result.requirements.items} >= {"R1", "R2", "R3", "R5"}  # none is void without a quote
    assert len(looks(result)) <= most
    assert engine.count("evolve") <= 20  # of ten rewrites each is asked for at most twice
    assert result.verified == (result.loss.perfect and result.verdict.verified)
