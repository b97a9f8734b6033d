"""What runs in the shop teach: generated tasks, and real ones where the data lies."""

from __future__ import annotations

import json

import dspy
import pytest

from pivot_dspy import Pivot
from pivot_dspy.learning.demonstrations import demonstrate
from pivot_dspy.learning.lessons import count_lessons, lessons_of
from pivot_dspy.learning.requirement_mining import TrainingOutcome, missing_requirements
from pivot_dspy.simulator import offline_lm
from programs.deepplanning.environment import PURCHASE, Market, Shopping
from programs.deepplanning.loader import load_annotation, load_cases, load_gold
from programs.deepplanning.outcome import cart_metric, training_task
from programs.deepplanning.reference import reference
from tests.learning.depot import said
from tests.programs.shops import NO_DATA, SHOPPING, generated


def runs(folder, cases, *, policy=True, seed=0, **rates):
    """Pivot on the offline model, with habits, on each case: the refiner, and each task with its result."""
    known = [reference(case, load_annotation(folder, case.id), policy=policy) for case in cases]
    market = Market(cases) if policy else Market(cases, policy=PURCHASE)
    pivot = Pivot(Shopping, market.open)
    pivot.set_lm(offline_lm(known, systematic=0.3, seed=seed, cache=False, **rates))
    tasks = [training_task(case, load_gold(folder, case.id)) for case in cases]
    return pivot, [(task, pivot(**task.inputs())) for task in tasks]


def learned(ran):
    entries = [entry for task, result in ran for entry in lessons_of(result, task, "ShoppingEnvironment")]
    examples = [one for task, result in ran if (one := demonstrate(result, task, "ShoppingEnvironment")) is not None]
    return entries, examples


def assert_general(entries, cases):
    """No id, name or number of a product that is special to a store."""
    text = said(*entries)
    words = {json.dumps(value)[1:-1] for case in cases for product in case.products
             for value in (product["product_id"], product["name"])}  # fmt: skip
    assert not [word for word in words if word in text]


def test_entries_of_a_generated_shop_are_general(tmp_path_factory):
    folder = generated(tmp_path_factory, seed=5, tasks=4)
    cases = load_cases(folder)
    _, ran = runs(folder, cases)
    lessons, examples = learned(ran)
    assert lessons and examples and all(lesson.by == "rule" and lesson.tools for lesson in lessons)
    assert_general([*lessons, *examples], cases)
    assert not [number for case in cases for number in (str(p["price"]) for p in case.products)
                if len(number) > 4 and number in said(*lessons, *examples)]  # fmt: skip


@pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
def test_habits_show_in_the_lessons_of_several_real_tasks():
    cases = load_cases(SHOPPING)[::15]
    _, ran = runs(SHOPPING, cases)
    lessons, examples = learned(ran)
    assert_general([*lessons, *examples], cases)
    (lesson, count), *_ = count_lessons(lessons)
    assert count > 1 and all(name in lesson.avoid for name in lesson.tools)
    assert all(case.query not in said(*examples) for case in cases)


@pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
def test_the_buyers_profile_is_found_from_real_failures():
    """The request states nothing of it, and the policy is not told: the metric's feedback is all there is."""
    cases = load_cases(SHOPPING)[4:22:2]
    pivot, ran = runs(SHOPPING, cases, policy=False)
    outcomes = []
    for task, result in ran:
        scored = cart_metric(task, result)
        outcomes.append(TrainingOutcome(task, result, float(scored.score), scored.feedback))
    asking = offline_lm([], heed=1.0, cache=False)
    with dspy.context(lm=asking):
        lessons = missing_requirements(outcomes, pivot)
    fields = {condition[0] for lesson in lessons for condition in lesson.requirement["args"]["where"]}
    assert fields and fields <= {"size", "target_demographic"}
    assert_general(lessons, cases)
    prompt = str(asking.history[-1]["messages"])
    gold = {name for task, _ in ran for name in task.expected.gold.product_ids}
    assert not [name for name in gold if name in prompt]
