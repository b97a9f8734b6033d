"""Learn: what repairs of one task teach for others, and what failures that met every requirement have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dspy

from pivot_dspy.flow import Flow
from pivot_dspy.phases.base import Phase, ask


class LearnFromRepairs(dspy.Signature):  # type: ignore[misc]
    """A planned trajectory of tool calls failed; rewrites of it went better. What should one know who plans another \
task with these tools?

    `repairs` shows what was said of each failure, the steps that were changed with what came of them, and the steps in
    their place. `lessons` has one entry for each thing worth knowing, at most three; none if all of it belongs to this
    task alone: {"trigger": "...", "mistake": "...", "avoid": "...", "tools": [NAME, ...]}. Its parts read as "When
    TRIGGER: MISTAKE; instead AVOID." Name the tool, and the argument or field, that it is about; write no id, name or
    value of this task.
    """

    repairs: str = dspy.InputField()
    lessons: list[Any] = dspy.OutputField()


class FindRequirements(dspy.Signature):  # type: ignore[misc]
    """Trajectories for several tasks met every requirement that was written down, and yet their outcome was not the \
expected one: something is required that neither the requests nor the policy say. Find it.

    `cases` shows of each task the request, what was known before planning, the requirements, and how the outcome
    differed from the expected one. Look for what holds of the expected outcome in most of the cases and not of the
    actual one; what differs from case to case without a pattern teaches nothing.

    `proposals` has one entry for each requirement that was missing, the likeliest first, at most three, each by itself;
    empty if nothing is common to the cases. Where a check can say it: {"check": NAME, "args": {...}, "reason":
    "..."}; otherwise in words: {"text": "...", "reason": "..."}. It has to hold for any task here: write no id, name or
    number of one. Where a value differs from task to task and the check has no words of its own for it, write
    "<...>" with a JMESPath expression over what was known, such as "<account.currency>".
    """

    checks: str = dspy.InputField(desc="what requirements can be checked by")
    policy: str = dspy.InputField(desc="what always holds here; already told")
    cases: str = dspy.InputField()
    proposals: list[Any] = dspy.OutputField()


class Learn(Phase):
    """Asks what repairs teach that a model had blamed; Reflexion's verbal lesson (arXiv 2303.11366), for other tasks.

    Called with `inputs` of the task and `repairs`, a text for each; returns a Prediction with `lessons`, a list of
    mappings.
    """

    asks = LearnFromRepairs

    def run(self, *, inputs: Mapping[str, Any], repairs: Sequence[str]) -> Flow[dspy.Prediction]:
        listing = "\n\n".join(f"Repair {number}:\n{text}" for number, text in enumerate(repairs, start=1))
        prediction = yield from ask(self.predict, repairs=listing, **inputs)
        return dspy.Prediction(lessons=_drafts(prediction.lessons))


class Find(Phase):
    """Asks for requirements that were missing. Called with `checks`, `policy` and `cases`, a text for each failure;
    returns a Prediction with `proposals`, a list of mappings.
    """

    asks = FindRequirements

    def run(self, *, checks: str, policy: str, cases: Sequence[str]) -> Flow[dspy.Prediction]:
        listing = "\n\n".join(f"Case {number}:\n{text}" for number, text in enumerate(cases, start=1))
        prediction = yield from ask(self.predict, checks=checks, policy=policy, cases=listing)
        return dspy.Prediction(proposals=_drafts(prediction.proposals))


def _drafts(written: Any) -> list[Mapping[str, Any]]:
    """The entries of an answer that can be read."""
    return [one for one in written if isinstance(one, Mapping)] if isinstance(written, list) else []
