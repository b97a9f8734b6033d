"""A memory goes through DSPy's own optimizers, and what else DSPy does to a program, unchanged and in use."""

from __future__ import annotations

import dspy
import pytest

from pivot_dspy import Demonstration, Entries, Pivot, trajectory_metric
from pivot_dspy.offline import offline_lm
from tests.offline.rooms import REQUEST, STEPS, Book, Rooms, reference
from tests.scripted import scripted

TASKS = [dspy.Example(request=f"{REQUEST} Number {n}.").with_inputs("request") for n in range(4)]
ENTRIES = Entries().added(Demonstration(environment="Rooms", task="Book a large room.", steps=STEPS))


@pytest.fixture
def student():
    made = Pivot(Book, Rooms, timeout=None)
    made.memory.entries = ENTRIES
    return made


@pytest.fixture
def lm():
    known = [reference(task.request) for task in TASKS]
    lm = offline_lm(known, slip=0, systematic=1.0, heed=1.0, cache=False)
    with dspy.context(lm=lm):
        yield lm


def in_use(program):
    assert program.memory.entries == ENTRIES
    result = program(request=TASKS[0].request)
    assert result.retrieved == (ENTRIES.demonstrations[0].id,) and result.verified


def test_bootstrap_few_shot(student, lm):
    made = dspy.BootstrapFewShot(metric=lambda gold, pred, trace=None: pred.verified, max_bootstrapped_demos=1)
    compiled = made.compile(student, trainset=TASKS[:2])
    assert compiled is not student and any(one.demos for one in compiled.predictors())
    in_use(compiled)


def test_gepa(student, lm):
    reflecting = scripted(compose="```\nPlan with care, as before.\n```")
    made = dspy.GEPA(
        metric=trajectory_metric, max_metric_calls=8, reflection_lm=reflecting, num_threads=1,
        reflection_minibatch_size=2, skip_perfect_score=False,
    )  # fmt: skip
    in_use(made.compile(student, trainset=TASKS[:2], valset=TASKS[2:]))
    assert reflecting.engine.count()


def test_mipro(student, lm):
    pytest.importorskip("optuna", reason="dspy.MIPROv2 needs optuna")
    made = dspy.MIPROv2(
        metric=lambda gold, pred, trace=None: trajectory_metric(gold, pred).score, auto=None, num_candidates=2,
        max_bootstrapped_demos=1, max_labeled_demos=0, prompt_model=lm, task_model=lm, num_threads=1,
    )  # fmt: skip
    in_use(made.compile(student, trainset=TASKS[:2], valset=TASKS[2:], num_trials=2, minibatch=False))


def test_everything_else_that_dspy_does_to_a_program(student, lm, tmp_path):
    student.set_lm(lm)
    assert student.get_lm() is lm
    student.set_lm(None)
    state = student.dump_state()
    assert "memory" in state and state["memory"]["entries"]["demonstrations"][0]["task"] == "Book a large room."
    other = Pivot(Book, Rooms, timeout=None)
    other.load_state(state)
    for program in (other, student.deepcopy(), student.reset_copy()):
        in_use(program)
    scores = dspy.Evaluate(devset=TASKS, metric=trajectory_metric, num_threads=2, display_progress=False)(student)
    assert scores.score == 100.0
    assert [result.verified for result in student.batch(TASKS, num_threads=2)] == [True] * 4
