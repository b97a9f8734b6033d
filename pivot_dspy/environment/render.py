"""Types and JSON schemas as a model reads them best: one short line, named records spelled out once."""

from __future__ import annotations

import dataclasses
import inspect
import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import NotRequired, Required

Named = dict[str, str]
"""Named record types met while rendering: name to its one-line definition."""

_PLAIN: dict[Any, str] = {
    str: "str", int: "int", float: "float", bool: "bool", type(None): "null", Any: "any", inspect.Parameter.empty: "any",
}


def type_text(annotation: Any, named: Named) -> str:
    """`annotation` in short form; record types are added to `named` and referred to by name."""
    if annotation in _PLAIN:
        return _PLAIN[annotation]
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Annotated, NotRequired, Required):
        return type_text(args[0], named)
    if origin is Literal:
        return " | ".join(repr(arg) for arg in args)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(type_text(arg, named) for arg in args))
    if origin in (list, set, tuple, frozenset) or annotation in (list, set, tuple, frozenset):
        inner = [arg for arg in args if arg is not Ellipsis]
        return f"[{', '.join(type_text(arg, named) for arg in inner) or 'any'}]"
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping) or annotation is dict:
        return f"{{{type_text(args[0], named)}: {type_text(args[1], named)}}}" if len(args) == 2 else "object"
    fields = _record_fields(annotation)
    if fields is not None:
        name = annotation.__name__
        if name not in named:
            named[name] = "..."  # a record that refers to itself stops here
            inner_text = ", ".join(
                field if text == "str" else f"{field}: {text}"
                for field, text in ((field, type_text(hint, named)) for field, hint in fields.items())
            )
            named[name] = f"{{{inner_text}}}"
        return str(name)
    return str(getattr(annotation, "__name__", None) or annotation)


def schema_text(schema: Mapping[str, Any]) -> str:
    """A JSON schema in the same short form."""
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    for key in ("anyOf", "oneOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(schema_text(option) for option in schema[key]))
    kind = schema.get("type")
    if kind == "array":
        return f"[{schema_text(schema.get('items', {}))}]"
    if kind == "object" and schema.get("properties"):
        required = set(schema.get("required", ()))
        fields = (
            f"{name}{'' if name in required else '?'}: {schema_text(inner)}"
            for name, inner in schema["properties"].items()
        )
        return f"{{{', '.join(fields)}}}"
    names = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "null", None: "any"}
    return names.get(kind, str(kind)) if not isinstance(kind, list) else " | ".join(names.get(k, str(k)) for k in kind)


def _record_fields(annotation: Any) -> dict[str, Any] | None:
    if not isinstance(annotation, type):
        return None
    if issubclass(annotation, BaseModel):
        return {name: field.annotation for name, field in annotation.model_fields.items()}
    if dataclasses.is_dataclass(annotation) or (issubclass(annotation, dict) and hasattr(annotation, "__total__")):
        optional = getattr(annotation, "__optional_keys__", frozenset())
        hints = get_type_hints(annotation, include_extras=False)
        return {f"{name}?" if name in optional else name: hint for name, hint in hints.items()}
    if issubclass(annotation, tuple) and hasattr(annotation, "_fields"):
        return dict(get_type_hints(annotation))
    return None
