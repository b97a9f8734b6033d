"""Which proposals are accepted: scored on a few validation tasks, then on all, and taken only if no worse."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import dspy

from pivot_dspy.loss import EPSILON
from pivot_dspy.optimizer.candidates import ProgramCandidate
from pivot_dspy.optimizer.rollout import Job, RolloutResult, mean
from pivot_dspy.optimizer.scheduler import RunScheduler
from pivot_dspy.trajectory import Frozen


@dataclass(frozen=True)
class ScoredCandidate:
    """A proposal with what came of it on validation tasks."""

    proposal: ProgramCandidate
    outcomes: tuple[RolloutResult, ...] = ()

    @cached_property
    def score(self) -> float:
        """The mean score."""
        return mean(self.outcomes, "score")

    @cached_property
    def tokens(self) -> float:
        """The mean number of tokens."""
        return mean(self.outcomes, "tokens")

    @cached_property
    def rank(self) -> tuple[float, float, float]:
        """Larger is better: by score (but for rounding), then by what it costs, then by how near it came: by the mean
        loss of what was returned, since a score that is hardly ever above 0 tells little by itself."""
        loss = mean(self.outcomes, "loss")
        return round(self.score / EPSILON) * EPSILON, -self.tokens, -round(loss / EPSILON) * EPSILON


class CandidateRecord(Frozen):
    """A proposal and what became of it; scores and tokens are (its own, the incumbent's)."""

    round: int
    proposal: str
    scores: tuple[float, float] | None = None
    """On all tasks; None where it was worse on the first of them, or the budget was spent."""
    tokens: tuple[float, float] | None = None
    accepted: bool = False
    """Whether it became the incumbent, which the best of a round does."""


@dataclass
class Selection:
    """The incumbent, and the proposals that were measured against it."""

    work: RunScheduler
    student: dspy.Module
    positions: Sequence[int]
    """Of the validation tasks among those of `work`."""
    incumbent: ScoredCandidate
    finalists: int
    """Proposals of a round that are scored on all validation tasks."""
    seed: int
    records: list[CandidateRecord] = field(default_factory=list)
    incumbents: list[ScoredCandidate] = field(default_factory=list)
    """All that were validated, from the student as it was to the present one."""
    rounds: int = 0

    def __post_init__(self) -> None:
        self._tried = {self.incumbent.proposal.key}

    def begin(self) -> bool:
        """Scores the student as it is; False where the budget does not pay for that."""
        scored = self._score([self.incumbent.proposal], self.positions, "validating as it is")
        if not scored:
            return False
        (self.incumbent,) = scored.values()
        self.incumbents.append(self.incumbent)
        return True

    @property
    def first(self) -> ScoredCandidate:
        """The student as it was."""
        return self.incumbents[0] if self.incumbents else self.incumbent

    def untried(self, proposals: Iterator[ProgramCandidate], most: int) -> list[ProgramCandidate]:
        """The first few of the proposals that were never tried."""
        untried: dict[str, ProgramCandidate] = {}
        for proposal in proposals:
            if len(untried) == most:
                break
            if proposal.key not in self._tried:
                untried.setdefault(proposal.key, proposal)
        return list(untried.values())

    def round(self, proposals: Sequence[ProgramCandidate]) -> None:
        """Scores the proposals on a minibatch, the best of those that are no worse on all tasks, and takes the best."""
        self.rounds += 1
        self._tried |= {proposal.key for proposal in proposals}
        incumbent, batch = self.incumbent, self._minibatch()
        outcomes = dict(zip(self.positions, incumbent.outcomes, strict=True))
        bar = replace(incumbent, outcomes=tuple(outcomes[position] for position in batch))
        first = self._score(proposals, batch, f"round {self.rounds}").values()
        passed = [candidate for candidate in first if candidate.rank[0] >= bar.rank[0] and candidate.rank != bar.rank]
        # What did just the same so far is probably the same.
        different = {candidate.rank: candidate for candidate in reversed(passed)}
        chosen = [different[rank].proposal for rank in sorted(different, reverse=True)[: self.finalists]]
        finals = self._score(chosen, self.positions, f"round {self.rounds}, finalists")
        best = max(finals.values(), key=lambda candidate: candidate.rank, default=incumbent)
        if best.rank > incumbent.rank:
            self.incumbent = best
            self.incumbents.append(best)
        for proposal in proposals:
            self._conclude(proposal, finals.get(proposal.key), incumbent)

    def _minibatch(self) -> list[int]:
        """A few validation tasks, others in each round."""
        size = min(len(self.positions), max(4, -(-len(self.positions) // 3)))
        return sorted(random.Random(f"{self.seed}/{self.rounds}").sample(self.positions, size))

    def _score(
        self, proposals: Sequence[ProgramCandidate], positions: Sequence[int], title: str
    ) -> dict[str, ScoredCandidate]:
        """By key, the proposals with their outcomes on some tasks; without those that the budget did not pay for."""
        jobs = []
        for proposal in proposals:
            if proposal.key not in self.work.programs:
                self.work.programs[proposal.key] = proposal.program(self.student)
            jobs += [Job(proposal.key, position) for position in positions]
        results = dict(zip(jobs, self.work.run(jobs, title), strict=True))
        scored = {}
        for proposal in proposals:
            outcomes = [results[Job(proposal.key, position)] for position in positions]
            complete = tuple(outcome for outcome in outcomes if outcome is not None)
            if len(complete) == len(positions):
                scored[proposal.key] = ScoredCandidate(proposal, complete)
        return scored

    def _conclude(
        self, proposal: ProgramCandidate, final: ScoredCandidate | None, incumbent: ScoredCandidate
    ) -> None:
        """Puts on record what became of a proposal. A program is only needed as long as it is run."""
        record = CandidateRecord(
            round=self.rounds,
            proposal=proposal.name,
            scores=None if final is None else (final.score, incumbent.score),
            tokens=None if final is None else (final.tokens, incumbent.tokens),
            accepted=self.incumbent is final,
        )
        self.records.append(record)
        self.work.record("decision", f"{self.rounds}/{proposal.key}", record.model_dump())
        if not record.accepted:
            self.work.programs.pop(proposal.key, None)
