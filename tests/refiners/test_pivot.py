import itertools
import time
from collections import Counter
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError, ServerError
from dspy.utils.exceptions import LMAuthError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, Pivot, PlanningFailed, Requirement, Trajectory, WithMargin
from pivot_dspy._drive import drive
from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.environment.source import Source
from pivot_dspy.errors import ConfigurationError
from pivot_dspy.execution import execute
from pivot_dspy.history import accepted_losses
from pivot_dspy.loss import EPSILON
from pivot_dspy.requirements import evaluate
from tests.scripted import GARBAGE, Calendar, Calls, Store, plan, rewrite, scripted, step, submit

REQUEST = "Buy the cheapest red thing of size L."
LARGE = {"id": "R1", "check": "item", "args": {"color": "red", "size": "L"}}
ONE = {"id": "R2", "check": "only", "args": {"count": 1}}
NICE = {"id": "R3", "text": "It is nice."}
RIGHT = [
    step("a", "find", color="red", size="L"),
    step("b", "details", ids="$a.ids"),
    step("c", "add", product_id="min_by($b, &price).id"),
    submit(answer="$c.items[0]"),
]
WRONG = [step("a", "find", color="red", size="M"), *RIGHT[1:]]
UNCHANGED = rewrite([{"keep": ["a", "b", "c", "submit"]}])
MENDED = rewrite([RIGHT[0], {"keep": ["b", "c", "submit"]}], "It looked for size M.")


def run(
    environment: Any = None, request: str = REQUEST, call: dict[str, Any] | None = None, pivot: Any = None, **scripts
):
    """The result of one call, the engine, and the tool calls that were really made."""
    calls = Calls()
    lm = scripted(**{"audit": {"changes": []}, **scripts})
    made = Pivot("request -> answer", environment or (lambda: Store(calls)), timeout=None, **(pivot or {}))
    with dspy.context(lm=lm):
        return made(request=request, **(call or {})), lm.engine, calls


def kinds(result) -> list[str]:
    return [event.kind for event in result.history]


# ------------------------------------------------------------------------------------------------------------ the loop


def test_plan_inspect_blame_evolve_accept_verify():
    result, engine, calls = run(plan=plan(WRONG, [LARGE, ONE]), evolve=MENDED)
    assert result.verified and result.answer == "p2" and result.loss.perfect and result.tier == "fork"
    assert kinds(result) == ["plan", "inspect", "accept", "gradient", "evolve", "inspect", "accept", "verify"]
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve"]
    gradient = result.history[3].gradient
    assert (gradient.step, gradient.by) == ("a", "rule")
    assert result.trajectory.parent == result.history[0].trajectory.id
    assert result.exhausted is None and result.committed is None


def test_a_plan_that_is_right_costs_one_call():
    result, engine, calls = run(plan=plan(RIGHT, [LARGE, ONE]))
    assert result.verified and engine.count() == 1
    assert calls == ["colors", *["find", "details", "add p2"] * 2]  # orientation, inspection, verification


def test_a_missing_permission_is_asked_for_first():
    steps = [step("a", "search", day="Monday"), step("b", "book", hour="$a[0]"), submit(answer="$b")]
    grant = step("g", "grant", scope="calendar.read")
    result, engine, _ = run(
        Calendar, "Book Monday.", plan=plan(steps, [{"id": "R1", "check": "booked", "args": {"day": "Monday"}}]),
        evolve=rewrite([grant, {"keep": ["a", "b", "submit"]}]),
    )  # fmt: skip
    assert result.verified and result.answer == "Monday 10:00"
    assert result.history[3].gradient.step == "a" and result.history[3].gradient.locus == 0
    assert engine.count() == 2


def test_a_kept_prefix_is_not_run_again():
    dear = [*RIGHT[:2], step("c", "add", product_id="max_by($b, &price).id"), RIGHT[3]]
    cheap = {"id": "R4", "check": "total", "args": {"max": 50}}
    suffix = [{"keep": ["a", "b"]}, RIGHT[2], {"keep": "submit"}]
    result, _, calls = run(plan=plan(dear, [LARGE, cheap]), evolve=rewrite(suffix))
    assert result.verified
    assert calls == ["colors", "find", "details", "add p4", "add p2", "find", "details", "add p2"]
    assert result.ledger.phases["inspect"].tool_calls_reused == 2
    assert result.ledger.usage.tool_calls == len(calls)


