"""The references of the shopping tasks: what a capable model would write, and nothing that it could not know."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jmespath
import pytest

from pivot_dspy import Pivot
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.simulator import Reference, offline_lm
from programs.deepplanning.conditions import matching
from programs.deepplanning.environment import Market, Shopping, final_cart
from programs.deepplanning.generate import generate
from programs.deepplanning.grammar import ReadingError
from programs.deepplanning.loader import Annotation, Case, load_annotation, load_cases, load_gold
from programs.deepplanning.reading import Reading
from programs.deepplanning.reference import plan, reference
from programs.deepplanning.scoring import strict_pass
from tests.programs.shops import NO_DATA, SHOPPING, opened, ran, settled

real = pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
FAULTLESS: dict[str, Any] = {"slip": 0.0, "heed": 1.0, "relapse": 0.0, "cache": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("shops")
    generate(made, seed=11, tasks=6)
    return made


def references(folder: Path) -> list[tuple[Case, Reference]]:
    return [(case, reference(case, load_annotation(folder, case.id))) for case in load_cases(folder)]


def named(case: Case, text: str) -> set[str]:
    """The store's product ids that a text names."""
    return {product["product_id"] for product in case.products if product["product_id"] in text}


def check_plans(folder: Path) -> int:
    """Every reference is a plan that compiles and runs, and names no product; the number of them."""
    known = references(folder)
    for case, wanted in known:
        assert not named(case, json.dumps([*wanted.steps, *wanted.requirements]))
        steps = read_steps(wanted.steps)
        assert not [step.problem for step in steps if step.problem]
        session = opened(case)
        settled(session, wanted.requirements)
        run = ran(session, steps)
        # A wanted product may stand in no single expression (the cheapest in a range, say); what runs, runs well.
        faults = [seen for seen in run.execution.observations if seen.status == "error"]
        assert all(seen.fault is not None and seen.fault.kind == "unresolved_binding" for seen in faults)
        assert len(faults) <= 1 and {*wanted.serves} <= {step.id for step in steps}
    return len(known)


