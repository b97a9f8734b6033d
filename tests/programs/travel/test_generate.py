"""Generated travel tasks: the published layout, the same for the same seed, read and solved by rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from programs.deepplanning.travel.database import Language
from programs.deepplanning.travel.environment import World
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.generate.sentences import SENTENCES
from programs.deepplanning.travel.loader import TravelTask, load_gold, load_tasks
from programs.deepplanning.travel.planner import plan
from programs.deepplanning.travel.reading import read
from programs.deepplanning.travel.strict import strict_score
from tests.programs.travel.right_readings import named

LANGUAGES: tuple[Language, ...] = ("en", "zh")
SEEDS = range(4)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of generated tasks for each seed."""
    root = tmp_path_factory.mktemp("generated")
    for seed in SEEDS:
        generate(root / str(seed), seed=seed)
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(file.relative_to(root)): file.read_bytes() for file in root.rglob("*") if file.is_file()}


def tasks(root: Path) -> list[TravelTask]:
    return [task for language in LANGUAGES for task in load_tasks(root, language=language)]


def test_the_same_seed_gives_the_same_bytes_and_another_other_tasks(directory: Path, tmp_path: Path) -> None:
    generate(tmp_path, seed=0)
    assert files(tmp_path) == files(directory / "0") != files(directory / "1")


def test_every_third_task_is_in_chinese_and_every_second_has_a_budget(directory: Path) -> None:
    assert [task.id for task in tasks(directory / "0")] == ["en-0", "en-1", "en-3", "en-4", "zh-2", "zh-5"]
    for language in LANGUAGES:
        for key, gold in load_gold(directory / "0", language=language).items():
            assert ("budget_constraint" in gold["hard_constraints"]) == (int(key[3:]) % 2 == 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_requests_are_read_and_planned_as_their_golds_have_it(directory: Path, seed: int) -> None:
    gold = {key: meta for each in LANGUAGES for key, meta in load_gold(directory / str(seed), language=each).items()}
    for task in tasks(directory / str(seed)):
        world = World(task.database)
        reading = read(task.request, world)
        constraints = gold[task.id]["hard_constraints"]
        assert len(reading.wishes) == len(constraints), task.request
        score = strict_score(plan(reading, world).itinerary.to_plan(task.language), gold[task.id], task.database)
        assert score.passed, (task.request, score.reasons)


def test_golds_name_what_the_tables_have(directory: Path) -> None:
    for seed in SEEDS:
        for task in tasks(directory / str(seed)):
            world = World(task.database)
            known = {trip["number"] for route in world.atlas.routes for trip in world.atlas.trips(*route)}
            places = (world.atlas.hotels, world.atlas.restaurants, world.atlas.attractions)
            known |= {place["name"] for listed in places for place in listed.values()}
            gold = load_gold(directory / str(seed), language=task.language)[task.id]
            for constraint in gold["hard_constraints"].values():
                names = {name[1] if isinstance(name, tuple) else name for name in named(constraint)}
                assert names <= known and (names or "max_budget" in constraint)


def test_every_sentence_can_be_said_in_both_languages() -> None:
    assert all(set(words) == set(LANGUAGES) for words in SENTENCES.values())


def test_how_many_tasks_cannot_be_negative(tmp_path: Path) -> None:
    generate(tmp_path, tasks=0)
    assert not files(tmp_path)
    with pytest.raises(ValueError, match="expected 0 or more"):
        generate(tmp_path, tasks=-1)