def test_refuted_suspects_are_not_blamed_again():
    worse = itertools.count()
    result, engine, _ = run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot={"patience": 9, "max_iters": 20},
    )
    blamed = [event.gradient.key for event in result.history if event.gradient is not None]
    assert len(blamed) == len(set(blamed)) > 1
    assert not result.verified and "accept" not in kinds(result)[3:]
    assert result.history[-2].message == "no suspect is left"


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_ends_it(patience):
    worse = itertools.count()
    result, engine, _ = run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot={"patience": patience, "max_iters": 20},
    )
    assert engine.count("evolve") == patience


@pytest.mark.parametrize("max_iters", [0, 1, 2])
def test_no_more_rewrites_than_allowed(max_iters):
    worse = itertools.count()
    result, engine, _ = run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot={"patience": 9, "max_iters": max_iters},
    )
    assert engine.count("evolve") == max_iters and not result.verified and kinds(result)[-1] == "verify"


def test_without_rewrites_a_right_plan_is_verified():
    result, _, _ = run(plan=plan(RIGHT, [LARGE]), pivot={"max_iters": 0})
    assert result.verified


def test_a_child_that_changes_nothing_is_asked_for_once_more():
    result, engine, calls = run(plan=plan(WRONG, [LARGE, ONE]), evolve=[UNCHANGED, MENDED])
    first, second = [prompt for prompt in engine.prompts if prompt.phase == "evolve"]
    assert result.verified and first.temperature is None and second.temperature == 1.0
    assert calls.count("details") == 3  # two inspections and the verification: the unchanged child was not run


def test_a_suspect_that_the_model_fails_on_is_asked_about_once_more():
    result, _, _ = run(plan=plan(WRONG, [LARGE, ONE]), evolve=[ServerError("500"), MENDED])
    assert result.verified and "failure" in kinds(result)


def test_a_rewrite_of_equal_loss_and_length_is_taken_and_its_suspect_refuted():
    other = [step("a", "find", color="blue"), *RIGHT[1:]]
    result, _, _ = run(
        plan=plan(WRONG, [LARGE, ONE]), evolve=[rewrite([other[0], {"keep": ["b", "c", "submit"]}]), MENDED],
        pivot={"patience": 5},
    )  # fmt: skip
    losses = accepted_losses(result.history)
    assert losses == sorted(losses, reverse=True)


def test_several_plans_are_tried_and_the_best_is_kept():
    result, engine, _ = run(plan=[plan(WRONG, [LARGE, ONE]), plan(RIGHT), plan(WRONG)], pivot={"candidates": 3})
    assert result.verified and engine.count("plan") == 2 and engine.count() == 2
    assert [prompt.temperature for prompt in engine.prompts] == [None, 1.0]
    assert [item.id for item in result.requirements.items] == ["R1", "R2"]  # of the first plan


def test_later_plans_do_not_bring_requirements_where_the_first_has_none():
    stopped = [step("a", "fly"), submit(answer="x")]
    result, _, _ = run(plan=[plan(stopped), plan(WRONG, [LARGE])], pivot={"candidates": 2, "max_iters": 0})
    assert result.requirements.items == ()


# ---------------------------------------------------------------------------------------- going on, and wording the end


def test_a_plan_that_stops_to_see_goes_on():
    result, engine, calls = run(plan=plan(RIGHT[:2], [LARGE, ONE]), evolve=rewrite(RIGHT[2:]))
    assert result.verified and result.trajectory.operator == "extend"
    assert engine.last("evolve").section("open_steps") == "none: add what is missing"
    assert calls == ["colors", "find", "details", "add p2", "find", "details", "add p2"]


