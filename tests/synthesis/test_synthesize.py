"""Making new tasks: which goals become tasks, what is reported of the others, and where it ends."""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import dspy
import pytest
from dspy.lm15 import AuthError, ServerError
from dspy.utils.exceptions import LMAuthError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pivot_dspy import Budget, ConfigurationError, Pivot, ReAct, synthesize, trajectory_metric
from pivot_dspy.simulator import Reference, offline_lm
from pivot_dspy.synthesis.propose import Propose
from pivot_dspy.synthesis.synthesize import Coverage, Synthesis
from tests.habits.tasks import DAYS, pivot, request, simulated
from tests.optimizer.processes import CONTEXT
from tests.scripted import GARBAGE, Prompt, Scripted, plan, scripted, step, submit
from tests.simulator.rooms import DAY, REQUEST, REQUIREMENTS, STEPS, Book, Rooms, reference
from tests.stores import Calls, Store

ONE = {"id": "R1", "check": "only", "args": {"count": 1}}
ORDERED = {"id": "R2", "text": "What is in the cart is ordered.", "call": {"tool": "order", "args": {}}}
RED = [step("a", "find", color="red", size="L"), step("b", "add", product_id="$a.ids[0]"), submit(answer="$b.items[0]")]
PLANS: dict[str, Any] = {
    "Buy a red cap.": plan(RED, [ONE]),
    "Buy a blue cap.": plan([step("a", "find", color="blue"), *RED[1:]], [ONE]),
    "Buy the cheapest coat.": plan(
        [RED[0], step("d", "details", ids="$a.ids"), step("b", "add", product_id="min_by($d, &price).id"), RED[2]],
        [ONE],
    ),
    "Order a red cap.": plan([*RED[:2], step("o", "order"), RED[2]], [ONE, ORDERED]),
    "Which colors are there?": plan([step("a", "colors"), submit(answer="$a[0]")], []),
    "Buy p9.": plan([step("a", "add", product_id="p9"), submit(answer="p9")], [ONE]),
    "Buy the moon.": GARBAGE,
}
NEW = ["Buy a red cap.", "Buy the cheapest coat.", "Order a red cap."]
"""Of these each adds something, in this order."""


def planned(prompt: Prompt) -> Any:
    return PLANS[prompt.section("request")]


def made(
    *rounds: Any, count: int = 9, refiner: Any = None, budget: Budget | None = None, **options: Any
) -> tuple[Synthesis, Scripted]:
    lm = scripted(propose=[{"goals": goals} if isinstance(goals, list) else goals for goals in rounds], plan=planned)
    refiner = refiner or Pivot("request -> answer", Store, audit="never", timeout=None, restarts=0)
    with dspy.context(lm=lm):
        return synthesize(refiner, count, budget=budget, patience=options.pop("patience", 1), **options), lm.engine


def requests(synthesis: Synthesis) -> list[str]:
    return [example.request for example in synthesis.examples]


def test_goals_that_verify_and_add_something_become_tasks_and_the_others_are_counted() -> None:
    goals = [*PLANS, "buy  a RED cap.", 5]
    synthesis, engine = made(goals)
    assert requests(synthesis) == NEW
    first = synthesis.examples[0]
    assert dict(first.inputs()) == {"request": "Buy a red cap."} and first.answer == "p2"
    report = synthesis.report
    assert (report.proposed, report.kept, report.redundant, report.repeated, report.unreadable) == (9, 3, 1, 1, 1)
    assert (report.unchecked, report.unverified, report.failed, report.left) == (1, 1, 1, 0)
    assert [error.partition(": ")[2].split(":")[0] for error in report.errors] == ["PlanningFailed", "propose"]
    assert report.coverage == Coverage(
        tools=("add", "details", "find", "order"),
        unused=("colors",),
        pairs=(("add", "order"), ("details", "add"), ("find", "add"), ("find", "details")),
        lengths=(2, 3),
    )
    assert report.stopped == "1 proposals in a row gave no new task" and report.explored == 7
    assert report.usage.lm_calls == engine.count() and engine.count("propose") == 3  # DSPy asks again for JSON


def test_what_was_covered_and_proposed_is_told_to_the_model() -> None:
    _, engine = made(["Buy a red cap."], ["Order a red cap.", "Buy a blue cap."], [], examples=[
        dspy.Example(request="Buy a hat.", answer="secret").with_inputs("request")
    ])  # fmt: skip
    first, second, third = (prompt for prompt in engine.prompts if prompt.phase == "propose")
    assert first.section("covered") == "Not used yet: colors, find, details, add, order."
    assert first.section("examples") == '{"request": "Buy a hat."}' and "secret" not in first.text
    assert 'find() -> {"ids": ["p1", "p2", "p3"' in first.section("seen") and "proposed" not in first.sections
    assert second.section("covered").splitlines() == [
        "Not used yet: colors, details, order.", "One tool after another: find > add.", "Calls in a task: 2."
    ]  # fmt: skip
    assert third.section("proposed").count("\n") == 2
    assert (first.temperature, second.temperature) == (None, 1.0)  # or the cache would give the same again


