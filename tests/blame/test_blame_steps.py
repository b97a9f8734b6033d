"""Blame by rule: faults of steps as written, against requirements, and along bindings and chains."""

from __future__ import annotations

from typing import Any

import pytest

from pivot_dspy import CheckResult, Requirement, Requirements, Step, check
from pivot_dspy.blame.extraction import predicates_of
from pivot_dspy.blame.ranking import gradient, rank
from tests.blame.shirts import (
    ASKED,
    CHAINS,
    NIKE,
    PLAN,
    PUMA,
    RED,
    TASK,
    VANS,
    Shop,
    asked,
    choose,
    first,
    run,
    with_step,
    without,
)

# -- nothing is wrong


@pytest.mark.parametrize(("plan", "requirements"), [(PLAN, ASKED), (CHAINS, asked(RED, VANS))])
def test_a_correct_plan_has_no_suspects(plan: tuple[Step, ...], requirements: Requirements) -> None:
    case = run(plan, requirements)
    assert all(finding.holds for finding in case[2])
    assert rank(*case, task=TASK) == ()
    assert gradient(*case, task=TASK) is None


# -- faults of steps as written


@pytest.mark.parametrize(
    ("steps", "place", "kind"),
    [
        (with_step("p", tool="detail"), 1, "unknown_tool"),
        (with_step("p", args={"idz": "$s.ids"}), 1, "bad_arguments"),
        (with_step("b", problem="not JSON"), 3, "malformed_step"),
        (with_step("p", args={"ids": "$d.ids"}), 1, "unresolved_binding"),
        (with_step("b", args={"id": "$p.rows[?"}), 3, "unresolved_binding"),
        (without("submit"), 7, "missing_submit"),
    ],
)
def test_faults_that_leave_no_doubt(steps: tuple[Step, ...], place: int, kind: str) -> None:
    found = first(steps)
    assert (found.position, found.kind, found.certain) == (place, kind, True)


def test_nothing_planned_and_nothing_asked() -> None:
    found = first((), Requirements())
    assert (found.position, found.step, found.kind) == (0, None, "missing_submit")


def test_the_earliest_certain_fault_comes_first() -> None:
    assert first(with_step("p", with_step("a", tool="ad"), tool="detail")).step == "p"


@pytest.mark.parametrize("dropped", ["s", "p", "z"])
def test_a_missing_step_that_is_read_is_named(dropped: str) -> None:
    found = first(without(dropped))
    assert found.kind == "missing_step" and found.certain
    assert f"${dropped} " in found.diagnosis
    assert dropped in next(step for step in PLAN if step.id == found.step).depends_on(frozenset({"s", "p", "z"}))


def test_a_missing_submit_comes_after_what_is_wrong_with_the_rest() -> None:
    suspects = rank(*run(without("submit", with_step("c", args=choose("brand=='Puma' && color=='Red' && size=='M'")))))
    assert [suspect.kind for suspect in suspects][:2] == ["wrong_value", "missing_submit"]


# -- steps against requirements


@pytest.mark.parametrize(
    ("step_id", "terms", "words"),
    [
        ("b", "brand=='Nike' && color=='Khaki' && price < `60`", '"Brown" instead of "Khaki" for color (R2)'),
        ("b", "brand=='Nike' && color=='Blue' && price < `60`", '"Brown" instead of "Blue" for color (R2)'),
        ("c", "brand=='Puma' && brand=='Brown' && size=='M'", 'color, not brand, with "Brown" (R3)'),
        ("c", "brand=='Puma' && finish=='Brown' && size=='M'", 'color, not finish, with "Brown"'),
        ("c", "brand=='Puma' && size=='M'", 'color == "Brown"'),
        ("a", "brand=='Nike' && color=='red' && price < `60`", '"Red" instead of "red"'),
        ("a", "brand=='Nike' && color=='Red' && price > `60`", "price < 60"),
    ],
)
def test_a_step_that_selects_by_something_else(step_id: str, terms: str, words: str) -> None:
    found = first(with_step(step_id, args=choose(terms)))
    assert found.step == step_id
    assert words in " ".join([found.correction, *found.evidence, found.diagnosis])


