"""Types and JSON schemas as a model reads them best: one short line, named records spelled out once."""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import AliasChoices, AliasPath
from pydantic.fields import FieldInfo
from typing_extensions import NotRequired, Required, is_typeddict

from pivot_dspy.environment.schemas import ROOT, SHARED, target
from pivot_dspy.errors import ConfigurationError

Named = dict[str, str]
"""Named record types met while rendering: name to its one-line definition."""

_PLAIN: list[tuple[Any, str]] = [
    (str, "str"), (int, "int"), (float, "float"), (bool, "bool"), (type(None), "null"), (None, "null"), (Any, "any"),
    (inspect.Parameter.empty, "any"), (dict, "object"),
]  # fmt: skip
_JSON = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", None: "any"}


def type_text(annotation: Any, named: Named, *, argument: bool = False) -> str:
    """`annotation` in short form; record types are added to `named` and referred to by name.

    Args:
        argument: whether it is of what a tool takes, and not of what it gives: a field may have an alias for each.

    >>> from pydantic import BaseModel, Field
    >>> class Address(BaseModel):
    ...     zip_code: str = Field(alias="zipCode")
    >>> named: Named = {}
    >>> type_text(list[Address], named), named
    ('[Address]', {'Address': '{zipCode}'})
    """
    for plain, text in _PLAIN:
        if annotation is plain:
            return text
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return " | ".join(repr(member.value) for member in annotation)
    origin, args = get_origin(annotation), get_args(annotation)
    container = origin or annotation
    if origin is Literal:
        return " | ".join(map(repr, args))
    fields = record_fields(container, argument=argument)
    if fields is not None:
        return _named_record(container, fields, named, argument)
    if origin in (Annotated, NotRequired, Required):
        return type_text(args[0], named, argument=argument)
    texts = [type_text(arg, named, argument=argument) for arg in args if arg is not Ellipsis]
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(texts))
    if container in (list, set, tuple, frozenset):
        return f"[{', '.join(texts) or 'any'}]"
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return f"{{{texts[0]}: {texts[1]}}}"
    if getattr(annotation, "__module__", "") == "pydantic.networks":  # addresses of all kinds, texts in JSON
        return "str"
    return str(getattr(annotation, "__name__", None) or annotation)


def _named_record(record: Any, fields: Mapping[str, Any], named: Named, argument: bool) -> str:
    name = str(record.__name__)
    if not argument and list(fields) != list(record_fields(record, argument=True) or ()):
        name += "Result"
    if name not in named:
        named[name] = "..."  # a record that refers to itself stops here
        texts = {field: type_text(hint, named, argument=argument) for field, hint in fields.items()}
        # The JSON form of a named tuple is a list, which is bound by position.
        listed = ", ".join(f"{field}: {text}" for field, text in texts.items())
        named[name] = f"[{listed}]" if issubclass(record, tuple) else _record_text(texts)
    return name


def schema_text(schema: Any, definitions: Mapping[str, Any] | None = None, *, inside: tuple[str, ...] = ()) -> str:
    """A valid JSON schema in the same short form. A definition that refers to itself is named at its second mention."""
    if not isinstance(schema, Mapping):
        return "any"
    if definitions is None or any(key in schema for key in SHARED):
        definitions = {**(definitions or {}), **schema.get("definitions", {}), **schema.get("$defs", {})}
    shared = definitions

    def text(inner: Any) -> str:
        return schema_text(inner, shared, inside=inside)

    if "$ref" in schema:
        reference = str(schema["$ref"])
        if reference in inside:
            name = reference.rsplit("/", 1)[-1]
            return "object" if name == ROOT else name
        try:
            referred = target(reference, dict.fromkeys(SHARED, shared))
        except ConfigurationError:
            return "any"
        return schema_text(referred, shared, inside=(*inside, reference))
    if "const" in schema:
        return json.dumps(schema["const"], ensure_ascii=False)
    if "enum" in schema:
        return " | ".join(json.dumps(value, ensure_ascii=False) for value in schema["enum"])
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " | ".join(dict.fromkeys(text(option) for option in schema[key]))
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(text({**schema, "type": one}) for one in kind)
    if kind == "array":
        places = schema.get("prefixItems") or (schema["items"] if isinstance(schema.get("items"), list) else None)
        if places:
            return f"[{', '.join(map(text, places))}]"
        return f"[{text(schema.get('items'))}]"
    if kind == "object" and schema.get("properties"):
        fields, required = schema["properties"], schema.get("required", ())
        return _record_text({n if n in required else f"{n}?": text(inner) for n, inner in fields.items()})
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"{{str: {text(schema['additionalProperties'])}}}"
    return _JSON.get(kind, str(kind))


def _record_text(fields: Mapping[str, str]) -> str:
    """A record in braces; a field of type str goes without its type."""
    return f"{{{', '.join(name if text == 'str' else f'{name}: {text}' for name, text in fields.items())}}}"


def record_fields(annotation: Any, *, argument: bool = False) -> dict[str, Any] | None:
    """The fields of a record type by the names that arguments or results have, with their types; else None.

    A name ends in `?` where the field may be left out of a typed dictionary.
    """
    if not isinstance(annotation, type):
        return None
    fields: Mapping[str, FieldInfo] | None = getattr(annotation, "__pydantic_fields__", None)
    if fields is not None:  # of a model, or of one of pydantic's dataclasses
        return {_alias(field, argument) or name: field.annotation for name, field in fields.items()}
    is_named_tuple = issubclass(annotation, tuple) and hasattr(annotation, "_fields")
    if not (is_named_tuple or is_typeddict(annotation) or dataclasses.is_dataclass(annotation)):
        return None
    optional = getattr(annotation, "__optional_keys__", ())
    return {f"{name}?" if name in optional else name: hint for name, hint in get_type_hints(annotation).items()}


def _alias(field: FieldInfo, argument: bool) -> str | None:
    alias = field.validation_alias if argument else field.serialization_alias
    if isinstance(alias, AliasChoices):
        alias = alias.choices[0]
    return str(alias.path[0]) if isinstance(alias, AliasPath) else alias
