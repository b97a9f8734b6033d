"""What happened during a run of a refiner: one kind of record for each kind of event.

`Event` is their union, told apart by `kind`; `parse_event` reads one back from its JSON. Cut short at any point, a run
would have returned the trajectory of the last `accept`, or of the last `elect` where a vote decides.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.gradient import Gradient
from pivot_dspy.human.feedback import HumanFeedback
from pivot_dspy.loss import Loss
from pivot_dspy.requirements import Requirements
from pivot_dspy.trajectory import Execution, Frozen, Trajectory
from pivot_dspy.verdict import Verdict


class _Event(Frozen):
    tokens: int = 0
    """Prompt and completion tokens that the run had spent by then, so that it can be cut at any count."""

    def __str__(self) -> str:
        """One line for a log, as `Pivot(..., on_event=print)` prints it."""
        fields = dict(self)
        loss, gradient = fields.get("loss"), fields.get("gradient")
        parts = (
            f"loss {loss.total:.3f}" if loss is not None else "",
            f"step {gradient.step}: {gradient.correction or gradient.diagnosis}" if gradient is not None else "",
            fields.get("diagnosis", ""),
            fields.get("message", ""),
        )
        return f"{fields['kind']:<9} {'; '.join(part for part in parts if part)}".rstrip()


class PlanEvent(_Event):
    """A whole trajectory was planned."""

    kind: Literal["plan"] = "plan"
    trajectory: Trajectory
    requirements: Requirements
    """As they are settled from here on."""


class SettleEvent(_Event):
    """Requirements were settled for a trajectory that was given."""

    kind: Literal["settle"] = "settle"
    requirements: Requirements


class AmendEvent(_Event):
    """A settled requirement was changed; `message` says which, and why."""

    kind: Literal["amend"] = "amend"
    requirements: Requirements
    message: str


class InspectEvent(_Event):
    """A trajectory was run and measured."""

    kind: Literal["inspect"] = "inspect"
    trajectory: Trajectory
    execution: Execution
    loss: Loss


class JudgeEvent(_Event):
    """A judge decided what no check can; `loss` is by its verdicts."""

    kind: Literal["judge"] = "judge"
    trajectory: Trajectory
    loss: Loss


class GradientEvent(_Event):
    """The blame for what is wrong with the trajectory was laid."""

    kind: Literal["gradient"] = "gradient"
    trajectory: Trajectory
    gradient: Gradient


class EvolveEvent(_Event):
    """A new suffix was written; `diagnosis` is what the model said before it wrote."""

    kind: Literal["evolve"] = "evolve"
    trajectory: Trajectory
    diagnosis: str = ""


class CritiqueEvent(_Event):
    """The trajectory was criticised; `diagnosis` has one fault a line."""

    kind: Literal["critique"] = "critique"
    trajectory: Trajectory
    diagnosis: str


class RewriteEvent(_Event):
    """A whole trajectory was written again, or made from others by the operator in `message`."""

    kind: Literal["rewrite"] = "rewrite"
    trajectory: Trajectory
    message: str = ""
    diagnosis: str = ""


class ReflectEvent(_Event):
    """A reflection on a run, or advice from it, in the model's words; without a trajectory where that is not known."""

    kind: Literal["reflect"] = "reflect"
    trajectory: Trajectory | None = None
    diagnosis: str


class ComposeEvent(_Event):
    """Outputs that could not be planned were worded."""

    kind: Literal["compose"] = "compose"
    trajectory: Trajectory


class FixEvent(_Event):
    """A mistake that memory knows was corrected in what a model wrote; `message` names the lesson."""

    kind: Literal["fix"] = "fix"
    trajectory: Trajectory
    message: str


class GateEvent(_Event):
    """Steps were stopped before they ran, or let through; `message` says which and why."""

    kind: Literal["gate"] = "gate"
    trajectory: Trajectory
    message: str


class ElectEvent(_Event):
    """This trajectory leads the vote."""

    kind: Literal["elect"] = "elect"
    trajectory: Trajectory
    loss: Loss


class AcceptEvent(_Event):
    """The trajectory is the incumbent from here on."""

    kind: Literal["accept"] = "accept"
    trajectory: Trajectory
    loss: Loss
    message: str = ""


