"""A pool of trajectories that were run: what their runs showed of them, and which are kept, for quality and variety."""

from __future__ import annotations

import json

from pivot_dspy import blame
from pivot_dspy.blame.matching import Matching
from pivot_dspy.blame.slices import Graph
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.phases.inspect import Inspection
from pivot_dspy.recombination import Grade, Parent, contents, distance
from pivot_dspy.refiners.episode import Candidate
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Observation, Step, Trajectory


class Pool:
    """Trajectories with their runs, no two of which do the same.

    Args:
        size: how many of them `refine` leaves.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.members: list[Candidate] = []
        self._known: set[tuple[str, ...]] = set()

    def knows(self, trajectory: Trajectory) -> bool:
        """Whether one that does the same has ever been in the pool."""
        return tuple(contents(trajectory).values()) in self._known

    def add(self, candidate: Candidate, proposed: Trajectory) -> None:
        """Puts in what became of a trajectory that was proposed, unless one that does the same has been there."""
        known = self.knows(candidate.trajectory)
        self._known |= {tuple(contents(one).values()) for one in (proposed, candidate.trajectory)}
        if not known:
            self.members.append(candidate)
            self.members.sort(key=lambda one: (one.loss.total, len(one.trajectory)))

    @property
    def best(self) -> Candidate:
        return self.members[0]

    def farthest(self) -> Candidate:
        """The member that differs most from the best one."""
        return max(self.members[1:], key=lambda one: distance(self.best.trajectory, one.trajectory))

    def refine(self) -> None:
        """Leaves `size` members: half of them the best, the others those that differ most from all that are left."""
        kept = self.members[: -(-self.size // 2)]
        others = self.members[len(kept) :]
        while others and len(kept) < self.size:
            chosen = max(others, key=lambda one: min(distance(one.trajectory, other.trajectory) for other in kept))
            others.remove(chosen)
            kept.append(chosen)
        self.members = [one for one in self.members if one in kept]


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
