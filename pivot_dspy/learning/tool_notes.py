"""Notes about tools: what an error turned out to mean, told by what mended it."""

from __future__ import annotations

import dspy

from pivot_dspy.episode.result import Refined
from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.learning.repairs import Repair, repairs
from pivot_dspy.memory.records import ToolNote
from pivot_dspy.prompts.truncation import truncate
from pivot_dspy.trajectory import Fault, Observation, Step

TOLD = frozenset(("tool_error", "bad_arguments", "timeout", "unserialisable"))
"""Kinds of faults that the tool itself tells of; what else fails is the plan's own and makes a lesson."""
ERROR_CAP = 200


def tool_notes(result: Refined, environment: str, task: dspy.Example | None = None) -> tuple[ToolNote, ...]:
    """For each error of a tool that an accepted rewrite mended: the error without values, and what mended it.

    Args:
        task: whose values are to be kept out, beside those that were seen in the run.
    """
    found: list[ToolNote] = []
    for repair in repairs(result.history):
        for step, seen in zip(repair.before.trajectory.steps, repair.before.observations, strict=True):
            if seen.fault is None or seen.fault.kind not in TOLD:
                continue
            now = repair.after.by_step.get(step.id)
            meaning = _meaning(repair, step) if now is not None and now.ok and now.fault is None else None
            if meaning is not None:
                slots = Delexicalizer(task or dspy.Example().with_inputs(), repair.after)
                error = _error(step, seen, seen.fault, slots)
                found.append(ToolNote(environment=environment, tool=step.tool, error=error, meaning=meaning))
    return tuple({note.id: note for note in found}.values())


def _error(step: Step, seen: Observation, fault: Fault, slots: Delexicalizer) -> str:
    """The message with the values of the call, and all that looks like one, taken out."""
    slots.call(seen.args if seen.args is not None else step.args)
    return truncate(" ".join(slots.text(fault.message).split()), ERROR_CAP) or fault.kind


def _meaning(repair: Repair, step: Step) -> str | None:
    """What the rewrite did about the error: to the step itself, or else to what stands before it."""
    after = repair.after.trajectory
    position = after.index(step.id)
    every = [change for change in repair.changes() if change.position <= position]
    own = [change for change in every if change.position == position]
    earlier = [change for change in every if change.position < position]
    needed = [change for change in earlier if change.kind == "added"]
    for why, told in (
        ("the call was wrong", own), ("something has to come first", needed), ("a step before it was wrong", earlier)
    ):
        if told:
            return f"that {why}: {'; '.join(change.avoid for change in told[:2])}"
    return None