def test_it_may_stop_more_than_once():
    result, engine, _ = run(
        plan=plan(RIGHT[:1], [LARGE, ONE]), evolve=[rewrite([RIGHT[1]]), rewrite([RIGHT[2]]), rewrite([RIGHT[3]])],
        pivot={"patience": 1},
    )  # fmt: skip
    assert result.verified and engine.count("evolve") == 3
    losses = accepted_losses(result.history)
    assert losses == sorted(losses, reverse=True)


def test_a_plan_without_any_step_goes_on_too():
    result, _, _ = run(plan=plan([], [LARGE, ONE]), evolve=rewrite(RIGHT))
    assert result.verified


def test_a_plan_that_stops_where_all_requirements_hold_goes_on_all_the_same():
    result, engine, _ = run(plan=plan(RIGHT[:2]), evolve=rewrite(RIGHT[2:]))
    assert result.verified and engine.count("compose") == 0


def test_outputs_that_could_not_be_planned_are_worded_once_at_the_end():
    result, engine, calls = run(
        plan=plan([*WRONG[:3], submit()], [LARGE, ONE]), evolve=MENDED,
        compose={"considerations": "p2 is in the cart.", "answer": "I bought p2."},
        judge={"verdicts": [], "unsupported": []},
    )  # fmt: skip
    assert result.verified and result.answer == "I bought p2."
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "compose"]
    assert calls.count("find") == 3  # the wording runs nothing again


def test_outputs_are_worded_where_only_a_judge_has_not_spoken():
    result, engine, _ = run(
        plan=plan([*RIGHT[:3], submit()], [LARGE, NICE]), compose={"considerations": "x", "answer": "I bought p2."},
        judge={"verdicts": [{"id": "R3", "evidence": "p2", "holds": True}], "unsupported": []},
    )  # fmt: skip
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "compose", "judge"]


def test_a_wording_that_fails_is_not_tried_again():
    result, engine, _ = run(plan=plan([*RIGHT[:3], submit()], [LARGE]), pivot={"audit": "never"})
    assert not result.verified and "the answer lacks answer" in result.verdict.reasons
    assert engine.count("compose") == 2  # once by each adapter


def test_where_nobody_goes_on_the_outputs_are_worded():
    result, engine, _ = run(
        plan=plan(RIGHT[:3], [LARGE]), evolve=rewrite([]), compose={"considerations": "x", "answer": "I bought p2."}
    )
    assert result.verified and result.answer == "I bought p2." and result.trajectory.submit is not None


def test_an_answer_that_nothing_supports_is_mended():
    steps = [*RIGHT[:3], submit(answer="p2 weighs 77 kg.")]
    result, engine, _ = run(
        plan=plan(steps, [LARGE]), judge={"verdicts": [], "unsupported": ["weighs 77 kg"]},
        evolve=rewrite([submit(answer="$c.items[0]")]),
    )  # fmt: skip
    assert result.verified and result.answer == "p2"
    assert [event.gradient.kind for event in result.history if event.gradient] == ["unsupported_claim"]


# ----------------------------------------------------------------------------------------------------------- the judge


def test_the_judge_speaks_only_where_nothing_else_is_missing():
    verdicts = {"verdicts": [{"id": "R3", "evidence": "p2", "holds": True}], "unsupported": []}
    result, engine, _ = run(plan=plan(WRONG, [LARGE, NICE]), evolve=MENDED, judge=verdicts)
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "judge"]


def test_one_call_judges_all_of_them():
    items = [{"id": f"T{n}", "text": f"It is {n} times nice."} for n in range(5)]
    verdicts = {"verdicts": [{"id": f"T{n}", "evidence": "p2", "holds": True} for n in range(5)], "unsupported": []}
    result, engine, _ = run(plan=plan(RIGHT, items), judge=verdicts)
    assert result.verified and engine.count("judge") == 1


