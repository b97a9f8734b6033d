"""What a run of a refiner returns, put together from where it ended."""

from __future__ import annotations

from pivot_dspy.calibration.calibration import Calibration
from pivot_dspy.environment.factory import SessionFactory
from pivot_dspy.episode.candidate import Candidate
from pivot_dspy.episode.commit import Committer
from pivot_dspy.episode.commit_attempt import Verified
from pivot_dspy.episode.commit_record import CommitRecord
from pivot_dspy.episode.episode import Episode
from pivot_dspy.episode.final_state import EnvironmentView
from pivot_dspy.episode.result import Refined, make_refined
from pivot_dspy.verdict import Verdict


def result_of(
    episode: Episode, best: Candidate, verdict: Verdict, factory: SessionFactory, calibration: Calibration,
    final_state: EnvironmentView, kept: CommitRecord | None,
) -> Refined:  # fmt: skip
    """The result of a run that ended with `best`.

    Args:
        kept: what a journal keeps of its commit.
    """
    context, record = episode.context, episode.record
    execution = best.inspection.execution
    if not verdict.verified:
        record.spent()
    verified = Verified(execution, verdict, context.requirements, best.inspection.findings)
    return make_refined(
        {name: execution.outputs.get(name) for name in context.outputs},
        trajectory=best.trajectory,
        verdict=verdict,
        committer=Committer(factory, context.task, context.outputs, context.root.family.run_id, verified, kept),
        final_state=final_state,
        execution=execution,
        loss=best.loss,
        tier=execution.tier,
        requirements=context.requirements,
        findings=best.inspection.findings,
        history=tuple(record.history),
        failures=tuple(event.message for event in record.history if event.kind == "failure"),
        ledger=record.ledger.snapshot(),
        exhausted=record.exhausted,
        retrieved=context.used_entries,
        awaiting=episode.awaiting,
        probability=calibration.probability,
    )
