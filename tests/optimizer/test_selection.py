"""What is accepted: no worse on all validation tasks, and at equal score cheaper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy
from hypothesis import given
from hypothesis import strategies as st

from pivot_dspy import Pivot
from pivot_dspy.optimizer.candidates import ProgramCandidate
from pivot_dspy.optimizer.rollout import CallRecord, Job, RolloutResult
from pivot_dspy.optimizer.selection import ScoredCandidate, Selection
from tests.stores import Store

PLACES = tuple(range(12))
FIRST = ProgramCandidate.of(Pivot("request -> answer", Store))

Row = tuple[tuple[float, ...], int, float]
"""Of a proposal: its score on each task, what each run costs, and with which loss it ends."""


class Told:
    """Runs whose outcomes are told."""

    threshold = 1.0

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = dict(rows)
        self.programs: dict[str, dspy.Module] = {}

    def run(self, jobs: Sequence[Job], title: str) -> list[RolloutResult | None]:
        return [self._outcome(*self.rows[job.program], job.task) for job in jobs]

    def _outcome(self, scores: tuple[float, ...], tokens: int, loss: float, task: int) -> RolloutResult:
        call = CallRecord(refiner="self", verified=not loss, loss=loss, first_loss=1.0)
        return RolloutResult(score=scores[task], tokens=tokens, calls=(call,))

    def record(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Nothing is kept."""


def selected(first: Row, rows: Sequence[Row]) -> Selection:
    """After one round with a proposal for each of the rows, which are named by their places."""
    proposals = [FIRST.set(str(place), "self", "patience", 10 + place) for place in range(len(rows))]
    told = {FIRST.key: first} | {proposal.key: row for proposal, row in zip(proposals, rows, strict=True)}
    student = Pivot("request -> answer", Store)
    work: Any = Told(told)
    selection = Selection(work, student, PLACES, ScoredCandidate(FIRST), finalists=2, seed=0)
    assert selection.begin()
    selection.round(proposals)
    return selection


scores = st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=len(PLACES), max_size=len(PLACES)).map(tuple)
rows = st.tuples(scores, st.integers(1, 3), st.sampled_from([0.0, 0.5]))


@given(rows, st.lists(rows, min_size=1, max_size=4))
def test_what_is_accepted_is_no_worse_on_all_tasks_and_not_dearer_for_nothing(first: Row, others: list[Row]) -> None:
    selection = selected(first, others)
    taken = [decision for decision in selection.records if decision.accepted]
    assert len(taken) <= 1 and len(selection.records) == len(others)
    after = others[int(taken[0].proposal)] if taken else first
    assert sum(after[0]) >= sum(first[0])
    assert after == first or sum(after[0]) > sum(first[0]) or after[1:] < first[1:]
    assert selection.incumbent.score == sum(after[0]) / len(PLACES)


def test_finalists_differ() -> None:
    """What did just what another did on the first tasks does not take its place among those that are scored on all."""
    half, none, whole = (0.5,) * len(PLACES), (0.0,) * len(PLACES), (1.0,) * len(PLACES)
    batch = selected((half, 10, 0.0), [(half, 9, 0.0)])._minibatch()
    seen = [tuple(half[n] if n in batch else row[n] for n in PLACES) for row in (none, none, whole)]
    selection = selected((half, 10, 0.0), [(seen[0], 1, 0.0), (seen[1], 1, 0.0), (seen[2], 2, 0.0)])
    full = {decision.proposal for decision in selection.records if decision.scores is not None}
    assert full == {"0", "2"} and selection.incumbent.proposal.name == "2"
