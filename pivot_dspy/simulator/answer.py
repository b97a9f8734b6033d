"""What the offline model answers: by the phase that a prompt belongs to, in the format that its adapter reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from pivot_dspy.simulator import act, evolve, feedback, learn, plan, programs, react
from pivot_dspy.simulator.prompt import OF_THE_REFINER, Field, Prompt, normal_form, same
from pivot_dspy.simulator.reference import UNKNOWN_TASK, Reference, Turn, find
from pivot_dspy.simulator.slips import Dice, Rates, WrittenStep

_PHASES: Sequence[tuple[frozenset[str], Callable[[Turn], dict[str, Any]]]] = [
    (frozenset(fields.split()), answer)
    for fields, answer in (
        ("diagnosis steps", evolve.rewrite),
        ("requirements steps", plan.plan),
        ("summary steps", evolve.recombine),
        ("steps", evolve.rewrite),
        ("diagnosis step correction", evolve.localise),
        ("thought step", act.act),
        ("faults", feedback.critique),
        ("reflection", feedback.reflect),
        ("discussion advice", feedback.advise),
        ("next_thought next_tool_name", react.act),
        ("thought program", programs.program),
        ("verdicts", feedback.judge),
        ("lessons", learn.lessons),
        ("proposals", learn.proposals),
        ("changes", plan.audit),
        ("requirements", plan.requirements),
    )
]
"""A phase is known by the fields that its prompt asks for; the first that fits answers."""

RIGHT, WRONG = (0.6, 1.0), (0.3, 0.9)
"""Between what the confidence lies in a step that is as the reference has it, and in any other; drawn evenly."""


def respond(prompt: Prompt, references: Sequence[Reference], rates: Rates, sample: str | None) -> str:
    """The answer to `prompt`, the same for the same prompt, rates and sample."""
    inputs = [text for name, text in prompt.sections.items() if name not in OF_THE_REFINER]
    match = find(references, ("\n".join([*inputs, feedback.task_in(prompt)]), prompt.question))
    reference = match.as_told(prompt.sections) if match else UNKNOWN_TASK
    # The rates are thresholds and no part of the key: a model that errs more errs wherever a better one does.
    turn = Turn(prompt, reference, rates, Dice(str(rates.seed), normal_form(prompt.text), str(sample)))
    return write(prompt, _confident(_values(turn, references), turn))


def _values(turn: Turn, references: Sequence[Reference]) -> dict[str, Any]:
    """What the fields that are asked for say, as far as the phase is known."""
    asks = turn.prompt.asks
    if "goals" in asks:
        return learn.goals(turn, references)
    if "reasoning" in asks and "trajectory" in turn.prompt.sections:
        return react.extract(turn)
    return next((answer for fields, answer in _PHASES if fields <= asks), feedback.compose)(turn)


def _confident(values: dict[str, Any], turn: Turn) -> dict[str, Any]:
    """`values` with a confidence in each step that they write out, where the prompt asks for it."""
    if '"confidence"' not in turn.prompt.instructions or not isinstance(values.get("steps"), list):
        return values
    known = [*turn.reference.steps, *turn.reference.revised(turn.prompt.sections)] if turn.knows_task else []
    steps = []
    for position, step in enumerate(values["steps"]):
        share = turn.dice.fraction("confidence", position)
        steps.append({**step, "confidence": _confidence(step, known, share)} if "tool" in step else step)
    return {**values, "steps": steps}


def _confidence(step: WrittenStep, known: Sequence[WrittenStep], share: float) -> float:
    low, high = RIGHT if any(step["id"] == right["id"] and same(step, right) for right in known) else WRONG
    return round(low + (high - low) * share, 2)


# ----------------------------------------------------------------------------------------------------------- writing

_WORDS = "Checked against what is given."
_FENCED = re.compile(r"```\w*\n(.*?)```", re.DOTALL)
_SCHEMA = "must adhere to the JSON schema: "
_LEAST: Mapping[str, Any] = {"int": 0, "integer": 0, "float": 0.0, "number": 0, "bool": False, "boolean": False,
                             "list": [], "array": [], "dict": {}, "null": None}  # fmt: skip
"""The least value of each type, by its names in Python and in JSON schemas."""


def write(prompt: Prompt, values: Mapping[str, Any]) -> str:
    """The answer with every field asked for; those not in `values` are filled in."""
    if prompt.adapter == "plain":  # its first fenced text again, with a remark; so GEPA's reflection is answered
        fenced = _FENCED.search(prompt.question)
        return f"```\n{fenced[1].strip()}\n{_WORDS}\n```" if fenced else _WORDS
    fields = {
        field.name: values[field.name] if field.name in values else _filled(field, prompt) for field in prompt.outputs
    }
    if prompt.adapter == "json":
        return json.dumps(fields, ensure_ascii=False)
    texts = {name: v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for name, v in fields.items()}
    if prompt.adapter == "xml":
        # DSPy also reads JSON inside a field's tag, where its nested form would turn numbers and lists into text.
        return "\n\n".join(f"<{name}>\n{escape(text)}\n</{name}>" for name, text in texts.items())
    return "\n\n".join([*(f"[[ ## {name} ## ]]\n{text}" for name, text in texts.items()), "[[ ## completed ## ]]"])


def _filled(field: Field, prompt: Prompt) -> Any:
    """A short value of the kind that `field` asks for."""
    if field.note.startswith(_SCHEMA):
        schema = json.loads(field.note.removeprefix(_SCHEMA))
        return _least(schema, schema.get("$defs", {}))
    if field.choices:
        return field.choices[0]
    kind = field.kind.partition("[")[0]
    if kind in _LEAST:
        return _LEAST[kind]
    if field.note.startswith("<"):
        return _of_tags(ElementTree.fromstring(field.note))
    if "instruction" in field.name:
        shown = [text for name, text in prompt.sections.items() if "instruction" in name and text]
        return "\n".join([*shown[:1], _WORDS])
    return _WORDS


def _least(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> Any:
    """The smallest value that fits a JSON schema of the kind that pydantic writes."""
    for key in ("default", "const"):
        if key in schema:
            return schema[key]
    if "$ref" in schema:
        return _least(definitions.get(schema["$ref"].rsplit("/", 1)[-1], {}), definitions)
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _least(schema["anyOf"][0], definitions)
    if schema.get("type") == "object":
        properties = schema.get("properties", {})
        return {name: _least(properties.get(name, {}), definitions) for name in schema.get("required", ())}
    return _LEAST.get(schema.get("type", "string"), "none")


def _of_tags(element: ElementTree.Element) -> Any:
    """A value of the form that nested tags show; `1` reads as text, as a number and as a truth value alike."""
    if not list(element):
        return "1"
    if [child.tag for child in element] == ["item"]:
        return []
    return {child.tag: _of_tags(child) for child in element}
