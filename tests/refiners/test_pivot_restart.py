"""Where Pivot turns when nothing is left to try on the incumbent: other verdicts, earlier causes, new plans."""

from collections.abc import Callable

from pivot_dspy.episode.events import accepted_losses
from tests.refiners.loops import CART, LARGE, NICE, ONE, RIGHT, UNCHANGED, WRONG, kinds, run
from tests.scripted import accept, judging, plan, rewrite, step, submit

BLUE = {"id": "R9", "check": "item", "args": {"color": "blue"}}
TWO = {"id": "R2", "check": "only", "args": {"count": 2}}


def bought(red: str, blue: str) -> list[dict]:
    return [
        step("a", "find", color="red", size=red),
        step("b", "find", color=blue, size="L"),
        step("c", "add", product_id="$a.ids[0]"),
        step("d", "add", product_id="$b.ids[0]"),
        submit(answer="$d.items[0]"),
    ]


def phases(engine) -> list[str]:
    return [prompt.phase for prompt in engine.prompts]


def test_a_new_plan_takes_the_place_of_one_that_nothing_mends():
    result, engine, _ = run(
        plan=[plan(WRONG, [LARGE, ONE]), plan(RIGHT, [])], evolve=UNCHANGED, pivot={"patience": 1, "audit": "never"}
    )
    assert result.verified and phases(engine) == ["plan", "evolve", "plan"]
    assert engine.prompts[2].temperature == 1.0 and accepted_losses(result.history)[-1] == 0


def test_restarts_are_counted_and_a_worse_plan_changes_nothing():
    worse = [step("a", "fly"), submit(answer="p1")]
    result, engine, _ = run(
        plan=[plan(WRONG, [LARGE, ONE]), plan(worse, []), plan(worse, [])],
        evolve=UNCHANGED,
        pivot={"patience": 1, "audit": "never", "restarts": 2},
    )
    assert not result.verified and phases(engine) == ["plan", "evolve", "plan", "plan"]
    assert kinds(result).count("accept") == 1 and result.trajectory.steps[0].args == {"color": "red", "size": "M"}


def test_of_two_plans_each_gives_what_it_does_better_without_a_call():
    result, engine, calls = run(
        plan=[plan(bought("L", "green"), [LARGE, BLUE, TWO]), plan(bought("XS", "blue"), [])], pivot={"candidates": 2}
    )
    assert result.verified and phases(engine) == ["plan", "plan"]
    assert [one.args.get("color") for one in result.trajectory.steps[:2]] == ["red", "blue"]
    assert result.trajectory.steps[0].args["size"] == "L" and accepted_losses(result.history)[-1] == 0


def verdict(holds: bool) -> Callable:
    return accept if holds else judging(R3="p2")


def test_a_verdict_that_the_model_does_not_share_is_asked_for_again_and_the_majority_decides():
    result, engine, _ = run(
        request=CART, plan=plan(RIGHT, [NICE]), evolve=UNCHANGED, judge=[verdict(False), verdict(True), verdict(True)]
    )
    assert result.verified and phases(engine) == ["plan", "judge", "evolve", "judge", "judge"]
    asked = [prompt.temperature for prompt in engine.prompts if prompt.phase == "judge"]
    assert not asked[0] and asked[1:] == [1.0, 1.0]  # the first as the model is set, the others sampled


def test_a_verdict_that_is_confirmed_stands():
    result, engine, _ = run(
        request=CART, plan=plan(RIGHT, [NICE]), evolve=UNCHANGED, judge=[verdict(False), verdict(False)],
        pivot={"patience": 2, "audit": "never", "restarts": 0},
    )  # fmt: skip
    assert not result.verified and "R3" in result.verdict.reasons[0]
    assert phases(engine) == ["plan", "judge", "evolve", "judge", "evolve"]


def test_two_of_three_against_it_leave_it_unmet():
    result, engine, _ = run(
        request=CART, plan=plan(RIGHT, [NICE]), evolve=UNCHANGED, judge=[verdict(False), verdict(True), verdict(False)],
        pivot={"patience": 1, "audit": "never", "restarts": 0},
    )  # fmt: skip
    assert not result.verified and engine.count("judge") == 3


def test_a_rewrite_that_is_judged_unmet_again_gets_a_second_opinion():
    other = rewrite([step("a", "find", color="red", size="L"), {"keep": ["b"]},
                     step("c", "add", product_id="max_by($b, &price).id"), {"keep": ["submit"]}])  # fmt: skip
    result, engine, _ = run(
        request=CART, plan=plan(RIGHT, [NICE]), evolve=other,
        judge=[verdict(False), verdict(False), verdict(True), verdict(True)],
    )  # fmt: skip
    assert result.verified and phases(engine) == ["plan", "judge", "evolve", "judge", "judge", "judge"]
    assert result.answer == "p4"


def test_a_call_that_a_tool_refused_is_a_symptom_once_its_own_rewrite_changed_nothing():
    steps = [step("a", "add", product_id="p9"), submit(answer="done")]
    here = {"diagnosis": "p9 is no product.", "step": "a", "correction": "Add p2."}
    mended = rewrite([step("a", "add", product_id="p2"), {"keep": ["submit"]}])
    same = rewrite([{"keep": ["a", "submit"]}])
    result, engine, _ = run(plan=plan(steps, [LARGE]), evolve=[same, mended], localise=here)
    assert result.verified and phases(engine) == ["plan", "evolve", "localise", "evolve", "judge"]
    assert "Add p2" in engine.last("evolve").section("blame")
