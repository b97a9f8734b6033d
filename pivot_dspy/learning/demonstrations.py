"""Demonstrations: verified trajectories with the values of their task taken out."""

from __future__ import annotations

from typing import Any

import dspy

from pivot_dspy import bindings
from pivot_dspy.episode.result import Refined, by_own_names
from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.memory.records import Demonstration, task_text
from pivot_dspy.requirements import Requirement
from pivot_dspy.trajectory import SUBMIT

LEAST = 2
"""Steps that a demonstration has at least, `submit` aside."""


def demonstrate(result: Refined, task: dspy.Example, environment: str) -> Demonstration | None:
    """The trajectory of a verified result as an example for other tasks; None where it teaches nothing general.

    Values of the task become slots (`Delexicalizer`). A step whose choice among many was written out says nothing of
    how to choose: where most steps are such, only those before the first of them are kept, as a partial trajectory.

    Raises:
        ValueError: the task does not say which of its fields are inputs (`with_inputs`).
    """
    result = by_own_names(result)
    if not result.verified:
        return None
    slots = Delexicalizer(task, result.execution)
    acting = [step for step in result.trajectory.steps if not step.is_submit]
    choices = [position for position, step in enumerate(acting) if slots.is_choice(step, position)]
    partial = 2 * len(choices) > len(acting)
    kept = acting[: choices[0]] if partial else result.trajectory.steps
    if len(kept) < min(LEAST, len(acting)) or not kept:
        return None
    # The arguments of steps and requirements name the slots, so that the texts come last.
    steps = _with_general_ids([slots.step(step) for step in kept], slots)
    requirements = [
        (item, slots.value("", item.args)) for item in result.requirements.items if item.has_json_form
    ]
    return Demonstration(
        environment=environment,
        task=slots.text(task_text(task.inputs())),
        steps=tuple(steps),
        requirements=tuple(_draft(item, args, slots) for item, args in requirements),
        partial=partial,
    )


def _draft(item: Requirement, args: dict[str, Any], slots: Delexicalizer) -> dict[str, Any]:
    """A requirement in the form in which a model writes it."""
    draft: dict[str, Any] = {"id": "R" if slots.owns(item.id) else item.id}
    if item.check is not None:
        draft |= {"check": item.check, "args": args}
    if item.text:
        draft["text"] = slots.text(item.text)
    return draft


def _with_general_ids(steps: list[dict[str, Any]], slots: Delexicalizer) -> list[dict[str, Any]]:
    """The steps with other ids for those that hold a value of the task."""
    names = {
        step["id"]: f"s{number}"
        for number, step in enumerate(steps, start=1)
        if step["tool"] != SUBMIT and slots.owns(step["id"])
    }
    renamed = bindings.map_strings(steps, lambda text: bindings.rename(text, names))
    return [step | {"id": names.get(step["id"], step["id"])} for step in renamed]
