"""What a result is measured by: the judge, the verification, the requirements."""

import itertools

import pytest
from dspy.lm15 import ServerError

from pivot_dspy import PlanningFailed, Trajectory, WithMargin
from pivot_dspy.environment.base import Environment, tool
from pivot_dspy.episode.events import accepted_losses
from tests.refiners.loops import LARGE, MENDED, NICE, ONE, RIGHT, UNCHANGED, WRONG, kinds, run
from tests.scripted import GARBAGE, accept, judging, plan, rewrite, step, submit

# ----------------------------------------------------------------------------------------------------------- the judge


def test_the_judge_speaks_only_where_nothing_else_is_missing():
    result, engine, _ = run(plan=plan(WRONG, [LARGE, NICE]), evolve=MENDED)
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "judge"]


def test_one_call_judges_all_of_them():
    items = [{"id": f"T{n}", "text": f"It is {n} times nice."} for n in range(5)]
    result, engine, _ = run(plan=plan(RIGHT, [ONE, *items]))
    assert result.verdict.status == "judged" and engine.count("judge") == 1


@pytest.mark.parametrize(
    "judge",
    [
        {"verdicts": []},
        {"verdicts": [{"about": "R3", "holds": False, "why": "no"}]},
        {"verdicts": [{"about": "R3", "holds": True}]},
        {"verdicts": [{"about": "R3", "holds": True, "quote": "p2 is nice"}]},
        GARBAGE,
        ServerError("500"),
    ],
)
def test_without_the_judges_word_nothing_is_verified(judge):
    result, _, _ = run(plan=plan(RIGHT, [ONE, NICE]), judge=judge, evolve=UNCHANGED)
    assert result.verdict.status == "unverified" and "requirement R3" in result.verdict.reasons[0]
    assert not result.verified and not result.loss.perfect


def test_what_the_judge_refuses_is_evolved():
    dear = [*RIGHT[:2], step("c", "add", product_id="max_by($b, &price).id"), RIGHT[3]]
    result, engine, _ = run(
        plan=plan(dear, [ONE, NICE]), judge=[judging(R3="p4 is dear"), accept],
        evolve=rewrite([*RIGHT[:3], {"keep": "submit"}]),
    )  # fmt: skip
    assert result.verified and result.answer == "p2"
    assert "R3: It is nice. - NOT MET: p4 is dear" in engine.last("evolve").section("report")


# ------------------------------------------------------------------------------------------------------- verification


class Fickle(Environment):
    """Gives another number each time, and the same one by another tool."""

    turns = itertools.count()
    shared = ("turns",)

    @tool(effect="read")
    def roll(self) -> int:
        """A number."""
        return next(Fickle.turns)

    @tool(effect="read")
    def seven(self) -> int:
        """Seven."""
        return 7


def test_a_run_that_goes_another_way_the_second_time_is_a_gradient():
    result, engine, _ = run(
        Fickle,
        plan=plan([step("a", "roll"), submit(answer="$a")]),
        evolve=rewrite([step("a", "seven"), {"keep": "submit"}]),
    )
    assert result.verified and result.answer == "7"
    assert [event.gradient.kind for event in result.history if event.kind == "gradient"] == ["not_reproducible"]
    assert "Run again from the start" in engine.last("evolve").section("blame")


def test_what_stays_irreproducible_is_not_verified():
    result, engine, _ = run(
        Fickle, plan=plan([step("a", "roll"), submit(answer="$a")]),
        evolve=[rewrite([step(f"a{n}", "roll"), submit(answer=f"$a{n}")]) for n in range(9)],
    )  # fmt: skip
    assert not result.verified and "it went another way" in result.verdict.reasons[0] and result.verdict.departed
    assert engine.count("audit") == 0


def test_a_margin_runs_every_candidate_several_times():
    _, _, calls = run(plan=plan(WRONG, [LARGE, ONE]), evolve=MENDED, pivot={"acceptance": WithMargin(0.1, repeats=3)})
    assert calls.count("find") == 3 + 3 + 1


# -------------------------------------------------------------------------------------------------------- requirements


def test_those_of_the_user_bind_and_are_shown_to_the_planner():
    mine = {"id": "U1", "check": "total", "args": {"max": 20}}
    result, engine, _ = run(
        plan=plan(RIGHT, [LARGE]),
        evolve=UNCHANGED,
        pivot={"requirements": [mine], "audit": "always"},
        call={"requirements": ["Be quick."]},
        audit={
            "changes": [
                {"id": "U1", "reason": "too hard", "quote": "size L", "text": "Spend little."},
                {"id": "R1", "reason": "x", "drop": True},
                {**LARGE, "id": "R4", "reason": "y", "quote": "size L"},
            ]
        },
    )
    assert 'U1: total {"max": 20}\nU2: Be quick.' in engine.prompts[0].section("user_requirements")
    assert not result.verified and [item.id for item in result.requirements.items] == ["U1", "U2", "R1", "R4"]
    assert [amendment.requirement for amendment in result.requirements.amendments] == ["R4"]


