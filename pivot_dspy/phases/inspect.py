"""INSPECT: run a trajectory in a safe copy, measure its loss, and name the earliest cause of what went wrong."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import dspy

from pivot_dspy import blame, claims, digest, loss, requirements
from pivot_dspy._drive import Steps
from pivot_dspy.claims import Claims
from pivot_dspy.environment.session import Session
from pivot_dspy.execution import Permit, Run, allow, execute
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss, Weights
from pivot_dspy.phases.base import Phase, ask, with_task
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Frozen, Trajectory


class LocaliseCause(dspy.Signature):  # type: ignore[misc]
    """A trajectory of tool calls was run and falls short of what is required. Find the earliest step that caused it.

    A wrong value often shows only steps later; a missing step shows where something is wanting. Name one of the ids in
    `suspects`, or "end" where something is missing after all of them. Say what is wrong with the step and what to
    change.
    """

    suspects: str = dspy.InputField(desc="the steps that the failure depends on: step -> what came of it")
    report: str = dspy.InputField()
    diagnosis: str = dspy.OutputField()
    step: str = dspy.OutputField(desc="an id from suspects, or end")
    correction: str = dspy.OutputField()


class Inspection(Frozen):
    """What is known of one executed trajectory."""

    execution: Execution
    findings: tuple[Finding, ...] = ()
    claims: Claims = Claims()
    loss: Loss

    @property
    def trajectory(self) -> Trajectory:
        return self.execution.trajectory

    @property
    def unjudged(self) -> tuple[str, ...]:
        return tuple(finding.requirement for finding in self.findings if finding.status == "unjudged")


class Inspect(Phase):
    """Executes, measures and blames. PIVOT, arXiv 2605.11225, INSPECT phase.

    Called with `trajectory`, `session`, `requirements`, `outputs`, `inputs`; returns a Prediction with `run` and
    `inspection`. No model is called for this. `gradient` names the locus: by rule where a rule can tell, else by a
    model that sees only the slice.
    """

    def __init__(self, signature: type[dspy.Signature]) -> None:
        super().__init__()
        self.predict = dspy.Predict(with_task(LocaliseCause, signature, after="suspects"))

    def run(  # type: ignore[override]
        self,
        *,
        trajectory: Trajectory,
        session: Session,
        requirements: Requirements,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        base: Run | None = None,
        permit: Permit = allow,
        weights: Weights | None = None,
    ) -> Steps[dspy.Prediction]:
        run = yield from execute(trajectory, session, outputs=outputs, base=base, permit=permit)
        return dspy.Prediction(run=run, inspection=inspect(run, requirements, inputs, weights=weights))

    def localise(
        self, inspection: Inspection, requirements: Requirements, inputs: Mapping[str, Any], session: Session,
        gradient: Gradient,
    ) -> Steps[Gradient]:
        """`gradient` with its place, diagnosis and correction chosen by the model inside the slice."""
        execution = inspection.execution
        trajectory = execution.trajectory
        suspects = gradient.slice or trajectory.ids
        lines = [
            f"{step.to_prompt()} -> {digest.outcome(step, execution.by_step[step.id], session.environment)}"
            for step in trajectory.steps
            if step.id in suspects
        ]
        said = yield from ask(
            self.predict,
            suspects="\n".join(lines),
            report=digest.report(execution, requirements, inspection.findings),
            **inputs,
        )
        step = str(said.step).strip().lstrip("$")
        position = trajectory.index(step) if step in trajectory.ids else len(trajectory)
        return Gradient(
            locus=position,
            step=step if step in trajectory.ids else None,
            kind=gradient.kind,
            diagnosis=str(said.diagnosis),
            correction=str(said.correction),
            evidence=gradient.evidence,
            slice=gradient.slice,
            by="model",
        )


def inspect(
    run: Run,
    settled: Requirements,
    inputs: Mapping[str, Any],
    *,
    judged: Collection[Finding] = (),
    cleared: bool = False,
    unsupported: Collection[str] = (),
    outcome: float | None = None,
    weights: Weights | None = None,
) -> Inspection:
    """Findings, claims and loss of a run.

    Args:
        judged: verdicts on the requirements that only a judge can decide.
        cleared: whether a judge has looked at the answer's claims; then `unsupported` is the judge's list, and what
            the rule found does not count.
    """
    execution = run.execution
    verdicts = {finding.requirement: finding for finding in judged}
    findings = tuple(
        verdicts.get(finding.requirement, finding) if finding.status == "unjudged" else finding
        for finding in requirements.evaluate(settled, execution, run.session)
    )
    found = claims.check(execution, inputs)
    if cleared:
        found = claims.judged(found, execution, unsupported)
    measured = loss.measure(
        execution,
        settled,
        findings,
        unsupported=found.unsupported,
        claims=found.count,
        outcome=outcome,
        weights=weights,
    )
    return Inspection(execution=execution, findings=findings, claims=found, loss=measured)


def gradient_by_rule(
    inspection: Inspection,
    settled: Requirements,
    session: Session,
    *,
    task: str,
    known: str,
    refuted: frozenset[tuple[str | None, str]],
) -> Gradient | None:
    """The gradient that rules give, or None where every suspect has been refuted."""
    return blame.gradient(
        inspection.execution,
        settled,
        inspection.findings,
        session.toolbox,
        task=task,
        known=known,
        refuted=refuted,
    )
