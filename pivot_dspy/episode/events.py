"""What happened during a run of a refiner, one event after another."""

from __future__ import annotations

from typing import Literal

from pivot_dspy.gradient import Gradient
from pivot_dspy.loss import Loss
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Execution, Frozen, Trajectory

EventKind = Literal[
    "plan", "settle", "amend", "inspect", "judge", "gradient", "evolve", "critique", "rewrite", "reflect", "compose",
    "fix", "gate", "elect", "accept", "reject", "verify", "failure", "stop", "commit",
]


class Event(Frozen):
    """One thing that happened; which fields are set depends on its kind.

    Cut short at any point, a run would have returned the trajectory of the last `accept`, or of the last `elect` where
    a vote decides.

    Attributes:
        requirements: as they are settled from here on, of a `plan`, `settle` or `amend`.
        message: what happened, in a sentence, where the other fields do not say it.
        diagnosis: what the model said before it rewrote, or of a `critique` or `reflect`, all that it said.
        tokens: prompt and completion tokens that the run had spent by then, so that it can be cut at any count.
    """

    kind: EventKind
    message: str = ""
    trajectory: Trajectory | None = None
    execution: Execution | None = None
    loss: Loss | None = None
    gradient: Gradient | None = None
    requirements: Requirements | None = None
    diagnosis: str = ""
    tokens: int = 0


def accepted_losses(history: tuple[Event, ...]) -> list[float]:
    """Total losses of the accepted trajectories, in order: they never rise.

    Where requirements were amended, what was measured by the old ones is no measure any more: the list then begins with
    the trajectory of that moment, measured again.

    >>> accepted_losses((Event(kind="accept", loss=Loss(total=0.5)), Event(kind="accept", loss=Loss(total=0.0))))
    [0.5, 0.0]
    """
    amended = max((place for place, event in enumerate(history) if event.kind == "amend"), default=-1)
    return [event.loss.total for event in history[amended + 1 :] if event.kind == "accept" and event.loss is not None]


def first_suspect_right(history: tuple[Event, ...]) -> bool | None:
    """Whether rewriting from the first suspect lowered the loss; None where nothing had to be repaired.

    A plan that goes on after it stopped to see results, and one that runs otherwise the second time, are not counted:
    there the loss shows no suspect.
    """
    suspect: tuple[str | None, str] | None = None
    first: float | None = None
    for event in history:
        if event.kind == "accept" and event.loss is not None:
            if suspect is not None and first is not None:
                return event.loss.total < first
            first = event.loss.total
        elif event.gradient is not None and event.gradient.kind not in ("missing_submit", "not_reproducible"):
            if suspect is not None and event.gradient.key != suspect:
                return False
            suspect = event.gradient.key
        elif event.kind == "reject" and event.loss is not None and suspect is not None:
            return False  # one without a loss changed nothing, and so tested nothing
    return None if suspect is None else False