@pytest.mark.parametrize(
    "judge",
    [
        {"verdicts": [], "unsupported": []},
        {"verdicts": [{"id": "R3", "evidence": "no", "holds": False}], "unsupported": []},
        {"verdicts": [{"id": "R3", "evidence": "p2", "holds": True}], "unsupported": ["p2 is nice"]},
        GARBAGE,
        ServerError("500"),
    ],
)
def test_without_the_judges_word_nothing_is_verified(judge):
    result, _, _ = run(plan=plan(RIGHT, [NICE]), judge=judge, evolve=UNCHANGED)
    assert not result.verified and result.verdict.reasons and not result.loss.perfect


def test_what_the_judge_refuses_is_evolved():
    refused = {"verdicts": [{"id": "R3", "evidence": "p4 is dear", "holds": False}], "unsupported": []}
    content = {"verdicts": [{"id": "R3", "evidence": "p2", "holds": True}], "unsupported": []}
    dear = [*RIGHT[:2], step("c", "add", product_id="max_by($b, &price).id"), RIGHT[3]]
    result, engine, _ = run(
        plan=plan(dear, [NICE]), judge=[refused, content], evolve=rewrite([*RIGHT[:3], {"keep": "submit"}])
    )
    assert result.verified and result.answer == "p2"
    assert "R3: It is nice. - NOT MET: p4 is dear" in engine.last("evolve").section("report")


# ------------------------------------------------------------------------------------------------------- verification


class Fickle(Environment):
    """Gives another number each time, and the same one by another tool."""

    turns = itertools.count()

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
    assert [event.gradient.kind for event in result.history if event.gradient] == ["not_reproducible"]
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
            "changes": [{"id": "U1", "reason": "too hard", "drop": True}, {"id": "R1", "reason": "x", "drop": True}]
        },
    )
    assert 'U1: total {"max": 20}\nU2: Be quick.' in engine.last("plan").section("user_requirements")
    assert not result.verified and [item.id for item in result.requirements.items] == ["U1", "U2"]
    assert [amendment.requirement for amendment in result.requirements.amendments] == ["R1"]


def test_an_audit_before_all_else_settles_what_every_run_is_measured_by():
    result, engine, _ = run(
        plan=plan(RIGHT, [{"id": "R1", "check": "item", "args": {"color": "blue"}}]), pivot={"audit": "always"},
        audit={"changes": [{**LARGE, "reason": "the request says red"}]},
    )  # fmt: skip
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["plan", "audit"]
    [amendment] = result.requirements.amendments
    assert (amendment.before.args, amendment.after.args) == ({"color": "blue"}, LARGE["args"])
    assert amendment.reason == "the request says red" and "amend" in kinds(result)


def test_where_it_is_stuck_the_requirements_are_audited_and_the_incumbent_measured_again():
    misread = {"id": "R1", "check": "item", "args": {"color": "green"}}
    result, engine, _ = run(
        plan=plan(RIGHT, [misread]), evolve=UNCHANGED,
        audit={"changes": [{**LARGE, "reason": "the request says red"}]}, pivot={"patience": 2},
    )  # fmt: skip
    assert result.verified and engine.count("audit") == 1
    assert accepted_losses(result.history) == [0.0]


def test_an_audit_that_finds_nothing_ends_it():
    result, engine, _ = run(
        plan=plan(RIGHT, [{"id": "R1", "check": "item", "args": {"color": "green"}}]),
        evolve=UNCHANGED, pivot={"patience": 2},
    )  # fmt: skip
    assert not result.verified and engine.count("audit") == 1


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
    assert result.verified and [prompt.phase for prompt in engine.prompts] == ["settle", "evolve"]
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


# ----------------------------------------------------------------------------------------------- failures of the model


def test_garbage_every_time_is_a_planning_failure_with_the_ledger():
    with pytest.raises(PlanningFailed, match="no plan: plan: AdapterParseError") as raised:
        run(plan=GARBAGE)
    assert raised.value.ledger.usage.lm_calls == 4  # two attempts, each by two adapters


def test_a_plan_that_cannot_be_read_is_asked_for_once_more():
    result, engine, _ = run(plan=[GARBAGE, GARBAGE, plan(RIGHT, [LARGE])])
    assert result.verified and [prompt.temperature for prompt in engine.prompts] == [None, None, 1.0]


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


# -------------------------------------------------------------------------------------------------------------- budget


