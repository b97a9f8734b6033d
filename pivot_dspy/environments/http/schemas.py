"""The schemas of an OpenAPI description as JSON schemas that stand for themselves."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal

from pivot_dspy.environment.schemas import references
from pivot_dspy.environments.http.document import Description
from pivot_dspy.errors import ConfigurationError

_SCHEMAS = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
_MAPS = ("properties", "patternProperties", "dependentSchemas")
_LEFT_OUT = frozenset(
    ("discriminator", "xml", "externalDocs", "example", "examples", "deprecated", "nullable", "readOnly", "writeOnly")
    + ("$id", "$schema", "$anchor", "$dynamicRef", "$dynamicAnchor", "$comment")
)
"""What tells a validator or a model nothing, or would lead its references elsewhere."""

DEFINITIONS = "#/$defs/"


class SchemaReader:
    """Reads the schemas of a description, for what is sent or for what is answered.

    Args:
        left_out: properties with this mark are left out: `readOnly` of what is sent, `writeOnly` of what is answered.

    >>> pet = {"type": "object", "properties": {"id": {"type": "integer", "readOnly": True}, "name": {"nullable": True,
    ...     "type": "string"}, "parent": {"$ref": "#/components/schemas/Pet"}}}
    >>> reader = SchemaReader(Description({"openapi": "3.0.3", "components": {"schemas": {"Pet": pet}}}), "readOnly")
    >>> whole = reader.whole({"$ref": "#/components/schemas/Pet"})
    >>> whole["$ref"], whole["$defs"]["Pet"]["properties"]
    ('#/$defs/Pet', {'name': {'type': ['string', 'null']}, 'parent': {'$ref': '#/$defs/Pet'}})
    """

    def __init__(self, description: Description, left_out: Literal["readOnly", "writeOnly"]) -> None:
        self._description, self._mark = description, left_out
        self._names: dict[str, str] = {}
        """What the definition for each reference is called."""
        self._definitions: dict[str, Any] = {}
        self._needs: dict[str, set[str]] = {}
        """The definitions that each refers to."""

    def whole(self, schema: Any) -> dict[str, Any]:
        """A schema with all definitions that it needs.

        Raises:
            ConfigurationError: it is no schema, or refers to nothing.
        """
        return self.closed(self.part(schema))

    def part(self, schema: Any) -> dict[str, Any]:
        """A schema that refers to definitions, which `closed` adds; raises as `whole`."""
        if schema is True:
            return {}
        converted = self._converted(schema)
        if not isinstance(converted, dict):
            raise ConfigurationError(f"{schema!r:.40} is no schema")
        return converted

    def closed(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """A schema of parts of this reader, with all definitions that it needs; raises as `whole`."""
        left, needed = _named(references(schema)), set[str]()
        while left:
            name = left.pop()
            if name not in needed:
                needed.add(name)
                left |= self._needed_by(name)
        definitions = {name: self._definitions[name] for name in sorted(needed)}
        return {**schema, "$defs": definitions} if definitions else dict(schema)

    def _needed_by(self, name: str) -> set[str]:
        if name not in self._needs:
            reference = next(reference for reference, called in self._names.items() if called == name)
            self._definitions[name] = self._converted(self._description.at(reference))
            self._needs[name] = _named(references(self._definitions[name]))
        return self._needs[name]

    def _name(self, reference: str) -> str:
        """The name of a definition: the last part of the reference, or with a number where another has it."""
        if reference not in self._names:
            plain = re.sub(r"\W+", "_", reference.rsplit("/", 1)[-1]) or "_"
            taken = set(self._names.values())
            name, number = plain, 2
            while name in taken:
                name, number = f"{plain}_{number}", number + 1
            self._names[reference] = name
        return self._names[reference]

    def _converted(self, schema: Any) -> Any:
        if not isinstance(schema, Mapping):
            return schema
        made: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _SCHEMAS:
                made[key] = self._converted(value)
            elif key in _LISTS and isinstance(value, list):
                made[key] = [self._converted(item) for item in value]
            elif key in _MAPS and isinstance(value, Mapping):
                made[key] = {name: self._converted(inner) for name, inner in value.items() if not self._is_left(inner)}
            elif key == "$ref" and isinstance(value, str):
                made[key] = f"{DEFINITIONS}{self._name(value)}"
            elif key not in _LEFT_OUT and not key.startswith("x-"):
                made[key] = value
        if isinstance(properties := schema.get("properties"), Mapping) and isinstance(made.get("required"), list):
            left = {name for name, inner in properties.items() if self._is_left(inner)}
            made["required"] = [name for name in made["required"] if name not in left]
        if not _is_pattern(made.get("pattern", "")):
            del made["pattern"]
        return self._as_in_3_1(made, schema) if self._description.is_3_0 else made

    def _is_left(self, schema: Any) -> bool:
        return isinstance(schema, Mapping) and schema.get(self._mark) is True

    @staticmethod
    def _as_in_3_1(made: dict[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
        """A schema of OpenAPI 3.0 as a JSON schema: what may be null, and bounds that are not reached."""
        for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
            if isinstance(made.get(exclusive), bool) and made.pop(exclusive) and bound in made:
                made[exclusive] = made.pop(bound)
        if schema.get("nullable") is not True:
            return made
        if not isinstance(made.get("type"), str):
            return {"anyOf": [made, {"type": "null"}]}
        made["type"] = [made["type"], "null"]
        if isinstance(made.get("enum"), list) and None not in made["enum"]:
            made["enum"] = [*made["enum"], None]
        return made


def _named(references_met: Iterable[str]) -> set[str]:
    return {reference.removeprefix(DEFINITIONS) for reference in references_met}


@lru_cache(maxsize=1024)
def _is_pattern(pattern: Any) -> bool:
    """Whether Python reads a regular expression as well: without it, no value would pass."""
    try:
        re.compile(pattern)
    except (re.error, TypeError, RecursionError):
        return False
    return True


def outlined(schema: Any, depth: int) -> dict[str, Any]:
    """A schema of this reader without definitions, down to objects in objects that are `depth` deep; `allOf` is one.

    What is deeper is an object of which no more is told. It is for reading, and not for validating.

    >>> a = {"type": "object", "required": ["b"], "properties": {"b": {"allOf": [{"properties": {"c": {}}}]}}}
    >>> outlined({"$ref": "#/$defs/A", "$defs": {"A": a}}, 1)
    {'type': 'object', 'properties': {'b': {'type': 'object'}}, 'required': ['b']}
    """
    definitions = schema.get("$defs") or {} if isinstance(schema, Mapping) else {}
    return _outlined(schema, depth, definitions, ())


def _outlined(schema: Any, depth: int, definitions: Mapping[str, Any], inside: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        return {}

    def outline(inner: Any, depth: int = depth) -> dict[str, Any]:
        return _outlined(inner, depth, definitions, inside)

    if isinstance(reference := schema.get("$ref"), str):
        if reference in inside:
            return {"type": "object"}
        inside = (*inside, reference)
        return outline(definitions.get(reference.removeprefix(DEFINITIONS)))
    parts = [outline(part) for part in schema.get("allOf") or ()]
    fields = {name: inner for part in parts for name, inner in part.get("properties", {}).items()}
    required = [name for part in parts for name in part.get("required", ())]
    if properties := schema.get("properties"):
        if depth == 0:
            return {"type": schema.get("type", "object")}
        fields |= {name: outline(inner, depth - 1) for name, inner in properties.items()}
        required += schema.get("required") or ()
    if fields:
        kind = schema.get("type", "object")
        return {"type": kind, "properties": fields, "required": [name for name in fields if name in required]}
    if len(parts) == 1 and "type" not in schema:
        return parts[0]
    made = {key: schema[key] for key in ("type", "enum", "const") if key in schema}
    made |= {key: [outline(option) for option in schema[key]] for key in ("anyOf", "oneOf") if schema.get(key)}
    made |= {key: outline(schema[key]) for key in ("items", "additionalProperties") if key in schema}
    return made or (parts[0] if parts else {})
