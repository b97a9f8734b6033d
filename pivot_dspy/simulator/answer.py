"""Writes an answer in the format that the prompt's adapter reads, and something plausible where nothing is known."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from pivot_dspy.simulator.prompt import Field, Prompt, same
from pivot_dspy.simulator.reference import Reference
from pivot_dspy.simulator.slips import Dice

RIGHT, WRONG = (0.6, 1.0), (0.3, 0.9)
"""Between what the confidence lies in a step that is as the reference has it, and in any other; drawn evenly."""


def confide(values: dict[str, Any], prompt: Prompt, reference: Reference | None, dice: Dice) -> dict[str, Any]:
    """`values` with a confidence in each step that they write out."""
    steps = values.get("steps")
    if '"confidence"' not in prompt.instructions or not isinstance(steps, list):
        return values
    known = [*reference.steps, *reference.revised(prompt.sections)] if reference else []
    return {**values, "steps": [_rated(step, place, known, dice) for place, step in enumerate(steps)]}


def _rated(step: Any, place: int, known: list[dict[str, Any]], dice: Dice) -> Any:
    if not isinstance(step, Mapping) or "tool" not in step:
        return step
    right = any(step.get("id") == other["id"] and same(step, other) for other in known)
    low, high = RIGHT if right else WRONG
    return {**step, "confidence": round(low + (high - low) * dice.fraction("confidence", place), 2)}


_WORDS = "Checked against what is given."
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_SCHEMA = "must adhere to the JSON schema: "
_OPTIONS = re.compile(r"one of: (.*)$", re.DOTALL)


def write(prompt: Prompt, values: Mapping[str, Any]) -> str:
    """The answer with every field asked for; those not in `values` are filled in."""
    if prompt.adapter == "plain":
        return _plain(prompt)
    fields = {field.name: values[field.name] if field.name in values else fill(field, prompt)
              for field in prompt.outputs}  # fmt: skip
    if prompt.adapter == "json":
        return json.dumps(fields, ensure_ascii=False)
    if prompt.adapter == "xml":
        # DSPy also reads JSON inside a field's tag, where its nested form would turn numbers and lists into text.
        return "\n\n".join(f"<{name}>\n{escape(_shown(value))}\n</{name}>" for name, value in fields.items())
    parts = [f"[[ ## {name} ## ]]\n{_shown(value)}" for name, value in fields.items()]
    return "\n\n".join([*parts, "[[ ## completed ## ]]"])


def fill(field: Field, prompt: Prompt) -> Any:
    """A short value of the kind that `field` asks for."""
    if field.note.startswith(_SCHEMA):
        schema = json.loads(field.note[len(_SCHEMA) :])
        return _least(schema, schema.get("$defs", {}))
    options = _OPTIONS.search(field.note)
    if options:
        choices = options[1].split("; ")
        return "finish" if "finish" in choices else choices[0]  # the way out of an agent's loop
    plain = {"int": 0, "float": 0.0, "bool": False}
    if field.kind in plain:
        return plain[field.kind]
    if field.kind.startswith(("list", "dict")):
        return [] if field.kind.startswith("list") else {}
    if field.note.startswith("<"):
        return _of_tags(ElementTree.fromstring(field.note))
    if "instruction" in field.name:
        shown = [text for name, text in prompt.sections.items() if "instruction" in name and text]
        return f"{shown[0]}\n{_WORDS}" if shown else _WORDS
    return _WORDS


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _plain(prompt: Prompt) -> str:
    """To a prompt without fields: its first fenced text again, with a remark; so GEPA's reflection is answered."""
    fenced = _FENCED.search(prompt.question)
    return f"```\n{fenced[1].strip()}\n{_WORDS}\n```" if fenced else _WORDS


def _least(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """The smallest value that fits a JSON schema of the kind that pydantic writes."""
    if "$ref" in schema:
        return _least(definitions.get(schema["$ref"].rsplit("/", 1)[-1], {}), definitions)
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    if schema.get("enum"):
        return schema["enum"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _least(schema[key][0], definitions)
    kind = schema.get("type", "string")
    if kind == "object":
        properties = schema.get("properties", {})
        return {name: _least(properties.get(name, {}), definitions) for name in schema.get("required", ())}
    if kind == "array":
        return [_least(schema.get("items", {}), definitions)] * int(schema.get("minItems", 0))
    if kind in ("integer", "number"):
        return schema.get("minimum", schema.get("exclusiveMinimum", -1) + 1)
    return {"boolean": False, "null": None}.get(kind, "none")


def _of_tags(element: ElementTree.Element) -> Any:
    """A value of the form that nested tags show; `1` reads as text, as a number and as a truth value alike."""
    if not list(element):
        return "1"
    if [child.tag for child in element] == ["item"]:
        return []
    return {child.tag: _of_tags(child) for child in element}