def test_a_budget_that_is_spent_gives_the_best_so_far():
    worse = itertools.count()
    result, engine, _ = run(
        plan=plan(WRONG, [LARGE, ONE]),
        evolve=lambda prompt: rewrite([step(f"x{next(worse)}", "fly"), {"keep": ["a", "b", "c", "submit"]}]),
        pivot={"budget": Budget(lm_calls=2), "patience": 9},
    )
    assert result.exhausted == "lm_calls: 2 of 2" and not result.verified and engine.count() == 2
    assert result.answer == "p1"


def test_a_budget_for_one_plan_is_enough_where_it_is_right():
    result, _, _ = run(plan=plan(RIGHT, [LARGE]), pivot={"budget": Budget(lm_calls=1, tool_calls=50)})
    assert result.verified and result.exhausted is None


def test_a_call_may_have_a_budget_of_its_own():
    result, engine, _ = run(plan=plan(WRONG, [LARGE]), evolve=MENDED, call={"budget": Budget(lm_calls=1)})
    assert not result.verified and result.exhausted == "lm_calls: 1 of 1"


@pytest.mark.parametrize("limit", range(1, 8))
def test_a_budget_of_tool_calls_is_kept(limit):
    result, _, calls = run(plan=plan(RIGHT, [LARGE]), pivot={"budget": Budget(tool_calls=limit)})
    assert len(calls) <= limit and result.ledger.usage.tool_calls == len(calls)
    assert result.verified == (limit >= 7)
    if not result.verified:
        assert result.exhausted == f"tool_calls: {limit} of {limit}"
        assert all("another way" not in reason for reason in result.verdict.reasons)


def test_a_budget_below_one_plan_is_refused_before_any_call():
    calls = Calls()
    lm = scripted(plan=plan(RIGHT))
    with (
        dspy.context(lm=lm),
        pytest.raises(ConfigurationError, match=r"does not pay for one plan.*raise Budget\(tokens"),
    ):
        Pivot("request -> answer", lambda: Store(calls), budget=Budget(tokens=50))(request=REQUEST)
    assert lm.engine.count() == 0


# ---------------------------------------------------------------------------------------------------------- properties

PIECES = [
    *(step("a", "find", **args) for args in ({"color": "red"}, {"color": "red", "size": "L"}, {"hue": 1}, {})),
    *(step("b", "details", ids=ids) for ids in ("$a.ids", "$zz.ids", ["p1", "p2"], [])),
    *(step("c", "add", product_id=p) for p in ("min_by($b, &price).id", "$b[0].id", "p3", "p9", "$c")),
    step("d", "add", for_each="$a.ids", product_id="$item"),
    step("e", "fly"),
    step("f", "order"),
    step("g", "add", product_id="p1"),
    submit(answer="$c.items[0]"),
    submit(answer="It costs 99."),
    submit(),
    {"id": "h", "tool": "find", "args": 7},
    {"nothing": True},
    {"keep": ["a", "b", "c", "submit"]},
    {"keep": "c"},
    {"keep": "zz"},
]  # fmt: skip
BROKEN = st.sampled_from([GARBAGE, "", ServerError("500")])
WHOLE = [RIGHT, WRONG, RIGHT[:2], [*RIGHT[:3], submit()], MENDED["steps"], [*RIGHT[:2], {"keep": ["c", "submit"]}]]
pieces = st.sampled_from(WHOLE) | st.lists(st.sampled_from(PIECES), max_size=7)
asked = st.lists(
    st.sampled_from(
        [LARGE, ONE, NICE, {"id": "R5", "check": "total", "args": {"max": 45}}, {"id": "R6", "check": "nope"}]
    ),
    max_size=3,
    unique_by=lambda item: item["id"],
)
verdict = st.fixed_dictionaries({"id": st.sampled_from(["R3", "R6"]), "evidence": st.just("x"), "holds": st.booleans()})
changes = st.lists(
    st.sampled_from(
        [
            {**ONE, "reason": "x"},
            {"id": "R1", "reason": "x", "drop": True},
            {"id": "R1", "reason": "y", "text": "Soft."},
            {"id": "U1", "reason": "z", "drop": True},
        ]
    ),
    max_size=3,
)
conversations = st.fixed_dictionaries(
    {
        "plan": st.lists(
            st.builds(plan, pieces, asked) | st.builds(plan, pieces, asked) | BROKEN, min_size=2, max_size=3
        ),
        "evolve": st.lists(st.builds(rewrite, pieces) | BROKEN, max_size=6),
        "judge": st.lists(
            st.fixed_dictionaries(
                {"verdicts": st.lists(verdict, max_size=2), "unsupported": st.lists(st.just("x"), max_size=1)}
            )
            | BROKEN,
            max_size=4,
        ),
        "compose": st.lists(st.just({"considerations": "x", "answer": "p2 it is"}) | BROKEN, max_size=3),
        "audit": st.lists(st.builds(lambda found: {"changes": found}, changes) | BROKEN, max_size=2),
        "localise": st.lists(
            st.builds(
                lambda name: {"diagnosis": "x", "step": name, "correction": "y"},
                st.sampled_from(["a", "c", "end", "?"]),
            )
            | BROKEN,
            max_size=2,
        ),
    }
)
ways = st.fixed_dictionaries(
    {
        "candidates": st.integers(1, 2),
        "max_iters": st.integers(0, 5),
        "patience": st.integers(1, 3),
        "audit": st.sampled_from(["never", "stuck", "always"]),
        "requirements": st.sampled_from([[], [{"id": "U1", "check": "only", "args": {"count": 1}}]]),
    }
)
AGAIN = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))


