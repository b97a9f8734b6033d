"""What a run showed of each step of a trajectory, for crossover with another."""

from __future__ import annotations

import json

from pivot_dspy import blame
from pivot_dspy.blame.matching import Matching
from pivot_dspy.blame.slices import Graph
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.recombination import Grade, Parent
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Observation, Step


def parent(
    inspection: Inspection, requirements: Requirements, toolbox: Toolbox, *, task: str = "", known: str = ""
) -> Parent:
    """A trajectory for crossover, its steps graded by rule from what its run showed.

    Args:
        task: the task's inputs as text, and `known` what else the planner saw, as for `blame.rank`.
    """
    execution, findings = inspection.execution, inspection.findings
    graph = Graph(execution, toolbox)
    purposes = Matching(graph, requirements).serves
    met = {finding.requirement for finding in findings if finding.holds}
    suspects = blame.rank(execution, requirements, findings, toolbox, task=task, known=known)
    named = [one for one in suspects if one.kind not in ("missing_step", "unexplained")]
    blamed = {one.step for one in named if one.certain or one is suspects[0]}
    blamed |= {found.step for found in execution.discrepancies if found.kind == "unmet_expectation"}
    useful = {name for one, purpose in purposes.items() if purpose in met for name in graph.chain(one)}

    def grade(step: Step, seen: Observation) -> Grade:
        if step.id in blamed:
            return Grade.BLAMED
        misled = any(name in blamed for name in graph.chain(step.id))
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


def _needs(graph: Graph, step: Step) -> tuple[str, ...]:
    """The writes that a step depends on otherwise than by its bindings."""
    return tuple(name for name in graph.parents(step.id) if name in graph.writes and name not in graph.reads[step.id])
