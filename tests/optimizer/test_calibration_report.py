"""What the probabilities of a compiled program are fitted to, and how much of it each run is worth."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy.optimizer.candidates import ProgramCandidate
from pivot_dspy.optimizer.report import NOTE, CalibrationRow, relevance, share_worth
from pivot_dspy.optimizer.rollout import RolloutResult
from pivot_dspy.optimizer.selection import ScoredCandidate
from tests.optimizer.compiling import TRAIN, VAL, compiled

rights = st.lists(st.booleans(), min_size=6, max_size=6)


def standing(number: int, right: list[bool]) -> ScoredCandidate:
    proposal = ProgramCandidate(str(number), {}, {"self": {"number": number}})
    return ScoredCandidate(proposal, tuple(RolloutResult(score=float(one)) for one in right))


@given(one=rights, other=rights, after=rights)
def test_an_earlier_program_tells_the_less_the_more_its_share_differs(
    one: list[bool], other: list[bool], after: list[bool]
) -> None:
    incumbents = [standing(number, right) for number, right in enumerate((one, other, after))]
    keys = [each.proposal.key for each in incumbents]
    runs = [CalibrationRow(each.proposal.key, str(task), outcome) for each in incumbents
            for task, outcome in enumerate(each.outcomes)]  # fmt: skip
    found = relevance(incumbents, runs, 1.0)
    told, off = [found[key] for key in keys], [abs(sum(right) - sum(after)) for right in (one, other, after)]
    assert told[2] == 1.0 and [each == 1.0 for each in told] == [not far for far in off] and min(told) > 0
    assert (told[0] - told[1]) * (off[0] - off[1]) <= 0
    more = [*runs, *(CalibrationRow(keys[0], f"trained on {task}", RolloutResult(score=1.0)) for task in range(9))]
    assert relevance(incumbents, more, 1.0)[keys[0]] <= told[0]  # what is biased is not made up for by its number


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.01, 1)), min_size=1, max_size=12))
def test_a_task_counts_as_much_as_its_most_relevant_run(runs: list[tuple[str, float]]) -> None:
    tasks, worth = zip(*runs, strict=True)
    weights = share_worth(tasks, worth)
    assert len(weights) == len(runs)
    for task in set(tasks):
        told = [weight for one, weight in zip(tasks, weights, strict=True) if one == task]
        assert sum(told) == pytest.approx(max(one for name, one in runs if name == task))


def test_the_accepted_program_and_those_before_it_count_and_what_had_learned_from_a_task_does_not() -> None:
    program = compiled(auto="medium")  # two samples of each training task, and a second generation of training runs
    incumbents = 1 + sum(one.accepted for one in program.detailed_results.proposals)
    report = program.calibration.report
    assert incumbents > 1 and report == program.detailed_results.calibration["self"]
    assert report.tasks == len(TRAIN) + len(VAL) and report.count == incumbents * len(VAL) + 2 * len(TRAIN)
    assert report.note.endswith(NOTE)


def test_a_task_in_both_sets_is_one_task() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        program = compiled(valset=[*TRAIN[:2], *VAL], max_tasks=20)
    assert program.calibration.report.tasks == len({one.request for one in [*TRAIN, *VAL]})
