"""What a reviewer is shown, and when one is asked.

A reviewer is any callable or coroutine function, from a `Review` to a `HumanFeedback`, or to one or several actions;
None has nothing to say.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import Field

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss
from pivot_dspy.trajectory import Execution, Frozen, Step, Trajectory, TrajectoryDiff
from pivot_dspy.verdict import PendingCall, Verdict

UNATTENDED = "pivot_dspy_unattended"
"""Key in `dspy.settings`: whether nobody watches the runs, as in compiling: no person is asked, and no journal kept."""

Occasion = Literal["each_round", "plateau", "before_commit"]
"""Why a person is asked: a new version is about to be written, nothing is left to try, or the run would end here with
something that could be made real."""

TITLES = {
    "each_round": "before the next version is written",
    "plateau": "nothing is left to try",
    "before_commit": "before anything is made real",
}
"""Each occasion in words."""


class RequirementStanding(Frozen):
    """A requirement with how it stands."""

    id: str
    text: str
    """What is asked, in one line."""
    status: Literal["holds", "violated", "unjudged", "pending"]
    evidence: str = ""
    by_person: bool = False
    """Whether a person asked for it, or the caller, so that no model alters it."""


class ToolForm(Frozen):
    """How a tool is called, for who edits a step."""

    signature: str
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    """JSON schema of each."""
    required: tuple[str, ...] = ()
    closed: bool = True
    """Whether it takes no other arguments."""


class Review(Frozen):
    """One question to a person: where the run stands, and what is about to happen."""

    id: str
    """Unique for the run and the question; a feedback that names another review is refused."""
    occasion: Occasion
    task: dict[str, Any]
    """The task's inputs, as plain data."""
    trajectory: Trajectory
    execution: Execution
    """What each step did in the safe copy."""
    changes: TrajectoryDiff | None = None
    """What is new since the last version that was shown, or since the first; None where nothing is."""
    requirements: tuple[RequirementStanding, ...] = ()
    loss: Loss
    gradient: Gradient | None = None
    """What would be changed next, and why."""
    verdict: Verdict | None = None
    """None before the trajectory was verified."""
    pending: tuple[PendingCall, ...] = ()
    """The calls that wait for commit, or for an approval."""
    pinned: tuple[str, ...] = ()
    """Ids of the steps that a person has fixed."""
    outputs: dict[str, Any] = Field(default_factory=dict)
    """The answer, as far as there is one."""
    tools: dict[str, ToolForm] = Field(default_factory=dict)
    environment: str = ""
    """The environment's state in the safe copy, in its own words."""
    note: str = ""
    """What a person has to know: what was wrong with the last answer, or what has changed since."""

    @property
    def title(self) -> str:
        return f"{TITLES[self.occasion]}: {' '.join(str(value) for value in self.task.values())}"

    def step(self, step_id: str) -> Step:
        """The step called so.

        Raises:
            TrajectoryError: there is none.
        """
        return self.trajectory.steps[self.trajectory.index(step_id)]


Reviewer = Callable[[Review], Any | Awaitable[Any]]
"""Gives what `HumanFeedback.of` takes, or an awaitable of it."""
When = Literal["never", "plateau", "before_commit", "each_round"] | Callable[[Review], bool]
"""On which occasions a reviewer is asked: none; where nothing is left to try; there and before commit; in each round
too; or where a function of the review says so."""

_OCCASIONS: dict[str, frozenset[str]] = {
    "never": frozenset(),
    "plateau": frozenset({"plateau"}),
    "before_commit": frozenset({"plateau", "before_commit"}),
    "each_round": frozenset({"plateau", "before_commit", "each_round"}),
}


def validate_reviewer(reviewer: Any, when: Any, timeout: Any) -> None:
    """Refuse what cannot be asked.

    Raises:
        ConfigurationError: with the remedy.
    """
    if reviewer is not None and not callable(reviewer):
        raise ConfigurationError(
            "reviewer= takes a function from a Review to a HumanFeedback, or one of pivot_dspy.human, not "
            f"{reviewer!r:.80}"
        )
    if inspect.isclass(reviewer):
        raise ConfigurationError(f"reviewer= takes an instance: write {reviewer.__name__}(...)")
    if not (callable(when) or when in _OCCASIONS):
        known = ", ".join(_OCCASIONS)
        raise ConfigurationError(f"review= is one of {known}, or a function of a Review; got {when!r:.80}")
    if timeout is not None and not (isinstance(timeout, (int, float)) and timeout > 0):
        raise ConfigurationError(f"review_timeout is in seconds and above 0, or None for no limit; got {timeout!r:.80}")


def is_due(when: When, occasion: Occasion) -> bool | None:
    """Whether a reviewer is asked on an occasion; None where a function of the review has to say."""
    return None if callable(when) else occasion in _OCCASIONS[when]
