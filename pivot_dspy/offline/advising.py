"""Advises the planner of `dspy.Refine` from what its `OfferFeedback` prompt shows of an attempt."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pivot_dspy.offline import criticism
from pivot_dspy.offline.noise import Dice, Rates
from pivot_dspy.offline.prompt import Prompt
from pivot_dspy.offline.reference import Reference

_NOT_TO_BLAME = "N/A"


def advise(prompt: Prompt, reference: Reference | None, rates: Rates, dice: Dice) -> dict[str, Any]:
    """What a reflection on the run would say, as advice to every module that is named."""
    found = criticism.reflect(prompt._replace(sections=_as_report(prompt)), reference, rates, dice)
    text = found["reflection"] if found["reflection"] != criticism.NOTHING else _NOT_TO_BLAME
    names = _json(prompt.section("module_names"))
    return {
        "discussion": "The plan is to blame." if text != _NOT_TO_BLAME else criticism.NOTHING,
        "advice": {str(name): text for name in names} if isinstance(names, list) else {},
    }


def task_in(prompt: Prompt) -> str:
    """The inputs of the program that an `OfferFeedback` prompt is about, as they were before they became JSON."""
    inputs = _json(prompt.section("program_inputs"))
    return "\n".join(map(str, inputs.values())) if isinstance(inputs, Mapping) else ""


def _as_report(prompt: Prompt) -> dict[str, str]:
    """The attempt in the sections that a reflection is shown: steps with what came of each, and the report."""
    outputs = _json(prompt.section("program_outputs"))
    outputs = outputs if isinstance(outputs, Mapping) else {}
    said: dict[str, str] = {}
    for line in _lines(outputs, "outcomes"):
        name, _, rest = line.partition(" ")
        said[name] = rest.partition(" -> ")[2]
    shown = [(json.dumps(step, ensure_ascii=False), said.get(str(step.get("id")), "")) for step in _steps(prompt)]
    lines = [f"{written} -> {outcome}" for written, outcome in shown]
    return {"open_steps": "\n".join(lines), "report": "\n".join(_lines(outputs, "report"))}


def _steps(prompt: Prompt) -> list[Mapping[str, Any]]:
    """The steps that the attempt planned, or was given."""
    calls = _json(prompt.section("program_trajectory"))
    last = calls[-1] if isinstance(calls, list) and calls else {"outputs": _json(prompt.section("program_outputs"))}
    outputs = last.get("outputs") if isinstance(last, Mapping) else None
    steps = outputs.get("steps") if isinstance(outputs, Mapping) else None
    return [step for step in steps if isinstance(step, Mapping)] if isinstance(steps, list) else []


def _lines(outputs: Mapping[str, Any], name: str) -> list[str]:
    found = outputs.get(name)
    return [str(line) for line in found] if isinstance(found, list) else []


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
