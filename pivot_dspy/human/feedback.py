"""What a person may answer to a review: one kind of record for each thing that may be done.

>>> HumanFeedback.of([Edit(step="b", args={"room": "Blue"}), Pin(steps=("a",))]).to_json()
'{"actions":[{"kind":"edit","step":"b","args":{"room":"Blue"},"dropped":[]},{"kind":"pin","steps":["a"]}]}'
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny

from pivot_dspy.errors import ConfigurationError
from pivot_dspy.plain_json import JsonObject, Text
from pivot_dspy.requirements import Requirement
from pivot_dspy.trajectory import Frozen


class Approve(Frozen):
    """It may be made real, with the calls of `steps` that wait for commit or for an approval; without any, with all.

    It is no authorisation: what verification forbids stays forbidden.
    """

    kind: Literal["approve"] = "approve"
    steps: tuple[str, ...] = ()


class Edit(Frozen):
    """A step as the person wants it. The step is pinned: no model changes it afterwards."""

    kind: Literal["edit"] = "edit"
    step: str
    tool: Text | None = None
    """Another tool; its arguments are then those in `args` alone."""
    args: JsonObject = Field(default_factory=dict)
    """Arguments that change; one that is not named keeps its value."""
    dropped: tuple[str, ...] = ()
    """Arguments that are left out from now on."""


class Reject(Frozen):
    """It may not be made real as it is; the model reads why. With a `step`, it is written again from there."""

    kind: Literal["reject"] = "reject"
    message: Text
    step: str | None = None


class Respond(Frozen):
    """A result in the place of a call, which is then made neither in a trial nor at commit. The step is pinned."""

    kind: Literal["respond"] = "respond"
    step: str
    value: Any = None


class Comment(Frozen):
    """What to change, in the person's words: a textual gradient. With a `step`, from there on."""

    kind: Literal["comment"] = "comment"
    message: Text
    step: str | None = None


class Pin(Frozen):
    """Steps that no model changes from now on."""

    kind: Literal["pin"] = "pin"
    steps: tuple[str, ...] = Field(min_length=1)


class Require(Frozen):
    """A requirement, in words or executable, that no model alters."""

    kind: Literal["require"] = "require"
    requirement: SerializeAsAny[Requirement] | JsonObject | Text


class Stop(Frozen):
    """End the search with the best so far."""

    kind: Literal["stop"] = "stop"
    message: Text = ""


ACTIONS = (Approve, Edit, Reject, Respond, Comment, Pin, Require, Stop)
"""The kinds of action."""
Action = Annotated[Approve | Edit | Reject | Respond | Comment | Pin | Require | Stop, Field(discriminator="kind")]


class HumanFeedback(Frozen):
    """A person's answer to a review: what to do, in order."""

    review: str | None = None
    """Id of the review that it answers; None where that goes without saying."""
    actions: tuple[Action, ...] = ()

    @classmethod
    def of(cls, answer: Any) -> HumanFeedback:
        """What a reviewer returned, which may be one action, several, JSON data of a feedback, or None for nothing.

        Raises:
            ConfigurationError: it is none of these; the message says what is wrong with it.
        """
        if isinstance(answer, HumanFeedback):
            return answer
        if answer is None:
            return cls()
        try:
            if isinstance(answer, (str, bytes)):
                return cls.model_validate_json(answer)
            if isinstance(answer, Mapping) and "kind" not in answer:
                return cls.model_validate(answer)
            several = answer if isinstance(answer, (list, tuple)) else (answer,)
            return cls(actions=tuple(several))
        except ValueError as error:
            kinds = ", ".join(kind.__name__ for kind in ACTIONS)
            raise ConfigurationError(
                f"this is no feedback to a review: {_brief(error)}; a reviewer returns a HumanFeedback, one or several "
                f"of {kinds}, or None for nothing to say"
            ) from error

    def to_json(self) -> str:
        return self.model_dump_json(exclude_none=True)

    def __bool__(self) -> bool:
        return bool(self.actions)


def _brief(error: ValueError) -> str:
    return "; ".join(" ".join(line.split()) for line in str(error).splitlines()[:4])
