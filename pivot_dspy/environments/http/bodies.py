"""The bodies of requests: which arguments they are given by, and how these become bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from pivot_dspy.environments.http.answers import FILE, bytes_of
from pivot_dspy.environments.http.document import Description
from pivot_dspy.environments.http.naming import BODY, ToolArgument
from pivot_dspy.environments.http.schemas import SchemaReader
from pivot_dspy.environments.http.styles import query_of, text_of
from pivot_dspy.errors import ConfigurationError

FORM, MULTIPART = "application/x-www-form-urlencoded", "multipart/form-data"


@dataclass(frozen=True)
class Body:
    """How the body of a request is made of arguments."""

    media_type: str
    required: bool
    properties: Mapping[str, str] | None = None
    """The property that each argument gives; None where the whole body is one argument."""
    argument: str = BODY
    """What gives the whole body."""
    files: frozenset[str] = frozenset()
    """Properties that are files."""
    encoding: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """What is said of how properties of a form are written."""

    def called(self, arguments: Sequence[ToolArgument]) -> Body:
        """This body, with the arguments by the names that they have come to have."""
        if self.properties is None:
            return replace(self, argument=arguments[0].name)
        names = [argument.name for argument in arguments]
        return replace(self, properties=dict(zip(names, self.properties.values(), strict=True)))

    def content(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """What httpx makes the request's body of: `content` and `headers`, or `files`; nothing where nothing is given.

        Raises:
            ToolError: a file is no text and nothing with `data`.
        """
        if self.properties is None:
            if self.argument not in arguments:
                return {}
            return self._encoded(arguments[self.argument])
        given = {name: arguments[argument] for argument, name in self.properties.items() if argument in arguments}
        return self._encoded(given) if given or self.required else {}

    def _encoded(self, value: Any) -> dict[str, Any]:
        headers = {"Content-Type": self.media_type}
        if is_json(self.media_type):
            return {"content": json.dumps(value, ensure_ascii=False).encode(), "headers": headers}
        if _is(self.media_type, FORM):
            return {"content": self._form(value), "headers": headers}
        if _is(self.media_type, MULTIPART):
            return {"files": [part for name, item in value.items() for part in self._parts(name, item)]}
        return {"content": bytes_of(value).content, "headers": headers}

    def _form(self, value: Mapping[str, Any]) -> bytes:
        written = []
        for name, item in value.items():
            said = self.encoding.get(name) or {}
            style = str(said.get("style") or "form")
            if "style" not in said and (isinstance(item, dict) or is_json(str(said.get("contentType") or ""))):
                item = json.dumps(item, ensure_ascii=False)
            written.append(query_of(name, item, style, bool(said.get("explode", style in ("form", "deepObject")))))
        return "&".join(filter(None, written)).encode()

    def _parts(self, name: str, value: Any) -> list[tuple[str, tuple[Any, ...]]]:
        items = value if isinstance(value, list) else [value]
        if name in self.files:
            files = [bytes_of(item) for item in items]
            return [(name, (file.name or name, file.content, file.media_type)) for file in files]
        if any(isinstance(item, (dict, list)) for item in items):
            return [(name, (None, json.dumps(item), "application/json")) for item in items]
        return [(name, (None, text_of(item))) for item in items if item is not None]


class DescribedBody(NamedTuple):
    """A body as a description tells of it, and the arguments that it is given by."""

    body: Body
    arguments: list[ToolArgument]


def body_of(request_body: Any, description: Description, reader: SchemaReader) -> DescribedBody | None:
    """The body that an operation takes; None where it takes none.

    The properties of an object are arguments of their own, where the schema is one plain object; else the whole is
    the argument `body`.

    Raises:
        ConfigurationError: it can be given only as something that is neither JSON, a form, text, nor bytes.
    """
    if request_body is None:
        return None
    fields = description.resolved(request_body)
    content = fields.get("content") or {}
    media_type = _chosen(content)
    required = fields.get("required") is True
    schema = content[media_type].get("schema", {})
    if not (is_json(media_type) or _is(media_type, FORM, MULTIPART)):
        whole = FILE if not media_type.startswith("text/") else {"type": "string"}
        return DescribedBody(Body(media_type, required), [ToolArgument(BODY, BODY, whole, required)])
    plain = _plain_object(schema, description)
    if plain is None:
        if not is_json(media_type):
            raise ConfigurationError(f"its body ({media_type}) is no object of which the properties are told")
        whole = reader.part(schema)
        if isinstance(text := fields.get("description"), str):
            whole = {**whole, "description": text}
        return DescribedBody(Body(media_type, required), [ToolArgument(BODY, BODY, whole, required)])
    properties, needed = plain
    files = frozenset(name for name, inner in properties.items() if _is_file(inner, media_type, description))
    schemas = {n: _file_schema(inner) if n in files else reader.part(inner) for n, inner in properties.items()}
    arguments = [ToolArgument(BODY, name, inner, required and name in needed) for name, inner in schemas.items()]
    encoding = content[media_type].get("encoding") or {}
    body = Body(media_type, required, {name: name for name in properties}, files=files, encoding=encoding)
    return DescribedBody(body, arguments)


def is_json(media_type: str) -> bool:
    """Whether a media type is JSON.

    >>> is_json("application/json; charset=utf-8"), is_json("application/hal+json"), is_json("application/jsonl")
    (True, True, False)
    """
    kind = media_type.split(";")[0].strip().lower()
    return kind in ("application/json", "text/json") or kind.endswith("+json") or kind == "*/*"


def _is(media_type: str, *kinds: str) -> bool:
    return media_type.split(";")[0].strip().lower() in kinds


def _chosen(content: Mapping[str, Any]) -> str:
    """The media type that a body is written as: JSON where it may be."""
    for fits in (
        is_json,
        lambda kind: _is(kind, FORM),
        lambda kind: _is(kind, MULTIPART),
        lambda kind: kind.startswith("text/"),
        lambda kind: _is(kind, "application/octet-stream") or kind.startswith(("image/", "audio/", "video/")),
    ):
        for media_type in content:
            if fits(media_type):
                return media_type
    raise ConfigurationError(f"its body can be written as {', '.join(content) or 'nothing'} only")


def _plain_object(schema: Any, description: Description) -> tuple[dict[str, Any], set[str]] | None:
    """The properties of a schema that is one object, its `allOf` included, and which are required; None for others."""
    properties: dict[str, Any] = {}
    required: set[str] = set()
    left = [schema]
    for _ in range(100):
        if not left:
            return (properties, required) if properties else None
        part = description.resolved(left.pop(0))
        if not isinstance(part, Mapping) or {"anyOf", "oneOf", "not", "if", "patternProperties"} & part.keys():
            return None
        if part.get("additionalProperties") or part.get("nullable") or part.get("type", "object") != "object":
            return None
        own = part.get("properties") or {}
        if any(properties.get(name, inner) != inner for name, inner in own.items()):
            return None
        properties |= {name: inner for name, inner in own.items() if not _is_read_only(inner)}
        required |= set(part.get("required") or ())
        left += part.get("allOf") or ()
    return None


def _is_read_only(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("readOnly") is True


def _is_file(schema: Any, media_type: str, description: Description) -> bool:
    """Whether a property of a form is a file, or a list of files."""
    schema = description.resolved(schema)
    if not _is(media_type, MULTIPART) or not isinstance(schema, Mapping):
        return False
    if schema.get("type") == "array":
        return _is_file(schema.get("items"), media_type, description)
    options = [option for key in ("anyOf", "oneOf") for option in schema.get(key) or ()]
    if any(_is_file(option, media_type, description) for option in options):
        return True
    told = schema.get("format") == "binary" or "contentMediaType" in schema
    return told and schema.get("type", "string") in ("string", ["string", "null"])


def _file_schema(schema: Any) -> Mapping[str, Any]:
    is_list = isinstance(schema, Mapping) and schema.get("type") == "array"
    return {"type": "array", "items": FILE} if is_list else FILE
