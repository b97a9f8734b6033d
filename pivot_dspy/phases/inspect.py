"""INSPECT: run a trajectory in a safe copy, measure its loss, and name the earliest cause of what went wrong."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy import claims, evaluation, loss
from pivot_dspy.blame import ranking
from pivot_dspy.blame.assignment import Assignment
from pivot_dspy.blame.dependence import DependenceGraph
from pivot_dspy.claims import Claims
from pivot_dspy.crossover import Grade, Parent
from pivot_dspy.environment.session import Session
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.execution import ExecutedRun, execute
from pivot_dspy.flow import Flow, run_sync
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss, Weights
from pivot_dspy.phases.base import Phase, RunView, ask
from pivot_dspy.prompts.steps import render_steps
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.supervision import Permit, allow
from pivot_dspy.trajectory import Discrepancy, Execution, Frozen, Observation, Step, Trajectory

NAME_CALL_FORM = """\
{"id": ID of the requirement, "call": {"tool": NAME, "args": {...}}, "from": "request", "quote": "words of it"}."""
"""How a requirement in words is given the call that it asks for, once it is settled."""


class LocaliseCause(dspy.Signature):  # type: ignore[misc]
    """A trajectory of tool calls was run and falls short of what is required. Find the earliest step that caused it.

    A wrong value often shows only steps later; a missing step shows where something is wanting. Name one of the ids in
    `suspects`: the step that is wrong or, where a step is missing, the one before which it belongs; "end" where it
    belongs after all of them. Say what is wrong and what to change.
    """

    policy: str = dspy.InputField(desc="what always holds here")
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
    unasked: tuple[Discrepancy, ...] = ()
    """Calls that nothing asks for."""
    loss: Loss

    @property
    def trajectory(self) -> Trajectory:
        return self.execution.trajectory

    @property
    def needs_only_outputs(self) -> bool:
        """Whether wording the missing outputs is all that is left to do, but for what a judge says of them."""
        return (
            bool(self.execution.missing_outputs)
            and not self.execution.discrepancies
            and all(observation.status in ("ok", "withheld") for observation in self.execution.observations)
            and all(finding.status != "violated" for finding in self.findings)
        )

    @property
    def unjudged(self) -> tuple[str, ...]:
        return tuple(finding.requirement for finding in self.findings if finding.status == "unjudged")


class Inspect(Phase):
    """Executes, measures and blames. PIVOT, arXiv 2605.11225, INSPECT phase.

    Called with `trajectory`, `session`, `requirements`, `outputs`, `inputs`; returns a Prediction with `run` and
    `inspection`. No model is called for this. `gradient` names the locus: by rule where a rule can tell, else by a
    model that sees only the slice.
    """

    asks = LocaliseCause
    task_after = "policy"

    def run(
        self,
        *,
        trajectory: Trajectory,
        session: Session,
        requirements: Requirements,
        inputs: Mapping[str, Any],
        outputs: Mapping[str, Any],
        base: ExecutedRun | None = None,
        permit: Permit = allow,
        weights: Weights | None = None,
    ) -> Flow[dspy.Prediction]:
        def inspected() -> Flow[tuple[ExecutedRun, Inspection]]:
            run = yield from execute(trajectory, session, outputs=outputs, base=base, permit=permit)
            return run, (yield from inspecting(run, requirements, inputs, weights=weights))

        run, inspection = yield from session.family.visiting(inspected())
        return dspy.Prediction(run=run, inspection=inspection)

    def localise(
        self, view: RunView, gradient: Gradient, refuted: Collection[tuple[str | None, str]] = ()
    ) -> Flow[Gradient]:
        """`gradient` with its place, diagnosis and correction chosen by the model among the suspects.

        These are the steps of the slice that are not refuted. Where the model names none of them, nor the end, the
        place stays as the rule has it.
        """
        trajectory = view.execution.trajectory
        suspects = {name for name in gradient.slice or trajectory.ids if (name, gradient.kind) not in refuted}
        prediction = yield from ask(
            self.predict,
            **self.prompt(
                view.inputs,
                policy=view.catalogue.policy,
                suspects=render_steps(view.execution, suspects, view.environment, view.budget),
                report=view.report(),
            ),
        )
        named = str(prediction.step).strip().strip("$`'\"")
        end = trajectory.submit.id if trajectory.submit is not None else None
        step = end if named == "end" else named
        if (step, gradient.kind) in refuted or (named != "end" and named not in suspects):
            step = gradient.step
        return Gradient(
            locus=len(trajectory) if step is None else trajectory.index(step),
            step=step,
            kind=gradient.kind,
            diagnosis=str(prediction.diagnosis),
            correction=str(prediction.correction),
            evidence=gradient.evidence,
            slice=gradient.slice,
            by="model",
        )


def inspect(run: ExecutedRun, settled: Requirements, inputs: Mapping[str, Any], **judgement: Any) -> Inspection:
    """As `inspecting`, at once."""
    return run_sync(inspecting(run, settled, inputs, **judgement))


def inspecting(
    run: ExecutedRun,
    settled: Requirements,
    inputs: Mapping[str, Any],
    *,
    evaluated: Sequence[Finding] | None = None,
    judged: Collection[Finding] = (),
    cleared: bool = False,
    unsupported: Collection[str] = (),
    unasked: Sequence[Discrepancy] = (),
    outcome: float | None = None,
    weights: Weights | None = None,
) -> Flow[Inspection]:
    """Findings, claims and loss of a run.

    Args:
        evaluated: how these requirements stand by their checks, where that is known of this run.
        judged: verdicts on the requirements that only a judge can decide.
        cleared: whether a judge has looked at the answer's claims; then `unsupported` is the judge's list, and what
            the rule found does not count.
        unasked: the calls that nothing asks for.
    """
    execution = run.execution
    verdicts = {finding.requirement: finding for finding in judged}
    if evaluated is None:
        evaluated = yield from evaluation.evaluating(settled, execution, run.session)
    findings = tuple(
        verdicts.get(finding.requirement, finding) if finding.status == "unjudged" else finding
        for finding in evaluated
    )
    answer_claims = claims.check(execution, inputs)
    if cleared:
        answer_claims = claims.with_unsupported(answer_claims, execution, unsupported)
    measured = loss.measure(
        execution,
        settled,
        findings,
        unsupported=answer_claims.unsupported,
        claims=answer_claims.count,
        unasked=unasked,
        outcome=outcome,
        weights=weights,
    )
    return Inspection(
        execution=execution, findings=findings, claims=answer_claims, unasked=tuple(unasked), loss=measured
    )


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
    gradient = ranking.gradient(
        inspection.execution,
        settled,
        inspection.findings,
        session.toolbox,
        task=task,
        known=known,
        refuted=refuted,
    )
    return gradient or _of_unasked(inspection, session, refuted) or _of_claims(inspection, session, refuted)


def _of_unasked(
    inspection: Inspection, session: Session, refuted: frozenset[tuple[str | None, str]]
) -> Gradient | None:
    """What nothing asks for is to be dropped, or to be named by what asks for it."""
    unasked = next((found for found in inspection.unasked if (found.step, found.kind) not in refuted), None)
    if unasked is None or unasked.step is None:
        return None
    return Gradient(
        locus=inspection.trajectory.index(unasked.step),
        step=unasked.step,
        kind=unasked.kind,
        diagnosis=f"{unasked.message[:1].upper()}{unasked.message[1:]}.",
        correction=f"Drop {unasked.step}; or, if the request asks for it, say so: {NAME_CALL_FORM}",
        slice=ranking.slice_of(inspection.execution, [unasked.step], session.toolbox),
        questioned=(unasked.step,),
    )


def _of_claims(inspection: Inspection, session: Session, refuted: frozenset[tuple[str | None, str]]) -> Gradient | None:
    """What an answer says without support is for its submit to mend; where nothing was done before it, for a step."""
    submit = inspection.trajectory.submit
    kind = "missing_step" if len(inspection.trajectory) == 1 else "unsupported_claim"
    if submit is None or not inspection.claims.unsupported or (submit.id, kind) in refuted:
        return None
    return Gradient(
        locus=inspection.trajectory.index(submit.id),
        step=submit.id,
        kind=kind,
        diagnosis="The answer says what nothing that was observed supports.",
        correction="Before it, do what it says is done; bind its fields to results, or say only what these show.",
        evidence=tuple(claim.message for claim in inspection.claims.unsupported[:4]),
        slice=ranking.slice_of(inspection.execution, [submit.id], session.toolbox),
    )


def parent(
    inspection: Inspection, requirements: Requirements, toolbox: Toolbox, *, task: str = "", known: str = ""
) -> Parent:
    """A trajectory for crossover, its steps graded by rule from what its run showed.

    Args:
        task: the task's inputs as text, and `known` what else the planner saw, as for `ranking.rank`.
    """
    execution, findings = inspection.execution, inspection.findings
    graph = DependenceGraph(execution, toolbox)
    purposes = Assignment(graph, requirements).assigned
    met = {finding.requirement for finding in findings if finding.holds}
    suspects = ranking.rank(execution, requirements, findings, toolbox, task=task, known=known)
    named = [one for one in suspects if one.kind not in ("missing_step", "unexplained")]
    blamed = {one.step for one in named if one.certain or one is suspects[0]}
    blamed |= {found.step for found in execution.discrepancies if found.kind == "unmet_expectation"}
    useful = {name for one, purpose in purposes.items() if purpose in met for name in graph.chains[one]}

    def grade(step: Step, seen: Observation) -> Grade:
        if step.id in blamed:
            return Grade.BLAMED
        misled = any(name in blamed for name in graph.chains[step.id])
        if seen.status == "blocked" or (seen.status == "error" and misled):
            return Grade.UNTRIED
        if seen.status == "error" or purposes.get(step.id, "") not in {*met, ""}:
            return Grade.BLAMED
        return Grade.SERVES if step.id in useful else Grade.RAN

    steps = execution.trajectory.steps
    return Parent(
        trajectory=execution.trajectory,
        grades={step.id: grade(step, seen) for step, seen in zip(steps, execution.observations, strict=True)},
        purposes=purposes,
        writes={name: _change(graph.steps[graph.position[name]], graph.observed[name]) for name in graph.writes},
        needs={step.id: _needs(graph, step) for step in steps},
    )


def _change(step: Step, seen: Observation) -> str:
    """What a write did, where one call with known arguments did it."""
    return f"{step.tool} {json.dumps(seen.args, sort_keys=True)}" if seen.ok and seen.args is not None else ""


def _needs(graph: DependenceGraph, step: Step) -> tuple[str, ...]:
    """The writes that a step depends on otherwise than by its bindings."""
    return tuple(name for name in graph.parents(step.id) if graph.changes(name) and name not in graph.reads[step.id])
