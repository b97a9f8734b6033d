"""Results to commit, made without a model: a trajectory that was run in a copy, with the verdict that a test wants."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pivot_dspy.environment.factory import EnvironmentLike, SessionFactory
from pivot_dspy.episode.commit import Committer
from pivot_dspy.episode.commit_attempt import Verified
from pivot_dspy.episode.result import Refined, make_refined
from pivot_dspy.evaluation import evaluate
from pivot_dspy.execution import execute
from pivot_dspy.flow import run_sync
from pivot_dspy.loss import Loss
from pivot_dspy.phases.written_steps import read_steps
from pivot_dspy.required_calls import made_calls
from pivot_dspy.requirements import Requirement, Requirements
from pivot_dspy.trajectory import Trajectory
from pivot_dspy.verdict import PendingCall, Verdict

OUTPUTS = {"answer": str}


def refined(
    environment: EnvironmentLike,
    steps: Sequence[dict[str, Any]],
    *requirements: Requirement,
    status: Literal["judged", "provisional", "unverified"] = "provisional",
    timeout: float | None = None,
) -> Refined:
    """What a refiner returns for a trajectory that goes as it was planned."""
    factory = SessionFactory(environment, timeout=timeout)
    session = factory.open(None)
    trajectory = Trajectory(steps=tuple(read_steps(list(steps))))
    run = run_sync(execute(trajectory, session, outputs=OUTPUTS))
    settled = Requirements(items=requirements)
    findings = evaluate(settled, run.execution, run.session)
    waiting = (call for call in made_calls(run.execution, session.toolbox) if call.waits)
    pending = tuple(PendingCall(step=call.step, tool=call.tool, args=dict(call.args)) for call in waiting)
    verdict = Verdict(status=status, pending=pending)
    verified = Verified(run.execution, verdict, settled, findings)
    session.family.close()
    return make_refined(
        run.execution.outputs,
        trajectory=trajectory,
        verdict=verdict,
        committer=Committer(factory, None, OUTPUTS, session.family.run_id, verified),
        execution=run.execution,
        loss=Loss(total=0.0),
        requirements=settled,
        findings=findings,
    )