class RejectEvent(_Event):
    """The trajectory was not accepted; without a loss where it was not run, and `message` says why."""

    kind: Literal["reject"] = "reject"
    trajectory: Trajectory
    loss: Loss | None = None
    message: str = ""


class LookEvent(_Event):
    """The model stopped to read, and goes on from this trajectory, accepted or not; `message` says what it read."""

    kind: Literal["look"] = "look"
    trajectory: Trajectory
    message: str


class VerifyEvent(_Event):
    """The trajectory was checked as a whole; `message` is `verified`, or what stands against it."""

    kind: Literal["verify"] = "verify"
    trajectory: Trajectory
    verdict: Verdict
    message: str


class FailureEvent(_Event):
    """The model, or what reads its answers, failed; `message` says in which phase and how."""

    kind: Literal["failure"] = "failure"
    message: str


class NoteEvent(_Event):
    """Something was put right by itself, or is to be known of the run; `message` says what."""

    kind: Literal["note"] = "note"
    message: str


class ReviewEvent(_Event):
    """A person is asked about this trajectory; `review` is the id of the question."""

    kind: Literal["review"] = "review"
    trajectory: Trajectory
    review: str
    occasion: str


class FeedbackEvent(_Event):
    """A person has answered; what it changes counts from here on, better or not."""

    kind: Literal["feedback"] = "feedback"
    review: str
    feedback: HumanFeedback


class UnclearEvent(_Event):
    """Something real, which `message` names, was changed by the run or by a commit at work meanwhile."""

    kind: Literal["unclear"] = "unclear"
    message: str


class StopEvent(_Event):
    """The search ended for the reason in `message`."""

    kind: Literal["stop"] = "stop"
    message: str


Event = (
    PlanEvent | SettleEvent | AmendEvent | InspectEvent | JudgeEvent | GradientEvent | EvolveEvent | CritiqueEvent
    | RewriteEvent | ReflectEvent | ComposeEvent | FixEvent | GateEvent | ElectEvent | AcceptEvent | RejectEvent
    | LookEvent | VerifyEvent | FailureEvent | NoteEvent | ReviewEvent | FeedbackEvent | UnclearEvent | StopEvent
)  # fmt: skip


@cache
def _events() -> TypeAdapter[Event]:
    return TypeAdapter(Annotated[Event, Field(discriminator="kind")])


def parse_event(record: Any) -> Event:
    """The event whose JSON data, a mapping, this is.

    Raises:
        ConfigurationError: it is none; the message names what is wrong with it.

    >>> parse_event(StopEvent(message="no suspect is left").model_dump(mode="json")).kind
    'stop'
    """
    try:
        return _events().validate_python(record)
    except ValidationError as error:
        raise ConfigurationError(f"this is no event of a refiner: {error}") from error


def accepted_losses(history: tuple[Event, ...]) -> list[float]:
    """Total losses of the accepted trajectories, in order: they never rise.

    Where requirements were amended, what was measured by the old ones is no measure any more: the list then begins with
    the trajectory of that moment, measured again. So it does where a person has decided what to go on with.

    >>> worse, better = (AcceptEvent(trajectory=Trajectory(), loss=Loss(total=total)) for total in (0.5, 0.0))
    >>> accepted_losses((worse, better))
    [0.5, 0.0]
    """
    amended = max((place for place, event in enumerate(history) if event.kind in ("amend", "feedback")), default=-1)
    return [event.loss.total for event in history[amended + 1 :] if event.kind == "accept"]


def first_suspect_right(history: tuple[Event, ...]) -> bool | None:
    """Whether rewriting from the first suspect lowered the loss; None where nothing had to be repaired.

    A plan that goes on after it stopped to see results, and one that runs otherwise the second time, are not counted:
    there the loss shows no suspect.
    """
    suspect: tuple[str | None, str] | None = None
    first: float | None = None
    for event in history:
        if event.kind == "accept":
            if suspect is not None and first is not None:
                return event.loss.total < first
            first = event.loss.total
        elif event.kind == "gradient" and event.gradient.kind not in ("missing_submit", "not_reproducible"):
            if suspect is not None and event.gradient.key != suspect:
                return False
            suspect = event.gradient.key
        elif event.kind == "reject" and event.loss is not None and suspect is not None:
            return False  # one without a loss changed nothing, and so tested nothing
    return None if suspect is None else False
