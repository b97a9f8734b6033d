"""What cannot work is refused before or as soon as it shows, with the remedy; nothing that finished is lost."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from pivot_dspy import ConfigurationError, Pivot, PivotOptimizer, StrictImprovement, TooManyErrors
from pivot_dspy.journal import Journal
from tests.habits.tasks import examples, pivot, simulated
from tests.optimizer.compiling import HABITS, TRAIN, VAL, compiled, told
from tests.scripted import scripted
from tests.simulator.rooms import Book, Rooms


@pytest.mark.parametrize(
    "options, told",
    [
        ({"metric": lambda gold: 1.0}, "gold, pred"),
        ({"metric": 1.0}, "is a function"),
        ({"auto": "huge"}, "light, medium, heavy"),
        ({"auto": "light", "max_tasks": 9}, "one of auto="),
        ({"max_tokens": 0}, "at least 1"),
        ({"max_tasks": True}, "at least 1"),
        ({"num_threads": 0}, "at least 1"),
        ({"executor": object()}, "get_executor"),
    ],
)
def test_arguments(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        PivotOptimizer(**options)


@pytest.mark.parametrize(
    "sets, said",
    [
        ({"trainset": []}, "trainset is empty"),
        ({"valset": []}, "valset is empty"),
        ({"trainset": TRAIN[0]}, "list of dspy.Example"),
        ({"trainset": [{"request": "Book it."}]}, r"trainset\[0\] is a dict"),
        ({"trainset": [*TRAIN, dspy.Example(request="Book it.")]}, r"trainset\[3\].*with_inputs"),
        ({"valset": [dspy.Example(question="Which?").with_inputs("question")]}, "lacks the input request"),
        ({"trainset": [TRAIN[0].copy(extra=1).with_inputs("request", "extra")]}, "input extra"),
        ({"trainset": [TRAIN[0].copy(commit=True).with_inputs("request", "commit")]}, "nothing real"),
        ({"teacher": Pivot("question -> answer", Rooms)}, "teacher's signature"),
        ({"teacher": dspy.Predict("request -> room")}, "teacher, Predict, is no refiner"),
    ],
)
def test_tasks_and_teachers(sets: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        compiled(**sets)


@pytest.mark.parametrize("student", [dspy.Predict("request -> room"), "pivot", Pivot])
def test_a_student_without_a_refiner(student: Any) -> None:
    with pytest.raises(ConfigurationError, match="student"):
        compiled(student)


def test_a_budget_that_pays_for_no_validation() -> None:
    with pytest.raises(ConfigurationError, match="raise it to 7"):
        compiled(max_tasks=6)


@pytest.mark.parametrize("said", [math.nan, {"score": 1.0}, None, "good", dspy.Prediction(feedback="fine")])
def test_a_metric_that_returns_no_score(said: Any) -> None:
    with pytest.raises(ConfigurationError, match="must return a finite number"):
        compiled(metric=lambda gold, pred, trace=None: said)


def test_a_metric_that_returns_a_bool() -> None:
    with pytest.warns(UserWarning, match="counts as 1 or 0"):
        program = compiled(metric=lambda gold, pred: pred.verified, num_threads=1)
    assert program.detailed_results.after.score == 1.0


def test_overlapping_sets() -> None:
    with pytest.warns(UserWarning, match="2 of 3 validation tasks are in the trainset"):
        compiled(trainset=examples()[:4], valset=examples()[2:5])


def test_too_many_errors_keep_what_finished(tmp_path: Path) -> None:
    def broken(gold: Any, pred: Any, trace: Any = None) -> float:
        if gold.request in {task.request for task in (*TRAIN[:2], VAL[0])}:
            raise ZeroDivisionError("no cheapest room")
        return float(pred.verified)

    with pytest.raises(TooManyErrors, match=r"(?s)3 runs failed.*metric raised ZeroDivisionError") as caught:
        compiled(metric=broken, max_errors=3, log_dir=tmp_path, num_threads=1)
    assert len(caught.value.errors) == 3 and all(isinstance(error, RuntimeError) for _, error in caught.value.errors)
    assert len(list(Journal(tmp_path).items("run"))) >= 1
    with pytest.raises(TooManyErrors) as again:  # what was accepted by then is in the error
        compiled(metric=failing_from(20), max_errors=1, num_threads=1)
    assert isinstance(again.value.compiled, Pivot)


def failing_from(count: int) -> Callable[..., float]:
    calls = []

    def metric(gold: Any, pred: Any) -> float:
        calls.append(1)
        if len(calls) > count:
            raise OSError("the service is gone")
        return float(pred.verified)

    return metric


def test_a_few_errors_do_not_end_it() -> None:
    def metric(gold: Any, pred: Any) -> float:
        if gold.request == TRAIN[0].request:
            raise ZeroDivisionError("no cheapest room")
        return float(pred.verified)

    results = compiled(metric=metric, max_errors=3).detailed_results
    assert results.training.errors == 1 and results.after.score == 1.0


def test_a_model_that_never_plans_is_scored_not_counted_as_failing() -> None:
    results = compiled(lm=scripted(), max_errors=1).detailed_results
    assert results.before.score == 0.0 and results.before.errors == len(VAL)


# ------------------------------------------------------------------------------------------------ going on


@pytest.mark.parametrize("after", [2, 15])
def test_a_compilation_that_was_cut_off_goes_on_to_the_same_end(after: int, tmp_path: Path) -> None:
    whole = told(compiled(metric=stopping(10**6)))
    with pytest.raises(KeyboardInterrupt):
        compiled(metric=stopping(after), log_dir=tmp_path, num_threads=1)
    lm = simulated(cache=True, **HABITS)
    finished = len(list(Journal(tmp_path).items("run")))
    assert finished >= after - 1
    resumed = compiled(lm=lm, metric=stopping(10**6), log_dir=tmp_path)
    assert told(resumed) == whole
    journal = Journal(tmp_path)
    assert len(list(journal.items("run"))) == whole[0]["runs"]
    made = lm.engine.calls.lm_calls
    assert told(compiled(lm=lm, metric=stopping(0), log_dir=tmp_path)) == whole  # nothing is left to be done
    assert lm.engine.calls.lm_calls == made


def stopping(after: int) -> Callable[..., dspy.Prediction]:
    left = [after]  # the metric is the same one, however often it is called

    def metric(gold: Any, pred: Any, trace: Any = None) -> dspy.Prediction:
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt
        return dspy.Prediction(score=1 - pred.loss.total)

    return metric


def test_another_compilation_does_not_go_on_from_it(tmp_path: Path) -> None:
    few = {"trainset": TRAIN[:1], "valset": VAL[:1], "log_dir": tmp_path}
    compiled(**few)
    hot = simulated(cache=True, **HABITS).copy(temperature=0.9)
    for changes, said in (
        ({"seed": 1}, "seed"), ({"valset": VAL[:2]}, "valset"), ({"lm": hot}, "lm"),
        ({"student": Pivot(Book, Rooms, patience=5)}, "student"), ({"metric": lambda gold, pred: 0.0}, "metric"),
        ({"student": pivot(requirements=["Book one room."])}, "student"),
        ({"student": pivot(acceptance=StrictImprovement())}, "student"),
    ):  # fmt: skip
        with pytest.raises(ConfigurationError, match=f"other settings .{said}.; name another"):
            compiled(**{**few, **changes})
    compiled(pivot(), **few, num_threads=1)
