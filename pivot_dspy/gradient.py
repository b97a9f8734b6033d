"""The textual gradient: where the blame lies, why, and what to change."""

from __future__ import annotations

from typing import Literal

from pivot_dspy.trajectory import Frozen, Step

Author = Literal["rule", "model", "person"]

NEW_TOOL = frozenset(
    ("comment", "missing_step", "missing_submit", "unknown_tool", "wrong_tool", "unexplained", "not_reproducible")
)
"""Kinds of blame that another tool may mend than those that the plan uses."""

UNASKED = "unasked_step"
"""The kind of blame that may as well fall on the requirements: the plan does something that none of them asks for."""


COMMENT = "comment"
"""The kind of blame that a person lays in words of its own."""
PROPOSED = "proposed"
"""The kind of blame that comes with what a check proposes instead."""
UNNEEDED = "unneeded_step"
"""The kind of blame on a read that failed, and that nothing needs."""
MISREAD_REQUIREMENT = "misread_requirement"
"""The kind of blame that falls on a requirement which nothing, or too much, fits."""


class Suspect(Frozen):
    """A step that may have caused what went wrong."""

    position: int
    """Where in the trajectory to rewrite from; the number of steps means: add something at the end."""
    step: str | None
    """Id of the step there, None at the end."""
    kind: str
    """The kind of fault: that of a discrepancy, or `missing_step`, `wrong_tool`, `wrong_value`, `wrong_field`,
    `wrong_binding`, `wrong_selection`, `narrow_result`, `misread_requirement`, `unasked_step`, `proposed`,
    `unneeded_step`, `unexplained`."""
    diagnosis: str
    """What seems wrong, in a sentence."""
    correction: str = ""
    """What to change, where a rule can tell; else empty."""
    evidence: tuple[str, ...] = ()
    """Short quotes from observations, checks and requirements."""
    certain: bool = False
    """Whether the rule leaves no doubt about the place, so that no model needs to be asked for it."""
    requirements: tuple[str, ...] = ()
    """The violated requirements that this would explain."""
    mended: Step | None = None
    """The step as a rule would write it; None where no rule can tell."""

    @property
    def key(self) -> tuple[str | None, str]:
        """What refuting it refutes."""
        return (self.step, self.kind)


class Gradient(Frozen):
    """Where to change a trajectory and how: made by rule, by a model or by a person, in one type."""

    locus: int
    """Position of the first step to rewrite; what stands before it is kept."""
    step: str | None
    """Id of that step, None at the end of the trajectory."""
    kind: str
    diagnosis: str
    correction: str = ""
    evidence: tuple[str, ...] = ()
    slice: tuple[str, ...] = ()
    """Ids of the steps that what went wrong depends on, earliest first."""
    questioned: tuple[str, ...] = ()
    """Ids of the steps that something speaks against, and of a submit that is written out; empty where nothing tells
    them apart."""
    by: Author = "rule"
    patch: tuple[Step, ...] | None = None
    """All steps from the locus on as a rule mends them, so that no model has to be asked; None where none can."""

    @classmethod
    def of(cls, suspect: Suspect, slice_: tuple[str, ...] = (), questioned: tuple[str, ...] = ()) -> Gradient:
        """The gradient that a rule makes of a suspect; `slice_` holds the ids of the steps that it depends on."""
        return cls(
            locus=suspect.position,
            step=suspect.step,
            kind=suspect.kind,
            diagnosis=suspect.diagnosis,
            correction=suspect.correction,
            evidence=suspect.evidence,
            slice=slice_,
            questioned=questioned,
        )

    @property
    def key(self) -> tuple[str | None, str]:
        """What refuting it refutes: the key of the suspect that it was made from, or what its patch does for it."""
        return (self.step, self.kind if self.patch is None else f"{self.kind}, by rule")

    def to_text(self) -> str:
        """The gradient in a few lines, as a model or a person reads it."""
        where = f"step {self.step}" if self.step else "the end of the trajectory"
        lines = [f"Blame: {where} ({self.kind}). {self.diagnosis}"]
        if self.correction:
            lines.append(f"Change: {self.correction}")
        lines += [f"Evidence: {item}" for item in self.evidence]
        return "\n".join(" ".join(line.split()) for line in lines)  # what a tool says in it begins no line
