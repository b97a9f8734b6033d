"""What asks for each call that changes something: a requirement that names it, or one that does not hold without it."""

from __future__ import annotations

import pytest

from pivot_dspy.budget import BudgetExhausted
from pivot_dspy.coverage import (
    MOST_STEPS_LEFT_OUT,
    CoveredCall,
    by_execution,
    by_named_calls,
    by_waiting_checks,
    unasked_call,
)
from pivot_dspy.environment.base import tool
from pivot_dspy.evaluation import evaluate
from pivot_dspy.flow import run_sync
from pivot_dspy.required_calls import MadeCall, RequiredCall, made_calls
from pivot_dspy.requirements import Finding, Requirement, Requirements
from pivot_dspy.supervision import allow
from tests.scripted import step, submit
from tests.stores import Calendar, Calls, Store, executed

FIND = step("a", "find", color="red", size="L")
ADD = step("b", "add", product_id="$a.ids[0]")
EXTRA = step("c", "add", product_id="p1")
ORDER = step("d", "order")
END = submit(answer="$b.items[0]")
LARGE = Requirement(id="R1", check="item", args={"color": "red", "size": "L"})


def covered(steps, *items, environment=Store, permit=allow):
    """For each changing call of a run its step, what it serves, and how that is known."""
    settled, run = Requirements(items=items), executed(steps, environment)
    named = by_named_calls(settled, made_calls(run.execution, run.session.toolbox))
    flow = by_execution(
        named, run, settled, evaluate(settled, run.execution, run.session), outputs={"answer": str},
        session_for=lambda count: run.after(count).fork(), permit=permit,
    )  # fmt: skip
    return [(one.call.step, one.serves, one.by) for one in run_sync(flow)]


def naming(name, product, **options):
    call = RequiredCall(tool="add", args={"product_id": product})
    return Requirement(id=name, text="It is added.", call=call, **options)


# ---------------------------------------------------------------------------------------------------------- named calls


def test_a_call_serves_the_requirement_that_names_it():
    assert covered([FIND, ADD, EXTRA, END], naming("R1", "p2"), naming("R2", "p1")) == [
        ("b", "R1", "call"), ("c", "R2", "call"),
    ]  # fmt: skip


def test_a_requirement_names_one_call_and_the_same_made_again_serves_none():
    again = step("c", "add", product_id="p2")
    assert covered([FIND, ADD, again, END], naming("R1", "p2")) == [("b", "R1", "call"), ("c", None, None)]


def test_a_call_with_another_argument_serves_none():
    assert covered([FIND, ADD, END], naming("R1", "p3")) == [("b", None, None)]


def test_a_check_that_nobody_asked_for_covers_nothing():
    """A call that it names is still its own: whether it is meant is put to a judge."""
    assert covered([FIND, ADD, END], naming("R1", "p2", traced=False)) == [("b", "R1", "call")]
    assert covered([FIND, ADD, END], LARGE.model_copy(update={"traced": False})) == [("b", None, None)]


def test_by_named_calls_runs_nothing():
    call = MadeCall("b", "add", {"product_id": "p2"}, waits=False)
    (one,) = by_named_calls(Requirements(items=(naming("R1", "p2"),)), [call])
    assert (one.call, one.serves, one.by) == (call, "R1", "call")


# -------------------------------------------------------------------------------------------------------- by execution


def test_a_call_without_which_a_check_no_longer_holds_is_covered_by_it():
    assert covered([FIND, ADD, END], LARGE) == [("b", "R1", "check")]


def test_a_call_without_which_all_checks_hold_all_the_same_is_not_covered():
    assert covered([FIND, ADD, EXTRA, ORDER, END], LARGE) == [
        ("b", "R1", "check"), ("c", None, None), ("d", None, None),
    ]  # fmt: skip


def test_a_test_of_the_user_covers_as_a_check_does():
    sold = Requirement(id="U1", origin="user", test=lambda run: "order" in [one.tool for one in run.trajectory.steps])
    assert covered([FIND, ADD, ORDER, END], sold) == [("b", None, None), ("d", "U1", "check")]


def test_a_step_that_makes_several_calls_is_not_covered_by_execution():
    """One of them may be needed, and the rest not."""
    both = step("b", "add", for_each="$a.ids", product_id="$item")
    two = Requirement(id="R2", check="only", args={"count": 2})
    assert covered([FIND, both, submit(answer="$a.ids[0]")], two) == [("b", None, None), ("b", None, None)]


class Lending(Store):
    """It has a call that changes something else and gives back a name that another call can use."""

    @tool(effect="write")
    def swap(self, product_id: str) -> dict[str, list[str]]:
        """Throw the cart away, and name a product."""
        self.cart.clear()
        return {"ids": [product_id]}


def test_a_call_that_only_lends_its_result_to_one_that_is_needed_is_not_covered():
    steps = [step("s", "swap", product_id="p2"), step("b", "add", product_id="$s.ids[0]"), END]
    assert covered(steps, LARGE, environment=Lending) == [("s", None, None), ("b", "R1", "check")]
    repeated = [steps[0], step("b", "add", for_each="$s.ids", product_id="$item"), submit(answer="x")]
    assert covered(repeated, LARGE, environment=Lending) == [("s", None, None), ("b", "R1", "check")]


