"""Which proposals are accepted: scored on a few validation tasks, then on all, and taken only if no worse."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import dspy

from pivot_dspy.loss import EPSILON
from pivot_dspy.optimizer.candidates import ProgramCandidate
from pivot_dspy.optimizer.rollout import Job, RolloutResult
from pivot_dspy.optimizer.scheduler import RunScheduler


@dataclass(frozen=True)
class ScoredCandidate:
    """A proposal with what came of it on validation tasks."""

    proposal: ProgramCandidate
    outcomes: tuple[RolloutResult, ...]

    @property
    def score(self) -> float:
        """The mean score."""
        return sum(outcome.score for outcome in self.outcomes) / max(1, len(self.outcomes))

    @property
    def tokens(self) -> float:
        """The mean number of tokens."""
        return sum(outcome.tokens for outcome in self.outcomes) / max(1, len(self.outcomes))

    @property
    def loss(self) -> float:
        """The mean loss of what was returned, by the requirements."""
        return sum(outcome.loss for outcome in self.outcomes) / max(1, len(self.outcomes))

    @property
    def rank(self) -> tuple[float, float, float]:
        """Larger is better: by score, then by what it costs, then by how near it came."""
        return round(self.score / EPSILON) * EPSILON, -self.tokens, -round(self.loss / EPSILON) * EPSILON

    def no_worse_than(self, other: ScoredCandidate) -> bool:
        """Whether the score is no lower, but for rounding."""
        return self.score >= other.score - EPSILON

    def better_than(self, other: ScoredCandidate) -> bool:
        """Whether the score is higher, or as high for fewer tokens, or as high for as many and nearer to what is
        required: a score that is hardly ever above 0 tells little by itself."""
        if abs(self.score - other.score) > EPSILON:
            return self.score > other.score
        return self.rank[1:] > other.rank[1:]


@dataclass(frozen=True)
class Decision:
    """What became of a proposal.

    Attributes:
        minibatch: scores of the proposal and of the incumbent on the first few tasks, and their tokens.
        full: the same on all of them; None where it was not scored on all.
        accepted: whether it became the incumbent; `reason` why, or why not.
    """

    round: int
    proposal: str
    key: str
    minibatch: tuple[float, float, float, float] | None
    full: tuple[float, float, float, float] | None
    accepted: bool
    reason: str


class Selection:
    """The incumbent, and the proposals that were measured against it.

    Args:
        places: positions of the validation tasks among those of `work`.
        finalists: proposals of a round that are scored on all of them.

    Attributes:
        incumbents: all that were validated, from the student as it was to the present one.
    """

    def __init__(
        self,
        work: RunScheduler,
        student: dspy.Module,
        places: Sequence[int],
        *,
        finalists: int,
        seed: int,
        first: ProgramCandidate,
    ) -> None:
        self.work = work
        self.student = student
        self.places = tuple(places)
        self.finalists = finalists
        self.seed = seed
        self.decisions: list[Decision] = []
        self._shown: dict[tuple[str, int], tuple[frozenset[str], bool]] = {}
        self.tried = {first.content}
        self.rounds = 0
        self._base: dict[int, RolloutResult] = {}
        self.incumbent = ScoredCandidate(first, ())
        self.incumbents: list[ScoredCandidate] = []

    def begin(self) -> bool:
        """Scores the student as it is; False where the budget does not pay for that."""
        found = self._scored([self.incumbent.proposal], self.places, "validating as it is")[0]
        if found is None:
            return False
        self.incumbent = replace(self.incumbent, outcomes=found)
        self.incumbents.append(self.incumbent)
        self._base = dict(zip(self.places, found, strict=True))
        return True

    @property
    def first(self) -> ScoredCandidate:
        """The student as it was."""
        return self.incumbents[0] if self.incumbents else self.incumbent

    @property
    def shown(self) -> tuple[tuple[frozenset[str], bool], ...]:
        """Of each run that was told of entries: their ids, and whether it went better than without."""
        return tuple(self._shown.values())

    def untried(self, proposals: Iterator[ProgramCandidate], most: int) -> list[ProgramCandidate]:
        """The first few of the proposals that were never tried."""
        found: dict[str, ProgramCandidate] = {}
        for proposal in proposals:
            if proposal.content not in self.tried and len(found) < most:
                found.setdefault(proposal.content, proposal)
        return list(found.values())

    def round(self, proposals: Sequence[ProgramCandidate], *, ties: bool = False) -> bool:
        """Scores the proposals on a minibatch, the best of those that are no worse on all tasks, and takes the best.

        Args:
            ties: whether one that is neither better nor worse is taken too.

        Returns whether one was taken.
        """
        self.rounds += 1
        self.tried |= {proposal.content for proposal in proposals}
        batch = self._minibatch()
        few = [*map(self.incumbent.outcomes.__getitem__, map(self.places.index, batch))]
        bar = replace(self.incumbent, outcomes=tuple(few))
        found = self._scored(proposals, batch, f"round {self.rounds}")
        standing = [ScoredCandidate(one, said) for one, said in zip(proposals, found, strict=True) if said is not None]
        passed = [one for one in standing if one.no_worse_than(bar) and (ties or one.rank != bar.rank)]
        different = {one.rank: one for one in reversed(passed)}  # what did just the same so far is probably the same
        chosen = [different[rank].proposal for rank in sorted(different, reverse=True)[: self.finalists]]
        measured = self._scored(chosen, self.places, f"round {self.rounds}, finalists")
        scored = zip(chosen, measured, strict=True)
        finals = {one.key: ScoredCandidate(one, said) for one, said in scored if said is not None}
        best = max(finals.values(), key=lambda one: one.rank, default=None)
        takes = best is not None and (
            best.better_than(self.incumbent) or (ties and best.rank == self.incumbent.rank)
        )
        self._record(proposals, {one.proposal.key: one for one in standing}, bar, finals, best if takes else None)
        if best is None or not takes:
            return False
        self.incumbent = best
        self.incumbents.append(best)
        return True

    def _minibatch(self) -> list[int]:
        """A few validation tasks, others in each round."""
        size = min(len(self.places), max(4, -(-len(self.places) // 3)))
        return sorted(random.Random(f"{self.seed}/{self.rounds}").sample(self.places, size))

    def _scored(
        self, proposals: Sequence[ProgramCandidate], places: Sequence[int], title: str
    ) -> list[tuple[RolloutResult, ...] | None]:
        """Outcomes of each proposal on the tasks at `places`; None where the budget did not pay for all of them."""
        jobs = []
        for proposal in proposals:
            if proposal.key not in self.work.programs:
                self.work.programs[proposal.key] = proposal.program(self.student)
            jobs += [Job(proposal.key, place) for place in places]
        outcomes = self.work.run(jobs, title)
        rows = [outcomes[start : start + len(places)] for start in range(0, len(outcomes), len(places))]
        if self._base:
            for proposal, row in zip(proposals, rows, strict=True):
                self._count(proposal, row, places)
        return [None if None in row else tuple(one for one in row if one is not None) for row in rows]

    def _count(self, proposal: ProgramCandidate, row: Sequence[RolloutResult | None], places: Sequence[int]) -> None:
        for outcome, place in zip(row, places, strict=True):
            if outcome is not None:
                self.count(proposal.key, place, outcome, self._base[place])

    def count(self, program: str, place: int, outcome: RolloutResult, without: RolloutResult) -> None:
        """Notes which entries a run was told, and whether it went better than the one `without` them."""
        if outcome.retrieved:
            self._shown[program, place] = outcome.retrieved, outcome.better_than(without)

    def _record(
        self,
        proposals: Sequence[ProgramCandidate],
        standing: dict[str, ScoredCandidate],
        bar: ScoredCandidate,
        finals: dict[str, ScoredCandidate],
        taken: ScoredCandidate | None,
    ) -> None:
        for proposal in proposals:
            few, full = standing.get(proposal.key), finals.get(proposal.key)
            accepted = taken is not None and taken.proposal.key == proposal.key
            decision = Decision(
                self.rounds,
                proposal.name,
                proposal.key,
                None if few is None else (few.score, bar.score, few.tokens, bar.tokens),
                None if full is None else (full.score, self.incumbent.score, full.tokens, self.incumbent.tokens),
                accepted,
                self._reason(few, bar, full, accepted),
            )
            self.decisions.append(decision)
            self.work.note("decision", f"{self.rounds}/{proposal.key}", vars(decision))
        for proposal in proposals:  # a program is only needed as long as it is run
            if taken is None or proposal.key != taken.proposal.key:
                self.work.programs.pop(proposal.key, None)

    def _reason(
        self, few: ScoredCandidate | None, bar: ScoredCandidate, full: ScoredCandidate | None, accepted: bool
    ) -> str:
        if few is None:
            return "the budget was spent"
        if not few.no_worse_than(bar):
            return "worse on the first tasks"
        if few.rank == bar.rank and full is None:
            return "the same on the first tasks"
        if full is None:
            return "others were better on the first tasks, or the budget was spent"
        if accepted:
            higher = full.score > self.incumbent.score + EPSILON
            return "a higher score" if higher else "as good, and no dearer"
        if not full.no_worse_than(self.incumbent):
            return "worse on all tasks"
        return "as good, and no cheaper" if not full.better_than(self.incumbent) else "another one was better"
