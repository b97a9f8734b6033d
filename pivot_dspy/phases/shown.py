"""What the phases that improve a trajectory are shown of it, and how their prompts tell it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from pivot_dspy import digest
from pivot_dspy.catalogue import Catalogue
from pivot_dspy.environment.base import Environment
from pivot_dspy.requirements import Finding, Requirements
from pivot_dspy.trajectory import Execution


class Shown(NamedTuple):
    """One run of a trajectory, with the task and what it is measured by.

    Attributes:
        inputs: the task's input fields.
        environment: for its own words about results; nothing is called on it.
    """

    inputs: Mapping[str, Any]
    catalogue: Catalogue
    execution: Execution
    environment: Environment
    requirements: Requirements
    findings: tuple[Finding, ...] = ()

    def steps(self, start: int = 0, in_full: Collection[str] = ()) -> str:
        """The steps from position `start` on, as `digest.open_steps` gives them; empty where there are none."""
        return digest.open_steps(self.execution, start, self.environment, in_full)

    def report(self) -> str:
        """Where the run ended and what is unmet, as `digest.report` gives it."""
        return digest.report(self.execution, self.requirements, self.findings)
