"""Planning, inspecting, evolving and accepting; going on, and wording the end."""


import pytest
from dspy.lm15 import ServerError

from pivot_dspy.environment.base import Environment, check, tool
from pivot_dspy.episode.events import accepted_losses
from tests.refiners.loops import CART, LARGE, MENDED, NICE, ONE, RIGHT, UNCHANGED, WRONG, getting_worse, kinds, run
from tests.scripted import plan, rewrite, step, submit
from tests.stores import Calendar

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
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve"]


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
    result, _, _ = getting_worse(patience=9, max_iters=20, restarts=0)
    blamed = [event.gradient.key for event in result.history if event.kind == "gradient"]
    assert len(blamed) == len(set(blamed)) > 1
    assert not result.verified and "accept" not in kinds(result)[3:]
    assert result.history[-2].message == "no suspect is left"


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_patience_ends_it(patience):
    _, engine, _ = getting_worse(patience=patience, max_iters=20)
    assert engine.count("evolve") == patience


@pytest.mark.parametrize("max_iters", [0, 1, 2])
def test_no_more_rewrites_than_allowed(max_iters):
    result, engine, _ = getting_worse(patience=9, max_iters=max_iters)
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
    result, _, _ = run(plan=[plan(stopped, []), plan(WRONG, [LARGE])], pivot={"candidates": 2, "max_iters": 0})
    assert result.requirements.items == ()


# ---------------------------------------------------------------------------------------- going on, and wording the end


def test_a_plan_that_stops_to_see_goes_on():
    result, engine, calls = run(plan=plan(RIGHT[:2], [LARGE, ONE]), evolve=rewrite(RIGHT[2:]))
    assert result.verified and result.trajectory.operator == "extend"
    prompt = engine.last("evolve")  # nothing is open, and nothing is to blame
    assert prompt.section("kept") and prompt.section("open_steps") == prompt.section("blame") == ""
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
    result, engine, _ = run(request=CART, plan=plan(RIGHT[:2]), evolve=rewrite(RIGHT[2:]))
    assert result.verified and engine.count("compose") == 0


def test_outputs_that_could_not_be_planned_are_worded_once_at_the_end():
    result, engine, calls = run(
        plan=plan([*WRONG[:3], submit()], [LARGE, ONE]), evolve=MENDED,
        compose={"considerations": "p2 is in the cart.", "answer": "I bought p2."},
    )  # fmt: skip
    assert result.verified and result.answer == "I bought p2."
    assert [prompt.phase for prompt in engine.prompts] == ["plan", "evolve", "compose", "judge"]
    assert calls.count("find") == 3  # the wording runs nothing again


def test_outputs_are_worded_where_only_a_judge_has_not_spoken():
    result, engine, _ = run(
        plan=plan([*RIGHT[:3], submit()], [LARGE, NICE]), compose={"considerations": "x", "answer": "I bought p2."},
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
        plan=plan(steps, [LARGE]),
        evolve=rewrite([submit(answer="$c.items[0]")]),
    )  # fmt: skip
    assert result.verified and result.answer == "p2"
    assert [event.gradient.kind for event in result.history if event.kind == "gradient"] == ["unsupported_claim"]


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
        Ratchet, "Turn w, x, y and z.", plan=plan([step("a", "turn", name="w"), submit(answer="$a[0]")], required),
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
    result, engine, _ = run(
        Library,
        plan=plan([step("a", "read"), submit(answer="It has 7 words.")], [NICE]),
        evolve=UNCHANGED,
    )
    assert len(result.execution.by_step["a"].value) == 10_000_000
    assert not result.verified and max(len(prompt.text) for prompt in engine.prompts) < 20_000
