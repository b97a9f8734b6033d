"""What a compiled refiner is: no worse, cheaper, the same for the same seed, and free of what it was validated on."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dspy
import pytest

from pivot_dspy import BestOfN, ConfidenceGate, MajorityOfN, Pivot, Reflexion, SelfRefine
from tests.caching import own_cache
from tests.habits.tasks import examples, pivot, simulated
from tests.optimizer.compiling import HABITS, TRAIN, VAL, compiled, told
from tests.simulator.rooms import Book, Rooms


@pytest.mark.parametrize(("seed", "learned_by"), [(5, "lessons"), (3, "fixes")])
def test_a_compiled_refiner_is_no_worse_and_cheaper_and_starts_better(
    seed: int, learned_by: str, tmp_path: Path
) -> None:
    """With seed 0 no rule says what is to blame, so that a model writes lessons; with seed 3 one does, which gives
    fixes. How much is saved differs by seed, and some learn nothing that saves."""
    habits = {**HABITS, "seed": seed}
    student = pivot()
    before = {name: one.dump_state() for name, one in student.named_parameters()}
    program = compiled(student, simulated(cache=True, **habits))
    results = program.detailed_results
    assert isinstance(program, Pivot) and program is not student and program._compiled
    assert {name: one.dump_state() for name, one in student.named_parameters()} == before
    assert results.after.score >= results.before.score
    assert results.after.tokens < 0.8 * results.before.tokens
    assert results.after.first_loss < results.before.first_loss
    assert len(program.memory.entries)
    learned = next(one for one in results.proposals if one.accepted)
    assert learned.proposal.startswith(learned_by)
    assert any(lesson.fix for lesson in program.memory.entries.lessons) is (learned_by == "fixes")
    assert learned.scores[0] == learned.scores[1] and learned.tokens[0] < 0.8 * learned.tokens[1]

    program.save(str(tmp_path / "compiled.json"))
    fresh = pivot()
    fresh.load(str(tmp_path / "compiled.json"))
    with dspy.context(lm=simulated(**habits)):
        one, other = (made(request=VAL[0].request) for made in (program, fresh))
    assert one.trajectory == other.trajectory and one.retrieved == other.retrieved and one.retrieved
    assert one.probability == other.probability is not None


@pytest.mark.parametrize("seed", range(2))
def test_what_is_accepted_is_never_worse_and_at_equal_score_cheaper(seed: int) -> None:
    rates = {"slip": 0.5, "systematic": 0.3, "heed": 0.6, "relapse": 0.2, "seed": seed}
    results = compiled(pivot(max_iters=1, restarts=0), simulated(cache=True, **rates), auto="medium", seed=seed)
    results = results.detailed_results
    accepted = [one for one in results.proposals if one.accepted]
    scores = [results.before.score, *(one.scores[0] for one in accepted)]
    assert scores == sorted(scores) and scores[-1] == results.after.score
    for one in accepted:
        assert one.scores[0] > one.scores[1] or one.tokens[0] < one.tokens[1]


def test_threads_and_processes_make_no_difference() -> None:
    rates = {"slip": 0.4, "systematic": 0.3, "heed": 0.7, "relapse": 0.1}
    few = {"trainset": TRAIN[:2], "valset": VAL[:2]}
    said = [told(compiled(lm=simulated(cache=True, **rates), num_threads=1, **few))]
    with own_cache():
        said.append(told(compiled(lm=simulated(cache=True, **rates), num_threads=8, **few)))
    said.append(told(compiled(lm=simulated(**rates), num_threads=8, **few)))  # without a cache
    try:
        context = get_context("forkserver")
    except ValueError:
        context = get_context("spawn")
    context.set_forkserver_preload(["pivot_dspy.optimizer.optimizer", "tests.habits.tasks"])
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        said.append(told(compiled(lm=simulated(**rates), executor=executor, **few)))
    assert all(one == said[0] for one in said)


@pytest.mark.parametrize("kind", [BestOfN, Reflexion, MajorityOfN])
def test_other_refiners_learn_from_a_teacher(kind: type) -> None:
    program = compiled(kind(Book, Rooms), teacher=pivot())
    results = program.detailed_results
    assert isinstance(program, kind) and len(program.memory.entries)
    assert results.after.right > results.before.right and results.after.first_loss < results.before.first_loss


def test_other_refiners_learn_from_themselves() -> None:
    results = compiled(SelfRefine(Book, Rooms)).detailed_results
    assert results.after.score >= results.before.score and results.after.tokens < results.before.tokens


def test_the_threshold_of_a_gate_is_tuned() -> None:
    lm = simulated(cache=True, slip=0.3, heed=0.9)
    program = compiled(ConfidenceGate(BestOfN(Book, Rooms), 0.2), lm, trainset=examples()[:6], valset=VAL[1:])
    results = program.detailed_results
    assert any(one.proposal.startswith("self: threshold=") for one in results.proposals)
    assert set(results.entries) == {"self.refiner"}


class Twice(dspy.Module):
    """Two refiners in one program: each does the task, and what they give is told."""

    def __init__(self) -> None:
        super().__init__()
        self.first = Pivot(Book, Rooms)
        self.others = [Pivot(Book, Rooms, candidates=2)]
        self.word = dspy.Predict("request -> word")

    def forward(self, request: str) -> dspy.Prediction:
        results = [self.first(request=request), self.others[0](request=request)]
        return dspy.Prediction(losses=[result.loss.total for result in results])


def no_loss(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> float:
    return 1 - sum(pred.losses) / len(pred.losses)


def test_the_refiners_inside_a_program_are_compiled() -> None:
    program = compiled(Twice(), metric=no_loss)
    results = program.detailed_results
    assert isinstance(program, Twice) and set(results.entries) == {"self.first", "self.others[0]"}
    assert len(program.first.memory.entries) and len(program.others[0].memory.entries)
    assert results.after.tokens < results.before.tokens and results.after.score >= results.before.score
    tasks = {one.calibration.report.tasks for one in (program.first, program.others[0])}
    assert tasks == {len(TRAIN) + len(VAL)}


def test_the_teacher_shows_what_the_student_cannot_do() -> None:
    teacher = pivot(simulated(slip=0.0, systematic=0.0))
    hopeless = {"slip": 0.9, "heed": 0.0, "systematic": 0.0}
    without, taught = (
        compiled(pivot(max_iters=0, restarts=0), simulated(cache=True, **hopeless), teacher=one, auto="light")
        for one in (None, teacher)
    )
    assert without.detailed_results.teacher is None and taught.detailed_results.teacher.score == 1.0
    offered = [[one.proposal for one in program.detailed_results.proposals] for program in (taught, without)]
    assert [any("demonstrations" in one and "memory" not in one for one in names) for names in offered] == [True, False]


def test_nothing_of_gold_or_validation_is_remembered_or_prompted() -> None:
    marked = [task.copy(gold=f"GOLD-{n}").with_inputs("request") for n, task in enumerate(TRAIN)]
    checked = [VAL[n].copy(gold=f"SECRET-{n}").with_inputs("request") for n in range(len(VAL))]

    def metric(gold, pred, trace=None, pred_name=None, pred_trace=None):
        return dspy.Prediction(score=float(pred.verified), feedback=f"expected {gold.gold}")

    lm = simulated(cache=True, **HABITS)
    program = compiled(lm=lm, metric=metric, trainset=marked, valset=checked, auto="medium")
    prompts = json.dumps([entry["messages"] for entry in lm.history], default=str)
    state = json.dumps(program.dump_state())
    assert "GOLD-" not in prompts + state and "SECRET-" not in prompts + state
    assert not any(task.request in state for task in (*TRAIN, *VAL))
    assert len(program.memory.entries)


def test_without_a_valset_some_of_the_tasks_are_held_out() -> None:
    results = compiled(trainset=examples(), valset=None).detailed_results
    assert (results.training.tasks, results.before.tasks) == (5, 3)


@pytest.mark.parametrize("limit", [{"max_tasks": 12}, {"max_tokens": 30_000}, {"max_tokens": 1}])
def test_a_budget_is_kept(limit: dict[str, int]) -> None:
    results = compiled(**limit).detailed_results
    assert results.runs <= limit.get("max_tasks", 1000)
    if "max_tokens" in limit:  # it may be passed by what runs at once
        assert results.tokens <= limit["max_tokens"] + 8 * 3500
    assert results.after.score >= results.before.score
    assert told(compiled(**limit, num_threads=1)) == told(compiled(**limit, num_threads=8))


def test_tuned_settings_are_saved(tmp_path: Path) -> None:
    program = pivot()
    program.tuned.values = {"candidates": 3}
    assert program.candidates == 3 and program.deepcopy().candidates == 3
    program.save(str(tmp_path / "tuned.json"))
    fresh = pivot(patience=5)
    fresh.load(str(tmp_path / "tuned.json"))
    assert (fresh.candidates, fresh.patience) == (3, 5)
    fresh.candidates = 2
    assert fresh.candidates == 2 and fresh.tuned.values == {}