@pytest.mark.parametrize(("step_id", "args"), [("s", {"sizes": ["XL", "M"]}), ("s", {"sizes": ["XS"]})])
def test_a_wrong_value_shows_steps_later(step_id: str, args: dict[str, Any]) -> None:
    found = first(with_step(step_id, args=args))
    assert found.step == step_id and found.kind == "wrong_value"


def test_a_dropped_choice_is_missed_where_it_stood() -> None:
    for position, (dropped, name) in enumerate([("a", "R1"), ("b", "R2"), ("c", "R3"), ("d", "R4")], start=2):
        found = first(without(dropped))
        assert (found.kind, found.position, found.requirements[0]) == ("missing_step", position, name)


def test_an_invented_thing_is_laid_to_the_step_that_names_it() -> None:
    assert first(with_step("c", args={"id": "vrl2"})).step == "c"
    assert first(with_step("c", args={"id": "no such"})).step == "c"


def test_a_thing_named_outright_is_no_fault_where_it_serves() -> None:
    plan = with_step("c", args={"id": "pbm1"})
    plan = with_step("d", plan, args=choose("brand=='Vans' && color=='Red' && size=='L'"))
    assert run(plan)[2][2].holds
    assert [suspect.step for suspect in rank(*run(plan), task=TASK)][:1] == ["d"]


def test_what_a_check_is_about_is_laid_to_the_step_that_brought_it_in() -> None:
    cheapest = Requirement(id="M", check="cheapest", args={"ids": ["nrl1", "nbl1", "pbm1", "vkl1"]})
    plan = with_step("d", args={"id": "max_by($p.rows[?brand=='Vans' && color=='Khaki' && size=='L'], &price).id"})
    found = first(plan, asked(RED, NIKE, PUMA, VANS, more=(cheapest,)))
    assert found.step == "d" and "vkl9" in found.diagnosis


class Wishes(Shop):
    """Names what it wants in the order in which it should come."""

    @check
    def has(self, wishes: list[str]) -> CheckResult:
        return CheckResult(set(wishes) <= set(self.basket), "not all are there", about=tuple(wishes))


@pytest.mark.parametrize(("wishes", "place"), [(["wrap"], 6), (["wrap", "pbm1"], 4)])
def test_what_a_check_is_about_and_no_step_brings_in_is_missing(wishes: list[str], place: int) -> None:
    wants = Requirement(id="W", check="has", args={"wishes": wishes})
    found = first(PLAN, asked(RED, NIKE, PUMA, VANS, more=(wants,)), environment=Wishes)
    assert (found.kind, found.position) == ("missing_step", place)
    assert "wrap" in found.diagnosis and found.requirements == ("W",)


def test_a_lack_explains_the_step_that_fails_for_want_of_it() -> None:
    plan = (*PLAN[:-2], Step(id="k", tool="pay", args={"coupon": "x"}), *PLAN[-2:])
    found = first(without("d", without("c", plan)))
    assert found.kind == "missing_step" and found.position == 4


# -- bindings and chains


def test_a_field_that_is_not_there_is_laid_to_the_lone_reader() -> None:
    found = first(with_step("submit", args={"total": "$z.sum"}))
    assert found.step == "submit" and "items, total" in found.correction


def test_a_field_that_another_tool_would_give_is_laid_to_the_tool() -> None:
    found = first(with_step("p", tool="prices"))
    assert found.step == "p" and found.kind == "wrong_tool" and "no field rows" in found.diagnosis


