"""What is accepted: no worse on all validation tasks, on as many samples of the answers as are asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy
import pytest

from pivot_dspy import Pivot
from pivot_dspy.optimizer.outcomes import Job, Outcome
from pivot_dspy.optimizer.proposals import Proposal
from pivot_dspy.optimizer.selection import Selection
from tests.scripted import Store

PLACES = (0, 1, 2, 3)


class Told:
    """Runs whose outcomes are told: by the name of the proposal, or `as it was`."""

    def __init__(self, scores: Mapping[str, Sequence[float]], tokens: Mapping[str, int]) -> None:
        self.scores, self.tokens = scores, tokens
        self.programs: dict[str, dspy.Module] = {}
        self.names: dict[str, str] = {}
        self.jobs: list[Job] = []
        self.threshold = 1.0

    def run(self, jobs: Sequence[Job], title: str) -> list[Outcome | None]:
        self.jobs += jobs
        return [
            Outcome(score=self.scores[self.names[job.program]][job.seed], tokens=self.tokens[self.names[job.program]])
            for job in jobs
        ]

    def note(self, kind: str, key: str, data: Mapping[str, Any]) -> None:
        """Nothing is kept."""


def selected(work: Told, samples: int) -> Selection:
    student = Pivot("request -> answer", Store)
    first = Proposal.of(student)
    work.names[first.key] = "as it was"
    selection = Selection(work, student, PLACES, finalists=2, seed=0, first=first, samples=samples)  # type: ignore[arg-type]
    assert selection.begin()
    proposals = [
        first.set(name, "self", "patience", 10 + place) for place, name in enumerate(work.scores) if name != "as it was"
    ]
    work.names |= {proposal.key: proposal.name for proposal in proposals}
    selection.round(proposals)
    return selection


@pytest.mark.parametrize(("samples", "accepted"), [(1, "lucky"), (2, "as it was")])
def test_luck_on_one_sample_does_not_decide_where_there_are_more(samples: int, accepted: str) -> None:
    work = Told({"as it was": (0.5, 0.5), "lucky": (0.75, 0.0)}, {"as it was": 10, "lucky": 10})
    selection = selected(work, samples)
    assert selection.incumbent.proposal.name == accepted
    assert {job.seed for job in work.jobs} == set(range(samples))
    assert len(selection.incumbent.outcomes) == len(selection.cells) == len(PLACES) * samples


def test_a_minibatch_is_of_first_samples() -> None:
    work = Told({"as it was": (0.5, 0.5), "worse": (0.25, 1.0)}, {"as it was": 10, "worse": 1})
    assert selected(work, 2).decisions[0].reason == "worse on the first tasks"
    assert [job.seed for job in work.jobs if work.names[job.program] == "worse"] == [0] * len(PLACES)


def test_finalists_differ() -> None:
    """What did just what another did on the first tasks does not take its place among those that are scored on all."""
    scores = {"as it was": (0.5, 0.5), "one": (0.5, 0.0), "same": (0.5, 0.0), "dearer": (0.5, 1.0)}
    work = Told(scores, {"as it was": 10, "one": 1, "same": 1, "dearer": 2})
    selection = selected(work, 2)
    full = {decision.proposal for decision in selection.decisions if decision.full is not None}
    assert full == {"one", "dearer"} and selection.incumbent.proposal.name == "dearer"
