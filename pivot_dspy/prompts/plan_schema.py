"""The JSON schema of what a phase answers, made from the tools, so that a server lets its model write nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError

from pivot_dspy.environment.schemas import target
from pivot_dspy.environment.toolbox import Toolbox, ToolSpec
from pivot_dspy.trajectory import SUBMIT

Schema = dict[str, Any]

MOST_ENTRIES = 12
"""Steps, requirements or elements in one list: a small model that is lost writes what never ends."""
LONGEST_TEXT, LONGEST_NOTE, LONGEST_BINDING = 600, 120, 120
"""Characters of an argument or output, of the model's own words about a plan, and of an expression."""
DEEPEST = 4
"""Levels of an argument that are told; what is nested deeper may be anything."""
_FORMATS = ("date", "time", "date-time", "uuid")
"""Of texts, those that every server knows."""
_NAMED = r"^[a-zA-Z][a-zA-Z0-9_]{0,11}$"
# `$id...` or a function over it. No quotes and no backslashes, which llama.cpp would copy into the JSON as they are.
_BOUND = rf'^(\$|[a-z_]+\()[^"\\]{{1,{LONGEST_BINDING}}}$'


@dataclass(frozen=True)
class PlanSchema:
    """Makes the schema of an answer, of one toolbox and the output fields of one task.

    A schema is `strict` for the services that take a subset: every property is required, what may be left out is null,
    and lengths are not bounded. Otherwise it is for servers that turn it into a grammar, of any JSON schema nearly.
    """

    toolbox: Toolbox
    outputs: Mapping[str, Any]
    """What the task's signature puts out: the annotation of each field."""

    def of(
        self, own: Mapping[str, Any], answered: Mapping[str, Any], told: str, *, strict: bool = False
    ) -> AnswerSchema:
        """The schema of an answer.

        Args:
            own: the fields that a phase asks for itself: `steps`, `step` and `requirements` among them are a plan's.
            answered: all fields of the answer, in their order, with their annotations.
            told: the instructions, which say what a step may have: the schema allows what they tell of.
        """
        writer = _Writer(self.toolbox, self.outputs, told, strict)
        fields = {
            name: writer.own(name, given.annotation) if name in own else writer.typed(given.annotation)
            for name, given in answered.items()
        }
        schema = writer.object(fields)
        shared = {"$defs": writer.shared} if writer.shared else {}
        return AnswerSchema({**schema, **shared}, is_closed=not writer.is_open)


@dataclass(frozen=True)
class AnswerSchema:
    """The schema of an answer."""

    schema: Schema
    is_closed: bool
    """Whether it says of every value what it is, as strict services ask for."""


PLANNED = ("steps", "step", "requirements")
"""Fields whose form the instructions tell and no annotation does."""


