"""DSPy's optimizers on a `Pivot` program, with `trajectory_metric` as it is."""

from __future__ import annotations

from pathlib import Path

import dspy

from pivot_dspy import Pivot, trajectory_metric
from tests.habits.tasks import ONE_REPAIR, examples, pivot, simulated
from tests.offline.rooms import REQUEST


def test_bootstrap_keeps_the_calls_of_verified_runs_as_demonstrations(tmp_path: Path) -> None:
    lm = simulated()
    teacher = dspy.BootstrapFewShot(metric=trajectory_metric, max_bootstrapped_demos=2, max_labeled_demos=0)
    with dspy.context(lm=lm):
        compiled = teacher.compile(pivot(), trainset=examples()[:3])
        assert isinstance(compiled, Pivot) and compiled._compiled
        demos = {name: len(predictor.demos) for name, predictor in compiled.named_predictors() if predictor.demos}
        assert demos == {"plan.predict": 2, "evolve.predict": 2, "compose.predict": 2}
        assert all(demo.steps for demo in compiled.plan.predict.demos)
        result = compiled(request=examples()[3].request)
        assert result.verified
        assert examples()[0].request in str(lm.history[-3]["messages"])  # the demonstrations are shown

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
