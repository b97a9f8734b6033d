"""Demonstrations: verified trajectories with the values of their task taken out."""

from __future__ import annotations

import re
from typing import Any

import dspy

from pivot_dspy import bindings
from pivot_dspy.episode.result import Refined
from pivot_dspy.learning.delexicalize import Delexicalizer
from pivot_dspy.memory.records import Demonstration, task_text
from pivot_dspy.requirements import Requirement

LEAST = 2
"""Steps that a demonstration has at least, `submit` aside."""


def demonstrate(result: Refined, task: dspy.Example, environment: str) -> Demonstration | None:
    """The trajectory of a verified result as an example for other tasks; None where it teaches nothing general.

    Values of the task become slots (`Slots`). A step whose choice among many was written out says nothing of how to
    choose: where most steps are such, only those before the first of them are kept, as a partial trajectory.

    Raises:
        ValueError: the task does not say which of its fields are inputs (`with_inputs`).
    """
    if not result.verified:
        return None
    slots = Delexicalizer(task, result.execution)
    trajectory = result.trajectory
    steps = [slots.step(step, position) for position, step in enumerate(trajectory.steps)]
    acting = [step for step in steps if step["tool"] != "submit"]
    chosen = [place for place, step in enumerate(acting) if _written_choice(step)]
    partial = 2 * len(chosen) > len(acting)
    if partial:
        steps = acting[: chosen[0]]
    if len([step for step in steps if step["tool"] != "submit"]) < min(LEAST, len(acting)) or not steps:
        return None
    # The arguments of steps and requirements name the slots, so that the texts come last.
    required = [(item, _arguments(item, slots)) for item in result.requirements.items if item.test is None]
    return Demonstration(
        environment=environment,
        task=slots.text(task_text(task.inputs())),
        steps=tuple(_renamed(steps, slots)),
        requirements=tuple(_draft(item, args, slots) for item, args in required),
        partial=partial,
    )


def _written_choice(step: dict[str, Any]) -> bool:
    """Whether it takes one of several values of an earlier result without saying which."""
    return any(re.fullmatch(r"<\$[^<>]*\[\][^<>]*>", text) for text in bindings.strings(step["args"]))


def _arguments(item: Requirement, slots: Delexicalizer) -> dict[str, Any]:
    return {name: slots.value(name, value, 0) for name, value in item.args.items()}


def _draft(item: Requirement, args: dict[str, Any], slots: Delexicalizer) -> dict[str, Any]:
    """A requirement in the form in which a model writes it."""
    draft: dict[str, Any] = {"id": "R" if slots.owns(item.id) else item.id}
    if item.check is not None:
        draft |= {"check": item.check, "args": args}
    if item.text:
        draft["text"] = slots.text(item.text)
    return draft


def _renamed(steps: list[dict[str, Any]], slots: Delexicalizer) -> list[dict[str, Any]]:
    """The steps with other ids for those that hold a value of the task."""
    names = {
        step["id"]: f"s{number}"
        for number, step in enumerate(steps, start=1)
        if step["tool"] != "submit" and slots.owns(step["id"])
    }
    return [_with_ids(step, names) for step in steps] if names else steps


def _with_ids(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, str):
        return re.sub(r"(?<=\$)\w+", lambda found: names.get(found[0], found[0]), value)
    if isinstance(value, dict):
        return {
            key: names.get(item, item) if key == "id" and isinstance(item, str) else _with_ids(item, names)
            for key, item in value.items()
        }
    return [_with_ids(item, names) for item in value] if isinstance(value, list) else value