def test_a_call_whose_effect_another_one_needs_is_covered():
    steps = [
        step("g", "grant", scope="calendar.read"),
        step("s", "search", day="Monday"),
        step("b", "book", hour="$s[0]"),
        submit(answer="$b"),
    ]
    booked = Requirement(id="R1", check="booked", args={"day": "Monday"})
    assert covered(steps, booked, environment=Calendar) == [("g", "R1", "check"), ("b", "R1", "check")]


def test_a_call_is_not_covered_because_the_answer_is_read_from_what_it_gave():
    named = Requirement(id="U1", origin="user", test=lambda run: run.outputs.get("answer") == "p2")
    assert covered([FIND, ADD, EXTRA, END], named) == [("b", None, None), ("c", None, None)]


def test_a_call_that_a_test_of_the_run_wants_made_is_covered():
    made = Requirement(id="U1", origin="user", test=lambda run: "b" in run.by_step)
    assert covered([FIND, ADD, EXTRA, END], made) == [("b", "U1", "check"), ("c", None, None)]


@pytest.mark.parametrize(
    "item",
    [
        LARGE.model_copy(update={"hard": False}),  # nothing has to be done for its sake
        Requirement(id="R1", check="item", args={"color": "green"}),  # it does not hold anyway
        Requirement(id="R1", text="Something red is in the cart."),  # a judge decides it
    ],
)
def test_what_is_soft_or_unmet_or_in_words_covers_nothing(item):
    assert covered([FIND, ADD, END], item) == [("b", None, None)]


def test_what_a_requirement_names_is_not_run_without():
    ran = []
    covered([FIND, ADD, END], LARGE, naming("R2", "p2"), permit=ran.append)
    assert ran == []


def test_each_try_counts_as_its_tool_calls_and_steps_before_it_are_taken_over():
    made = []
    assert covered([FIND, ADD, EXTRA, END], LARGE, permit=lambda reused: made.append(reused)) == [
        ("b", "R1", "check"), ("c", None, None),
    ]  # fmt: skip
    assert made.count(False) == 1  # without b, c is run again; without c, nothing is


def test_the_run_itself_is_left_as_it_was():
    calls = Calls()
    settled, run = Requirements(items=(LARGE,)), executed([FIND, ADD, EXTRA, END], lambda: Store(calls))
    before = run.session.describe()
    named = by_named_calls(settled, made_calls(run.execution, run.session.toolbox))
    findings = evaluate(settled, run.execution, run.session)
    options = {"outputs": {"answer": str}, "session_for": lambda count: run.after(count).fork(), "permit": allow}
    run_sync(by_execution(named, run, settled, findings, **options))
    assert run.session.describe() == before == "Cart: p2, p1"


def test_where_the_budget_ends_nothing_is_known_of_the_rest():
    def refuse(reused):
        if not reused:
            raise BudgetExhausted("tool_calls", "spent")

    assert covered([FIND, ADD, EXTRA, END], LARGE, permit=refuse) == [("b", None, None), ("c", None, None)]


def test_of_very_many_calls_none_is_tried():
    count = MOST_STEPS_LEFT_OUT + 1
    steps = [step(f"s{n}", "add", product_id="p2") for n in range(count)]
    end = submit(answer="$s0.items[0]")
    large = Requirement(id="R1", check="only", args={"count": count})
    assert {serves for _, serves, _ in covered([*steps, end], large)} == {None}
    fewer = Requirement(id="R1", check="only", args={"count": count - 1})
    assert {serves for _, serves, _ in covered([*steps[:-1], end], fewer)} == {"R1"}


def test_an_unasked_call_is_a_discrepancy_that_says_what_would_help():
    found = unasked_call("b", "no requirement names add")
    assert (found.kind, found.step) == ("unasked_call", "b") and "a requirement names" in found.expected


@pytest.mark.parametrize(
    ("origin", "status", "waits", "args", "serves"),
    [
        ("user", "pending", True, {"product_id": "p2"}, "U1"),
        ("task", "pending", True, {"product_id": "p2"}, None),
        ("user", "violated", True, {"product_id": "p2"}, None),
        ("user", "pending", False, {"product_id": "p2"}, None),
        ("user", "pending", True, {"product_id": "p3"}, None),
    ],
)
def test_a_persons_check_that_is_pending_covers_the_waiting_call_that_it_asks_about(
    origin, status, waits, args, serves
):
    item = Requirement(id="U1", check="is_in", args=args, origin=origin)
    call = CoveredCall(MadeCall("b", "add", {"product_id": "p2"}, waits=waits))
    finding = Finding(requirement="U1", status=status)
    (one,) = by_waiting_checks([call], Requirements(items=(item,)), [finding])
    assert (one.serves, one.by) == (serves, "check" if serves else None)
