"""What PLAN and SETTLE are told of a task, and how they name the requirements that they write for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pivot_dspy.catalogue import Catalogue
from pivot_dspy.environment.toolbox import Toolbox
from pivot_dspy.requirements import Requirement, compile_drafts


class Briefing(NamedTuple):
    """A task before anything of it is planned.

    Attributes:
        inputs: the task's input fields.
        given: requirements that stand already.
        lessons: from earlier tasks and attempts, as a prompt tells them.
    """

    inputs: Mapping[str, Any]
    catalogue: Catalogue
    toolbox: Toolbox
    given: tuple[Requirement, ...] = ()
    lessons: str = ""

    def fields(self) -> dict[str, Any]:
        """The input fields that the prompts of PLAN and SETTLE share."""
        return {
            "checks": self.catalogue.checks,
            "policy": self.catalogue.policy,
            "lessons": self.lessons,
            "known": self.catalogue.known,
            "user_requirements": "\n".join(item.to_prompt() for item in self.given),
            **self.inputs,
        }

    def compiled(self, drafts: Any) -> tuple[Requirement, ...]:
        """The requirements that a model wrote, with names that none of the given ones has."""
        compiled: tuple[Requirement, ...] = compile_drafts(drafts, self.toolbox, taken=self.given)
        return compiled
