"""JSON schemas of a tool's arguments as they are found in the wild, one parameter at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import unquote

import jsonschema
from jsonschema.validators import validator_for
from referencing import Registry

from pivot_dspy.errors import ConfigurationError

SHARED = ("$defs", "definitions")
ROOT = "__root__"
"""The definition that stands for the whole schema, where a part of it refers to that or to another parameter."""


def parameters_of(schema: Any) -> tuple[dict[str, dict[str, Any]], tuple[str, ...]]:
    """The schema of each parameter and the names of those that are required.

    Each schema stands for itself: it carries the definitions that its references need, and references to the whole
    (`#`, `#/properties/a`) are written as references to one of these.

    Raises:
        ConfigurationError: it is no JSON schema, is none of an object, or refers to nothing or in a circle.

    >>> parameters, required = parameters_of({"properties": {"a": {"type": "string"}, "b": {"$ref": "#/properties/a"}}})
    >>> parameters["b"]["$ref"]
    '#/$defs/__root__/properties/a'
    """
    require_valid(schema)
    whole = self_contained(schema)
    # `$schema` says by which rules the rest is read.
    shared = {key: whole[key] for key in (*SHARED, "$schema") if key in whole}
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part, is_sure in _parts(whole):
        for name, inner in (part.get("properties") or {}).items():
            before = properties.get(name, inner)
            # What branches say otherwise of one parameter may each be so.
            properties[name] = inner if is_sure or before == inner else {"anyOf": [before, inner]}
        required += part.get("required") or () if is_sure else ()
    # A name that is only required may have any value.
    named = {**properties, **{name: True for name in required if name not in properties}}
    return {name: {**_as_object(inner), **shared} for name, inner in named.items()}, tuple(dict.fromkeys(required))


def self_contained(schema: Mapping[str, Any]) -> dict[str, Any]:
    """A schema whose references all go to its shared definitions, one of which stands for the whole where needed."""
    whole: dict[str, Any] = _rooted(schema)
    return whole if whole == schema else {**whole, "$defs": {**whole.get("$defs", {}), ROOT: whole}}


def require_valid(schema: Any) -> None:
    """Raises ConfigurationError where a schema is none, or one of its references leads nowhere or in a circle."""
    if not isinstance(schema, Mapping):
        raise ConfigurationError(f"it is {type(schema).__name__}, and no object")
    try:
        validator_for(schema, default=jsonschema.Draft202012Validator).check_schema(dict(schema))
        done: set[int] = set()
        for reference in references(schema):
            place = target(reference, schema)
            if not isinstance(place, (Mapping, bool)):
                raise ConfigurationError(f"it refers to {reference!r}, which is no schema")
            _refuse_circle(place, schema, (), done)
    except jsonschema.SchemaError as error:
        raise ConfigurationError(f"it is no valid JSON schema: {error.message:.200}") from error
    except RecursionError as error:
        raise ConfigurationError("it is nested too deeply") from error


def without_foreign_patterns(schema: Any) -> Any:
    """A copy without the patterns that Python cannot read, such as `\\p{L}`: their language is that of ECMAScript, and
    whoever wrote them checks them.

    >>> without_foreign_patterns({"type": "string", "pattern": r"^\\p{L}+$"})
    {'type': 'string'}
    """
    if isinstance(schema, Mapping):
        return {
            key: without_foreign_patterns(inner)
            for key, inner in schema.items()
            if not (key == "pattern" and isinstance(inner, str) and not _is_regex(inner))
        }
    return [without_foreign_patterns(inner) for inner in schema] if isinstance(schema, list) else schema


def _is_regex(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


def validator(schema: Mapping[str, Any]) -> Any:
    """What tells how a value misses a schema, by the rules of its `$schema`; it fetches nothing from anywhere."""
    return validator_for(schema, default=jsonschema.Draft202012Validator)(schema, registry=Registry())


def references(schema: Any) -> Iterator[str]:
    """All references of a schema, wherever they stand."""
    if isinstance(schema, Mapping):
        if isinstance(schema.get("$ref"), str):
            yield schema["$ref"]
        for inner in schema.values():
            yield from references(inner)
    elif isinstance(schema, list):
        for inner in schema:
            yield from references(inner)


def target(reference: str, whole: Any) -> Any:
    """What a reference into the same document (`#/...`, a JSON pointer) stands for.

    Raises:
        ConfigurationError: nothing stands there.

    >>> target("#/$defs/a~1b", {"$defs": {"a/b": {"type": "string"}}})
    {'type': 'string'}
    """
    if reference != "#" and not reference.startswith("#/"):
        raise ConfigurationError(f"it refers to {reference!r}, which is not part of it")
    place = whole
    for part in unquote(reference[2:]).split("/") if reference != "#" else ():
        key = part.replace("~1", "/").replace("~0", "~")
        try:
            place = place[int(key)] if isinstance(place, list) else place[key]
        except (KeyError, IndexError, TypeError, ValueError):
            raise ConfigurationError(f"it refers to {reference!r}, and nothing stands there") from None
    return place


def nested_descriptions(schema: Mapping[str, Any], path: str) -> dict[str, str]:
    """What a schema says of the fields inside a value, by their paths from `path`; each definition is told once.

    >>> nested_descriptions({"items": {"properties": {"zip": {"type": "string", "description": "Five digits."}}}}, "to")
    {'to.zip': 'Five digits.'}
    """
    described: dict[str, str] = {}
    left: list[tuple[Any, str]] = [(schema, path)]
    met: set[str] = set()
    while left:
        part, place = left.pop(0)
        if not isinstance(part, Mapping):
            continue
        reference = part.get("$ref")
        if isinstance(reference, str) and reference not in met:
            met.add(reference)
            with suppress(ConfigurationError):  # it leads nowhere: validation says so
                left.append((target(reference, schema), place))
        left += [(inner, place) for key in ("anyOf", "oneOf", "allOf") for inner in part.get(key) or ()]
        left += [(part.get(key), place) for key in ("items", "additionalProperties")]
        for name, inner in (part.get("properties") or {}).items():
            text = inner.get("description") if isinstance(inner, Mapping) else None
            if isinstance(text, str):
                described[f"{place}.{name}"] = text
            left.append((inner, f"{place}.{name}"))
    return described


def _refuse_circle(place: Any, whole: Any, inside: tuple[int, ...], done: set[int]) -> None:
    """Raises ConfigurationError where a schema judges a value by itself: validation would never end.

    Args:
        inside: the schemas that this one judges the value for.
        done: those that lead into no circle.
    """
    if id(place) in inside:
        raise ConfigurationError("it refers to itself in a circle")
    if not isinstance(place, Mapping) or id(place) in done:
        return
    same = [inner for key in ("allOf", "anyOf", "oneOf") for inner in place.get(key) or ()]
    same += [place[key] for key in ("not", "if", "then", "else") if key in place]
    if isinstance(place.get("$ref"), str):
        same.append(target(place["$ref"], whole))
    for inner in same:
        _refuse_circle(inner, whole, (*inside, id(place)), done)
    done.add(id(place))


def _rooted(schema: Any) -> Any:
    """A copy in which references to anything but shared definitions go to the whole schema as one of these."""
    if isinstance(schema, Mapping):
        copied = {key: _rooted(inner) for key, inner in schema.items()}
        reference = schema.get("$ref")
        if isinstance(reference, str) and not reference.startswith(tuple(f"#/{key}/" for key in SHARED)):
            copied["$ref"] = f"#/$defs/{ROOT}{reference[1:]}"
        return copied
    return [_rooted(inner) for inner in schema] if isinstance(schema, list) else schema


def _parts(whole: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], bool]]:
    """The schemas that together say what the object's properties are, and whether each is so in any case.

    These are itself, what it refers to and its `allOf`; in one of several cases also its `anyOf` and `oneOf`.
    """
    left: list[tuple[Any, bool]] = [(whole, True)]
    met: list[Any] = []
    while left:
        part, is_sure = left.pop(0)
        if not isinstance(part, Mapping) or any(part is seen for seen in met):
            continue
        met.append(part)
        yield part, is_sure
        if isinstance(part.get("$ref"), str):
            left.append((target(part["$ref"], whole), is_sure))
        left += [(inner, is_sure) for inner in part.get("allOf") or ()]
        left += [(inner, False) for key in ("anyOf", "oneOf") for inner in part.get(key) or ()]


def _as_object(schema: Any) -> dict[str, Any]:
    """A schema that may be `true` (anything) or `false` (nothing) as an object."""
    if isinstance(schema, Mapping):
        return dict(schema)
    return {} if schema else {"not": {}}
