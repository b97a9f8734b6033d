"""A script for the loop of `dspy.ReAct` made from a script of plans, so that one test speaks to every refiner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pivot_dspy import bindings
from pivot_dspy.phases.written_steps import read_steps
from tests.scripted import GARBAGE, Answer, Prompt, Script


def call(name: str, /, **args: Any) -> dict[str, Any]:
    """A turn as the model writes it."""
    return {"next_thought": f"I call {name}.", "next_tool_name": name, "next_tool_args": args}


def acted(scripts: Mapping[str, Script]) -> dict[str, Script]:
    """`scripts`, with the first plan's requirements settled, its steps called one by one, and its outputs extracted."""

    def settle(prompt: Prompt) -> Answer:
        plan = _first(scripts.get("plan", GARBAGE), prompt)
        return {"requirements": plan["requirements"]} if isinstance(plan, Mapping) else plan

    def react(prompt: Prompt) -> Answer:
        plan = _first(scripts.get("plan", GARBAGE), prompt)
        if not isinstance(plan, Mapping):
            return plan
        steps, results = _so_far(plan, prompt)
        number = sum(1 for name in prompt.sections if name.startswith("tool_name_"))
        if number >= len(steps) or steps[number].is_submit:
            return call("finish")
        try:
            return call(steps[number].tool, **bindings.resolve(steps[number].args, results, frozenset(results)))
        except bindings.BindingError:
            return call("finish")

    def extract(prompt: Prompt) -> Answer:
        plan = _first(scripts.get("plan", GARBAGE), prompt)
        if not isinstance(plan, Mapping):
            return plan
        steps, results = _so_far(plan, prompt)
        given = steps[-1].args if steps else {}
        try:
            return {"reasoning": "x", **bindings.resolve(given, results, frozenset(results))} if given else GARBAGE
        except bindings.BindingError:
            return GARBAGE

    return {"settle": settle, "react": react, "extract": extract, **scripts}


def coded(scripts: Mapping[str, Script]) -> dict[str, Script]:
    """As `acted`, each step of the first plan by a program that prints its result."""
    calls = acted(scripts)

    def code(prompt: Prompt) -> Answer:
        plan = _first(scripts.get("plan", GARBAGE), prompt)
        if not isinstance(plan, Mapping):
            return plan
        steps, results = _so_far(plan, prompt)
        number = sum(1 for name in prompt.sections if name.startswith("program_"))
        step = steps[number] if number < len(steps) else None
        try:
            args = bindings.resolve(step.args, results, frozenset(results)) if step else {}
        except bindings.BindingError:
            step, args = None, {}
        call = f"{step.tool if step else 'submit'}({', '.join(f'{name}={value!r}' for name, value in args.items())})"
        text = "submit()" if step is None else f"import json\nprint(json.dumps({call}))"
        return {"thought": "I go on.", "program": text}

    return {**calls, "code": code}


def _first(script: Script, prompt: Prompt) -> Answer:
    if isinstance(script, Sequence) and not isinstance(script, str):
        script = script[0] if script else GARBAGE
    return script(prompt) if callable(script) and not isinstance(script, Exception) else script


def _so_far(plan: Mapping[str, Any], prompt: Prompt) -> tuple[list[Any], dict[str, Any]]:
    steps = read_steps(plan["steps"])
    results = {}
    for number, step in enumerate(steps):
        text = prompt.section(f"observation_{number}") or prompt.section(f"output_{number}").removeprefix("| ")
        if text and not text.startswith(("Execution error", "Nothing was printed.")):
            try:
                results[step.id] = json.loads(text)
            except ValueError:
                results[step.id] = text
    return steps, results