def test_known_tasks_are_not_made_again() -> None:
    known = [dspy.Example(request="Buy a red cap.").with_inputs("request")]
    synthesis, _ = made(["Buy a red cap.", "Order a red cap."], examples=known)
    assert requests(synthesis) == ["Order a red cap."] and synthesis.report.repeated == 1


def test_it_ends_when_there_are_enough() -> None:
    synthesis, engine = made([*NEW, "Buy a blue cap."], count=2, num_threads=1)
    assert requests(synthesis) == NEW[:2] and synthesis.report.stopped == "2 tasks were made"
    assert synthesis.report.left == 2 and engine.count("propose") == 1


def test_it_ends_when_the_budget_is_spent() -> None:
    synthesis, engine = made(NEW, budget=Budget(lm_calls=1))
    assert synthesis.examples == [] and synthesis.report.stopped == "budget spent: lm_calls: 1 of 1"
    assert engine.count() == 1 and synthesis.report.left == 3
    synthesis, engine = made([*PLANS][:6], budget=Budget(lm_calls=3), num_threads=1)
    assert synthesis.report.stopped == "budget spent: lm_calls: 3 of 3"
    assert synthesis.report.left >= 3 and engine.count("propose") == 1  # the goal that was begun is finished
    calls = Calls()
    synthesis, engine = made(
        NEW, budget=Budget(tool_calls=2), refiner=Pivot("request -> answer", lambda: Store(calls), timeout=None)
    )
    assert synthesis.examples == [] and len(calls) == 2 and engine.count() == 0
    assert synthesis.report.stopped == "budget spent: tool_calls: 2 of 2"


def test_it_ends_when_too_much_fails() -> None:
    moons = [f"Buy {'the ' * n}moon." for n in range(6)]
    lm = scripted(propose={"goals": moons}, plan=ServerError("the engine is broken"))
    with dspy.context(lm=lm):
        report = synthesize(Pivot("request -> answer", Store), 3, max_errors=2, num_threads=1).report
    assert report.stopped == "too many errors" and report.failed + report.left == 6 and 2 <= report.failed <= 3
    assert "the engine is broken" in report.errors[0] and report.usage.lm_calls == lm.engine.count()


def test_proposals_that_fail_are_tried_again_but_a_model_that_is_not_there_is_not() -> None:
    synthesis, _ = made(ServerError("busy"), NEW, [], patience=2)
    assert requests(synthesis) == NEW and "busy" in "".join(synthesis.report.errors)
    synthesis, _ = made(ServerError("busy"), ServerError("busy"), patience=2)
    assert synthesis.examples == [] and synthesis.report.stopped == "2 proposals in a row gave no new task"
    with pytest.raises(LMAuthError):
        made(AuthError("no such key"))


def test_inputs_that_are_shared_open_the_environment_and_are_not_proposed() -> None:
    opened = []

    def shop(task: Any) -> Store:
        opened.append(task.shop)
        return Store()

    refiner = Pivot("shop, request -> answer", shop, audit="never")
    synthesis, engine = made([{"request": NEW[0], "shop": "another"}], refiner=refiner, shared={"shop": "s1"})
    assert dict(synthesis.examples[0].inputs()) == {"request": NEW[0], "shop": "s1"}
    assert set(opened) == {"s1"} and "shop" not in engine.prompts[0].section("goal")


def test_any_executor_and_any_refiner() -> None:
    alone, _ = made(list(PLANS), num_threads=1)
    with ThreadPoolExecutor(4) as pool:
        pooled, _ = made(list(PLANS), executor=pool)
    assert [dict(one) for one in pooled.examples] == [dict(one) for one in alone.examples]
    assert pooled.report.model_copy(update={"usage": alone.report.usage}) == alone.report
    lm = scripted(propose=[{"goals": ["Buy a red cap."]}])
    with dspy.context(lm=lm):
        synthesis = synthesize(ReAct("request -> answer", Store), 1, patience=1)
    assert synthesis.examples == [] and synthesis.report.unverified + synthesis.report.failed == 1


def test_goals_are_solved_in_other_processes_too() -> None:
    def rooms(executor: ProcessPoolExecutor | None) -> Synthesis:
        refiner = pivot()
        propose = Propose(refiner.signature)
        propose.set_lm(scripted(propose=[{"goals": [request(day) for day in DAYS[:3]]}]))
        with dspy.context(lm=simulated()):
            return synthesize(refiner, 2, propose=propose, patience=1, executor=executor, num_threads=2)

    with ProcessPoolExecutor(1, mp_context=CONTEXT) as processes:
        elsewhere, here = rooms(processes), rooms(None)
    assert here.examples and [dict(one) for one in elsewhere.examples] == [dict(one) for one in here.examples]
    assert elsewhere.report == here.report and here.report.usage.lm_calls > 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"refiner": "Pivot"}, "takes a refiner"),
        ({"count": 0}, "count is a whole number of at least 1; got 0"),
        ({"number": 2.5}, "number is a whole number"),
        ({"patience": True}, "patience is a whole number"),
        ({"shared": {"request": "x"}}, "leaves at least one to be proposed; got request"),
        ({"shared": {"x": "x"}}, "shared= holds some inputs"),
        ({"executor": 3}, "concurrent.futures.Executor"),
    ],
)
def test_bad_input(change: dict[str, Any], said: str) -> None:
    refiner = change.pop("refiner", None) or Pivot("request -> answer", Store)
    with pytest.raises(ConfigurationError, match=said), dspy.context(lm=scripted(propose={"goals": NEW})):
        synthesize(refiner, change.pop("count", 3), **change)


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(rounds=st.lists(st.lists(st.sampled_from([*PLANS, 5, ""]), max_size=6), min_size=1, max_size=3),
       count=st.integers(1, 4))  # fmt: skip
