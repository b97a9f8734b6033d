"""Parts of a compilation: the split, the rows of a test and their summary, the memory filled at random."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import dspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pivot_dspy import ConfigurationError, Pivot
from pivot_dspy.memory.fixes import apply_fixes
from pivot_dspy.memory.records import Entries
from pivot_dspy.simulator import offline_lm
from programs.compilation.control import at_random
from programs.compilation.split import split
from programs.compilation.testing import outcomes, run_all, summary
from programs.deepplanning.environment import Market, Shopping
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import Case, load_annotation, load_cases, load_gold
from programs.deepplanning.outcome import training_task
from programs.deepplanning.reference import reference
from programs.options import DataError
from tests.programs.shops import NO_DATA, SHOPPING


def cases(levels: list[int]) -> list[Case]:
    numbers = Counter[int]()
    made = []
    for level in sorted(levels):
        numbers[level] += 1
        made.append(Case(f"L{level}-{numbers[level]}", level, numbers[level], "", (), {}, {}))
    return made


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([1, 2, 3]), min_size=3, max_size=70), st.integers(0, 5), st.data())
def test_parts_are_disjoint_and_have_the_levels_in_their_shares(
    levels: list[int], seed: int, data: st.DataObject
) -> None:
    known = cases(levels)
    train = data.draw(st.integers(1, len(known) - 2))
    val = data.draw(st.integers(1, len(known) - train - 1))
    test = len(known) - train - val
    parts = split(known, train, val, test, seed)
    assert [len(part) for part in parts] == [train, val, test]
    assert sorted(case.id for part in parts for case in part) == sorted(case.id for case in known)
    for part in parts:
        for level, count in Counter(levels).items():
            assert abs(sum(case.level == level for case in part) - count * len(part) / len(known)) <= 2
    assert parts == split(known, train, val, test, seed) == split(known[::-1], train, val, test, seed)


def test_the_seed_decides_and_the_order_of_the_folder_does_not() -> None:
    known = cases([1, 2, 3] * 10)
    assert len({str(split(known, 10, 10, 10, seed).ids) for seed in range(5)}) == 5


def test_more_than_there_is() -> None:
    with pytest.raises(DataError, match="need 31 tasks, and there are 30"):
        split(cases([1] * 30), 20, 10, 1, 0)


@pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)
def test_the_real_tasks_by_default() -> None:
    parts = split(load_cases(SHOPPING), 20, 15, 24, 0)
    counts = [sorted(Counter(case.level for case in part).values()) for part in parts]
    assert counts == [[3, 8, 9], [2, 6, 7], [4, 10, 10]]


def row(strict: bool, verified: bool, probability: float | None = None, tokens: int = 100) -> dict[str, Any]:
    return {
        "id": "L1-1", "strict_pass": strict, "verified": verified, "probability": probability, "tokens": tokens,
        "lm_calls": 1, "first_loss": 0.5, "retrieved": 0,
    }  # fmt: skip


def test_a_summary() -> None:
    plain = summary([row(True, True), row(False, True), row(False, False)])
    assert plain["tokens_per_solved"] == 300 and plain["strict_pass_rate"] == 1 / 3 and plain["brier"] == 1 / 3
    assert "certain" in plain["probabilities"]
    fitted = summary([row(True, True, 0.5), row(False, True, 0.5)])
    assert fitted["brier"] == 0.25 and fitted["probabilities"] == "fitted"
    assert summary([row(False, False)])["tokens_per_solved"] is None


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pivot, list[dspy.Example], dspy.LM]:
    folder: Path = tmp_path_factory.mktemp("shops")
    generate(folder, seed=5, tasks=3)
    known = load_cases(folder)
    references = [reference(case, load_annotation(folder, case.id)) for case in known]
    pivot = Pivot(Shopping, Market(known).open)
    tasks = [training_task(case, load_gold(folder, case.id)) for case in known]
    return pivot, tasks, offline_lm(references, systematic=0.3, cache=False)


def test_rows_come_in_the_order_of_the_tasks(shop: tuple[Pivot, list[dspy.Example], dspy.LM]) -> None:
    pivot, tasks, lm = shop
    seen: list[int] = []
    with dspy.context(lm=lm):
        rows = run_all(pivot, tasks, 2, lambda: seen.append(1))
        same = run_all(pivot, tasks[::-1], 1)
    assert [one["id"] for one in rows] == ["L1-1", "L2-1", "L3-1"] and len(seen) == 3
    assert outcomes(rows) == outcomes(same)[::-1]
    assert all(one["probability"] is None and one["first_loss"] > 0 for one in rows)


def test_what_no_task_can_be_run_with_is_told(shop: tuple[Pivot, list[dspy.Example], dspy.LM]) -> None:
    pivot, tasks, _ = shop
    other = Pivot("question -> answer", Market([]).open)
    with dspy.context(lm=shop[2]), pytest.raises(ConfigurationError, match="missing: question"):
        run_all(other, tasks, 2)
    with dspy.context(lm=shop[2]), pytest.raises(ConfigurationError, match="no case makes the request") as told:
        run_all(Pivot(Shopping, Market([]).open), tasks, 2)
    assert isinstance(told.value.__cause__, DataError)


def test_a_memory_filled_at_random_has_as_many_entries(shop: tuple[Pivot, list[dspy.Example], dspy.LM]) -> None:
    pivot, tasks, lm = shop
    with dspy.context(lm=lm):
        found = [(task, pivot(**task.inputs())) for task in tasks]
    everything = at_random(pivot, _like(99, 99), found, "ShoppingEnvironment", 0).memory.entries
    assert len(everything.demonstrations) >= 2 and len(everything.lessons) >= 3
    judged = at_random(pivot, _like(99, 99), found, "ShoppingEnvironment", 0, judged=True).memory.entries
    verified = [result.trajectory for _, result in found if result.verified]
    fixes = [lesson.fix for lesson in judged.lessons if lesson.fix is not None]
    assert {lesson.avoid for lesson in judged.lessons} <= {lesson.avoid for lesson in everything.lessons}
    assert verified and not any(apply_fixes(right, fixes)[1] for right in verified)
    some = at_random(pivot, _like(1, 2), found, "ShoppingEnvironment", 0).memory.entries
    assert (len(some.demonstrations), len(some.lessons)) == (1, 2)
    assert some == at_random(pivot, _like(1, 2), found, "ShoppingEnvironment", 0).memory.entries
    others = [at_random(pivot, _like(1, 2), found, "ShoppingEnvironment", seed) for seed in range(6)]
    assert len({str(other.memory.entries) for other in others}) > 1
    assert not len(pivot.memory.entries)


def _like(demonstrations: int, lessons: int) -> Entries:
    step = {"id": "a", "tool": "get_cart_info"}
    examples = [{"environment": "E", "task": str(n), "steps": [step]} for n in range(demonstrations)]
    told = [{"environment": "E", "trigger": str(n), "mistake": "m", "avoid": "a"} for n in range(lessons)]
    return Entries.model_validate({"demonstrations": examples, "lessons": told})