@dataclass
class _Writer:
    toolbox: Toolbox
    outputs: Mapping[str, Any]
    told: str
    strict: bool
    shared: dict[str, Schema] = field(default_factory=dict)
    is_open: bool = False

    # ---------------------------------------------------------------------------------------------- steps, requirements

    def own(self, name: str, annotation: Any) -> Schema:
        """A field that a phase asks for."""
        if name not in PLANNED:
            return self.typed(annotation)
        if name == "requirements":
            changes = '"keep"' in self.told  # a rewrite says what changes of them
            return self.list_of(self._any_of(self._changes() if changes else self._requirements()))
        steps = [self._step(spec) for spec in self.toolbox.tools.values() if spec.listed]
        steps.append(self._submit())
        if name == "step":
            return self._any_of(steps)
        if '"look"' in self.told:
            steps.append(self.object({"look": self._binding()}))
        if '"keep"' in self.told:
            steps.append(self.object({"keep": self.list_of(self._name())}))
        return self.list_of(self._any_of(steps))

    def _step(self, spec: ToolSpec) -> Schema:
        told = {"for_each": self._binding()}
        if '"expects"' in self.told:
            told["expects"] = self._note()
        if '"confidence"' in self.told:
            told["confidence"] = {"type": "number"}
        step = self.object(
            {"id": self._name(), "tool": {"type": "string", "enum": [spec.name]}, "args": self._arguments(spec)}, told
        )
        return self._shared(f"step_{spec.name}", step)

    def _submit(self) -> Schema:
        fields = {name: self.typed(annotation, bound=True) for name, annotation in self.outputs.items()}
        named: Schema = {"type": "string", "enum": [SUBMIT]}
        step = self.object({"id": named, "tool": named, "args": self.object({}, fields)})
        return self._shared(f"step_{SUBMIT}", step)

    def _arguments(self, spec: ToolSpec, *, bound: bool = True) -> Schema:
        values = {name: self._value(schema, schema, bound=bound) for name, schema in spec.parameters.items()}
        required = {name: values[name] for name in spec.required if name in values}
        return self.object(required, {name: value for name, value in values.items() if name not in required})

    def _requirements(self) -> list[Schema]:
        text = self.object(
            {"id": self._name(), "text": self._note()}, {"call": self._call(), "delegates": self._binding()}
        )
        return [text, *self._checked({})]

    def _changes(self) -> list[Schema]:
        quoted = {"from": self._note(), "quote": self._note()}
        optional = {"text": self._note(), "call": self._call(), "void": self._note(), "under": self._name()}
        return [self.object({"id": self._name(), **quoted}, optional), *self._checked({"quote": self._note()})]

    def _checked(self, more: Mapping[str, Schema]) -> list[Schema]:
        specs = [spec for spec in self.toolbox.checks.values() if spec.listed]
        return [
            self._shared(
                f"requirement_{spec.name}",
                self.object(
                    {
                        "id": self._name(), "check": {"type": "string", "enum": [spec.name]},
                        "args": self._arguments(spec, bound=False), **more,
                    }  # fmt: skip
                ),
            )
            for spec in specs
        ]

    def _call(self) -> Schema:
        """A change that the request asks for: the arguments that it fixes, "?" for one that has to be read first."""
        unread: Schema = {"type": "string", "enum": ["?"]}
        calls = []
        for spec in self.toolbox.tools.values():
            if spec.listed and spec.effect != "read":
                values = {name: self._value(schema, schema, bound=False) for name, schema in spec.parameters.items()}
                fixed = {
                    name: value if value == self._text() else self._any_of([value, unread])
                    for name, value in values.items()
                }
                calls.append(
                    self.object({"tool": {"type": "string", "enum": [spec.name]}, "args": self.object({}, fixed)})
                )
        return self._shared("call", self._any_of(calls)) if calls else {"type": "null"}

    # ----------------------------------------------------------------------------------------------------------- values

    def typed(self, annotation: Any, *, bound: bool = False) -> Schema:
        """What an annotation says; anything, where it says nothing to JSON."""
        try:
            schema = TypeAdapter(annotation).json_schema()
        except PydanticUserError:
            schema = {}
        return self._value(schema, schema, bound=bound)

    def _value(self, schema: Any, whole: Any, *, bound: bool, depth: int = 0, inside: tuple[str, ...] = ()) -> Schema:
        """A value of `schema`, or of the expression that gives it, where it may be `bound`."""
        if not isinstance(schema, Mapping) or depth > DEEPEST:
            return self._anything()
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in inside:
                return self._anything()
            found = target(reference, whole)
            return self._value(found, whole, bound=bound, depth=depth, inside=(*inside, reference))
        branches = schema.get("anyOf") or schema.get("oneOf")
        kinds = schema.get("type")
        if not branches and isinstance(kinds, list):
            branches = [{**schema, "type": kind} for kind in kinds]
        if branches:
            return self._any_of(
                [self._value(branch, whole, bound=bound, depth=depth, inside=inside) for branch in branches]
            )
        own = self._plain(schema, kinds, whole, bound=bound, depth=depth, inside=inside)
        if not bound or kinds == "null" or own == self._text() or not own:
            return own
        return self._any_of([own, self._binding(), *([self._calculated()] if kinds in ("number", "integer") else [])])

    def _plain(
        self, schema: Mapping[str, Any], kind: Any, whole: Any, *, bound: bool, depth: int, inside: tuple[str, ...]
    ) -> Schema:
        if "const" in schema or "enum" in schema:
            values = [schema["const"]] if "const" in schema else list(schema["enum"])
            types = {"string": str, "boolean": bool, "integer": int, "number": float}
            named = kind or next((name for name, type_ in types.items() if isinstance(values[0], type_)), None)
            return {"type": named, "enum": values} if isinstance(named, str) else {"enum": values}
        if kind == "string":
            known = schema.get("format") in _FORMATS
            return {"type": "string", "format": schema["format"]} if known else self._text()
        if kind in ("integer", "number", "boolean", "null"):
            return {"type": kind}
        if kind == "array":
            items = schema.get("items", {})
            return self.list_of(self._value(items, whole, bound=bound, depth=depth + 1, inside=inside))
        if kind == "object" and schema.get("properties"):
            parts = {
                name: self._value(inner, whole, bound=bound, depth=depth + 1, inside=inside)
                for name, inner in schema["properties"].items()
            }
            required = {name: parts[name] for name in schema.get("required", ()) if name in parts}
            return self.object(required, {name: part for name, part in parts.items() if name not in required})
        self.is_open = True
        return {"type": "object"} if kind == "object" else {}

    def _anything(self) -> Schema:
        self.is_open = True
        return {}

    # ------------------------------------------------------------------------------------------------------------ forms

    def object(self, required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None) -> Schema:
        """An object with these properties and no others."""
        optional = optional or {}
        if self.strict:
            nullable = {name: self._any_of([value, {"type": "null"}]) for name, value in optional.items()}
            required, optional = {**required, **nullable}, {}
        return {
            "type": "object",
            "properties": {**required, **optional},
            "required": [*required],
            "additionalProperties": False,
        }

    def list_of(self, items: Schema) -> Schema:
        """A list that ends."""
        bounds = {} if self.strict else {"maxItems": MOST_ENTRIES}
        return {"type": "array", "items": items, **bounds}

    def _any_of(self, alternatives: Sequence[Schema]) -> Schema:
        flat = [
            inner for schema in alternatives for inner in (schema["anyOf"] if [*schema] == ["anyOf"] else [schema])
        ]
        if any(not inner for inner in flat):
            return {}
        different = [inner for place, inner in enumerate(flat) if inner not in flat[:place]]
        return different[0] if len(different) == 1 else {"anyOf": different}

    def _shared(self, name: str, schema: Schema) -> Schema:
        self.shared[name] = schema
        return {"$ref": f"#/$defs/{name}"}

    def _name(self) -> Schema:
        return {"type": "string"} if self.strict else {"type": "string", "pattern": _NAMED}

    def _text(self, longest: int = LONGEST_TEXT) -> Schema:
        return {"type": "string"} if self.strict else {"type": "string", "maxLength": longest}

    def _note(self) -> Schema:
        """The model's own words about a plan."""
        return self._text(LONGEST_NOTE)

    def _calculated(self) -> Schema:
        return self._shared("calculated", self.object({"calc": self._note()}))

    def _binding(self) -> Schema:
        if self.strict:
            return {"type": "string"}
        return self._shared("binding", {"type": "string", "pattern": _BOUND})