@pytest.mark.parametrize(
    ("total", "diagnosis"),
    [
        ("join(', ', p.rows[].name)", "In join(', ', p.rows[].name): functions go without $"),
        ("the sum is {{p.rows[0].price}}", "to put results into text write join('', ['...', $p.rows[0].price, '...'])"),
        ({"calc": "$p.rows[0].price +"}, "The calc $p.rows[0].price +: it is no formula"),
        ({"calc": "{$p.rows[} + 1"}, "Not valid JMESPath: $p.rows["),
    ],
)
def test_what_is_written_wrong_is_laid_to_its_step_and_said(total: Any, diagnosis: str) -> None:
    plan = (
        Step(id="s", tool="by_size", args={"sizes": ["M"]}),
        Step(id="p", tool="details", args={"ids": "$s.ids"}),
        Step(id="submit", tool="submit", args={"total": total}),
    )
    found = first(plan, Requirements())
    assert (found.step, found.kind) == ("submit", "unresolved_binding") and diagnosis in found.diagnosis


def test_a_field_that_is_not_there_is_laid_to_the_reader_where_a_calc_reads_it() -> None:
    found = first(with_step("submit", args={"total": {"calc": "$z.sum / 2"}}))
    assert found.step == "submit" and "items, total" in found.correction


def test_step_back_to_the_first_result_that_turned_empty() -> None:
    plan = (
        Step(id="s", tool="by_size", args={"sizes": ["S"]}),
        Step(id="p", tool="details", args={"ids": "$s.ids"}),
        Step(id="submit", tool="submit", args={"total": "$p.rows[0].price"}),
    )
    found = first(plan, Requirements())
    assert (found.step, found.kind) == ("s", "narrow_result")


def test_a_lone_reader_of_a_good_list_is_itself_to_blame() -> None:
    plan = with_step("b", args=choose("brand=='Nike' && color=='Blue'"))
    assert first(plan, Requirements()).step == "b"


@pytest.mark.parametrize(
    ("step_id", "args"),
    [
        ("a1", {"brand_names": ["Vans"], "ids": "$s.ids"}),
        ("a2", {"key": "price", "operator": ">", "value": 60, "ids": "$a1.ids"}),
        ("a2", {"key": "price", "operator": "<", "value": 38, "ids": "$a1.ids"}),
        ("cp", {"ids": "$a1.ids"}),
        ("c1", {"brand_names": ["Vans"], "ids": "$a1.ids"}),
        ("c", {"id": "min_by($ap.rows[?color=='Khaki' && size=='L'], &price).id"}),
        ("c", {"id": "vrl1"}),
    ],
)
def test_plans_that_select_in_chains(step_id: str, args: dict[str, Any]) -> None:
    case = run(with_step(step_id, CHAINS, args=args), asked(RED, VANS))
    assert rank(*case, task=TASK)[0].step == step_id


def test_a_chain_that_reads_past_a_filter_is_blamed_at_its_end() -> None:
    case = run(with_step("cp", CHAINS, args={"ids": "$s.ids"}), asked(RED, VANS))
    found = gradient(*case, task=TASK)
    assert found is not None and found.step == "c" and "cp" in found.slice


def test_the_end_of_a_chain_that_nothing_uses() -> None:
    found = first(without("a", CHAINS), asked(RED, VANS))
    assert (found.kind, found.position) == ("missing_step", 4)


def test_a_loop_that_repeats_one_call() -> None:
    plan = with_step("a", args={"id": "nrl1"}, for_each="$s.ids")
    found = first(plan)
    assert found.step == "a" and "$item" in found.correction


@pytest.mark.parametrize(
    "args",
    [{"sort_by": "asc"}, {"sort_by": "desc", "order": "desc"}, {"condition_key": ">", "operator": ">", "value": 3}],
)
def test_a_value_in_the_place_of_a_field_is_read_all_the_same(args: dict[str, Any]) -> None:
    said = predicates_of(Step(id="s", tool="sort_products", args=args), ("s",))
    assert bool(said.orders) == ("sort_by" in args)