def attempt(scripts, options, calls):
    made = Pivot("request -> answer", lambda: Store(calls), timeout=None, **options)
    return made, scripted(**scripts)


@AGAIN
@given(conversations, ways)
def test_whatever_the_model_says(scripts, options):
    calls = Calls()
    made, lm = attempt(scripts, options, calls)
    try:
        with dspy.context(lm=lm):
            result = made(request=REQUEST)
    except PlanningFailed as failure:
        assert failure.ledger.usage.lm_calls == lm.engine.count()
        return

    # Accepted losses never rise, from one amendment of the requirements to the next.
    series: list[list[float]] = [[]]
    for event in result.history:
        if event.kind == "amend":
            series.append([])
        elif event.kind == "accept":
            series[-1].append(event.loss.total)
    for losses in series:
        assert all(later <= earlier + EPSILON for earlier, later in itertools.pairwise(losses))
    assert accepted_losses(result.history)[-1:] == ([result.loss.total] if series[-1] else [])

    # The result is what running its trajectory from scratch gives.
    session = Source(Store, timeout=None).open(None)
    again = drive(execute(result.trajectory, session, outputs={"answer": str})).execution
    assert [(o.status, o.value) for o in again.observations] == [
        (o.status, o.value) for o in result.execution.observations
    ]
    assert again.outputs == result.execution.outputs and result.answer == again.outputs.get("answer")

    # Every call is counted, and none of a kept prefix is made twice.
    usage = result.ledger.usage
    assert usage.tool_calls == len(calls) and usage.lm_calls == lm.engine.count()
    inspected = [event.execution for event in result.history if event.kind == "inspect"]
    booked = result.ledger.phases.get("inspect")
    assert (booked.tool_calls if booked else 0) == sum(execution.tool_calls for execution in inspected)
    incumbent: Trajectory | None = None
    for event in result.history:
        if event.kind == "inspect" and incumbent is not None and event.trajectory.operator != "plan":
            shared = event.trajectory.common_prefix(incumbent)
            assert all(o.reused for o in event.execution.observations[:shared])
        elif event.kind == "accept":
            incumbent = event.trajectory

    # Nothing irreversible ran, and a suspect is asked about once, or twice where the model gave no answer to it.
    assert "order" not in calls
    blamed: Counter[tuple[str | None, str]] = Counter()
    last = 2.0
    for event in result.history:
        if event.kind == "amend" or (event.kind == "accept" and event.trajectory.operator == "extend"):
            blamed.clear()
        elif event.kind == "accept":
            if event.loss.total < last - EPSILON:
                blamed.clear()
            last = event.loss.total
        elif event.gradient is not None:
            blamed[event.gradient.key] += 1
            assert blamed[event.gradient.key] <= 2

    # A success has nothing against it.
    by_id = {finding.requirement: finding for finding in result.findings}
    checked = {f.requirement: f for f in evaluate(result.requirements, again, session)}
    if result.verified:
        assert result.loss.perfect and not result.verdict.reasons and again.discrepancies == ()
        assert again.missing_outputs == () and again.trajectory.submit is not None
        assert all(finding.holds for finding in by_id.values()) and by_id.keys() == checked.keys()
        assert all(f.holds or f.status == "unjudged" for f in checked.values())
    else:
        assert result.verdict.reasons
    for requirement in made._required:
        assert any(item.id == requirement["id"] and item.origin == "user" for item in result.requirements.items)


