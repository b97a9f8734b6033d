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

APPROVAL_REASON = "waits for a person's approval"
"""How the reason ends why a call that was tried may not be made real yet."""

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
    approval: bool = False
    """Whether it waits for a person's approval, beside whatever else."""


class Verdict(Frozen):
    """Whether a trajectory may be called a success, how that was established, and if it may not, why."""

    status: Status
    reasons: tuple[str, ...] = ()
    """What stands against success, or against knowing it before commit; one sentence each."""
    established: tuple[Established, ...] = ()
    """Every hard requirement, every changing call and every claim of the answer, and how each stands."""
    pending: tuple[PendingCall, ...] = ()
    """The calls that wait for commit, in order."""
    approved: tuple[str, ...] = ()
    """Ids of the steps whose pending calls a person has approved."""
    departed: str | None = None
    """Id of the step at which a second run from the start went another way, if it did."""

    @property
    def verified(self) -> bool:
        """Whether it may be committed as it is: `checked` or `judged`."""
        return self.status in ("checked", "judged")

    def with_approval(self, steps: tuple[str, ...]) -> Verdict:
        """The verdict after a person has approved the pending calls of these steps.

        Where nothing but approvals was waited for, all is established now. What verification forbids stays forbidden.
        """
        if not steps or self.status == "unverified":
            return self
        said = tuple(
            Established(about=f"step {step}", kind="call", by="person", evidence="a person approved it")
            for step in steps
            if step not in self.approved
        )
        approved = self.model_copy(
            update={"approved": (*self.approved, *(entry.about[5:] for entry in said)),
                    "established": (*self.established, *said)}
        )  # fmt: skip
        lacking = any(call.approval and call.step not in approved.approved for call in self.pending)
        if lacking or not all(reason.endswith(APPROVAL_REASON) for reason in self.reasons):
            return approved
        by_judge = any(entry.by == "judge" for entry in self.established)
        return approved.model_copy(update={"status": "judged" if by_judge else "checked", "reasons": ()})

    @property
    def may_be_committed(self) -> bool:
        """Whether nobody has to allow anything more: it is verified, or a person has approved all calls that wait."""
        return self.verified or (self.status == "provisional" and bool(self.pending) and not self.unapproved)

    @property
    def unapproved(self) -> tuple[str, ...]:
        """Ids of the steps that wait for commit and that no person has approved."""
        return tuple(step for step in self.withheld if step not in self.approved)

    @property
    def withheld(self) -> tuple[str, ...]:
        """Ids of the steps that wait for commit."""
        return tuple(dict.fromkeys(call.step for call in self.pending))
