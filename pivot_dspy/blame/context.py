"""What a rule may look at, and what it finds: a clue against a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

from pivot_dspy.blame.assignment import Assignment, Known
from pivot_dspy.blame.dependence import DependenceGraph, scalars
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Step

BULK = 40
"""Scalars from which on arguments or results no longer say what a step brought in; more are not looked at."""


class Weight:
    """How much a clue counts against a step. Only the order matters; of equals, the earliest step comes first."""

    CERTAIN = 100
    """A fault that shows in the step as it is written."""
    UNASKED = 82
    """It takes something that no requirement asks for."""
    CONTRADICTION = 80
    """It selects by something else than a violated requirement asks, or fails and does so."""
    DISCONNECTED = 78
    """It should read a step that nothing reads."""
    LACKING = 75
    """Nothing attempts a violated requirement."""
    OMISSION = 70
    """It does not select by something that a violated requirement asks."""
    SHARED = 65
    """All that read its result fail."""
    FAILURE = 60
    """It failed when it ran."""
    ODD = 55
    """It does otherwise than all steps like it, and has to do with a violated requirement."""
    DEVIATION = 50
    """It selects by something else than is asked, though the requirement holds."""
    FOREIGN = 45
    """It uses a value that nothing before it shows."""
    STARVED = 44
    """It selects what is asked, and what it reads has none of it."""
    UNPROPOSED = 42
    """It brought in what a violated requirement is about, which is none of what the check proposes."""
    ABSENT = 40
    """No submit; or nothing brings in what a violated requirement is about."""
    ORIGIN = 35
    """It brought in what a violated requirement is about."""
    SERVES = 30
    """It means to serve a violated requirement."""
    MENTION = 20
    """The evidence mentions a value of its arguments."""
    VARIATION = 15
    """It does otherwise than all steps like it."""
    UNRELATED = 12
    """Every step ran, and nothing has to do with a violated requirement."""
    UNEXPLAINED = 10
    """What went wrong depends on it."""


class Clue(NamedTuple):
    """One reason to suspect the place `position`.

    Attributes:
        step: id of the step there; None at the end.
        text: the reason, in a sentence without its full stop.
        correction: what to do instead, where the rule can tell.
        requirements: ids of the violated requirements that this would explain.
    """

    position: int
    step: str | None
    kind: str
    weight: int
    text: str
    correction: str = ""
    requirements: tuple[str, ...] = ()


class BlameContext:
    """One execution with everything that the rules compare it with."""

    def __init__(
        self, execution: Execution, requirements: Requirements, findings: Sequence[Finding], toolbox: Toolbox,
        task: str, known: str,
    ) -> None:
        self.execution = execution
        self.requirements = requirements
        self.toolbox = toolbox
        self.steps = execution.trajectory.steps
        self.violated = {finding.requirement: finding for finding in findings if finding.status == "violated"}
        self.faulty = {
            o.step: o.fault for o in execution.observations if o.fault is not None and o.status in ("ok", "error")
        }
        self.graph = DependenceGraph(execution, toolbox)
        self._texts = (task, known)

    @cached_property
    def matching(self) -> Assignment:
        return Assignment(self.graph, self.requirements)

    @cached_property
    def known(self) -> Known:
        return Known(self.requirements.items, *self._texts)

    @cached_property
    def failed(self) -> frozenset[str]:
        """Ids of the steps that ran, or should have, and gave nothing."""
        return frozenset(o.step for o in self.execution.observations if o.status == "error")

    @cached_property
    def brought(self) -> list[tuple[list[Any], list[Any]]]:
        """For each step but the submit the scalars that it was given and those that its result shows, where few."""
        found: list[tuple[list[Any], list[Any]]] = []
        for step in self.steps:
            observation = self.graph.observed.get(step.id)
            if observation is None or step.is_submit:
                found.append(([], []))
            else:
                found.append((list(scalars(observation.args or {}, BULK)), list(scalars(observation.value, BULK))))
        return found

    def bringer(self, value: Any) -> str | None:
        """The step that was given the value beside the fewest others; else the first whose small result shows it.

        Of several equal ones it is one whose requirement is violated, if there is one.
        """
        given = [(len(args), place) for place, (args, _) in enumerate(self.brought) if value in args]
        if given:
            fewest = min(given)[0]
            names = [self.steps[place].id for count, place in given if count == fewest]
            unmet = (name for name in names if self.matching.serves.get(name) in self.violated)
            return next(unmet, names[0])
        return next((self.steps[place].id for place, (_, shown) in enumerate(self.brought) if value in shown), None)

    @cached_property
    def involved(self) -> frozenset[str | None]:
        """Ids of the steps that brought in what the violated requirements are about."""
        about = {value for finding in self.violated.values() for value in finding.about if isinstance(value, str)}
        return frozenset(map(self.bringer, about))

    @property
    def wrong(self) -> bool:
        """Whether there is anything to explain."""
        return bool(self.violated or self.execution.discrepancies or self.execution.trajectory.submit is None)

    def step(self, step_id: str) -> Step:
        return self.steps[self.graph.position[step_id]]

    def clue(
        self, step_id: str, kind: str, weight: int, text: str, correction: str = "", requirements: Sequence[str] = ()
    ) -> Clue:
        """A clue against a step."""
        position = self.graph.position[step_id]
        return Clue(position, step_id, kind, weight, text, correction, self.only_violated(requirements))

    def missing(
        self, position: int, weight: int, text: str, correction: str = "", requirements: Sequence[str] = ()
    ) -> Clue:
        """A clue that a step is missing at a position."""
        step = self.steps[position].id if position < len(self.steps) else None
        return Clue(position, step, "missing_step", weight, text, correction, self.only_violated(requirements))

    def alike(self, name: str) -> list[str]:
        """Ids of the requirements of the same check, in their order; empty where it has none."""
        check = next((item.check for item in self.requirements.items if item.id == name), None)
        return [item.id for item in self.requirements.items if check is not None and item.check == check]

    def suspected(self, name: str, step_id: str | None = None) -> bool:
        """Whether a requirement, or one of its family, is violated, or the step that serves it failed or is involved.

        A check may let another step's choice serve this requirement, and so show a lack elsewhere in its family.
        """
        family = next((family for family in self.matching.families if name in family), [name])
        if any(one in self.violated for one in family):
            return True
        return step_id is not None and (step_id in self.involved or self.troubled(step_id))

    def only_violated(self, requirements: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in requirements if name in self.violated))

    def troubled(self, step_id: str) -> bool:
        """Whether the step, or one that reads it, failed."""
        return step_id in self.failed or any(name in self.failed for name in self.graph.below(step_id))

    @cached_property
    def end(self) -> int:
        """Position of the submit, or the end of the trajectory."""
        submit = self.execution.trajectory.submit
        return len(self.steps) if submit is None else self.graph.position[submit.id]
