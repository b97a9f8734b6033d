"""DSPy's optimizers on a `Pivot` program, with `trajectory_metric` as it is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from pivot_dspy import Demonstration, Entries, Lesson, Pivot, ToolNote, trajectory_metric
from tests.habits.tasks import ONE_REPAIR, examples, pivot, simulated
from tests.simulator.rooms import REQUEST, STEPS


def test_bootstrap_keeps_the_calls_of_verified_runs_as_demonstrations(tmp_path: Path) -> None:
    lm = simulated()
    teacher = dspy.BootstrapFewShot(metric=trajectory_metric, max_bootstrapped_demos=2, max_labeled_demos=0)
    with dspy.context(lm=lm):
        compiled = teacher.compile(pivot(), trainset=examples()[:3])
        assert isinstance(compiled, Pivot) and compiled._compiled
        demos = {name: len(predictor.demos) for name, predictor in compiled.named_predictors() if predictor.demos}
        assert demos == {"plan.predict": 2, "evolve.predict": 2, "compose.predict": 2, "verify.predict": 2}
        assert all(demo.steps for demo in compiled.plan.predict.demos)
        result = compiled(request=examples()[3].request)
        assert result.verified
        assert examples()[0].request in str(lm.history[-4]["messages"])  # the demonstrations are shown

        compiled.save(tmp_path / "compiled.json")
        fresh = pivot()
        fresh.load(tmp_path / "compiled.json")
        assert fresh(request=examples()[3].request).trajectory == result.trajectory


def test_bootstrap_takes_nothing_from_runs_that_were_not_verified() -> None:
    teacher = dspy.BootstrapFewShot(metric=trajectory_metric, max_bootstrapped_demos=2, max_labeled_demos=0)
    with dspy.context(lm=simulated(**{**ONE_REPAIR, "heed": 0.0})):
        compiled = teacher.compile(pivot(max_iters=1, audit="never"), trainset=examples()[:2])
    assert not any(predictor.demos for predictor in compiled.predictors())


def test_labelled_demonstrations() -> None:
    shown = dspy.Example(
        request="Book the smallest room.",
        tools="- book_room(room_id: str) -> str",
        requirements=[{"id": "R1", "text": "one room is booked"}],
        steps=[{"id": "a", "tool": "book_room", "args": {"room_id": "r1"}}],
    ).with_inputs("request", "tools")
    labelled = dspy.LabeledFewShot(k=1).compile(pivot(), trainset=[shown])
    assert labelled.plan.predict.demos == [shown]
    alone = pivot()
    alone.plan.predict.demos = [shown]
    for program in (labelled, alone):
        lm = simulated()
        with dspy.context(lm=lm):
            assert program(request=REQUEST).verified
        assert "Book the smallest room." in str(lm.history[0]["messages"])


def test_gepa(tmp_path: Path) -> None:
    lm = simulated(slip=0.9, heed=0.0)
    tasks = examples()[:3]
    optimizer = dspy.GEPA(
        metric=trajectory_metric, max_metric_calls=16, reflection_lm=lm, reflection_minibatch_size=2, num_threads=2,
        track_stats=True, use_merge=False,
    )  # fmt: skip
    with dspy.context(lm=lm):
        compiled = optimizer.compile(pivot(max_iters=1, audit="never"), trainset=tasks, valset=tasks)
        assert isinstance(compiled, Pivot)
        assert 0.0 <= max(compiled.detailed_results.val_aggregate_scores) <= 1.0
        shown = [str(entry["messages"] or entry["prompt"]) for entry in lm.history]
        assert any("Not verified: " in prompt and "Blame: " in prompt for prompt in shown)  # it was reflected on
        compiled.save(tmp_path / "gepa.json")
        fresh = pivot(max_iters=1, audit="never")
        fresh.load(tmp_path / "gepa.json")
        assert fresh(request=REQUEST).trajectory == compiled(request=REQUEST).trajectory


def test_mipro(tmp_path: Path) -> None:
    lm = simulated(slip=0.4, heed=0.7)
    with dspy.context(lm=lm):
        compiled = mipro(lm, pivot(max_iters=1, audit="never"))
        assert isinstance(compiled, Pivot) and 0.0 < compiled.score <= 100.0
        tried = [entry["program"].plan.predict for entry in compiled.candidate_programs]
        assert len({predict.signature.instructions for predict in tried}) == 2  # its own, and one that was proposed
        compiled.save(tmp_path / "mipro.json")
        fresh = pivot(max_iters=1, audit="never")
        fresh.load(tmp_path / "mipro.json")
        assert fresh(request=REQUEST).trajectory == compiled(request=REQUEST).trajectory


# ------------------------------------------------------------------------------------- what was learned stays learned

WARNING = "check the day before a room is booked"
LEARNED = Entries().add(
    Lesson(environment="Rooms", trigger="a room is booked", mistake="the day was wrong", avoid=WARNING),
    ToolNote(environment="Rooms", tool="quote", error="no room is called r9", meaning="rooms go from r1 to r4"),
    Demonstration(environment="Rooms", task="Book the smallest room on 1 March 2026.", steps=tuple(STEPS)),
)


def bootstrap(lm: dspy.LM, program: dspy.Module) -> dspy.Module:
    optimizer = dspy.BootstrapFewShot(metric=trajectory_metric, max_bootstrapped_demos=1, max_labeled_demos=1)
    return optimizer.compile(program, trainset=examples()[:2])


def random_search(lm: dspy.LM, program: dspy.Module) -> dspy.Module:
    optimizer = dspy.BootstrapFewShotWithRandomSearch(
        metric=trajectory_metric, max_bootstrapped_demos=1, max_labeled_demos=0, num_candidate_programs=1, num_threads=2
    )
    return optimizer.compile(program, trainset=examples()[:2], valset=examples()[2:3])


def gepa(lm: dspy.LM, program: dspy.Module) -> dspy.Module:
    optimizer = dspy.GEPA(
        metric=trajectory_metric, max_metric_calls=8, reflection_lm=lm, reflection_minibatch_size=1, num_threads=2
    )
    return optimizer.compile(program, trainset=examples()[:2], valset=examples()[:2])


def mipro(lm: dspy.LM, program: dspy.Module) -> dspy.Module:
    optimizer = dspy.MIPROv2(
        metric=trajectory_metric, auto=None, num_candidates=2, max_bootstrapped_demos=1, max_labeled_demos=0,
        num_threads=2, prompt_model=lm, task_model=lm,
    )  # fmt: skip
    tasks = examples()
    return optimizer.compile(program, trainset=tasks[:2], valset=tasks[2:4], num_trials=2, minibatch=False)


class Concierge(dspy.Module):  # type: ignore[misc]
    """A larger program with a refiner in it."""

    def __init__(self, refiner: Pivot) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, request: str) -> Any:
        return self.refiner(request=request)


@pytest.mark.parametrize("optimize", [bootstrap, random_search, gepa, mipro])
def test_a_compiled_memory_and_calibration_survive_other_optimizers(
    optimize: Callable[[dspy.LM, dspy.Module], dspy.Module], tmp_path: Path
) -> None:
    lm = simulated()
    student = pivot(max_iters=1, audit="never")
    student.memory.entries = LEARNED
    student.calibration.fit([{"loss": 0.0}, {"loss": 0.5}], [True, False])
    program = Concierge(student)
    with dspy.context(lm=lm):
        compiled = optimize(lm, program)
        assert compiled.refiner is not student and compiled.refiner.memory.entries == LEARNED
        before = len(lm.history)
        result = compiled(request=REQUEST)
        assert WARNING in str(lm.history[before]["messages"])  # and is still told
        assert set(result.retrieved) == {entry.id for entry in LEARNED} and result.verified
        assert 0 < result.probability < 1
        compiled.save(tmp_path / "compiled.json")
        fresh = Concierge(pivot(max_iters=1, audit="never"))
        fresh.load(tmp_path / "compiled.json")
        assert fresh.refiner.memory.entries == LEARNED
        assert fresh(request=REQUEST).probability == result.probability
    assert student.memory.entries == LEARNED


def test_a_memory_survives_everything_else_that_dspy_does_to_a_program() -> None:
    lm, tasks = simulated(), examples()[:4]
    student = pivot()
    student.memory.entries = LEARNED
    student.set_lm(lm)
    assert student.get_lm() is lm
    student.set_lm(None)
    state = student.dump_state()
    assert state["memory"]["entries"]["demonstrations"][0]["task"] == LEARNED.demonstrations[0].task
    loaded = pivot()
    loaded.load_state(state)
    with dspy.context(lm=lm):
        for program in (loaded, student.deepcopy(), student.reset_copy()):
            assert program.memory.entries == LEARNED
            result = program(request=tasks[0].request)
            assert set(result.retrieved) == {entry.id for entry in LEARNED} and result.verified
        evaluate = dspy.Evaluate(devset=tasks, metric=trajectory_metric, num_threads=2, display_progress=False)
        assert evaluate(student).score == 100.0
        assert [result.verified for result in student.batch(tasks, num_threads=2)] == [True] * 4
