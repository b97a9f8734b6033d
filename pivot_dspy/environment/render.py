"""Types and JSON schemas as a model reads them best: one short line, named records spelled out once."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import NotRequired, Required

Named = dict[str, str]
"""Named record types met while rendering: name to its one-line definition."""

_PLAIN: list[tuple[Any, str]] = [
    (str, "str"), (int, "int"), (float, "float"), (bool, "bool"), (type(None), "null"), (None, "null"), (Any, "any"),
    (inspect.Parameter.empty, "any"), (dict, "object"),
]  # fmt: skip
_JSON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", None: "any"}


def type_text(annotation: Any, named: Named) -> str:
    """`annotation` in short form; record types are added to `named` and referred to by name."""
    for plain, text in _PLAIN:
        if annotation is plain:
            return text
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, NotRequired, Required):
        return type_text(args[0], named)
    if origin is Literal:
        return " | ".join(repr(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(arg, named) for arg in args))
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " | ".join(repr(member.value) for member in annotation)
    container = origin or annotation
    if container in (list, set, tuple, frozenset):
        inner = [arg for arg in args if arg is not Ellipsis]
        return f"[{', '.join(type_text(arg, named) for arg in inner) or 'any'}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{{type_text(args[0], named)}: {type_text(args[1], named)}}}"
    fields = _record_fields(container)
    if fields is not None:
        name = str(container.__name__)
        if name not in named:
            named[name] = "..."  # a record that refers to itself stops here
            texts = {field: type_text(hint, named) for field, hint in fields.items()}
            named[name] = _record_text(texts)
        return name
    return str(getattr(annotation, "__name__", None) or annotation)


def schema_text(schema: Any, definitions: Mapping[str, Any] | None = None, *, depth: int = 6) -> str:
    """A JSON schema in the same short form; references are followed `depth` deep."""
    if not isinstance(schema, Mapping) or depth < 0:
        return "any"
    definitions = schema.get("$defs") or schema.get("definitions") or definitions or {}
    if "$ref" in schema:
        return schema_text(definitions.get(str(schema["$ref"]).rsplit("/", 1)[-1]), definitions, depth=depth - 1)
    if "enum" in schema or "const" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema.get("enum") or [schema["const"]])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            texts = (schema_text(option, definitions, depth=depth - 1) for option in schema[key])
            return " | ".join(dict.fromkeys(texts))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(schema_text({**schema, "type": one}, definitions, depth=depth - 1) for one in kind)
    if kind == "array":
        return f"[{schema_text(schema.get('items'), definitions, depth=depth - 1)}]"
    if kind == "object" and schema.get("properties"):
        required = schema.get("required", ())
        return _record_text(
            {
                name if name in required else f"{name}?": schema_text(inner, definitions, depth=depth - 1)
                for name, inner in schema["properties"].items()
            }
        )
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"{{str: {schema_text(schema['additionalProperties'], definitions, depth=depth - 1)}}}"
    return _JSON.get(kind, str(kind))


def _record_text(fields: Mapping[str, str]) -> str:
    """A record in braces; a field of type str goes without its type."""
    return f"{{{', '.join(name if text == 'str' else f'{name}: {text}' for name, text in fields.items())}}}"


def _record_fields(annotation: Any) -> dict[str, Any] | None:
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if dataclasses.is_dataclass(annotation) or (issubclass(annotation, dict) and hasattr(annotation, "__total__")):
        optional: frozenset[str] = getattr(annotation, "__optional_keys__", frozenset())
        hints = get_type_hints(annotation, include_extras=False)
        return {f"{name}?" if name in optional else name: hint for name, hint in hints.items()}
    if issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        return dict(get_type_hints(annotation))
    return None
