"""The blame benchmark: what a mutant is, what counts as found, and how often blame finds it."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from pivot_dspy import Suspect, Trajectory
from programs.benchmarks.blame import Replay, Subject, figures, first_plans, is_exact, is_near, main, measure
from programs.benchmarks.mutants import KINDS, Mutant, Mutator
from programs.deepplanning.generate import generate
from programs.deepplanning.loader import load_cases
from tests.programs.shops import NO_DATA, SHOPPING, generated, make_unreadable

real = pytest.mark.skipif(not SHOPPING.is_dir(), reason=NO_DATA)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory, seed=3, tasks=3)


@pytest.fixture(scope="module")
def subjects(data: Path) -> list[tuple[Subject, Mutator]]:
    cases = load_cases(data)
    replay = Replay(cases)
    found = []
    for style in ("expression", "chain"):
        for case in cases:
            session = replay.open(case)
            subject = replay.subject(case, data, session, style)
            assert subject is not None, "the reference meets its own requirements"
            found.append((subject, Mutator(case, session.toolbox, subject.trajectory, random.Random(0))))
    return found


def test_a_mutant_differs_in_one_step(subjects: list[tuple[Subject, Mutator]]) -> None:
    kinds = set()
    for subject, mutator in subjects:
        for mutant in mutator.mutants(4):
            kinds.add(mutant.kind)
            diff = mutant.trajectory.diff(subject.trajectory)
            if mutant.kind == "dropped step":
                assert [step.id for step in diff.removed] == [mutant.step] and not diff.changed
            else:
                assert [change.after.id for change in diff.changed] == [mutant.step] and not diff.removed
            assert subject.trajectory.ids[mutant.position] == mutant.step and not diff.added
    assert kinds == set(KINDS)


def test_mutants_are_drawn_by_seed(data: Path) -> None:
    first, again, other = (
        [outcome.mutant.trajectory.id for outcome in measure(data, each=2, seed=seed)] for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize(
    ("kind", "step", "suspect", "exact", "near"),
    [
        ("wrong value", "b", (1, "b", "wrong_value"), True, False),
        ("wrong value", "b", (1, "b", "missing_step"), False, False),
        ("wrong value", "b", (0, "a", "wrong_value"), False, False),
        ("dropped step", "x", (1, "b", "missing_step"), True, False),
        ("dropped step", "x", (1, "b", "wrong_value"), False, False),
        ("dropped step", "x", (2, "submit", "missing_step"), False, True),
    ],
)
def test_what_counts_as_found(kind: str, step: str, suspect: tuple[int, str, str], exact: bool, near: bool) -> None:
    steps = [{"id": "a", "tool": "t"}, {"id": "b", "tool": "t"}, {"id": "submit", "tool": "submit"}]
    mutant = Mutant(kind, Trajectory.model_validate({"steps": steps}), step, 1, "")
    place, name, said = suspect
    found = Suspect(position=place, step=name, kind=said, diagnosis="no step attempts R9", requirements=("R9",))
    assert is_exact(mutant, found) is exact
    assert (is_near(mutant, found, {"x": ("R9",)}) and not exact) is near


def test_the_command(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "out.json"
    assert main(["--data", str(data), "--each", "1", "--json", str(file)]) == 1  # too few mutants to pass
    assert "swapped binding" in capsys.readouterr().out
    assert json.loads(file.read_text(encoding="utf-8"))["figures"]["all"]["exact"] >= 0.9
    assert main(["--data", str(tmp_path / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err


def test_a_task_that_cannot_be_read_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    generate(tmp_path, tasks=2)
    make_unreadable(tmp_path, "L2-1")
    assert {outcome.case for outcome in measure(tmp_path, each=1)} == {"L1-1"}
    main(["--data", str(tmp_path), "--each", "1"])
    said = capsys.readouterr()
    assert "task L2-1 is left out" in said.err and "Left out: 1 task" in said.out


@pytest.mark.parametrize("style", ["expression", "chain"])
def test_synthetic_tasks(data: Path, style: str) -> None:
    found = figures(list(measure(data, each=4, style=style)))["all"]
    assert found["detected"] >= 30
    assert found["exact"] >= 0.9 and found["in slice"] >= 0.97


@real
@pytest.mark.parametrize("style", ["expression", "chain"])
def test_the_held_out_tasks(style: str) -> None:
    found = figures(list(measure(SHOPPING, each=1, seed=5, style=style, half="held-out")))
    assert found["all"]["detected"] >= 120
    assert found["all"]["exact"] >= 0.9 and found["all"]["in slice"] >= 0.97
    assert found["all"]["mended"] >= (0.25 if style == "expression" else 0.1)


@real
def test_first_plans_are_blamed_where_their_repair_begins() -> None:
    drafts = list(first_plans(SHOPPING))
    assert len(drafts) >= 20
    assert all(suspect.position <= needed for _, needed, suspect in drafts)