def told(result):
    def plain(event):
        record = event.model_dump(mode="json")
        for observation in (record["execution"] or {}).get("observations", ()):
            observation["seconds"] = 0
        return record

    return [plain(event) for event in result.history], result.answer, result.verdict, result.ledger.usage


@settings(AGAIN, max_examples=30)
@given(conversations, ways)
async def test_sync_and_async_are_the_same(scripts, options):
    made, lm = attempt(scripts, options, Calls())
    other, async_lm = attempt(scripts, options, Calls())
    try:
        with dspy.context(lm=lm):
            result = made(request=REQUEST)
    except PlanningFailed as failure:
        with dspy.context(lm=async_lm), pytest.raises(PlanningFailed, match=r"no plan|no requirements") as raised:
            await other.acall(request=REQUEST)
        assert str(raised.value) == str(failure)
        return
    with dspy.context(lm=async_lm):
        awaited = await other.acall(request=REQUEST)
    assert told(awaited) == told(result)


@pytest.mark.parametrize("bad", [{"candidates": 0}, {"max_iters": -1}, {"patience": 0}, {"audit": "sometimes"}])
def test_what_cannot_work_is_refused_at_construction(bad):
    with pytest.raises(ConfigurationError):
        Pivot("request -> answer", Store, **bad)


class Ratchet(Environment):
    """Three things that must all be turned."""

    def __init__(self):
        self.turned = []

    @tool(effect="write")
    def turn(self, name: str) -> list[str]:
        """Turn one."""
        self.turned.append(name)
        return list(self.turned)

    @check
    def done(self, name: str) -> tuple[bool, str]:
        """It is turned."""
        return name in self.turned, f"turned: {self.turned}"


def test_several_faults_are_mended_one_after_another():
    required = [{"id": f"R{n}", "check": "done", "args": {"name": n}} for n in "xyz"]
    result, engine, _ = run(
        Ratchet, plan=plan([step("a", "turn", name="w"), submit(answer="$a[0]")], required),
        evolve=[
            rewrite([*(step(f"{n}{k}", "turn", name=n) for n in "xyz"[: k + 1]), submit(answer=f"$x{k}[0]")])
            for k in range(3)
        ],
        pivot={"patience": 1},
    )  # fmt: skip
    losses = accepted_losses(result.history)
    assert result.verified and len(losses) == 4 and losses == sorted(losses, reverse=True)


class Library(Environment):
    """Gives ten megabytes of text."""

    @tool(effect="read")
    def read(self) -> str:
        """All of it."""
        return "word " * 2_000_000


def test_ten_megabytes_are_kept_whole_and_shown_in_brief():
    started = time.perf_counter()
    result, engine, _ = run(
        Library,
        plan=plan([step("a", "read"), submit(answer="It has 7 words.")], [NICE]),
        judge={"verdicts": [], "unsupported": ["7 words"]},
        evolve=UNCHANGED,
    )
    assert len(result.execution.by_step["a"].value) == 10_000_000
    assert not result.verified and max(len(prompt.text) for prompt in engine.prompts) < 20_000
    assert time.perf_counter() - started < 20