def test_an_audit_before_all_else_settles_what_every_run_is_measured_by():
    result, engine, _ = run(
        plan=plan(RIGHT, [{"id": "R1", "check": "item", "args": {"color": "blue"}}]), pivot={"audit": "always"},
        audit={"changes": [{**LARGE, "reason": "the request says red", "quote": "red thing"}]},
    )  # fmt: skip
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "audit", "judge"]
    assert engine.prompts[-1].section("questions").startswith("R1_audit: ")
    [amendment] = result.requirements.amendments
    assert (amendment.before.args, amendment.after.args) == ({"color": "blue"}, LARGE["args"])
    assert amendment.reason == "the request says red" and "amend" in kinds(result)


def test_where_it_is_stuck_the_requirements_are_audited_and_the_incumbent_measured_again():
    misread = {"id": "R1", "check": "item", "args": {"color": "green"}}
    result, engine, _ = run(
        plan=plan(RIGHT, [misread]), evolve=UNCHANGED,
        audit={"changes": [{**LARGE, "reason": "the request says red", "quote": "red thing"}]}, pivot={"patience": 2},
    )  # fmt: skip
    assert result.verified and engine.count("audit") == 1
    assert accepted_losses(result.history) == [0.0]


def test_audits_that_find_nothing_end_it():
    result, engine, _ = run(
        plan=plan(RIGHT, [{"id": "R1", "check": "item", "args": {"color": "green"}}]),
        evolve=UNCHANGED, pivot={"patience": 2, "restarts": 0},
    )  # fmt: skip
    # The model kept its steps, so that the requirements are looked at before it is asked again, and at the very end.
    asked = [prompt.phase for prompt in engine.prompts]
    assert not result.verified and asked == ["plan", "evolve", "audit", "evolve", "audit"]


def test_a_step_that_nothing_asks_for_has_the_requirements_audited_before_any_rewrite():
    kinds_of = {"R1": {"color": "red", "size": "M"}, "R2": {"color": "blue"}, "R3": {"name": "Rain Coat"}}
    asked = [{"id": name, "check": "item", "args": args} for name, args in kinds_of.items()]
    one_each = {"id": "O", "check": "only", "args": {"count": 2}}
    steps = [
        step("f", "find"),
        step("d", "details", ids="$f.ids"),
        step("a", "add", product_id="$d[?color=='red' && size=='M'].id | [0]"),
        step("b", "add", product_id="$d[?color=='blue'].id | [0]"),
        step("c", "add", product_id="$d[?name=='Rain Coat'].id | [0]"),
        step("submit", "submit", answer="$c.items[0]"),
    ]
    result, engine, _ = run(
        plan=plan(steps, [*asked[:2], one_each]),
        audit={"changes": [{**asked[2], "reason": "the request asks for a coat", "quote": "red thing"},
                           {**one_each, "args": {"count": 3}, "reason": "there are three things", "quote": "Buy"}]},
    )  # fmt: skip
    blamed = [event.gradient for event in result.history if event.kind == "gradient"]
    assert [(gradient.kind, gradient.step) for gradient in blamed] == [("unasked_step", "c")]
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "audit", "judge"]
    assert engine.prompts[-1].section("questions").startswith("O_audit: ")  # R3 is new: it loosens nothing


# ------------------------------------------------------------------------------------------------- a given trajectory


def test_a_given_trajectory_is_refined():
    start = Trajectory.from_messages(
        [
            {"role": "assistant", "tool_calls": [{"function": {"name": "add", "arguments": '{"product_id": "p1"}'}}]},
            {"role": "assistant", "content": "Done."},
        ],
        output="answer",
    )
    result, engine, _ = run(
        call={"trajectory": start}, settle={"requirements": [LARGE]},
        evolve=rewrite([step("c1", "add", product_id="p2"), {"keep": "submit"}]),
    )  # fmt: skip
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["settle", "evolve", "judge"]
    assert result.trajectory.parent == start.id


def test_with_requirements_for_this_task_none_are_settled():
    start = Trajectory.from_json(Trajectory(steps=()).to_json())
    result, engine, _ = run(call={"trajectory": start, "requirements": [LARGE]}, evolve=rewrite(RIGHT))
    assert result.verified and engine.count("settle") == 0


def test_requirements_of_every_task_do_not_say_what_this_one_asks():
    result, engine, _ = run(
        call={"trajectory": Trajectory()}, settle={"requirements": [LARGE]}, evolve=rewrite(RIGHT),
        pivot={"requirements": [{"id": "U1", "check": "total", "args": {"max": 99}}]},
    )  # fmt: skip
    assert result.verified and [item.id for item in result.requirements.items] == ["U1", "R1"]


def test_a_given_trajectory_without_readable_requirements_is_a_planning_failure():
    with pytest.raises(PlanningFailed, match="no requirements"):
        run(call={"trajectory": Trajectory()}, settle=GARBAGE)
