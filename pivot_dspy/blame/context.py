"""What a rule may look at, and what it finds: a clue against a step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property
from itertools import islice
from typing import Any, NamedTuple

from pivot_dspy.blame.assignment import Assignment
from pivot_dspy.blame.dependence import DependenceGraph
from pivot_dspy.blame.standing import Tokens, holds, tokens
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.plain_json import scalars
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution, Step

_BULK = 40
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
    """It reads what was selected by something that its requirement does not ask."""
    LACKING = 75
    """Nothing attempts a violated requirement."""
    OMISSION = 70
    """It does not select by something that a violated requirement asks; or a judge's words against one point to it."""
    SHARED = 65
    """All that read its result fail."""
    FAILURE = 60
    """It failed when it ran."""
    DEVIATION = 50
    """It selects by something else than is asked, though the requirement holds."""
    FOREIGN = 45
    """It uses a value that nothing before it shows."""
    ORIGIN = 42
    """It brought in what a violated requirement is about; or nothing did, or serves one in words."""
    ABSENT = 40
    """There is no submit."""
    SERVES = 30
    """It means to serve a violated requirement."""
    UNEXPLAINED = 10
    """What went wrong depends on it."""


class Clue(NamedTuple):
    """One reason to suspect the place `position`."""

    position: int
    step: str | None
    """Id of the step there; None at the end."""
    kind: str
    weight: int
    text: str
    """The reason, in a sentence without its full stop."""
    correction: str = ""
    """What to do instead, where the rule can tell."""
    requirements: tuple[str, ...] = ()
    """Ids of the violated requirements that this would explain."""
    mended: Step | None = None
    """The step as the rule would write it; None where it cannot tell."""


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
        self.faults = {
            seen.step: seen.fault
            for seen in execution.observations
            if seen.fault is not None and seen.status in ("ok", "error")
        }
        self.failed = frozenset(seen.step for seen in execution.observations if seen.status == "error")
        """Ids of the steps that ran, or should have, and gave nothing."""
        self.graph = DependenceGraph(execution, toolbox)
        self.has_task = bool(task or known)
        """Without it, nothing can be said to stand nowhere."""
        self._task, self._known = task, known
        self._read = cache(self._tokens_of)

    @cached_property
    def assignment(self) -> Assignment:
        return Assignment(self.graph, self.requirements)

    @cached_property
    def asked(self) -> Tokens:
        """What requirements and task say."""
        return tokens([self._task, *([item.text, item.args] for item in self.requirements.items)])

    @cached_property
    def _told(self) -> Tokens:
        return self.asked | tokens(self._known)

    @cached_property
    def _tools(self) -> Tokens:
        return self._told | tokens(self.toolbox.render_tools())

    def is_told(self, value: Any) -> bool:
        """Whether a value, or each of several, was asked or told. A number must be asked: records hold too many."""
        if isinstance(value, frozenset):
            return all(map(self.is_told, value))
        return value in self.asked if isinstance(value, float) else holds(self._told, value)

    def is_known(self, value: Any, position: int) -> bool:
        """Whether a scalar was told, be it by the tools and types, or stands in what was read before a position."""
        if holds(self._tools, value) or self.graph.source_of(value, position) is not None:
            return True
        return holds(self._tools.union(*map(self._read, self.graph.ids[:position])), value)

    def _tokens_of(self, step_id: str) -> Tokens:
        seen = self.graph.observed[step_id]
        return tokens([seen.value, seen.fault.message if seen.fault is not None else ""])

    @cached_property
    def end_of_acts(self) -> int:
        """Where one more step that acts belongs: after all that act, and all whose results nothing reads yet."""
        submit, graph = self.execution.trajectory.submit, self.graph
        ends = [step.id for step in self.steps if graph.changes(step.id) or not graph.readers[step.id]]
        end = len(self.steps) if submit is None else graph.position[submit.id]
        return max((graph.position[name] + 1 for name in ends if not graph.step(name).is_submit), default=end)

    def troubled(self, step_id: str) -> bool:
        """Whether the step, or one that reads it, failed."""
        return not self.failed.isdisjoint((step_id, *self.graph.below[step_id]))

    def bringer(self, value: Any) -> str | None:
        """The step that was given the value beside the fewest others; else the first whose small result shows it.

        Of several equal ones it is one whose requirement is violated, if there is one.
        """
        assigned = self.assignment.assigned
        given = [
            (len(arguments), assigned.get(step_id) not in self.violated, position, step_id)
            for position, (step_id, arguments, _) in enumerate(self._scalars)
            if value in arguments
        ]
        shown = (step_id for step_id, _, result in self._scalars if value in result)
        return min(given)[-1] if given else next(shown, None)

    @cached_property
    def _scalars(self) -> list[tuple[str, list[Any], list[Any]]]:
        """For each step but the submit the scalars that it was given and those that its result shows, where few."""
        observations = [seen for seen in self.execution.observations if not self.graph.step(seen.step).is_submit]
        return [(seen.step, _few(seen.args or {}), _few(seen.value)) for seen in observations]

    def clue(
        self, step_id: str, kind: str, weight: int, text: str, correction: str = "", requirements: Sequence[str] = (),
        mended: Step | None = None,
    ) -> Clue:  # fmt: skip
        """A clue against a step."""
        position = self.graph.position[step_id]
        return Clue(position, step_id, kind, weight, text, correction, self._only_violated(requirements), mended)

    def missing(
        self, position: int, weight: int, text: str, correction: str = "", requirements: Sequence[str] = ()
    ) -> Clue:
        """A clue that a step is missing at a position."""
        step = self.steps[position].id if position < len(self.steps) else None
        return Clue(position, step, "missing_step", weight, text, correction, self._only_violated(requirements))

    def _only_violated(self, requirements: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name in requirements if name in self.violated))


def _few(value: Any) -> list[Any]:
    return list(islice(scalars(value), _BULK))