def check_solved(folder: Path, cases: list[tuple[Case, Reference]]) -> list[bool]:
    """Solves tasks with a model that errs never; whether each cart is the gold. No repair names what was not shown."""

    def watched(case: Case, wanted: Reference) -> Reference:
        def revise(sections: Mapping[str, str], steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
            assert wanted.revise is not None
            revised = wanted.revise(sections, steps)
            assert named(case, json.dumps(revised)) <= named(case, "\n".join(sections.values()))
            return revised

        return wanted.model_copy(update={"revise": revise})

    pivot = Pivot(Shopping, Market([case for case, _ in cases]).open)
    pivot.set_lm(offline_lm([watched(*pair) for pair in cases], **FAULTLESS))
    solved = []
    for case, _ in cases:
        result = pivot(request=case.query)
        assert result.verified, (case.id, result.verdict.reasons)
        assert result.cart == final_cart(result.execution)
        solved.append(strict_pass(result.cart, load_gold(folder, case.id)))
    return solved


def test_generated_plans_run_and_name_no_product(folder: Path) -> None:
    assert check_plans(folder) == 6


def test_generated_tasks_are_solved_without_errors(folder: Path) -> None:
    assert all(check_solved(folder, references(folder)))


@real
def test_real_plans_run_and_name_no_product() -> None:
    assert check_plans(SHOPPING) == 59


@real
def test_real_tasks_are_solved_without_errors() -> None:
    solved = check_solved(SHOPPING, references(SHOPPING)[::8])
    assert sum(solved) >= len(solved) - 2  # a few golds are no best cart, or tie with another


def test_without_the_policy_the_profile_is_not_thought_of(folder: Path) -> None:
    for case in load_cases(folder):
        annotation = load_annotation(folder, case.id)
        told, untold = (reference(case, annotation, policy=policy) for policy in (True, False))
        assert "E" in {item["id"] for item in told.requirements}
        assert "E" not in {item["id"] for item in untold.requirements}
        assert told.steps[0]["tool"] == "filter_by_size" and untold.steps[0]["tool"] == "sort_products"


def test_without_the_policy_a_model_goes_by_what_its_prompt_says_of_every_product(folder: Path) -> None:
    size = ["size", "in", "$user.body_profile.standard_sizes"]
    gender = ["target_demographic", "==", "<demographics.gender>"]
    for case in load_cases(folder):
        annotation = load_annotation(folder, case.id)
        told, untold = (reference(case, annotation, policy=policy) for policy in (True, False))

        def lesson(*where: list[str]) -> dict[str, str]:
            return {"lessons": json.dumps({"id": "L1", "check": "every", "args": {"where": where}}) + "  # Why."}

        assert untold.as_told(lesson(size, gender)).steps == told.steps
        assert untold.as_told(lesson(size, gender)).requirements == untold.requirements  # those are the lesson's
        assert untold.as_told(lesson(size)).steps[0] == told.steps[0]
        assert untold.as_told(lesson(gender)).steps[0] == untold.steps[0]
        assert told.as_told(lesson(size)) is told  # whoever knows the policy needs no telling
        for silent in ({}, {"request": lesson(size)["lessons"]}, lesson(["color", "==", "Red"])):
            assert untold.as_told(silent) is untold


def test_a_plan_that_is_shown_tells_what_it_goes_by(folder: Path) -> None:
    for case in load_cases(folder):
        annotation = load_annotation(folder, case.id)
        told, untold = (reference(case, annotation, policy=policy) for policy in (True, False))

        def shown(wanted: Reference) -> dict[str, str]:
            return {"open_steps": "\n".join(f"{json.dumps(step)} -> ok" for step in wanted.steps)}

        assert untold.as_told(shown(told)).steps == told.steps
        assert untold.as_told(shown(untold)).steps == untold.steps
        assert untold.as_told({"lessons": shown(told)["open_steps"]}) is untold  # another task's plan


CONDITIONS: list[list[Any]] = [
    ["applicable_coupons", "contains", "Cross-store: ¥30 off every ¥300"],
    ["shipping_info.provider", "==", "SF Express"],
    ["shipping_info.origin", "==", "Fujian"],
    ["collar_type", "==", "Crew Neck"],
    ["version_type", "==", "Slim Fit"],
    ["thickness", "==", "Thin"],
    ["elasticity", "==", "Non-stretch"],
    ["price", ">=", 300],
    ["name", "contains", "Women's"],
    ["rating.distribution.5_star", ">", 500],
]


@pytest.mark.parametrize("condition", CONDITIONS, ids=lambda condition: str(condition[0]))
def test_a_plan_looks_for_what_meets_the_condition(folder: Path, condition: list[Any]) -> None:
    (case, *_) = load_cases(folder)
    coupons = [{"applicable_coupons": [CONDITIONS[0][2]]}, {"applicable_coupons": []}, {}]
    products = [{**product, **coupons[place % 3]} for place, product in enumerate(case.products)]
    steps, _ = plan(Reading([[condition]], None, False), [], case.user)
    (chosen,) = [step["args"]["product_id"] for step in steps if step["tool"] == "add_product_to_cart"]
    expression = re.fullmatch(r"min_by\(\$p\.products(\[\?.*\]), &price\)\.product_id", chosen)
    assert expression is not None
    wanted = matching(products, [condition], case.user)
    assert jmespath.search(expression[1], products) == wanted and 0 < len(wanted) < len(products)


def test_the_gold_and_the_store_make_no_difference(folder: Path) -> None:
    for case, wanted in references(folder):
        bare = Case(case.id, case.level, case.number, case.query, (), case.user, case.cart)
        assert reference(bare, load_annotation(folder, case.id)).model_dump() == wanted.model_dump()


def test_a_sentence_that_no_rule_reads(folder: Path) -> None:
    with pytest.raises(ReadingError, match="Surprise"):
        reference(load_cases(folder)[0], Annotation(("Surprise me with something.",)))
