"""The benchmark of blame for trips: what its mutants change, and that days are named and repaired alone."""

from __future__ import annotations

import json
import random
from pathlib import Path

import dspy
import pytest

from pivot_dspy.environment.factory import SessionFactory
from programs.benchmarks.blame_travel import Outcome, Ran, figures, main, measure, planned
from programs.benchmarks.travel_mutants import KINDS, Mutator
from programs.deepplanning.travel.atlas import Atlas
from programs.deepplanning.travel.generate import generate
from programs.deepplanning.travel.loader import TravelTask, load_tasks
from programs.deepplanning.travel.trip_plan import Agency
from tests.programs.travel.cities import NO_DATA, TRAVEL


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> list[TravelTask]:
    folder = tmp_path_factory.mktemp("data")
    generate(folder, seed=1, tasks=8)
    found = load_tasks(folder)
    for task in found:
        assert task.database.hotels
    return found


def valid(task: TravelTask) -> Ran:
    agency = Agency([task])
    session = SessionFactory(agency.open, timeout=None).open(dspy.Example(request=task.request).with_inputs("request"))
    return planned(agency.reference(task), session)[1]


def test_the_reference_is_valid_by_the_rules(tasks: list[TravelTask]) -> None:
    assert all(valid(task).is_valid for task in tasks)


def test_each_mutant_has_one_day_put_together_another_way(tasks: list[TravelTask]) -> None:
    kinds = set()
    for task in tasks:
        ran = valid(task)
        whole = ran.run.execution.trajectory
        mutator = Mutator(Atlas(task.database), ran.run.execution, random.Random(0))
        for mutant in mutator.mutants(2):
            kinds.add(mutant.kind)
            changed = [
                after
                for before, after in zip(whole.steps, mutant.trajectory.steps, strict=True)
                if before.content() != after.content()
            ]
            assert [step.id for step in changed] == [mutant.step]
            assert changed[0].tool == "day" and changed[0].args["day"] == mutant.day
            assert (mutant.twin is not None) is mutant.kind.startswith("repeated")
    assert kinds == set(KINDS)


def test_the_same_seed_gives_the_same_mutants(tasks: list[TravelTask]) -> None:
    ran = valid(tasks[0])
    one, same = (
        [mutant.trajectory.id for mutant in Mutator(Atlas(tasks[0].database), ran.run.execution, rng).mutants(3)]
        for rng in (random.Random(5), random.Random(5))
    )
    assert one == same and len(set(one)) > 5


def test_the_changed_day_is_named_and_mended_alone(tasks: list[TravelTask]) -> None:
    outcomes = [outcome for outcome in measure(tasks, each=2) if outcome is not None]
    assert len(outcomes) > 20
    row = figures(outcomes)["all"]
    assert row["detected"] == len(outcomes)
    assert row["named"] >= 0.9 and row["blame"] >= 0.9 and row["mended"] == 1.0 and row["kept"] >= 0.97
    for kind in ("too long", "too short", "closed", "late start"):  # where no wish may be all that is unmet
        assert figures(outcomes)[kind]["day"] == 1.0


def test_a_share_counts_what_it_says() -> None:
    mutant = type("M", (), {"kind": KINDS[0]})()
    made = [
        Outcome("t", mutant, day, day, True, blame, mended, mended, None, ())
        for day, blame, mended in ((True, True, True), (True, False, None), (False, True, False))
    ]
    row = figures(made)[KINDS[0]]
    assert (row["detected"], row["day"], row["named"], row["blame"]) == (3, 2 / 3, 1.0, 2 / 3)
    assert row["mended"] == 0.5 and figures([])["all"]["day"] == 0.0


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--each", "1", "--json", str(tmp_path / "figures.json")]) in (0, 1)
    written = json.loads((tmp_path / "figures.json").read_text(encoding="utf-8"))
    assert set(written) == {"figures", "invalid", "misses"} and written["figures"]["all"]["detected"] > 5
    assert "changed day" in capsys.readouterr().out
    assert main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "no such folder" in capsys.readouterr().err


@pytest.mark.skipif(not TRAVEL.is_dir(), reason=NO_DATA)
def test_on_real_tasks() -> None:
    outcomes = [outcome for outcome in measure(load_tasks(TRAVEL)[:6], each=1) if outcome is not None]
    assert figures(outcomes)["all"]["named"] >= 0.95
