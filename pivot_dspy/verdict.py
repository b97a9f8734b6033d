"""The verdict on a trajectory: what was established, by whom, and what waits for commit.

>>> verdict = Verdict(status="judged", established=(Established(about="R1", kind="requirement", by="judge"),))
>>> verdict.verified, verdict.withheld
(True, ())
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from pivot_dspy.trajectory import Frozen

Status = Literal["checked", "judged", "provisional", "unverified"]
"""`checked`: everything is established by execution or rule. `judged`: some of it by a model's word, with a quote that
a rule found. `provisional`: it holds as far as it could run. `unverified`: neither, for the reasons that are given."""

Subject = Literal["requirement", "call", "claim"]
Establisher = Literal["check", "rule", "judge", "person", "nobody"]


class Established(Frozen):
    """How one thing was established that a success needs."""

    about: str
    """The id of a requirement, `step` and the id of a changing call, or words of the answer."""
    kind: Subject
    by: Establisher
    """`check`: execution, by a check or test; `rule`: a look-up; `judge`: a model's word, with a quote; `nobody`: it
    was not established."""
    evidence: str = ""
    """What shows it: what a check found, a quote, or why nobody could tell."""


class PendingCall(Frozen):
    """A call that waits for commit."""

    step: str
    """Id of the step that makes it."""
    tool: str
    args: dict[str, Any] = Field(default_factory=dict)
    """As far as they are known before commit; a binding to what another such call gives stands as it was written."""


class Verdict(Frozen):
    """Whether a trajectory may be called a success, how that was established, and if it may not, why."""

    status: Status
    reasons: tuple[str, ...] = ()
    """What stands against success, or against knowing it before commit; one sentence each."""
    established: tuple[Established, ...] = ()
    """Every hard requirement, every changing call and every claim of the answer, and how each stands."""
    pending: tuple[PendingCall, ...] = ()
    """The calls that wait for commit, in order."""
    departed: str | None = None
    """Id of the step at which a second run from the start went another way, if it did."""

    @property
    def verified(self) -> bool:
        """Whether it may be committed as it is: `checked` or `judged`."""
        return self.status in ("checked", "judged")

    @property
    def withheld(self) -> tuple[str, ...]:
        """Ids of the steps that wait for commit."""
        return tuple(dict.fromkeys(call.step for call in self.pending))