def test_every_goal_is_accounted_for_and_every_task_adds_something(rounds: Any, count: int) -> None:
    synthesis, _ = made(*rounds, count=count, patience=3)
    report = synthesis.report
    fates = ("kept", "unreadable", "repeated", "failed", "unverified", "unchecked", "redundant", "left")
    assert report.proposed == sum(getattr(report, fate) for fate in fates)
    assert len(synthesis.examples) == report.kept <= count and report.stopped
    assert len(set(requests(synthesis))) == report.kept
    again, _ = made(requests(synthesis)) if synthesis.examples else (synthesis, None)
    assert again.report.coverage == report.coverage and requests(again) == requests(synthesis)


calls = st.lists(st.lists(st.sampled_from("abc"), max_size=4), max_size=6)


@given(every=calls)
def test_coverage_only_grows_and_is_the_same_in_any_order(every: list[list[str]]) -> None:
    coverages = list(itertools.accumulate(every, Coverage.with_calls, initial=Coverage(unused=("a", "b", "c", "d"))))
    for before, after in itertools.pairwise(coverages):
        assert set(before.tools) <= set(after.tools) and set(before.pairs) <= set(after.pairs)
    last = coverages[-1]
    assert sorted((*last.tools, *last.unused)) == ["a", "b", "c", "d"]
    assert last.lengths == tuple(sorted({len(one) for one in every}))
    backwards = Coverage(unused=("a", "b", "c", "d"))
    for one in reversed(every):
        backwards = backwards.with_calls(one)
    assert backwards == last and all(last.with_calls(one) == last for one in every)


# ------------------------------------------------------------------------------------------------- on the offline model

BOOKED = {"id": "R1", "check": "booked", "args": {"seats": 8, "day": DAY, "projector": "yes"}}
SHORT = "Book room r3 for 12 March 2026."
CHECKED = "Book room r3 for 12 March 2026, if it has a price."
QUOTED = [
    step("b", "quote", room_id="r3", day=DAY), step("c", "book_room", room_id="$b.room_id", day=DAY), STEPS[-1]
]  # fmt: skip
REFERENCES = [
    reference(),
    reference(SHORT, steps=[QUOTED[1] | {"args": {"room_id": "r3", "day": DAY}}, STEPS[-1]], serves={},
              requirements=[BOOKED]),
    reference(CHECKED, steps=QUOTED, serves={}, requirements=REQUIREMENTS),
    Reference(match="Book a room on the moon.", steps=[STEPS[-1]], requirements=[BOOKED]),
]  # fmt: skip


def simulated_tasks(**rates: Any) -> Synthesis:
    refiner = Pivot(Book, Rooms)
    with dspy.context(lm=offline_lm(REFERENCES, cache=False, **rates)):
        return synthesize(refiner, 5, number=2, num_threads=2)


def test_on_the_offline_model_tasks_are_made_of_what_it_knows() -> None:
    synthesis = simulated_tasks(slip=0.0)
    assert sorted(requests(synthesis)) == sorted([REQUEST, SHORT, CHECKED])
    assert synthesis.report.unverified == 1 and synthesis.report.coverage.lengths == (1, 2, 3)
    assert synthesis.report.coverage.unused == ("list_floors",)
    assert "3 proposals in a row" in synthesis.report.stopped
    first = synthesis.examples[0]
    assert first.room == "r3" and first.message == "Booked r3." and set(first.inputs()) == {"request"}


def test_the_offline_model_gives_the_same_tasks_again() -> None:
    one, two = simulated_tasks(), simulated_tasks()
    assert [dict(task) for task in one.examples] == [dict(task) for task in two.examples] and one.report == two.report


def test_the_tasks_train_and_test_programs() -> None:
    tasks = simulated_tasks(slip=0.0).examples
    with dspy.context(lm=offline_lm(REFERENCES, slip=0.0, cache=False)):
        compiled = dspy.BootstrapFewShot(metric=trajectory_metric, max_labeled_demos=0).compile(
            Pivot(Book, Rooms), trainset=tasks
        )
        assert len(compiled.plan.predict.demos) == 3
        evaluate = dspy.Evaluate(devset=tasks, metric=trajectory_metric, display_progress=False)
        assert evaluate(Pivot(Book, Rooms)).score == 100.0
